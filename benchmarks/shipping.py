"""Runs the handlers of :mod:`benchmarks.shippers`, each in a process of its own, and compares what they cost.

Those that are installed (``make bench-peers``) are there from the beginning to the end; in each round every one logs
once, and is waited for until its last record has been counted at the other end.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from benchmarks.child import Child
from benchmarks.endpoint import Endpoint
from benchmarks.record import SITES
from benchmarks.service import ROOT, Service, cpu_seconds
from benchmarks.shippers import SHIPPERS, Target, argument
from benchmarks.spread import spread

#: Where the peers are installed.
PEERS: Final = ROOT / ".venvs" / "bench"
#: The first slot of the endpoint that is theirs.
_FIRST_SLOT: Final = 16
#: Processes that start at a time.
_STARTERS: Final = 4
#: What the program answers; some handlers print what they please beside it.
_ANSWERS: Final = ("ready\n", "done\n")


class Shipping(Child):
    """A process that logs and sends by itself, or with a collector; it ends with the block."""

    def __init__(self, target: Target, directory: Path, endpoint: Endpoint, collector: Service | None) -> None:
        self.name = target.name
        self._target = target
        self._endpoint = endpoint
        self._collector = collector
        ours = SHIPPERS[target.name].package in ("", "logbus")
        python = sys.executable if ours else str(PEERS / "bin" / "python")
        errors = directory / f"shipper-{target.slot}.err"
        with errors.open("wb") as file:
            super().__init__(
                "benchmarks.shippers", argument(target), directory=directory, python=python, cwd=directory, stderr=file
            )
        self.hear(_ANSWERS)

    def run(self, records: int) -> float | None:
        """CPU seconds for so many records; None when some are lost."""
        came = self._endpoint.count(self._target.slot)
        before = self._cpu_seconds()
        self.tell(f"{records}\n")
        self.hear(_ANSWERS)
        if self.name != "NullHandler" and self._endpoint.wait(self._target.slot, came + records):
            return None
        return self._cpu_seconds() - before

    def _cpu_seconds(self) -> float:
        collector = self._collector.cpu_seconds() if self._collector is not None else 0.0
        return cpu_seconds(self._process.pid) + collector


def begin(names: Sequence[str], base: Path, endpoint: Endpoint, collector: Service) -> list[Shipping]:
    """A process for each of these that is installed, ready to log; logbus logs to the collector."""
    place = base / "ship"
    place.mkdir()

    def start(name: str) -> Shipping:
        target = Target(name, endpoint.http, slot_of(name), collector.endpoint)
        return Shipping(target, place, endpoint, collector if name == "logbus" else None)

    with ThreadPoolExecutor(_STARTERS) as pool:
        return list(pool.map(start, [name for name in names if _version(name) is not None]))


def slot_of(name: str) -> int:
    """Where the records of a shipper are counted."""
    return _FIRST_SLOT + list(SHIPPERS).index(name)


def compared(
    shipping: Sequence[Shipping],
    names: Sequence[str],
    order: random.Random,
    *,
    rounds: int,
    part: int,
    void: list[str],
) -> dict[str, Any]:
    """The costs of all, by their names; those that are not installed have none. What is lost goes into ``void``.

    Each logs one of ``part`` of its records in each round.
    """
    costs: dict[str, list[float]] = {one.name: [] for one in shipping}
    ratios: dict[str, list[float]] = {one.name: [] for one in shipping}
    for one in shipping:
        one.run(SITES)  # warms up
    for number in range(rounds):
        found: dict[str, float] = {}
        for one in order.sample(shipping, len(shipping)):
            records = SHIPPERS[one.name].records // part // SITES * SITES
            cost = one.run(records)
            if cost is None:
                void.append(f"{one.name}, round {number + 1}: records lost")
            else:
                found[one.name] = cost / records * 1e6
        for name, value in found.items():
            costs[name].append(value)
            if "logbus" in found:
                ratios[name].append(value / found["logbus"])
    return {
        name: {
            "version": _version(name) if name in costs else None,
            "does": shipper.does,
            "cost": spread(costs.get(name, [])),
            "by_logbus": spread(ratios.get(name, [])),
        }
        for name, shipper in SHIPPERS.items()
        if name in names
    }


def _version(name: str) -> str | None:
    """The version of a shipper; None when it is not installed, "" for what is Python's own."""
    package = SHIPPERS[name].package
    if not package or package == "logbus":
        return version(package) if package else ""
    stem = package.replace("-", "_")
    found = sorted(PEERS.glob(f"lib/python3*/site-packages/{stem}-*.dist-info"))
    return found[0].name.removeprefix(f"{stem}-").removesuffix(".dist-info") if found else None
