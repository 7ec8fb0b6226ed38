"""The rotated files of one sink: their names, their compressed forms, and the end of those that are old.

The sink's thread rotates: it writes down what is about to happen (:mod:`logbus.collectors.sinks.journal`), keeps the
new name free of others by an empty file, and renames over that. No name of somebody else's is ever overwritten. A
thread of the archive's own does what takes time (:mod:`logbus.collectors.sinks.shelf`): it compresses, and removes what
the rules name. It gives way to the threads that receive and write.

A file is removed only if the journal lists it and what has its name still is that file: a regular one of the same
inode. So whatever else lies in the directory stays, whatever its name, and so does what took a file's place, a link
above all. Files that others have removed or moved are forgotten.

A crash leaves one of few states, each of which the next opening finishes or undoes: a name that was kept free and not
used, a compressed form that is not whole, or one that is whole and has not replaced the plain file yet.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from logbus.collectors.retention import Retention
from logbus.collectors.rotation import Moment
from logbus.collectors.sinks.compress import COMPRESSIONS
from logbus.collectors.sinks.entry import PART, Entry
from logbus.collectors.sinks.folder import held_open, is_file, keep_free, remove_empty, status
from logbus.collectors.sinks.journal import Journal
from logbus.collectors.sinks.shelf import LOOK_S, Complaints, Shelf, reason, settle_rotations

#: Seconds that closing waits for a compression to be given up.
CLOSE_S: Final = 2.0
#: By how many steps of nice(1) the archive's thread comes after the others.
NICENESS: Final = 10

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Archive:
    """What becomes of the files that a sink has written to ``path``.

    ``name`` is the sink's; ``journal`` is where :func:`logbus.collectors.sinks.journal.journal_of` says;
    ``compression`` is a key of :data:`logbus.collectors.sinks.compress.COMPRESSIONS`, or None. ``tell`` is given
    sentences for people, from any thread. Nothing is opened or started before :meth:`recover`. Everything but
    :meth:`document` is for one thread.
    """

    def __init__(
        self,
        path: Path,
        *,
        name: str,
        journal: Path,
        retention: Retention,
        compression: str | None,
        tell: Callable[[str], None],
    ) -> None:
        self._path = path.absolute()
        self._name = name
        self._complain = Complaints(name, tell)
        self._journal = Journal(journal, self._path)
        self._shelf = Shelf(
            self._path.parent, self._journal, retention=retention, compression=compression, complain=self._complain
        )
        self._wake = threading.Event()
        #: Set when the present thread is to end; each thread has its own.
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def recover(self, identity: tuple[int, int]) -> None:
        """Once the active file is open and locked: finishes or undoes what a crash has left, and starts the thread.

        ``identity`` is device and inode of the file that was opened. What fails here is told; nothing is raised.
        """
        with self._journal.lock:
            said = self._journal.open()
            try:
                with held_open(self._path.parent) as folder:
                    settle_rotations(self._journal, folder, identity)
            except OSError as error:
                self._complain.say(f"what the last rotation left can't be looked at: {reason(error)}")
        self._shelf.hear_journal(said)
        if self._thread is None or self._end.is_set():
            self._start()

    def began(self, identity: tuple[int, int]) -> Moment | None:
        """When this file got its first line, as :meth:`begin` wrote it down, in this life or an earlier one.

        None when nobody knows. Its steady clock is that of this boot.
        """
        with self._journal.lock:
            active = self._journal.active
            return active.began if active is not None and active.identity == identity else None

    def begin(self, identity: tuple[int, int], moment: Moment) -> None:
        """Writes down when the active file gets its first line: once a file, a few microseconds. Never raises."""
        with self._journal.lock:
            self._journal.begin(identity, moment)

    def rotate(self, path: Path, identity: tuple[int, int]) -> Path:
        """Gives the active file its last name, for good, and returns that; the sink then opens a new one.

        Nobody's file is overwritten, and the name sorts after those that were given before. The file is neither
        compressed nor removed while the sink holds its lock. Raises OSError: then it has its old name still, or what
        was at ``path`` is not the file of this device and inode.
        """
        now = Moment.now()
        with self._journal.lock, held_open(self._path.parent) as folder:
            info = os.stat(path.name, dir_fd=folder, follow_symlinks=False)
            if (info.st_dev, info.st_ino) != identity:
                raise OSError(errno.ESTALE, "another file is there by now", str(path))
            active = self._journal.active
            began = active.began if active is not None and active.identity == identity else now
            stamp, name = self._free_name(folder, now)
            self._journal.note(Entry(name, stamp, info.st_ino, info.st_dev, info.st_size, began, now))
            try:
                keep_free(folder, name)
                try:
                    os.rename(path.name, name, src_dir_fd=folder, dst_dir_fd=folder)
                except OSError:
                    with contextlib.suppress(OSError):
                        remove_empty(folder, name)
                    raise
                if not is_file(folder, name, identity[1]):
                    raise OSError(errno.ESTALE, "another file came in its place while it was renamed", str(path))
            except OSError:
                self._journal.forget(name)
                raise
        if self._thread is None:
            self._start()
        self._wake.set()
        return path.with_name(name)

    def document(self) -> dict[str, Any]:
        """For people: rotated files that are kept, their bytes, how many wait for compression and were deleted.

        Without the lock, which is held where a disk may hang: the collector's own thread asks. Copying the values is
        one step of the interpreter.
        """
        entries = list(self._journal.entries.values())
        return {
            "files": len(entries),
            "bytes": sum(entry.size for entry in entries),
            "waiting": sum(self._shelf.waits(entry) for entry in entries),
            "deleted": self._shelf.deleted,
        }

    def close(self) -> None:
        """Ends the thread; a compression under way is given up, and done again by the next life. Idempotent."""
        self._end.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
            self._thread = None
        with self._journal.lock:
            self._journal.close()

    def _start(self) -> None:
        """Starts the thread; where the system has none left, the next rotation tries again."""
        self._end = threading.Event()
        thread = threading.Thread(target=self._run, args=(self._end,), name=f"logbus-archive-{self._name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._thread = None
            self._complain.trouble("thread", f"its rotated files are neither compressed nor removed for now: {error}")
        else:
            self._thread = thread
            self._complain.over("thread")

    def _free_name(self, folder: int, now: Moment) -> tuple[int, str]:
        """A name that nothing has, compressed or not, and its microseconds since the epoch."""
        stamp = max(round(now.wall * 1_000_000), self._journal.last_stamp + 1)
        while True:
            name = archived_name(self._path.name, stamp)
            if all(status(folder, taken) is None for taken in (name, *(f"{name}.{kind}" for kind in COMPRESSIONS))):
                return stamp, name
            stamp += 1

    def _run(self, end: threading.Event) -> None:
        _give_way()
        while not end.is_set():
            self._wake.clear()
            try:
                wait = self._shelf.turn(end)
            except Exception as error:  # whatever it was: old files go and logs go on, some day
                self._complain.trouble("archive", f"its rotated files can't be looked after: {reason(error)}")
                wait = LOOK_S
            else:
                self._complain.over("archive")
            if not end.is_set():
                self._wake.wait(wait)


def archived_name(name: str, stamp: int) -> str:
    """The name of a rotated file; ``stamp`` is in microseconds since the epoch.

    >>> archived_name("logbus.jsonl", 1795348800000000)
    'logbus.20261122T120000.000000Z.jsonl'
    """
    path = Path(name)
    return f"{path.stem}.{_EPOCH + stamp * _MICROSECOND:%Y%m%dT%H%M%S.%f}Z{path.suffix}"


def longest_name(name: str, compression: str | None) -> int:
    """Bytes of the longest name that a file rotated from ``name`` has at any time.

    >>> longest_name("logbus.jsonl", None), longest_name("logbus.jsonl", "gz")
    (36, 44)
    """
    ending = f".{compression}{PART}" if compression else ""
    return len(os.fsencode(archived_name(name, 0) + ending))


def _give_way() -> None:
    """Lowers the priority of this thread, where threads have one of their own."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):
            nice = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(nice + NICENESS, 19))
