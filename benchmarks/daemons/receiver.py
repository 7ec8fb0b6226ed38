"""What the measurements know of a collector: how one is started, and how records get to one that runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

#: Connections over which records come, and workers that log.
WORKERS: Final = 4

#: Sends what was made ready.
Send = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Receiver:
    """A collector that runs, and puts a line for each record into ``file``.

    ``prepare`` makes so many records ready and gives what sends them. ``destination`` is what a worker's handler has to
    know, and goes to its process. ``settle`` returns when all is written, where nobody may look at the file meanwhile.
    ``form`` is what a collector of logbus's has said that it has loaded: compiled, or in Python.
    """

    file: Path
    cpu_seconds: Callable[[], float]
    peak_mib: Callable[[], float]
    prepare: Callable[[int], Send] | None = None
    destination: Any = None
    settle: Callable[[], object] | None = None
    form: str = ""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A collector that can be measured. ``start`` runs it in an empty directory, and ends it with the block.

    ``does`` is what it does with a record. ``absent`` says why it can't be had here ("": it can). ``records`` is for a
    sample of the family ``collector``: less for slow ones. ``version`` names the program and its version. ``ours``: it
    is logbus's, so that it has a form; ``pure``: which is in Python, whatever is built.
    """

    start: Callable[[Path], AbstractContextManager[Receiver]]
    does: str
    redacts: bool = False
    records: int = 100_000
    absent: Callable[[], str] = field(default=lambda: "")
    version: Callable[[], str] = field(default=lambda: "")
    ours: bool = False
    pure: bool = False
