"""The counter page of one producer: what it emitted and dropped, exact even after ``kill -9``.

A page is a small mmap'd file beside the record socket. Every thread that logs has a slot of its own, so that each
word has a single writer; the reader adds the slots up. The kernel keeps the page when the process dies, and the
flock on it falls free: that is how a collector learns of a death, and reads the last truth.

Layout, in native 64-bit words: one header page of 4,096 bytes, then pages of :data:`SLOTS_PER_CHUNK` slots::

    header  magic 8 B | producer 16 B | sent u64 | flags u64 | meta length u64 | meta msgpack …
    slot    emitted | settled | dropped[reason][bucket] …

``emitted`` is counted before a record is offered to the buffer, ``settled`` together with its arrival there (or its
drop): what lies between is a call in progress. Each increment is one statement without a call in it, which CPython
(with its GIL) neither interrupts with a signal handler nor with another thread; see docs/decisions/0002.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from logbus.errors import PageError, WireError
from logbus.levels import BUCKETS, bucket_of
from logbus.os_threads import get_ident, sleep
from logbus.wire import PRODUCER_REASONS, SHUTDOWN, pack_payload, unpack_payload

MAGIC: Final = b"LBPAGE1\0"
CHUNK_BYTES: Final = 4096
SUFFIX: Final = ".page"

EMITTED: Final = 0
SETTLED: Final = 1
#: Index of the first drop counter in a slot; reason r and bucket b stand at DROPPED + r * len(BUCKETS) + b.
DROPPED: Final = 2
DROP_WORDS: Final = PRODUCER_REASONS * len(BUCKETS)
SLOT_WORDS: Final = DROPPED + DROP_WORDS
SLOTS_PER_CHUNK: Final = CHUNK_BYTES // (8 * SLOT_WORDS)

#: Attempts at the lock of a new page, a millisecond apart.
_LOCK_ATTEMPTS: Final = 50

_SENT: Final = 3
_FLAGS: Final = 4
#: Flags: the producer has closed its book itself; a collector has welcomed it, and may know of it.
_SAID_BYE: Final = 1
_WELCOMED: Final = 2
_META_LENGTH: Final = 5
_META_AT: Final = 48
_MAX_META: Final = CHUNK_BYTES - _META_AT


class Meta(NamedTuple):
    """Who a producer is: what stands in its page and in each of its frames."""

    host: str
    pid: int
    worker: str
    app_name: str
    started_us: int

    def source(self) -> list[str | int]:
        """The ``source`` array of the wire."""
        return [self.host, self.pid, self.worker, self.app_name]


class Totals(NamedTuple):
    """The counters of a producer, added up over its threads. ``dropped`` is reason-major, by bucket."""

    emitted: int
    settled: int
    sent: int
    dropped: list[int]

    @classmethod
    def of(cls, sent: int, chunks: Iterable[list[int]]) -> Self:
        """The sums over the words of some chunks. A slot that emitted nothing may have drops: the sender's own."""
        sums = [0] * SLOT_WORDS
        for words in chunks:
            slots = words[: SLOTS_PER_CHUNK * SLOT_WORDS]
            sums = [so_far + sum(slots[at::SLOT_WORDS]) for at, so_far in enumerate(sums)]
        return cls(sums[EMITTED], sums[SETTLED], sent, sums[DROPPED:])

    def drops(self) -> list[list[int]]:
        """The non-zero drop counters as ``[reason index, bucket index, count]``."""
        width = len(BUCKETS)
        return [[at // width, at % width, count] for at, count in enumerate(self.dropped) if count]

    def by_reason(self) -> list[int]:
        """Drops per producer reason."""
        width = len(BUCKETS)
        return [sum(self.dropped[r * width : (r + 1) * width]) for r in range(PRODUCER_REASONS)]


class Counters:
    """The page of this process, for writing. ``cells`` maps a thread's ident to its slot.

    ``exact`` is False when no file could be made (a full disk, a read-only directory): the counters then live in
    memory only and do not survive the process.
    """

    def __init__(self, directory: Path, producer: bytes, meta: Meta) -> None:
        self.producer = producer
        self.cells: dict[int, memoryview[int]] = {}
        self.exact = True
        self.path: Path | None = directory / (producer.hex() + SUFFIX)
        self._next_slot = itertools.count()
        self._chunks: dict[int, memoryview[int]] = {}
        #: What is mapped, each with a descriptor of its own, which Python hides and closes with it.
        self._maps: list[mmap.mmap] = []
        self._fd = self._lock_fd = -1
        try:
            self._fd, self._lock_fd = self._create(self.path)
            header = mmap.mmap(self._fd, CHUNK_BYTES)
        except OSError:
            self.close(unlink=True)
            self.exact = False
            self.path = None
            header = mmap.mmap(-1, CHUNK_BYTES)
        self._maps.append(header)
        packed = pack_payload([meta.host[:255], meta.pid, meta.worker[:255], meta.app_name[:255], meta.started_us])
        header[_META_AT : _META_AT + len(packed)] = packed
        header[8:24] = producer
        self._words = memoryview(header).cast("Q")
        self._words[_META_LENGTH] = len(packed)
        header[0:8] = MAGIC  # last: a page without its magic is one that never came to life

    @staticmethod
    def _create(path: Path) -> tuple[int, int]:
        """Two descriptors, one to map and one that holds the lock.

        A map keeps a duplicate of its descriptor, in forked children too, and with it would keep the lock: a child
        would make its dead parent look alive.
        """
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        lock_fd = -1
        try:
            os.posix_fallocate(fd, 0, 2 * CHUNK_BYTES)
            lock_fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            _lock(lock_fd)
        except OSError:
            for opened in (fd, lock_fd):
                if opened >= 0:
                    os.close(opened)
            path.unlink(missing_ok=True)
            raise
        return fd, lock_fd

    def cell(self) -> memoryview[int]:
        """The slot of the calling thread, made at its first call.

        No lock: a signal handler may log while this very function runs. Two slots for one thread do no harm,
        the sum runs over all.
        """
        slot = next(self._next_slot)
        number, at = divmod(slot, SLOTS_PER_CHUNK)
        chunk = self._chunks.get(number)
        if chunk is None:
            chunk = self._chunks.setdefault(number, self._map(number))
        cell = chunk[at * SLOT_WORDS : (at + 1) * SLOT_WORDS]
        self.cells[get_ident()] = cell
        return cell

    def _map(self, number: int) -> memoryview[int]:
        if self.exact:
            try:
                os.posix_fallocate(self._fd, 0, (number + 2) * CHUNK_BYTES)
                mapped = mmap.mmap(self._fd, CHUNK_BYTES, offset=(number + 1) * CHUNK_BYTES)
                self._maps.append(mapped)
                return memoryview(mapped).cast("Q")
            except OSError:  # the disk is full: count in memory from here on, and say so
                self.exact = False
        return memoryview(mmap.mmap(-1, CHUNK_BYTES)).cast("Q")

    @property
    def sent(self) -> int:
        """Records that the socket has accepted: the sequence number of the next one."""
        return self._words[_SENT]

    @sent.setter
    def sent(self, value: int) -> None:
        self._words[_SENT] = value

    def say_bye(self) -> None:
        """Marks the book as closed by the producer itself: what is neither sent nor dropped ends with it."""
        self._words[_FLAGS] |= _SAID_BYE

    def say_welcomed(self) -> None:
        """Marks that a collector may know of this producer, so that nobody but a collector takes the page away."""
        self._words[_FLAGS] |= _WELCOMED

    def totals(self) -> Totals:
        """The sums over all threads; words are read one after the other while others go on counting."""
        return Totals.of(self.sent, (chunk.tolist() for chunk in list(self._chunks.values())))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The file descriptors that hold the page and its lock; none where the counters are not on disk."""
        return () if self._fd < 0 else (self._fd, self._lock_fd)

    def close(self, *, unlink: bool = False) -> None:
        """Lets go of the file (and of its lock); the cells stay writable until they are garbage."""
        if self._fd >= 0:
            if unlink and self.path is not None:
                self.path.unlink(missing_ok=True)
            os.close(self._fd)
            os.close(self._lock_fd)
            self._fd = self._lock_fd = -1

    def unmap(self) -> None:
        """Closes it for good, with the descriptors that the maps hold: whoever still counts here gets a ValueError.

        A map that is garbage later would close its number then, whatever that is by now. For a process that closes
        every descriptor, and for a forked child, which may do so, and has no thread that could count here.
        """
        self.close()
        maps, self._maps = self._maps, []
        views = (*self.cells.values(), *self._chunks.values(), self._words)
        for let_go in (*(view.release for view in views), *(mapped.close for mapped in maps)):
            with contextlib.suppress(BufferError):  # a thread is at its slot just now
                let_go()


class DeadPage(NamedTuple):
    """What a page said when it was read: ``alive`` tells whether its producer still held the lock.

    ``welcomed`` tells whether a collector may know of it. Where ``said_bye``, calls that were under way when the book
    was closed are among the drops.
    """

    path: Path
    producer: bytes
    meta: Meta
    totals: Totals
    alive: bool
    said_bye: bool
    welcomed: bool


def read_page(path: Path) -> DeadPage:
    """A page of another process. Raises PageError when it is none, FileNotFoundError when it has gone."""
    data = b""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            alive = not _lock_is_free(fd)
            while part := os.read(fd, 1 << 20):
                data += part
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise PageError(path, f"can't be read: {error.strerror}") from error
    if len(data) < CHUNK_BYTES or len(data) % CHUNK_BYTES or data[:8] != MAGIC:
        raise PageError(path, "is not a counter page")
    words = memoryview(data).cast("Q")
    length = words[_META_LENGTH]
    size = CHUNK_BYTES // 8
    totals = Totals.of(words[_SENT], (words[at : at + size].tolist() for at in range(size, len(words), size)))
    meta = _meta(path, data[_META_AT : _META_AT + min(length, _MAX_META)])
    said_bye, welcomed = bool(words[_FLAGS] & _SAID_BYE), bool(words[_FLAGS] & _WELCOMED)
    under_way = totals.emitted - totals.sent - sum(totals.dropped)
    if said_bye and under_way > 0:
        totals.dropped[SHUTDOWN * len(BUCKETS) + bucket_of(logging.INFO)] += under_way
    return DeadPage(path, data[8:24], meta, totals, alive, said_bye, welcomed)


def page_is_alive(path: Path | str) -> bool | None:
    """Whether the producer of a page lives (its lock is held); None when there is no such page."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return not _lock_is_free(fd)
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    """Takes the lock of a page just made. A reader that has found it already holds it for a moment."""
    for attempt in itertools.count(1):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if attempt == _LOCK_ATTEMPTS:
                raise
            sleep(0.001)


def _lock_is_free(fd: int) -> bool:
    try:
        # Shared, so that two readers never take each other for the living producer.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _meta(path: Path, packed: bytes) -> Meta:
    try:
        values: Any = unpack_payload(packed)
        host, pid, worker, app_name, started_us = values
        return Meta(str(host), int(pid), str(worker), str(app_name), int(started_us))
    except (WireError, TypeError, ValueError) as error:
        raise PageError(path, f"has no readable meta data: {error}") from error
