"""The slow side of an archive: compressing files and removing old ones, a turn at a time.

A turn settles what a crash or the last turn left, removes what the rules name, and compresses one file, the oldest that
waits. Nothing here is done from memory alone: before a file is removed the directory says whether it is there still,
and is the file that the journal means. What others have removed or replaced is forgotten; it counts in no rule.

Removal needs no journal that can be written: a full disk is when it is needed most, and the journal of a file that has
gone mends itself. Compression does, since what a crash would leave half done must be known.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from logbus.collectors.retention import Kept, Retention
from logbus.collectors.rotation import Moment
from logbus.collectors.sinks.entry import COMPRESSED, PACKED, PACKING, PLAIN, ROTATING, Entry
from logbus.collectors.sinks.folder import held_open, is_file, is_released, remove, remove_empty, status
from logbus.collectors.sinks.journal import MAX_ENTRIES, Journal
from logbus.collectors.sinks.pack import Packer

#: Seconds between looks at files of which none is due, and between attempts at what failed.
LOOK_S: Final = 20.0
#: Seconds between attempts at a compression that failed: each reads and writes as much as the first.
PACK_RETRY_S: Final = 60.0
#: Seconds between looks at whether every file is there still; those that a rule names are looked at in any case.
REFRESH_S: Final = 600.0
#: Seconds between looks at whether the sink has let go of a file that it rotated.
RELEASE_S: Final = 0.5
#: Files that may wait for their compression without counting in the total: they are about to shrink.
WAITING: Final = 2


class Complaints:
    """What a sink's archive tells people: each trouble once, until it is over. Any thread may call."""

    def __init__(self, sink: str, tell: Callable[[str], None]) -> None:
        self._sink = sink
        self._tell = tell
        self._open: set[str] = set()

    def say(self, text: str) -> None:
        """A sentence."""
        self._tell(f"sink {self._sink!r}: {text}")

    def trouble(self, about: str, text: str) -> None:
        """A sentence about a trouble that has just come up, or goes on."""
        if about not in self._open:
            self._open.add(about)
            self.say(text)

    def over(self, about: str) -> None:
        """That works, or works again."""
        self._open.discard(about)


class Shelf:
    """The rotated files in ``directory`` that ``journal`` lists. One thread takes the turns."""

    def __init__(
        self, directory: Path, journal: Journal, *, retention: Retention, compression: str | None, complain: Complaints
    ) -> None:
        self._directory = directory
        self._journal = journal
        self._retention = retention
        self._compression = compression
        self._complain = complain
        #: Files removed by the rules.
        self.deleted = 0
        #: Names of files that can't be compressed, since another file is in the way.
        self._obstructed: set[str] = set()
        #: Names of files whose compression failed, and waits until the others have had their turn.
        self._failed: set[str] = set()
        #: When a compression and a journal that failed are tried again, in steady seconds.
        self._pack_at = self._mend_at = 0.0
        self._refresh_at = 0.0

    def turn(self, end: threading.Event) -> float:
        """One round, given up soon after ``end`` is set; the seconds until the next. Raises OSError."""
        self._mend_journal(end)
        try:
            with held_open(self._directory) as folder:
                with self._journal.lock:
                    settle_rotations(self._journal, folder, None)
                self._drop_leavings(folder, end)
                if Moment.now().steady >= self._refresh_at:
                    self._refresh(folder)
                self._retain(folder, end)
                packed = self._pack_one(folder, end)
                self._shorten_journal(folder)
        except FileNotFoundError:
            return LOOK_S  # the directory has gone, and comes back with the next line
        return 0.0 if packed else self._wait_s()

    def waits(self, entry: Entry) -> bool:
        """Whether a file is to be compressed and is not yet."""
        if self._compression is None or entry.state == COMPRESSED:
            return False
        return entry.name not in self._obstructed

    def hear_journal(self, said: str | None) -> None:
        """Tells what the journal says of itself, and whether it can be written."""
        if said is not None:
            self._complain.say(f"the journal of its rotated files was {said}")
        if self._journal.failure is None:
            self._complain.over("journal")
        else:
            self._complain.trouble(
                "journal",
                f"the journal of its rotated files fails: {self._journal.failure}; until it works none is compressed, "
                "and after a restart those that it does not list are left alone",
            )

    def _mend_journal(self, end: threading.Event) -> None:
        now = Moment.now().steady
        if now < self._mend_at:
            return
        with self._journal.lock:
            if end.is_set():
                return  # it may be closed, and another one at work on the same file
            said = self._journal.mend()
        if self._journal.failure is not None:
            self._mend_at = now + LOOK_S
        self.hear_journal(said)

    def _wait_s(self) -> float:
        wait = self._retention.wait_s([kept for _, kept in self._kept()]) or LOOK_S  # 0: it could not be removed
        rotating = any(entry.state == ROTATING for entry in self._entries())
        return min(wait, RELEASE_S if rotating else LOOK_S)

    def _entries(self) -> list[Entry]:
        with self._journal.lock:
            return list(self._journal.entries.values())

    def _note(self, entry: Entry) -> None:
        with self._journal.lock:
            self._journal.note(entry)

    def _forget(self, entry: Entry) -> None:
        with self._journal.lock:
            self._journal.forget(entry.name)
        self._obstructed.discard(entry.name)

    def _sync(self) -> None:
        """Brings the journal onto the disk. Raises OSError."""
        with self._journal.lock:
            fd = self._journal.duplicate()
        if fd is None:
            raise OSError(errno.EIO, "the journal can't be written")
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _packer(self, end: threading.Event) -> Packer:
        return Packer(self._compression or "", note=self._note, sync=self._sync, go_on=lambda: not end.is_set())

    def _drop_leavings(self, folder: int, end: threading.Event) -> None:
        """Finishes or undoes compressions that a collector's end, or a failure, has interrupted."""
        for entry in self._entries():
            if entry.state in (PACKING, PACKED):
                try:
                    self._packer(end).settle(entry, folder)
                except FileNotFoundError:
                    self._forget(entry)
                except OSError as error:
                    self._pack_failed(entry, error)

    def _pack_one(self, folder: int, end: threading.Event) -> bool:
        """Compresses the oldest file that waits for it. True if there may be another one."""
        if Moment.now().steady < self._pack_at or self._journal.failure is not None or end.is_set():
            return False
        waiting = [entry for entry in self._entries() if entry.state == PLAIN and self.waits(entry)]
        if not waiting:
            return False
        fresh = [entry for entry in waiting if entry.name not in self._failed]
        if not fresh:
            self._failed.clear()
        entry = (fresh or waiting)[0]
        try:
            obstacle = self._packer(end).pack(entry, folder)
        except FileNotFoundError:
            self._forget(entry)
            return True
        except OSError as error:
            self._pack_failed(entry, error)
            return False
        if obstacle:
            self._obstructed.add(entry.name)
            self._complain.say(f"{self._directory / entry.name} stays uncompressed: {obstacle}")
            return True
        if entry.state == PLAIN and not end.is_set():
            self._pack_failed(entry, OSError(errno.EBUSY, "somebody has written to a file after its rotation"))
            return False
        self._complain.over("compression")
        return True

    def _pack_failed(self, entry: Entry, error: OSError) -> None:
        self._pack_at = Moment.now().steady + PACK_RETRY_S
        self._failed.add(entry.name)
        self._complain.trouble("compression", f"rotated files can't be compressed for now: {reason(error)}")

    def _kept(self) -> list[tuple[Entry, Kept]]:
        """The files that retention judges, the oldest first."""
        now = Moment.now().steady
        entries = [entry for entry in self._entries() if entry.state in (PLAIN, COMPRESSED)]
        waiting = {entry.name for entry in entries if self.waits(entry)}
        if len(waiting) > WAITING or now < self._pack_at:
            waiting = set()
        return [
            (entry, Kept(now - entry.rotated.steady, 0 if entry.name in waiting else entry.size)) for entry in entries
        ]

    def _retain(self, folder: int, end: threading.Event) -> None:
        """Removes the files that a rule names."""
        if not self._retention.overdue([kept for _, kept in self._kept()]):
            return
        away = self._refresh(folder)
        files = [(entry, kept) for entry, kept in self._kept() if entry.name not in away]
        failure: OSError | None = None
        for index in self._retention.overdue([kept for _, kept in files]):
            if end.is_set():
                return
            entry = files[index][0]
            try:
                self.deleted += remove(folder, *entry.present)
                self._forget(entry)
            except OSError as error:  # another one may go still
                failure = error
        if failure is None:
            self._complain.over("retention")
        else:
            self._complain.trouble("retention", f"old files can't be removed for now: {reason(failure)}")

    def _refresh(self, folder: int) -> set[str]:
        """Looks which files are there still, and forgets the others; the names of those that may come back.

        Where the directory is on another device than a file was, its file system may just not be mounted.
        """
        self._refresh_at = Moment.now().steady + REFRESH_S
        away = set()
        device = os.fstat(folder).st_dev
        for entry in self._entries():
            if entry.state not in (PLAIN, COMPRESSED):
                continue
            name, inode = entry.present
            info = status(folder, name)
            if info is None and device != entry.device:
                away.add(entry.name)
            elif info is None or not is_file(folder, name, inode):
                self._forget(entry)
            elif (info.st_size, info.st_dev) != (entry.size, entry.device):
                entry.size, entry.device = info.st_size, info.st_dev
                self._note(entry)
        return away

    def _shorten_journal(self, folder: int) -> None:
        """Has the journal lose its old lines, files that have gone, and what is beyond its bounds."""
        if not self._journal.long and len(self._journal.entries) <= MAX_ENTRIES:
            return
        self._refresh(folder)
        with self._journal.lock:
            names = list(self._journal.entries)
            # More of them than it has to: at its bound each rotation would look at every file, and write all of this.
            for name in names[: MAX_ENTRIES // 50 - MAX_ENTRIES] if len(names) > MAX_ENTRIES else ():
                self._journal.forget(name)
                self._complain.trouble(
                    "many", f"more than {MAX_ENTRIES} rotated files are kept; the oldest are left alone from now on"
                )
        self._journal.shorten()


def settle_rotations(journal: Journal, folder: int, active: tuple[int, int] | None) -> None:
    """Enters in the journal, under its lock, what became of files that were being rotated. Raises OSError.

    ``active`` is a file that was just opened as the active one; without it only those count that a sink has let go of.
    """
    for entry in [entry for entry in journal.entries.values() if entry.state == ROTATING]:
        if not is_file(folder, entry.name, entry.inode):
            remove_empty(folder, entry.name)
        elif active is None and not is_released(folder, entry.name):
            continue
        elif active is None or active[1] != entry.inode:
            entry.state = PLAIN
            journal.note(entry)
            continue
        journal.forget(entry.name)


def reason(error: Exception) -> str:
    """What an error says, for people."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}"
