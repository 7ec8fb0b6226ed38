"""A crash-safe store in one mapped file: where the ledger lies, between the receive thread and a ``kill -9``.

Theory of operation. The file (:mod:`logbus.collectors.slots`) holds two generations: the current one, which is a
snapshot and the changes since, and the one before it or the one being written. A change is one store into the map,
no system call. When the slot is full the owner is asked for a snapshot, which begins the next generation in the
other slot; until it is sealed the full one counts. A snapshot of more than half a slot makes the file grow: a
bigger one is written beside it, synced, and renamed over it.

Every byte is allocated beforehand: a store into a hole of a mapped file on a full disk is a SIGBUS, while
``posix_fallocate`` is a clean ENOSPC.

What a dying process can't do to the file, but a disk, a power cut or another program can, is caught by the
checksums: the state is then an earlier one and ``damage`` says so, or nothing can be read and the file is put
aside. It is never an obstacle to starting.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final
from zlib import crc32

from logbus.collectors.lock import take_lock
from logbus.collectors.replace import sync_directory
from logbus.collectors.slots import HEADER_BYTES, MAX_SLOT_BYTES, Slots, room
from logbus.errors import PageError

#: Bytes of a slot of a new file; the file has two. Some 2,600 changes of 400 bytes fit between two snapshots.
SLOT_BYTES: Final = 1024 * 1024
#: Unreadable files kept beside the page, the newest ones.
KEPT_CORRUPT: Final = 3

_FLAGS: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
#: What open says of a link, a directory, a socket, or a file that is not ours: such a thing is put aside. Any other
#: error (too many open files, a broken disk) says nothing about the file, which stays where it is.
_FOREIGN: Final = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.EACCES, errno.EPERM})


class Page:
    """An append-only store that forgets by snapshots. Its owner calls it from one thread at a time.

    ``quarantined`` is where an unreadable file was put when the page was opened, else None; ``damage`` is a
    sentence saying what was wrong with a file that was put aside or has lost its newest entries, else None.
    """

    def __init__(self, path: Path, lock: int, snapshot: Callable[[], bytes], slot_bytes: int) -> None:
        self.path = path
        self.quarantined: Path | None = None
        self.damage: str | None = None
        self._lock = lock
        self._snapshot = snapshot
        self._least = slot_bytes
        self._slots: Slots | None = None
        self._slot = 1
        self._generation = 0
        self._seed = 0
        # Where the next entry goes and where the slot ends. Both zero: the next entry begins a generation.
        self._at = 0
        self._limit = 0

    @classmethod
    def open(cls, path: Path, *, name: str, snapshot: Callable[[], bytes], slot_bytes: int = SLOT_BYTES) -> Page:
        """The page at ``path``, owned by this process until it is closed or dies.

        ``snapshot`` returns the owner's whole state as bytes, the change being appended included. ``name`` is told
        to whoever comes second. ``slot_bytes`` (a multiple of 8) is the slot of a new file. No file is made before
        the first entry. Raises OwnedError when another process has the page, PageError when the directory or the
        disk refuses.
        """
        # The lock is a file of its own: the page is replaced when it grows, and a lock on what was replaced would
        # keep nobody out.
        lock = path.with_name(path.name + ".lock")
        try:
            page = cls(path, take_lock(lock, what=str(path), name=name), snapshot, slot_bytes)
        except OSError as error:
            raise PageError(lock, f"can't be locked: {error.strerror}") from error
        try:
            page._beside.unlink(missing_ok=True)  # a growth that was killed
            page._load()
        except OSError as error:
            page.close()
            raise PageError(path, f"can't be opened: {error.strerror}") from error
        except BaseException:
            page.close()
            raise
        return page

    def append(self, payload: bytes) -> None:
        """Commits one change. When it returns, the change survives the death of this process.

        Begins a new generation when the slot is full: then the owner's snapshot, which holds the change, is written
        in its place. Raises PageError when the file can't grow; the change is then not committed.
        """
        start = self._at
        size = len(payload) + 8
        end = (start + size + 7) & ~7
        slots = self._slots
        if slots is None or end >= self._limit:
            self.compact()
            return
        slots.map[start + 8 : start + size] = payload
        slots.words[end >> 3] = 0
        slots.words[start >> 3] = size << 32 | crc32(payload, self._seed)
        self._at = end

    def compact(self) -> None:
        """Begins a new generation with the owner's snapshot.

        Raises PageError when it doesn't fit and the file can't grow, or the page is closed.
        """
        if self._lock < 0:  # a new file now would be made over that of the next owner
            raise PageError(self.path, "is closed")
        payload = self._snapshot()
        need = room(payload)
        slots = self._slots
        if slots is None or 2 * need > slots.slot_bytes:
            try:
                self._replace(payload, need)
                return
            except PageError:
                # A full disk is no reason to stop while the snapshot still fits: it only comes round sooner.
                if slots is None or slots is not self._slots or need > slots.slot_bytes:
                    raise
        slot = 1 - self._slot
        self._continue(slots, slot, slots.write(slot, self._generation + 1, payload))

    def recover(self) -> list[bytes]:
        """The snapshot of the newest valid generation and the changes after it; empty when there is no file.

        What is appended afterwards begins a new generation, so that nothing is ever written behind a damaged entry.
        """
        self._at = self._limit = 0
        return self._read()

    def quarantine(self, reason: str) -> None:
        """Puts the file aside as ``NAME.corrupt-N``, for an owner who can't read what is in it.

        The next entry begins a new file. Raises PageError when the file can't be renamed.
        """
        self._detach()
        self._slot, self._generation = 1, 0
        prefix = f"{self.path.name}.corrupt-"
        try:
            found = [name.removeprefix(prefix) for name in os.listdir(self.path.parent) if name.startswith(prefix)]
            numbers = sorted(int(number) for number in found if number.isascii() and number.isdigit())
            aside = self.path.with_name(f"{prefix}{numbers[-1] + 1 if numbers else 1}")
            self.path.rename(aside)
        except OSError as error:
            raise PageError(self.path, f"{reason}; it can't be put aside: {error.strerror}") from error
        self.quarantined, self.damage = aside, reason
        for number in numbers[: max(0, len(numbers) + 1 - KEPT_CORRUPT)]:
            try:
                self.path.with_name(f"{prefix}{number}").unlink()
            except OSError:  # a directory that stood there, say: it is in nobody's way
                continue

    def sync(self) -> None:
        """Makes every committed entry survive a power cut too. Raises PageError.

        Never retry it after an error: the kernel marks pages that it could not write as clean. (``fdatasync`` and
        not ``mmap.flush``, which holds the interpreter for the 1 to 50 ms of a disk.)
        """
        if self._slots is None:
            return
        try:
            os.fdatasync(self._slots.fd)
        except OSError as error:
            raise PageError(self.path, f"can't be synced: {error.strerror}") from error

    def close(self) -> None:
        """Unmaps the file and gives up its ownership; does nothing the second time."""
        self._detach()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @property
    def _beside(self) -> Path:
        return self.path.with_name(self.path.name + ".new")

    def _load(self) -> None:
        try:
            fd = os.open(self.path, _FLAGS)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in _FOREIGN:
                raise
            self.quarantine(f"is not a file of ours: {error.strerror}")
            return
        try:
            info = os.fstat(fd)
            foreign = not stat.S_ISREG(info.st_mode) or info.st_uid != os.geteuid()
            whole = info.st_size % 16 == 0 and HEADER_BYTES < info.st_size // 2 <= MAX_SLOT_BYTES
            if not foreign and whole:
                os.posix_fallocate(fd, 0, info.st_size)  # a copy that somebody put back may have holes
                self._slots = Slots(fd, info.st_size // 2)
        finally:
            if self._slots is None:
                os.close(fd)
        if foreign:
            self.quarantine("is not a regular file of this user")
        elif not whole:
            self.quarantine(f"has {info.st_size} bytes, which is not two slots")
        elif not self._read():
            self.quarantine("holds no valid generation")

    def _read(self) -> list[bytes]:
        """The entries of the best slot, which becomes the current one; says in ``damage`` what is wrong."""
        slots = self._slots
        if slots is None:
            return []
        generations = [slots.generation(slot) for slot in (0, 1)]
        if None in generations:
            self.damage = f"the header of slot {generations.index(None)} fails its check"
        for slot in sorted((0, 1), key=lambda slot: generations[slot] or 0, reverse=True):
            generation = generations[slot]
            if not generation:
                continue
            entries, clean = slots.entries(slot)
            if not clean:
                self.damage = f"entry {len(entries)} of generation {generation} fails its check"
            # Never reuse the number of a generation that has been, not even of one that can't be read.
            self._generation = max(self._generation, generation + generations.count(None))
            if entries:
                self._slot = slot
                return entries
        return []

    def _continue(self, slots: Slots, slot: int, tail: tuple[int, int]) -> None:
        """Makes the generation that was just written the current one."""
        self._at, self._seed = tail
        self._slots, self._slot, self._generation = slots, slot, self._generation + 1
        self._limit = (slot + 1) * slots.slot_bytes

    def _replace(self, payload: bytes, need: int) -> None:
        """Puts a new file over the old one, with the snapshot as its first generation, in slot 0."""
        slot_bytes = max(self._least, self._slots.slot_bytes if self._slots else 0)
        while 2 * need > slot_bytes:
            slot_bytes *= 2
        if slot_bytes > MAX_SLOT_BYTES:
            raise PageError(self.path, f"a snapshot of {len(payload)} bytes: a slot has at most {MAX_SLOT_BYTES}")
        old, beside = self._slots, self._beside
        try:
            slots = _make(beside, slot_bytes)
            try:
                tail = slots.write(0, self._generation + 1, payload)
                os.fsync(slots.fd)
                beside.replace(self.path)
            except BaseException:
                slots.close()
                raise
            self._continue(slots, 0, tail)
            if old is not None:
                old.close()
            sync_directory(self.path.parent)
        except OSError as error:
            raise PageError(self.path, f"can't be made with {2 * slot_bytes} bytes: {error.strerror}") from error

    def _detach(self) -> None:
        self._at = self._limit = 0
        if self._slots is not None:
            self._slots.close()
            self._slots = None


def _make(path: Path, slot_bytes: int) -> Slots:
    """A new file of zeros, every byte of it allocated; none is left when that fails."""
    path.unlink(missing_ok=True)
    fd = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(fd, 0, 2 * slot_bytes)
        return Slots(fd, slot_bytes)
    except BaseException:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
