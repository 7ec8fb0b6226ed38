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
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.guard import callgrind
from benchmarks.guard.catalogue import FLOOR, Workload
from benchmarks.guard.compare import Figure

#: How many times as many records the second of two runs has.
_TIMES: Final = 3
#: Layouts of memory of which the least counts where one alone may have had bad luck (:mod:`benchmarks.guard.child`).
LAYOUTS: Final = (0, 1, 2)
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
    measure: Callable[[str, Workload, Path, int], Figure | str]


def _callgrind(python: str, wanted: Workload, directory: Path, layout: int) -> Figure | str:
    counts = counts_of(wanted)
    counted = callgrind.count([python, *child(wanted, counts, layout=layout)], len(counts), directory)
    if "absent" in counted.answer:
        return str(counted.answer["absent"])
    return _figure(counted.instructions, counts, counted.answer)


def _perf(python: str, wanted: Workload, directory: Path, layout: int) -> Figure | str:
    counts = counts_of(wanted)
    out = directory / f"{wanted.name}.perf"
    instructions, answer = [], {"watched": 0.0, "woken": 0.0, "compiled": False}
    for count in counts:
        command = [
            "perf",
            "stat",
            "-x,",
            "-e",
            "instructions:u",
            "-o",
            str(out),
            python,
            *child(wanted, [count], layout=layout),
        ]
        answer = callgrind.run(command, directory)
        if "absent" in answer:
            return str(answer["absent"])
        instructions.append(perf_count(out.read_text()))
    return _figure(instructions, counts, answer)


def _clock(python: str, wanted: Workload, directory: Path, layout: int) -> Figure | str:
    answer = callgrind.run([python, *child(wanted, [wanted.records] * _PAIRS, "--clock", layout=layout)], directory)
    if "absent" in answer:
        return str(answer["absent"])
    return Figure(None, statistics.median(answer["ratios"]), woken=answer["woken"], compiled=answer["compiled"])


METERS: Final = (
    Meter("callgrind", "instructions, by callgrind", 0.0, True, _callgrind),
    Meter("perf", "instructions, by perf", 0.03, True, _perf),
    Meter("clock", "CPU time, in turns with the floor", 0.15, False, _clock),
)


def meter(name: str = "") -> Meter:
    """The way of this name, or the best one that works here. Raises ValueError when that of the name does not."""
    works: Mapping[str, Callable[[], bool]] = {
        "callgrind": callgrind.available,
        "perf": _perf_available,
        "clock": lambda: True,
    }
    for one in METERS:
        if name in ("", one.name) and works[one.name]():
            return one
    raise ValueError(f"expected {name}, which is not here or does not work here")


@dataclass(slots=True)
class Measured:
    """The figures of workloads, the floor among them, and the reasons why others have none."""

    found: dict[str, Figure]
    absent: dict[str, str]


def measure(
    by: Meter,
    python: str,
    workloads: Sequence[Workload],
    directory: Path,
    tell: Callable[[str], None],
    layouts: Sequence[int] = (0,),
) -> Measured:
    """The figures of these workloads, the floor among them; of several layouts the least. ``tell`` hears each name.

    The floor is in all the others' figures, so that it is always the least of :data:`LAYOUTS`. Raises RuntimeError when
    a workload fails.
    """
    tasks = [(one, layout) for one in workloads for layout in (LAYOUTS if one.name == FLOOR else layouts)]

    def count(task: tuple[Workload, int]) -> Figure | str:
        tell(task[0].name)
        return by.measure(python, task[0], directory, task[1])

    with ThreadPoolExecutor((os.cpu_count() or 1) if by.at_once else 1) as pool:
        results = list(pool.map(count, tasks))
    measured = Measured({}, {})
    for (one, _), result in zip(tasks, results, strict=True):
        if isinstance(result, str):
            measured.absent[one.name] = result
        else:
            measured.found[one.name] = _least(result, measured.found.get(one.name))
    floor = measured.found[FLOOR].instructions
    if floor is not None:
        for name, figure in measured.found.items():
            measured.found[name] = replace(figure, floors=(figure.instructions or 0.0) / floor)
    return measured


def _least(one: Figure, other: Figure | None) -> Figure:
    """The cheaper of two figures of one workload."""
    if other is None:
        return one
    return min(one, other, key=lambda figure: figure.floors if figure.instructions is None else figure.instructions)


def counts_of(wanted: Workload) -> list[int]:
    """The records of the two runs of which the difference is measured."""
    return [wanted.records, _TIMES * wanted.records]


def child(wanted: Workload, counts: Sequence[int], *options: str, layout: int = 0) -> list[str]:
    """The arguments of a Python that runs a workload so many records at a time."""
    return ["-m", "benchmarks.guard.child", *options, str(layout), wanted.name, *map(str, counts)]


def version_of(python: str) -> tuple[str, str]:
    """Minor version and build of an interpreter: "3.11" and "3.11.7, GCC 12.2.0, optimized"; what makes its counts."""
    program = (
        "import platform, sysconfig; print(platform.python_version(), platform.python_compiler(), "
        "*['optimized'] * ('--enable-optimizations' in str(sysconfig.get_config_var('CONFIG_ARGS'))), sep=', ')"
    )
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    build = done.stdout.strip()
    return ".".join(build.split(".")[:2]), build


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


def _figure(instructions: Sequence[int], counts: Sequence[int], answer: Mapping[str, Any]) -> Figure:
    each = (instructions[1] - instructions[0]) / (counts[1] - counts[0])
    return Figure(each, 1.0, answer["watched"], answer["woken"], answer["compiled"])
