"""One segment on disk: a file that is appended to, read once from its beginning to its end, and removed.

Its counts are those of its records: ``live`` have not ended yet, ``unread`` of them have not been read. What is
expected and not found any more, because the disk or somebody changed the file, is known by that and told as lost.

Files are written with ``pwrite`` into space that is allocated beforehand: a mapped file would turn a full or failing
disk into SIGBUS, which ends the process.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from secrets import randbits
from typing import Final, NamedTuple

from logbus.collectors.sinks import folder as names
from logbus.collectors.spool.folder import Folder
from logbus.collectors.spool.segment import (
    ENTRY_BYTES,
    VERSION,
    Entry,
    Name,
    Scan,
    decode,
    dialect_sum,
    encode,
    encode_header,
    key,
    parse_name,
)

#: Bytes that are read at a time.
CHUNK: Final = 128 * 1024
#: Bytes that no segment has: it has a few MiB, or one line. What has more is not read, which would hold up the start.
MAX_FILE: Final = 256 * 1024 * 1024
#: The number from which on no record has one: nobody would live to see it, and those behind it must have room.
MAX_NUMBER: Final = 1 << 62
#: Bytes that a disk may fail to read while it can read those beside them.
_SECTOR: Final = 4096
#: Errors after which a file is not going to be readable; after others (no descriptors, no memory) it may well be.
UNREADABLE: Final = frozenset(
    {errno.ENOENT, errno.EIO, errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ESTALE, errno.ENXIO}
)


class Mark(NamedTuple):
    """What a segment was like, to go back to."""

    used: int
    live: int
    unread: int
    last: int


class NewerError(Exception):
    """Raised for a segment that a later version has written."""


def why_unread(name: str, error: NewerError | ValueError | OSError) -> str:
    """What is to be told of a file that was not read, which raised this."""
    if isinstance(error, NewerError):
        return f"{name} was written by a later version, and is left alone"
    if isinstance(error, OSError):
        return f"{name} can't be read: {error.strerror}"
    return f"{name!r} is left alone: {error}"


class Stored:
    """A segment in a directory; ``tag`` tells it from the others.

    ``lane`` is the level of its records. ``dialect`` is None when the header that says it is damaged; ``name.dialect``
    is its checksum in any case. ``created`` is epoch seconds. ``allocated`` is the bytes that it takes on disk, and
    ``used`` the offset behind its last entry. ``first`` is a number that none of its records that have not ended is
    below, ``following`` one that none of its unread ones is below, ``last`` that of its last record.
    """

    def __init__(self, folder: Folder, name: Name, tag: int) -> None:
        self.name = name
        self.tag = tag
        self.lane = 0
        self.dialect: str | None = None
        self.created = 0.0
        self.allocated = 0
        self.used = 0
        self.live = self.unread = 0
        self.first = self.following = 0
        self.last = -1
        #: Whether nothing is appended any more.
        self.sealed = False
        self.damaged = False
        #: Entries that were read, and not taken yet.
        self.decoded: list[Entry] = []
        self._folder = folder
        self._key = key(name.id)
        #: The header, until it is written with the first entries.
        self._header = b""
        self._read_at = 0
        self._lost = 0
        #: Whether a power cut would undo what was appended last.
        self._unsynced = False
        self._fd = -1

    @classmethod
    def create(cls, folder: Folder, tag: int, *, lane: int, dialect: str, size: int) -> Stored:
        """A new file with ``size`` bytes allocated. Raises OSError, after removing it."""
        made = cls(folder, Name(randbits(64), dialect_sum(dialect)), tag)
        now_us = time.time_ns() // 1000
        made.lane, made.dialect, made.created, made.allocated = lane, dialect, now_us / 1e6, size
        made._header = encode_header(made.name.id, created_us=now_us, lane=lane, dialect=dialect)
        made.used = made._read_at = len(made._header)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        made._fd = os.open(str(made.name), flags, 0o600, dir_fd=folder.fd)
        folder.note()
        try:
            os.posix_fallocate(made._fd, 0, size)
        except BaseException:
            made.remove()
            raise
        return made

    @classmethod
    def scan(cls, folder: Folder, tag: int, name: str, ended: int) -> Stored:
        """The segment that lies under a name, sealed; its records with numbers below ``ended`` have ended.

        Raises OSError when it can't be read, NewerError, ValueError when it is no regular file, has no such name, or
        what no segment has.
        """
        parsed = parse_name(name)
        if parsed is None:
            raise ValueError("expected the name of a segment")
        found = cls(folder, parsed, tag)
        found.sealed = True
        try:
            found._scan(ended)
        finally:
            found.close()
        return found

    @property
    def free(self) -> int:
        """Bytes that can still be appended."""
        return 0 if self.sealed else self.allocated - self.used

    def mark(self) -> Mark:
        """What it is like now, for :meth:`undo`."""
        return Mark(self.used, self.live, self.unread, self.last)

    def append(self, numbers: Sequence[int], lines: Sequence[bytes]) -> None:
        """Writes records, whose numbers ascend from beyond its last. Raises OSError, after which it is to be undone."""
        data = memoryview(self._header + encode(self._key, self.lane, numbers, lines))
        at = self.used - len(self._header)
        self._unsynced = True
        while data:
            written = os.pwrite(self._fd, data, at)
            data, at = data[written:], at + written
        if not self.live:
            self.first = numbers[0]
        if not self.unread:
            self.following = numbers[0]
        self._header = b""
        self.used, self.last = at, numbers[-1]
        self.live += len(lines)
        self.unread += len(lines)

    def undo(self, mark: Mark) -> None:
        """Takes away what was appended since, and seals it. Raises OSError when that can't be done on disk."""
        self.used, self.live, self.unread, self.last = mark
        # Even when it was sealed since: what stays on disk would be found by the next life.
        self.sealed = False
        self.seal()

    def seal(self) -> None:
        """Gives back what was allocated and is not used; nothing is appended any more. Raises OSError."""
        if not self.sealed:
            self.sealed = True
            os.ftruncate(self._fd, self.used)
            self.allocated = self.used

    def read(self) -> None:
        """Has the next entries in ``decoded``; without any, all that were expected are lost.

        Raises OSError when it is worth another attempt.
        """
        size = CHUNK
        while self.unread and self._read_at < self.used:
            room = self.used - self._read_at
            try:
                data = self._pread(min(size, room), self._read_at)
            except OSError as error:
                if error.errno not in UNREADABLE:
                    raise
                break
            if len(data) < min(size, room):  # somebody has cut it
                room = len(data)
            found = decode(data, self._key, room=room, base=self._read_at, tag=self.tag)
            self._read_at = self._read_at + found.at if data else self.used
            if found.entries:
                self.decoded += found.entries[: self.unread]
                self.unread -= len(self.decoded)
                self.following = self.decoded[-1][0] + 1
                return
            size = max(CHUNK, found.need)
        self._lost, self.unread = self._lost + self.unread, 0

    def take_lost(self) -> int:
        """How many records turned out to be lost since this was asked; they are not live any more."""
        lost, self._lost = self._lost, 0
        self.live -= lost
        self.damaged |= lost > 0
        return lost

    def rewind(self, entry: Entry, count: int) -> None:
        """Takes back that ``entry`` and all after it, ``count`` in all, have been read."""
        number, _, payload, stop, _ = entry
        self._read_at = stop - len(payload) - ENTRY_BYTES
        self.following = number
        self.unread += count
        self.decoded = []

    def end(self, count: int, number: int) -> None:
        """So many more records have ended, up to this number."""
        self.live -= count
        self.first = number + 1

    def sync(self) -> None:
        """Has what was written survive a power cut, once the directory is synced too. Raises OSError, once."""
        if self._unsynced:
            self._unsynced = False
            os.fdatasync(self._opened())
            if self.sealed:
                self.close()

    def remove(self) -> None:
        """Removes its file, and closes it. Raises OSError, and then it is as it was."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(str(self.name), dir_fd=self._folder.fd)
        self.close()

    def close(self) -> None:
        """Closes its file; it is opened again when it is read."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _opened(self) -> int:
        if self._fd < 0:
            self._fd = names.open_for_reading(self._folder.fd, str(self.name))
        return self._fd

    def _pread(self, size: int, at: int) -> bytes:
        fd = self._opened()
        try:
            return os.pread(fd, size, at)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        starts = [at, *range((at // _SECTOR + 1) * _SECTOR, at + size, _SECTOR), at + size]
        return b"".join(_sector(fd, stop - start, start) for start, stop in pairwise(starts))

    def _scan(self, ended: int) -> None:
        info = os.fstat(self._opened())
        if not stat.S_ISREG(info.st_mode):
            raise ValueError("expected a regular file")
        if info.st_size > MAX_FILE:
            raise ValueError(f"expected at most {MAX_FILE:,} bytes, found {info.st_size:,}")
        size = self.allocated = info.st_size
        scan = Scan(self.name.id, size)
        for at in range(0, size, CHUNK):
            found = scan.feed(self._pread(min(CHUNK, size - at), at))
            if scan.header and scan.header.version > VERSION:
                raise NewerError
            self._count(found, ended)
        self._count(scan.end(), ended)
        self.used, self.damaged = scan.used, scan.damaged
        self.created = info.st_mtime
        if scan.header:
            self.dialect, self.lane = scan.header.dialect, scan.header.lane
            self.created = scan.header.created_us / 1e6
        if size > self.used and not self.damaged:
            with contextlib.suppress(OSError):
                self._cut()

    def _count(self, found: list[Entry], ended: int) -> None:
        if found and found[-1][0] >= MAX_NUMBER:
            raise ValueError(f"expected numbers below {MAX_NUMBER:,}, found {found[-1][0]:,}")
        if not found:
            return
        self.lane, self.last = found[0][1], found[-1][0]
        if self.last < ended:
            return
        begin = bisect_left(found, (ended,))
        if not self.live:
            number, _, payload, stop, _ = found[begin]
            self.first = self.following = number
            self._read_at = stop - len(payload) - ENTRY_BYTES
        self.live += len(found) - begin
        self.unread = self.live

    def _cut(self) -> None:
        fd = os.open(str(self.name), os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder.fd)
        try:
            os.ftruncate(fd, self.used)
            self.allocated = self.used
        finally:
            os.close(fd)


def _sector(fd: int, size: int, at: int) -> bytes:
    """Bytes of a file, zeros where the disk can't read them."""
    try:
        return os.pread(fd, size, at)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return bytes(size)
