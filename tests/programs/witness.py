"""A witness of log calls that does not trust logbus: each is marked as begun and, when it has returned, as returned.

The marks are bytes in a file of their own for each thread of each process, mapped into memory: they survive whatever
ends the process in the middle of a call. A record carries the name of its file (``lane``) and its place in there
(``number``), so that the log can be held against the marks, call by call.
"""

from __future__ import annotations

import logging
import mmap
import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Names the directory of the marks to programs under test.
DIRECTORY: Final = "LOAD_WITNESS"
#: Calls of one thread, at most; the file has holes where nothing is marked.
CALLS: Final = 1 << 18

_BEGUN, _RETURNED = 1, 2


class Lane(threading.local):
    """The calls of the thread that asks. A forked child begins a lane of its own."""

    pid = 0
    number = 0
    name = ""
    marks: mmap.mmap

    def log(self, log: logging.Logger, level: int = logging.INFO) -> None:
        """One log call, marked before and after."""
        if self.pid != os.getpid():
            self._begin()
        number = self.number
        self.number = number + 1
        marks = self.marks
        marks[number] = _BEGUN
        log.log(level, "record %d of %s", number, self.name, extra={"lane": self.name, "number": number})
        marks[number] = _RETURNED

    def _begin(self) -> None:
        self.pid = os.getpid()
        descriptor, path = tempfile.mkstemp(prefix=f"{self.pid}-", suffix=".marks", dir=os.environ[DIRECTORY])
        os.ftruncate(descriptor, CALLS)
        self.marks = mmap.mmap(descriptor, CALLS)
        os.close(descriptor)
        self.name = Path(path).stem
        self.number = 0


#: Logs, and bears witness.
LANE: Final = Lane()


@dataclass(frozen=True, slots=True)
class Marks:
    """What one thread of one process has done: the numbers of the calls that it has begun, and of those, returned."""

    lane: str
    pid: int
    begun: frozenset[int]
    returned: frozenset[int]


def read_marks(directory: Path) -> list[Marks]:
    """The marks of every thread that has logged."""
    return [_read(path) for path in sorted(directory.glob("*.marks"))]


def _read(path: Path) -> Marks:
    marks = path.read_bytes().rstrip(b"\0")
    begun = frozenset(number for number, mark in enumerate(marks) if mark)
    returned = frozenset(number for number, mark in enumerate(marks) if mark == _RETURNED)
    return Marks(path.stem, int(path.stem.partition("-")[0]), begun, returned)
