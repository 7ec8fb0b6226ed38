"""The spool of one sink: a bounded queue of lines on disk, which outlives the collector.

Theory of operation. Lines of each level are a lane of their own, a series of segments, so that what is least missed
can go first without a look at anything: when there is no room, the oldest segment of the lowest lane is removed, and
each of its records is counted. A new record that is lower than all that is there is itself the one to go. Reading
merges the lanes by number (:mod:`logbus.collectors.spool.window`). What has been handed out and has not ended is never
removed, since its reader will say what became of it.

What survives which crash. A record is in the kernel's hands when :meth:`Spool.append` returns: it survives the death
of the process at any moment. It survives a power cut after :meth:`Spool.sync` or :meth:`Spool.close`; before that, what
the kernel has written by itself. What was cut short is no record. A record that ended may be found again after a
crash, unless the number up to which all have ended was kept elsewhere (the ledger does) and is given to
:meth:`Spool.open`.

One process uses a spool, which holds the lock of the state directory; in it one thread appends and another one reads.
Nothing here keeps a collector from starting: what can't be read is told, set aside and counted.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

from logbus.collectors.spool import quarantine
from logbus.collectors.spool.folder import Folder
from logbus.collectors.spool.lanes import Lanes
from logbus.collectors.spool.segment import dialect_sum
from logbus.collectors.spool.stored import UNREADABLE, NewerError, Stored, why_unread
from logbus.collectors.spool.window import Portion, Window

__all__ = ["Found", "Portion", "Spool"]

#: Lines that are told, at most, about what is found at the start: somebody may have put anything there.
MAX_TOLD: Final = 20


class Found(NamedTuple):
    """What lay in a spool: whole records that have not ended, bytes on disk, the number that comes after every other
    one, and how many segments are damaged.
    """

    records: int
    bytes: int
    next_seq: int
    damaged: int


class Spool:
    """The spool of the sink ``name``, in a directory that is made with the first record.

    ``tell`` is given a line about each thing that is wrong, from whichever thread found it. ``records`` that have not
    ended, ``bytes`` on disk (what is allocated, which the bound is about), ``segments``, and ``oldest_at``, when the
    segment of the oldest record was begun (epoch seconds, None: no records), are for any thread at any time.
    """

    def __init__(self, name: str, directory: Path, tell: Callable[[str], None]) -> None:
        self.name = name
        self.records = 0
        self.bytes = 0
        self.segments = 0
        self.oldest_at: float | None = None
        self._tell = tell
        self._lock = threading.Lock()
        #: What is told once the lock is free.
        self._news: list[str] = []
        self._folder = Folder(directory)
        self._window = Window()
        self._lanes = Lanes(self._folder, held=self._window.held, removed=self._window.forget)
        self._opened = False
        #: Above the number of every record that was ever here.
        self._next = 0
        self._lost = 0

    def open(self, acked: int) -> Found:
        """Reads all that lies there, once; after that it says what is there now.

        Records with numbers below ``acked`` have ended. Never raises: what can't be read is told and set aside.
        """
        with self._locked():
            damaged = 0
            if not self._opened:
                self._opened = True
                damaged = self._scan(acked)
                self._next = max(self._next, acked, *(found.last + 1 for found in self._lanes.segments.values()))
            records = sum(segment.live for segment in self._lanes.segments.values())
            return Found(records, self._lanes.size, self._next, damaged)

    def configure(self, max_bytes: int, dialect: str) -> list[int]:
        """Sets the bound in bytes on disk, and the dialect of what is appended and read from now on.

        Returns how many records were removed because there is less room than there was, for each of
        :data:`logbus.levels.BUCKETS`. With ``max_bytes`` 0 nothing new is taken, and what is there stays. Raises
        OSError.
        """
        with self._locked():
            self._lanes.configure(max_bytes, dialect)
            return self._lanes.fit()

    def append(self, first_seq: int, lines: Sequence[bytes], levels: bytes) -> list[int]:
        """Puts lines on disk, numbered from ``first_seq`` on, each with its index in :data:`logbus.levels.BUCKETS`.

        Returns how many records of each bucket had to go for want of room: of those that were there, of these, and in
        appends before that failed. Raises OSError, and then none of these lines is there. Numbers below earlier ones
        come before them, but behind what was handed out.
        """
        if len(levels) != len(lines):
            raise ValueError(f"expected a level for each of {len(lines)} lines, found {len(levels)}")
        with self._locked():
            if first_seq < self._next:
                # These come before something that was read ahead, perhaps.
                self._window.rewind(self._lanes.segments.values())
            gone = self._lanes.append(first_seq, lines, levels)
            self._next = max(self._next, first_seq + len(lines))
            return gone

    def read(self, max_records: int, max_bytes: int) -> Portion | None:
        """The oldest records, at most so many, of so many bytes in all (or one that is longer); None: there are none.

        Until they are :meth:`done` it is the same ones again, or the first of them if less is asked for. Raises
        OSError when another attempt is worth while; what is lost for good is told and counted (:meth:`take_lost`).
        """
        with self._locked():
            segments = self._lanes.segments
            try:
                self._window.fill(list(segments.values()), max_records, max_bytes)
            finally:
                self._note_losses()
            return self._window.hand(segments, max_records, max_bytes, dialect_sum(self._lanes.dialect))

    def done(self, seq: int) -> None:
        """All that was handed out with numbers up to this one has ended; segments of which nothing is left go."""
        with self._locked():
            for tag, count in self._window.end(seq):
                segment = self._lanes.segments[tag]
                segment.end(count, seq)
                if not segment.live:
                    self._finish(segment)
            if not any(segment.live for segment in self._lanes.segments.values()):
                for segment in list(self._lanes.segments.values()):
                    self._finish(segment)

    def take_lost(self) -> int:
        """How many records that were here could not be read any more, since this was asked last."""
        with self._locked():
            lost, self._lost = self._lost, 0
            return lost

    def sync(self) -> None:
        """Has all that was appended survive a power cut. Raises OSError; the same is not tried again after that.

        (The kernel calls pages clean that it could not write.)
        """
        with self._locked():
            self._sync()

    def close(self) -> None:
        """Syncs it and gives back what is allocated and not used; idempotent. Tells what fails. It can be opened again.

        What was handed out and has not ended is found again then.
        """
        with self._locked():
            for step in (self._lanes.seal, self._sync):
                try:
                    step()
                except OSError as error:
                    self._say(f"can't be closed well: {error.strerror}")
            if not self._lanes.segments:
                self._folder.remove_empty()
            self._lanes.clear()
            self._window.clear()
            self._folder.close()
            self._opened = False

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with self._lock:
                try:
                    yield
                finally:
                    segments = [segment for segment in self._lanes.segments.values() if segment.live]
                    self.records = sum(segment.live for segment in segments)
                    self.oldest_at = min(segments, key=attrgetter("first")).created if segments else None
                    self.segments, self.bytes = len(self._lanes.segments), self._lanes.size
                    news, self._news = self._news, []
        finally:
            for line in news:
                self._tell(line)

    def _say(self, text: str) -> None:
        self._news.append(f"spool of sink {self.name!r}: {text}")

    def _scan(self, acked: int) -> int:
        """Finds the segments; how many are damaged."""
        try:
            names = sorted(os.listdir(self._folder.fd))
        except FileNotFoundError:
            return 0
        except OSError as error:
            self._say(f"{self._folder.path} can't be read: {error.strerror}")
            return 0
        told = len(self._news)
        damaged = sum(self._scan_one(name, acked) for name in names if name != quarantine.DIRECTORY)
        if (more := len(self._news) - told - MAX_TOLD) > 0:
            del self._news[-more:]
            self._say(f"{more:,} lines more of this kind about what lies in {self._folder.path}")
        return damaged

    def _scan_one(self, name: str, acked: int) -> bool:
        try:
            segment = Stored.scan(self._folder, self._lanes.next_tag(), name, acked)
        except (NewerError, ValueError, OSError) as error:
            self._say(why_unread(name, error))
            if not isinstance(error, OSError):
                return False
            if error.errno in UNREADABLE and error.errno != errno.ELOOP:
                self._set_aside(name)
            return True
        self._lanes.segments[segment.tag] = segment
        if segment.damaged:
            self._say(f"{name} is damaged; {segment.live:,} of its records are whole and will be sent")
        if not segment.live:
            self._finish(segment)
        return segment.damaged

    def _note_losses(self) -> None:
        for segment in list(self._lanes.segments.values()):
            if lost := segment.take_lost():
                self._lost += lost
                self._say(f"{segment.name} is damaged; {lost:,} of its records lost")
                if not segment.live:
                    self._finish(segment)

    def _finish(self, segment: Stored) -> None:
        """Removes a segment of which nothing is left, unless it can be appended to, others are there, and it has room.

        It has none where the bound shrank while it could not go, since records of it were handed out.
        """
        fits = self._lanes.size <= self._lanes.max_bytes
        if fits and not segment.sealed and any(other.live for other in self._lanes.segments.values()):
            return
        try:
            if segment.damaged:
                self._set_aside(str(segment.name))
                self._lanes.forget(segment)
            else:
                self._lanes.drop(segment)
        except OSError as error:
            # Its records are below the number that the next life begins with.
            self._say(f"{segment.name} can't be removed: {error.strerror}")
            self._lanes.forget(segment)

    def _set_aside(self, name: str) -> None:
        if (said := quarantine.move(self._folder, name)) is not None:
            self._say(said)

    def _sync(self) -> None:
        for segment in self._lanes.segments.values():
            segment.sync()
        self._folder.sync()
