"""What a variant is to the measuring loop: calls to make, a way to wait for what they set off, and what arrived."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.calls import Calls
from benchmarks.record import LOGGER


@dataclass(frozen=True, slots=True)
class Place:
    """Where a variant is made: its files go to ``directory``, what it starts onto ``stack``.

    ``endpoint`` is that of the collector.
    """

    directory: Path
    endpoint: str
    stack: contextlib.ExitStack

    def file(self, name: str) -> Path:
        """A file of that name that is not there yet."""
        path = self.directory / name
        path.unlink(missing_ok=True)
        return path


@dataclass(frozen=True, slots=True)
class Peer:
    """A logger that is ready, and what one must know of it.

    ``drain`` returns when every record so far is where this process's part in it ends: in the file, with the reader,
    in the collector's ledger. ``arrived`` says how many came there; None: nothing is sent anywhere. ``volume`` says how
    many bytes have left the process. ``consumer`` is the CPU time, in seconds, of a process that does a part of the
    work.
    """

    calls: Calls
    drain: Callable[[], object] = lambda: None
    arrived: Callable[[], int] | None = None
    volume: Callable[[], int] | None = None
    consumer: Callable[[], float] | None = None


def root_logger(*handlers: logging.Handler) -> logging.Logger:
    """The reference record's logger, where the root logger has these handlers and is open for INFO."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in handlers:
        root.addHandler(handler)
    return logging.getLogger(LOGGER)


def floor() -> Peer:
    """The floor: a logger of the standard library whose root has a NullHandler, in a tree apart from the real one.

    What a variant does to the process's loggers does not reach it.
    """
    root = logging.RootLogger(logging.INFO)
    root.addHandler(logging.NullHandler())
    log = logging.Logger(LOGGER)
    log.parent = root
    return Peer(Calls(log))


def into_file(calls: Calls, path: Path, drain: Callable[[], object] = lambda: None) -> Peer:
    """A peer whose records are the lines of a file."""
    return Peer(calls, drain, lambda: path.read_bytes().count(b"\n"), lambda: path.stat().st_size)
