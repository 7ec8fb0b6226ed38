"""``make bench-quick``: the ratios that the project promises, measured in about a minute.

Usage: ``python -m benchmarks.quick [--tiny] [--seed N] [--output FILE]``. Prints a table, writes
``benchmarks/results/quick.json``, and exits 0 whether the bounds held or not: they are quoted, not enforced, since
the machine may be busy. ``--tiny`` only proves that it all works; its figures mean nothing.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from benchmarks import collectors, producers, startup
from benchmarks.collectors import Carried
from benchmarks.command import asked
from benchmarks.producers import Cost
from benchmarks.record import PACED_BURST
from benchmarks.report import machine, render, summary
from benchmarks.service import ROOT, Service

RESULTS: Final = ROOT / "benchmarks" / "results" / "quick.json"
#: Records a second, from four workers together, at which the collector's share of a core is promised.
PACED_RATE: Final = 10_000.0


#: A part of a round; it takes the number of the round.
Job = Callable[[int], None]
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything: bursts and records of a paced burst per producer, records per worker, seconds steady."""

    rounds: int
    bursts: int
    paced: int
    carried: int
    steady: float


QUICK: Final = Size(rounds=5, bursts=5, paced=800, carried=10_000, steady=5.0)
TINY: Final = Size(rounds=1, bursts=1, paced=500, carried=500, steady=0.4)


@dataclass(slots=True)
class Runs:
    """What was measured, by variant and round; ``void`` names the runs that lost something."""

    producers: dict[str, dict[int, Cost]] = field(default_factory=dict)
    carried: dict[str, dict[int, Carried]] = field(default_factory=dict)
    startup: dict[str, dict[int, float]] = field(default_factory=dict)
    steady: Carried | None = None
    void: list[str] = field(default_factory=list)
    ledger: dict[str, Any] = field(default_factory=dict)


class Session:
    """One run: a collector, a directory, and what has been measured so far."""

    def __init__(self, service: Service, directory: Path, size: Size, order: random.Random) -> None:
        self.runs = Runs()
        self._service = service
        self._directory = directory
        self._size = size
        self._order = order

    def round(self, number: int) -> None:
        """Runs everything once, in an order of its own."""
        jobs: list[Job] = [self._carry]
        jobs += [self._producer(variant) for variant in producers.VARIANTS]
        jobs += [self._start(variant) for variant in startup.STARTS]
        for job in self._shuffled(jobs):
            job(number)

    def steady(self) -> None:
        """The steady load: 10,000 records a second from four workers together."""
        burst = PACED_BURST
        count = int(PACED_RATE / collectors.WORKERS * self._size.steady) // burst * burst
        carried = collectors.through_logbus(self._service, count, PACED_RATE)
        if self._whole("steady load", 0, carried.lost):
            self.runs.steady = carried

    def ledger(self) -> None:
        """What the collector itself says about it all."""
        status = self._service.status()
        kept = {key: status["total"][key] for key in ("emitted", "collected", "dropped")}
        self.runs.ledger = {**kept, "balanced": status["balanced"], "bad_frames": status["collector"]["bad_frames"]}

    def _carry(self, number: int) -> None:
        """Both ways of four workers' records, one right after the other: they are compared with each other."""
        count = self._size.carried
        ways: list[tuple[str, Callable[[], Carried]]] = [
            ("logbus", lambda: collectors.through_logbus(self._service, count)),
            ("mp_queue", lambda: collectors.through_queue(self._directory, count)),
        ]
        for variant, way in self._shuffled(ways):
            carried = way()
            found = self.runs.carried.setdefault(variant, {})
            if self._whole(f"4 workers through {variant}", number, carried.lost):
                found[number] = carried

    def _producer(self, variant: str) -> Job:
        def job(number: int) -> None:
            task = producers.Task(
                variant, self._service.endpoint, str(self._directory), self._size.bursts, self._size.paced
            )
            before = self._service.lines
            cost = producers.run(task)
            lost = cost.lost
            if variant == "logbus" and not self._service.wait_lines(before + cost.records):
                lost += abs(before + cost.records - self._service.lines)
            found = self.runs.producers.setdefault(variant, {})
            if self._whole(f"producer {variant}", number, lost):
                found[number] = cost

        return job

    def _start(self, variant: str) -> Job:
        def job(number: int) -> None:
            found = self.runs.startup.setdefault(variant, {})
            found[number] = startup.milliseconds(variant, self._service.endpoint, self._directory)

        return job

    def _shuffled(self, items: list[Item]) -> list[Item]:
        return self._order.sample(items, len(items))

    def _whole(self, what: str, number: int, lost: int) -> bool:
        if lost:
            self.runs.void.append(f"{what}, round {number + 1}: {lost} records lost")
        return not lost


def measure(size: Size, seed: int) -> Runs:
    """Runs everything, each round in an order of its own."""
    with tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as name:  # short: a socket's path has 107 bytes at most
        directory = Path(name)
        with Service(directory) as service:
            session = Session(service, directory, size, random.Random(seed))
            for number in range(size.rounds):
                session.round(number)
            session.steady()
            session.ledger()
            return session.runs


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    chosen = asked("benchmarks.quick", "The promised ratios.", RESULTS, arguments)
    size = TINY if chosen.tiny else QUICK
    where = machine()
    runs = measure(size, chosen.seed)
    document = {
        "mode": "tiny" if chosen.tiny else "quick",
        "rounds": size.rounds,
        "seed": chosen.seed,
        "machine": where,
        "load_average_after": list(os.getloadavg()),
        **summary(runs.producers, runs.carried, runs.startup, runs.steady),
        "void": runs.void,
        "ledger": runs.ledger,
    }
    chosen.write(document)
    print(render(document))
    print(f"written to {chosen.output}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
