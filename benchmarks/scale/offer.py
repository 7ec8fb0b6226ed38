"""The jobs that are offered: which of them fit the suite's time, and how much each does then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.compiled import form_of
from benchmarks.record import PACED_BURST
from benchmarks.scale import flood, parts, sinks, sizes, stalls, workers
from benchmarks.scale.place import Place, place
from benchmarks.suite.job import Bench, Job
from benchmarks.suite.sample import IN_PYTHON, Sample

#: How many workers log together.
WORKERS: Final = (1, 2, 4, 16, 64, 200)
#: How many log as slowly as one of the most: in the suite, and in a run of its own.
FEW: Final = (4,)
FEWER: Final = (1, 4, 16, 64)
#: How many log flat out: more than there are cores would only wait for one another.
FLAT_OUT: Final = (1, 2, 4)
#: How many say nothing.
IDLE: Final = (1, 4, 64, 200)


@dataclass(frozen=True, slots=True)
class Depth:
    """How much of everything, and in how many rounds at most (None: in all).

    Seconds at the common rate; records of each worker flat out, and ``fed`` to the sinks; seconds of records of one
    size, of silence, of a flood; calls in each state; records of the worker whose memory is looked at.
    """

    paced_s: float
    burst: int
    fed: int
    sized_s: float
    idle_s: float
    flood_s: float
    calls: int
    remembered: int = 10_000
    rounds: int | None = None
    stall_rounds: int | None = None


#: By its own command.
FULL: Final = Depth(5.0, 40_000, 80_000, sized_s=3.0, idle_s=4.0, flood_s=6.0, calls=20_000)
#: In the suite, where everything here takes some three minutes of ten; and ten seconds of one.
SUITE: Final = Depth(2.0, 20_000, 20_000, sized_s=1.0, idle_s=3.0, flood_s=3.0, calls=10_000, rounds=1, stall_rounds=3)
QUICK: Final = Depth(1.0, 5000, 8000, sized_s=0.5, idle_s=1.0, flood_s=1.0, calls=5000, rounds=1, stall_rounds=1)
TINY: Final = Depth(0.1, 200, 800, sized_s=0.05, idle_s=0.1, flood_s=0.1, calls=200, remembered=100)

Measure = Callable[[Place, int], Sample | Sequence[Sample]]


def of_the_suite(bench: Bench) -> list[Job]:
    """The jobs of a run of the suite."""
    if bench.tiny:
        return [
            _workers(bench, TINY, 2),
            *_parts(bench, TINY),
            _sized(bench, TINY, "64 KiB", "message"),
            _sinks(bench, TINY, 2, differ=True),
            _flood(bench, TINY, "4, small buffers"),
            _stalls(bench, TINY, "fast", ("restarting", "full, shed_lowest")),
        ]
    if bench.quick:
        return [
            *(_sinks(bench, QUICK, *variant) for variant in ((1, False), (4, True))),
            _flood(bench, QUICK, "4, small buffers"),
            _stalls(bench, QUICK, "handler", ("serving", "stopped", "full, shed_lowest")),
        ]
    return [
        *(_workers(bench, SUITE, count) for count in WORKERS),
        *(_workers(bench, SUITE, count, crowd=WORKERS[-1]) for count in FEW),
        *_parts(bench, SUITE),
        *(_flat_out(bench, SUITE, count) for count in FLAT_OUT),
        _idle(bench, SUITE, WORKERS[-1]),
        *(_sized(bench, SUITE, size, "message") for size in sizes.SIZES),
        *(_sinks(bench, SUITE, *variant) for variant in sinks.VARIANTS),
        *(_flood(bench, SUITE, f"{count}, small buffers") for count in (4, 200)),
        *(_stalls(bench, SUITE, kind) for kind in stalls.KINDS),
    ]


def everything(bench: Bench) -> list[Job]:
    """All of it, as its own command measures it."""
    return [
        *(_workers(bench, FULL, count) for count in WORKERS),
        *(_workers(bench, FULL, count, crowd=WORKERS[-1]) for count in FEWER),
        *_parts(bench, FULL),
        *(_workers(bench, FULL, count, workers.SMALL_BURST) for count in WORKERS),
        *(_flat_out(bench, FULL, count) for count in FLAT_OUT),
        *(_idle(bench, FULL, count) for count in IDLE),
        *(_sized(bench, FULL, size, shape) for shape, size in sizes.VARIANTS),
        *(_sinks(bench, FULL, *variant) for variant in sinks.VARIANTS),
        *(_flood(bench, FULL, variant) for variant in flood.VARIANTS),
        *(_stalls(bench, FULL, kind) for kind in stalls.KINDS),
    ]


def left_out(bench: Bench) -> dict[str, str]:
    """The memory of a worker that does without the compiled part, where every worker does."""
    if bench.quick or form_of(bench.python, bench.directory) == "compiled":
        return {}
    return {f"{parts.FAMILY}/worker{IN_PYTHON}": "nothing is compiled here: every worker is in Python"}


def _job(bench: Bench, family: str, variant: str, measure: Measure, does: str, rounds: int | None) -> Job:
    def run(number: int) -> Sample | Sequence[Sample]:
        with place(bench.directory, bench.python) as here:
            return measure(here, number)

    return Job(family, variant, run, does, rounds=rounds)


def _workers(bench: Bench, depth: Depth, count: int, burst: int = PACED_BURST, crowd: int = 0) -> Job:
    together = workers.RATE * count / (crowd or count)
    does = f"{count} workers, {together:,.0f} records/s together, in bursts of {burst}"
    return _job(
        bench,
        "workers",
        workers.named(count, burst, crowd),
        lambda here, _: workers.paced(here, count, depth.paced_s, burst, crowd),
        does,
        depth.rounds,
    )


def _parts(bench: Bench, depth: Depth) -> list[Job]:
    """A worker as it is installed; and one whose log calls are in Python, where there is another form."""
    here = form_of(bench.python, bench.directory)
    forms = {"worker": here, f"worker{IN_PYTHON}": "in Python"} if here == "compiled" else {"worker": here}

    def job(variant: str, form: str) -> Job:
        return _job(
            bench,
            parts.FAMILY,
            variant,
            lambda place, _: parts.parts(place, variant, form, depth.remembered),
            f"one worker, looked at part by part, until it has logged {depth.remembered:,} records",
            depth.stall_rounds,
        )

    return [job(variant, form) for variant, form in forms.items()]


def _flat_out(bench: Bench, depth: Depth, count: int) -> Job:
    variant, does = f"{count}, flat out", f"{count} workers, as fast as they can"
    return _job(
        bench, "workers", variant, lambda here, _: workers.flat_out(here, count, depth.burst), does, depth.rounds
    )


def _idle(bench: Bench, depth: Depth, count: int) -> Job:
    does = f"{count} workers that say nothing"
    return _job(bench, "idle", str(count), lambda here, _: workers.idle(here, count, depth.idle_s), does, depth.rounds)


def _sized(bench: Bench, depth: Depth, size: str, shape: str) -> Job:
    variant, does = f"{size}, {shape}", f"the {shape} has {size}"
    return _job(
        bench, "sizes", variant, lambda here, _: sizes.sized(here, size, shape, depth.sized_s), does, depth.rounds
    )


def _sinks(bench: Bench, depth: Depth, count: int, differ: bool) -> Job:
    variant = sinks.variant(count, differ)
    does = f"{count} files" + (", each in a format of its own" if differ else ", all JSON")
    return _job(
        bench, "sinks", variant, lambda here, _: sinks.sinks(here, count, depth.fed, differ=differ), does, depth.rounds
    )


def _flood(bench: Bench, depth: Depth, variant: str) -> Job:
    does = "workers flat out until buffers overflow"
    return _job(bench, "flood", variant, lambda here, _: flood.flood(here, variant, depth.flood_s), does, depth.rounds)


def _stalls(bench: Bench, depth: Depth, kind: str, states: Collection[str] = tuple(stalls.STATES)) -> Job:
    def measure(here: Place, number: int) -> Sequence[Sample]:
        return stalls.stalls(here, kind, depth.calls, number, states)

    return _job(bench, "stalls", kind, measure, "each call timed, in each state of the collector", depth.stall_rounds)
