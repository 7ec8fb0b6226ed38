"""The promises: what must hold and what is aimed at, and how each figure is made of the samples.

The figures in microseconds that were promised were of a machine on which the floor, a log call with a null handler,
takes :data:`FLOOR_US`; here they are in floors, since machines differ and this one's clock changes. A verdict is of
the median over the rounds. A figure without a run that lost nothing has no verdict; nor has one whose control, in which
nothing was different, lies as far off as the bound: what decides there is the machine.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from benchmarks.spread import spread
from benchmarks.suite import growth
from benchmarks.suite.runs import OURS, Runs
from benchmarks.suite.sample import IN_PYTHON

#: CPU microseconds of the floor where the promises in microseconds were made.
FLOOR_US: Final = 5.9
#: Microseconds by which a call's p99.9 may lie above that beside a serving collector; and those that count as none,
#: since two passes beside a serving collector lie further apart.
STALL_US: Final = 100.0
EQUAL_US: Final = 10.0
#: Of a cost: how much more is still flat, where the two were measured minutes apart or over an hour.
FLAT_X: Final = 1.25
FLAT_PERCENT_PER_HOUR: Final = 2.0
#: MiB that 100 MB and 8 MB are, and MiB an hour that are no growth.
_COLLECTOR_MIB: Final = 95.37
_WORKER_MIB: Final = 7.63
FLAT_MIB_PER_HOUR: Final = 1.0
#: Four workers, each of which logs as slowly as one of two hundred: what these cost more, their number costs.
PARTNER: Final = "4, as slow as 200"
#: The state in which nothing is the matter: there, two collectors that serve are compared with one another.
_SERVING: Final = "serving"
#: Records a second of the paced load, all workers together.
_RATE: Final = 10_000

Sense = Literal["<=", ">="]
#: The goal was reached; the must was kept; missed; only aimed at, and not reached; not decided, since the control shows
#: more noise than the bound; not measured.
Verdicts = Literal["goal", "must", "missed", "aimed", "noise", "none"]
Found = Callable[[Runs], Sequence[float]]

_SUITE: Final = "python -m benchmarks.suite"
_ENDURANCE: Final = "python -m benchmarks.scale.endurance"


@dataclass(frozen=True, slots=True)
class Promise:
    """A row: what is promised, in which unit, what must hold, what is aimed at, and how the figure is found.

    ``must`` is None where something is only aimed at, ``goal`` where it is only held. ``beside`` are figures that are
    not judged and that the reader should see with this one, by what they are, each with its unit. ``control`` is the
    same figure where nothing was different, so that all it shows is noise; None where none is taken. ``rounds``:
    whether the figure has a value for each round.
    """

    row: str
    what: str
    unit: str
    must: float | None
    goal: float | None
    found: Found
    sense: Sense = "<="
    command: str = _SUITE
    beside: tuple[tuple[str, Found, str], ...] = ()
    control: Found | None = None
    rounds: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a promise came out: ``value`` is the spread over the rounds, None when nothing was measured.

    Of an hour's growth it is the slope, from twice its error below to twice above it. ``beside`` are the spreads of
    what stands beside it, with their units; ``noise`` is how far off the control was, by the median of its rounds;
    infinitely far where there should have been one.
    """

    promise: Promise
    value: dict[str, Any] | None
    beside: Mapping[str, tuple[dict[str, Any], str]] = field(default_factory=dict)
    noise: float = 0.0

    @property
    def verdict(self) -> Verdicts:
        """That of the median."""
        if self.value is None:
            return "none"
        median, promise = self.value["median"], self.promise
        if promise.goal is not None and self.noise <= promise.goal and _holds(median, promise.goal, promise.sense):
            return "goal"
        if promise.must is None:
            return "aimed"
        if self.noise > promise.must:
            return "noise"
        return "must" if _holds(median, promise.must, promise.sense) else "missed"

    @property
    def divided(self) -> bool:
        """Whether the bound that the verdict is of lies among the rounds: some of them would have it otherwise."""
        if self.verdict == "noise":
            return False
        bound = self.promise.goal if self.verdict in ("goal", "aimed") else self.promise.must
        if self.value is None or bound is None:
            return False
        ends = [_holds(self.value[end], bound, self.promise.sense) for end in ("min", "max")]
        return ends[0] != ends[1]

    def document(self) -> dict[str, Any]:
        """What JSON is to hold."""
        names = ("row", "what", "unit", "must", "goal", "sense", "command")
        said = {name: getattr(self.promise, name) for name in names}
        beside = {name: {"value": value, "unit": unit} for name, (value, unit) in self.beside.items()}
        once = self.promise.rounds and self.value is not None and len(self.value["values"]) == 1
        verdict = {"value": self.value, "verdict": self.verdict, "divided": self.divided}
        return {**said, **verdict, "one_round": once, "beside": beside}


def _floors(family: str, variant: str, figure: str) -> Found:
    return lambda runs: list(runs.floors(family, variant, figure).values())


def _by(family: str, variant: str, base: str, figure: str) -> Found:
    return lambda runs: runs.compared(family, variant, base, figure)


def _figures(family: str, variant: str, figure: str) -> Found:
    return lambda runs: list(runs.figures(family, variant, figure).values())


def _cheapest_peer(family: str, ours: str, figure: str) -> Found:
    """The cheapest other variant by ours, of the rounds in which both lost nothing."""

    def found(runs: Runs) -> list[float]:
        peers = [name for name in runs.variants(family) if name.removesuffix(IN_PYTHON) not in OURS[family]]
        compared = [values for peer in peers if (values := runs.compared(family, peer, ours, figure))]
        return min(compared, key=statistics.median, default=[])

    return found


def _largest(family: str, figure: str) -> Found:
    """The largest among a family's variants, of each round."""

    def found(runs: Runs) -> list[float]:
        every = [runs.figures(family, variant, figure) for variant in runs.variants(family)]
        rounds = sorted({number for figures in every for number in figures})
        return [max(figures[number] for figures in every if number in figures) for number in rounds]

    return found


def _beyond(variant: str, base: str) -> Found:
    """Milliseconds of a start beyond another's: of the best of both, since others can only lengthen a start."""

    def found(runs: Runs) -> list[float]:
        own, other = (runs.figures("startup", name, "wall_ms").values() for name in (variant, base))
        return [min(own) - min(other)] if own and other else []

    return found


def _null(variant: str) -> Found:
    """The null handler's p99.9 in that state, calm bursts only."""
    return lambda runs: [
        sample.floor["calm_p999_us"]
        for sample in runs.samples("stalls", variant).values()
        if not sample.void and sample.floor and "calm_p999_us" in sample.floor
    ]


def _given(values: Sequence[float]) -> Found:
    return lambda runs: values


def _share(workers: str) -> Found:
    """Percent of a core that the collector takes at 10,000 records a second, of so many workers together."""
    return lambda runs: [
        microseconds * _RATE / 1e6 * 100
        for microseconds in runs.figures("workers", workers, "paced_collector_us").values()
    ]


def _call(
    row: str, variant: str, name: str, thread: tuple[float, float], process: tuple[float, float]
) -> list[Promise]:
    """What a log call costs the thread and the process, flat out."""
    return [
        Promise(row, f"{name}: calling thread", "floors", *thread, _floors("producer", variant, "thread_us")),
        Promise(row, f"{name}: whole process", "floors", *process, _floors("producer", variant, "process_us")),
    ]


def at_one_rate_of_all(runs: Runs) -> list[float]:
    """What a record costs each of 200 workers, by what it costs each of four that together log as many a second."""
    return runs.compared("workers", "200", "4", "paced_process_us")


def _in_floors(microseconds: float) -> float:
    return round(microseconds / FLOOR_US, 4)


PROMISES: Final[tuple[Promise, ...]] = (
    *_call("1", "handler", "stdlib logger and LogbusHandler", (1.45, 1.3), (1.65, 1.35)),
    *_call("1", "lean", "FastLogger, lean", (0.85, 0.7), (1.0, 0.75)),
    *_call("1", "fast", "FastLogger, fast", (0.4, 0.25), (0.55, 0.35)),
    Promise(
        "1", "FastLogger, fast, by the Rust logger: process, Python 3.13", "x", None, 1.0,
        _by("producer", "fast (3.13)", "logxide (3.13)", "process_us"),
    ),
    Promise(
        "2", "collector, default redaction: 4.5 / 2.5 µs", "floors", _in_floors(4.5), _in_floors(2.5),
        _floors("collector", "logbus", "process_us"),
    ),
    Promise(
        "2", "collector, no redaction: 2.5 / 1.2 µs", "floors", _in_floors(2.5), _in_floors(1.2),
        _floors("collector", "logbus_bare", "process_us"),
    ),
    Promise(
        "3", "call to file, LogbusHandler: 14 / 10 µs", "floors", _in_floors(14), _in_floors(10),
        _floors("end_to_end", "handler", "process_us"),
    ),
    Promise(
        "3", "call to file, FastLogger: 8 / 5 µs", "floors", _in_floors(8), _in_floors(5),
        _floors("end_to_end", "fast", "process_us"),
    ),
    Promise(
        "3", "call to file: the cheapest peer by LogbusHandler", "x", 1.0, None,
        _cheapest_peer("end_to_end", "handler", "process_us"), ">=",
    ),
    Promise(
        "5", "flat in workers: the collector's CPU per record, 200 by 4 at one rate of all", "x", FLAT_X, None,
        _by("workers", "200", "4", "paced_collector_us"),
        beside=(("beyond idle, 200 by 4", _by("workers", "200", "4", "beyond_idle_collector_us"), "x"),),
    ),
    Promise(
        "5", "flat in workers: a worker's CPU per record, 200 by 4 at one rate of each", "x", FLAT_X, None,
        _by("workers", "200", PARTNER, "paced_process_us"),
        beside=(
            ("200 by 4 at one rate of all", at_one_rate_of_all, "x"),
            ("the same beyond idle", _by("workers", "200", "4", "beyond_idle_process_us"), "x"),
        ),
    ),
    Promise(
        "5", "collector under flood, peak RSS: 100 MB", "MiB", _COLLECTOR_MIB, None,
        _largest("flood", "collector_peak_mib"),
    ),
    Promise(
        "5", "a worker, buffer empty, RSS above a bare process: 8 MB", "MiB", _WORKER_MIB, None,
        _largest("workers", "above_bare_rss_mib"),
        beside=(("one that was started, not forked", _figures("memory", "worker", "records_rss_mib"), "MiB"),),
    ),
    Promise(
        "before", "collector: an mp.Queue listener by it", "x", 5.0, None,
        _by("collector", "multiprocessing.Queue + QueueListener", "logbus", "process_us"), ">=",
    ),
    Promise("before", "collector at 10,000 records/s, of a core", "%", 20.0, None, _share("4")),
    Promise(
        "before", "import logbus and configure(), beyond the libraries", "ms", 60.0, None,
        _beyond("configure", "libraries"), rounds=False,
    ),
)  # fmt: skip


def judge(runs: Runs, endurance: Mapping[str, Any] | None = None) -> list[Verdict]:
    """Every promise with what was found, in the order of the rows; ``endurance`` is the document of the hour."""
    promises = (*PROMISES, *_stalls(runs), *_flatness(endurance))
    return [_judged(promise, runs) for promise in sorted(promises, key=lambda promise: promise.row)]


def _judged(promise: Promise, runs: Runs) -> Verdict:
    beside = {name: (value, unit) for name, found, unit in promise.beside if (value := spread(found(runs))) is not None}
    noise = 0.0
    if promise.control is not None:
        control = promise.control(runs)
        noise = statistics.median(map(abs, control)) if control else math.inf
    return Verdict(promise, spread(promise.found(runs)), beside, noise)


def _stalls(runs: Runs) -> Iterator[Promise]:
    """A promise for each way to log: of the state of a collector in trouble in which its calls are the slowest.

    Judged are bursts in which the kernel did not take the core away from the thread: what another process does while
    it has the core is no cost of a call. All bursts stand beside that, and so does what the null handler's calls take.
    """
    calm = "calm_above_serving_us"
    for kind, name in {"handler": "LogbusHandler", "fast": "FastLogger"}.items():
        found = {
            variant: statistics.median(values)
            for variant in sorted(runs.variants("stalls"), key=growth.by_state)
            if variant.startswith(f"{kind}: ") and variant != f"{kind}: {_SERVING}"
            if (values := list(runs.figures("stalls", variant, calm).values()))
        }
        worst = max(found, key=found.__getitem__, default=f"{kind}: any")
        yield Promise(
            "4",
            f"a call's p99.9 above serving, {name}, worst state: {worst.partition(': ')[2]}",
            "µs",
            STALL_US,
            EQUAL_US,
            _figures("stalls", worst, calm),
            beside=(
                ("with preempted bursts", _figures("stalls", worst, "above_serving_us"), "µs"),
                ("a NullHandler's p99.9", _null(worst), "µs"),
                ("control, serving above serving", _figures("stalls", f"{kind}: {_SERVING}", calm), "µs"),
            ),
            control=_figures("stalls", f"{kind}: {_SERVING}", calm),
        )


def _flatness(endurance: Mapping[str, Any] | None) -> Iterator[Promise]:
    """What an hour may change: of each series its slope, with twice its error below and above it.

    The slope decides, as a median does. Were it only what is certain, the noisiest series would be the flattest.
    """
    flat = {} if endurance is None else endurance["flatness"]
    mib, percent = ("per_hour", "error", "MiB/h"), ("percent_per_hour", "percent_error", "%/h")
    for series, what, (slope, error, unit), bound in (
        ("collector_rss_mib", "the collector's RSS", mib, FLAT_MIB_PER_HOUR),
        ("worker_rss_mib", "a worker's RSS", mib, FLAT_MIB_PER_HOUR),
        ("collector_floors", "the collector's CPU", percent, FLAT_PERCENT_PER_HOUR),
        ("worker_floors", "a worker's CPU", percent, FLAT_PERCENT_PER_HOUR),
    ):
        found = flat.get(series)
        values = [found[slope] + times * found[error] for times in (-2, 0, 2)] if found else []
        what = f"flat in uptime and records: {what}"
        yield Promise("5", what, unit, bound, None, _given(values), command=_ENDURANCE)


def _holds(value: float, bound: float, sense: Sense) -> bool:
    return value <= bound if sense == "<=" else value >= bound
