"""What a family of measurements offers the suite: jobs; and what the suite offers them: a place, services, a size.

A family is a package (``benchmarks.peers``, ``benchmarks.daemons``, ``benchmarks.scale``; :mod:`benchmarks.suite.start`
is the smallest) with two functions::

    def jobs(bench: Bench) -> list[Job]: ...          # what can be measured here, in this mode
    def skipped(bench: Bench) -> dict[str, str]: ...  # "family/variant" -> why it can't be, in a sentence

Both are called once, before the first round. Jobs of all families run one at a time, in an order that each round
shuffles anew; a job gets the number of the round, from 0. What is to live longer than a job (a collector that serves
all rounds) goes onto ``bench.stack``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from benchmarks.service import Service
from benchmarks.suite.sample import Sample

#: How much is measured: about ten minutes; about one; as little as shows that it all works, in which figures mean
#: nothing.
Mode = Literal["full", "quick", "tiny"]
#: The collector that serves whoever asks for no other.
_DEFAULT: Final = "json"


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement, a part of every round.

    ``run`` takes the number of the round and gives a sample, or several where variants had to share a process.
    ``does`` is what the variant does with a record, for the table: what it redacts, parses, keeps, loses.
    ``version`` is that of the peer. ``rounds`` is how many rounds it is part of at most (None: all).
    """

    family: str
    variant: str
    run: Callable[[int], Sample | Sequence[Sample]]
    does: str = ""
    version: str = ""
    rounds: int | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """The surroundings of a run. ``directory`` is the run's own and short (a socket's path has 107 bytes at most).

    ``python`` is the interpreter of what is measured: that of ``.venvs/bench``, which has the peers. ``stack`` ends
    with the run.
    """

    directory: Path
    python: Path
    mode: Mode
    stack: contextlib.ExitStack
    services: dict[str, Service] = field(default_factory=dict)

    @property
    def tiny(self) -> bool:
        """Whether this only proves that everything works."""
        return self.mode == "tiny"

    @property
    def quick(self) -> bool:
        """Whether there is a minute for everything."""
        return self.mode == "quick"

    def place(self, name: str) -> Path:
        """A directory of that name, made when it is not there: for the files and sockets of one service or variant."""
        place = self.directory / name
        place.mkdir(exist_ok=True)
        return place

    def service(self, name: str = _DEFAULT, configuration: str | None = None) -> Service:
        """The collector of that name: started when it is first asked for, there until the run ends.

        With one JSON file and default redaction, or as ``configuration`` says (TOML). Raises RuntimeError, with what it
        said, when it does not start.
        """
        if name not in self.services:
            service = Service(self.place(name), configuration, python=str(self.python))
            self.services[name] = self.stack.enter_context(service)
        return self.services[name]
