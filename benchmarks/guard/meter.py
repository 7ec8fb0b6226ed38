"""The ways to measure, the best one first, and what a record costs by each.

Callgrind counts exactly. Where it is missing, ``perf`` counts too: whole processes, in which a start is never quite the
same, so that it needs more tolerance. Where the machine has no counters for it either (most virtual ones), the CPU time
of a workload by that of the floor is left, both in one process and in turns: of many pairs the median.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.guard import callgrind
from benchmarks.guard.catalogue import FLOOR, Workload
from benchmarks.guard.compare import Figure

#: How many times as many records the second of two runs has.
_TIMES: Final = 3
#: Pairs of which the median is taken where time is measured.
_PAIRS: Final = 21


@dataclass(frozen=True, slots=True)
class Meter:
    """A way to measure. ``of`` says what; ``tolerance`` is the least that it needs; ``at_once``: whether workloads may
    run beside each other.
    """

    name: str
    of: str
    tolerance: float
    at_once: bool
    measure: Callable[[str, Workload, Path], Figure | str]


def _callgrind(python: str, wanted: Workload, directory: Path) -> Figure | str:
    counts = counts_of(wanted)
    counted = callgrind.count([python, *child(wanted, counts)], len(counts), directory)
    if "absent" in counted.answer:
        return str(counted.answer["absent"])
    return _figure(counted.instructions, counts, counted.answer["watched"])


def _perf(python: str, wanted: Workload, directory: Path) -> Figure | str:
    counts = counts_of(wanted)
    out = directory / f"{wanted.name}.perf"
    instructions, watched = [], 0.0
    for count in counts:
        command = ["perf", "stat", "-x,", "-e", "instructions:u", "-o", str(out), python, *child(wanted, [count])]
        answer = callgrind.run(command, directory)
        if "absent" in answer:
            return str(answer["absent"])
        instructions.append(perf_count(out.read_text()))
        watched = answer["watched"]
    return _figure(instructions, counts, watched)


def _clock(python: str, wanted: Workload, directory: Path) -> Figure | str:
    answer = callgrind.run([python, *child(wanted, [wanted.records] * _PAIRS, "--clock")], directory)
    return str(answer["absent"]) if "absent" in answer else Figure(None, statistics.median(answer["ratios"]))


METERS: Final = (
    Meter("callgrind", "instructions, by callgrind", 0.0, True, _callgrind),
    Meter("perf", "instructions, by perf", 0.03, True, _perf),
    Meter("clock", "CPU time, in turns with the floor", 0.15, False, _clock),
)


def meter(name: str = "") -> Meter:
    """The way of this name, or the best one that works here."""
    if name:
        return {one.name: one for one in METERS}[name]
    works = {"callgrind": callgrind.available(), "perf": _perf_available(), "clock": True}
    return next(one for one in METERS if works[one.name])


def measure(
    by: Meter, python: str, workloads: Sequence[Workload], directory: Path, tell: Callable[[str], None]
) -> tuple[dict[str, Figure], dict[str, str]]:
    """The figures of these workloads, the floor among them, and the reasons why others have none. ``tell`` hears each.

    Raises RuntimeError when one fails.
    """
    found: dict[str, Figure] = {}
    absent: dict[str, str] = {}

    def one(wanted: Workload) -> None:
        result = by.measure(python, wanted, directory)
        if isinstance(result, str):
            absent[wanted.name] = result
        else:
            found[wanted.name] = result
        tell(wanted.name)

    with ThreadPoolExecutor((os.cpu_count() or 1) if by.at_once else 1) as pool:
        list(pool.map(one, workloads))
    floor = found[FLOOR].instructions
    if floor is not None:
        found = {
            name: Figure(figure.instructions, (figure.instructions or 0.0) / floor, figure.watched)
            for name, figure in found.items()
        }
    return found, absent


def counts_of(wanted: Workload) -> list[int]:
    """The records of the two runs of which the difference is measured."""
    return [wanted.records, _TIMES * wanted.records]


def child(wanted: Workload, counts: Sequence[int], *options: str) -> list[str]:
    """The arguments of a Python that runs a workload so many records at a time."""
    return ["-m", "benchmarks.guard.child", *options, wanted.name, *map(str, counts)]


def version_of(python: str) -> tuple[str, str]:
    """Minor version and build of an interpreter: "3.11" and "3.11.7 (GCC 12.2.0)"."""
    program = (
        "import platform as p; print('.'.join(p.python_version_tuple()[:2]), p.python_version(), p.python_compiler())"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    minor, version, compiler = done.stdout.strip().split(" ", 2)
    return minor, f"{version} ({compiler})"


def perf_count(report: str) -> int:
    """The number in a report of ``perf stat -x,``. Raises ValueError when it could not count."""
    for line in report.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[2].startswith("instructions") and fields[0].isdigit():
            return int(fields[0])
    raise ValueError(f"expected a count of instructions, found {report.strip()[-200:]!r}")


def _perf_available() -> bool:
    if shutil.which("perf") is None:
        return False
    command = ["perf", "stat", "-x,", "-e", "instructions:u", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return perf_count(done.stderr) > 0
    except ValueError:
        return False


def _figure(instructions: Sequence[int], counts: Sequence[int], watched: float) -> Figure:
    return Figure((instructions[1] - instructions[0]) / (counts[1] - counts[0]), 1.0, watched)
