"""The measuring of one variant, in a process that does nothing else.

*Flat out*: bursts that fit every buffer, and between them the variant drains, outside the calls' time and inside the
process's. *Paced*: 10,000 records a second in bursts of 50, whose caches are cold and whose background threads wake up
for little. *Single calls*: the same pace, with each call's wall time, the cost of the clock subtracted. At the end one
more burst, whose bytes are counted.

The clock of a shared machine changes by half from one second to the next. So each burst has one of the floor beside
it, in the same process, now before and now after it: ratios are those of such pairs.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.compiled import expect
from benchmarks.peers.calls import CALLS, FUNCTIONS, clock_cost
from benchmarks.peers.peer import Peer, Place, floor
from benchmarks.peers.variants import VARIANTS
from benchmarks.record import PACED_BURST

#: CPU seconds of a variant's burst flat out; one that would take more has a quarter of the records.
_LONG_S: Final = 0.15
#: Pairs of bursts flat out, at most. There are at least as many as paced ones.
_MOST_PAIRS: Final = 12
#: Records before the clock starts: threads, sockets and caches come to life, each call's code is fitted to its types.
_WARM_UP: Final = 10 * CALLS * FUNCTIONS
#: Records by which the length of a burst is foreseen.
_PROBE: Final = 200
#: Records a second of the paced runs.
PACED_RATE: Final = 10_000.0
#: Calls of one turn whose times are taken.
_TIMED: Final = 500


@dataclass(frozen=True, slots=True)
class Task:
    """What one process measures: ``variant``, for so long; ``form`` is what its log calls must be, if it is logbus's.

    ``burst``: records of a burst flat out (every buffer holds twice as many, or is told to), for ``flat_s`` seconds of
    pairs; then ``pairs`` paced ones of ``paced`` records, and ``calls`` single calls. ``endpoint`` is the collector's;
    files go to ``directory``.
    """

    variant: str
    form: str
    directory: str
    endpoint: str
    burst: int
    flat_s: float
    pairs: int
    paced: int
    calls: int


@dataclass(frozen=True, slots=True)
class _Burst:
    """Seconds of a burst: CPU of the thread and of the process, wall time of the calls and of the draining."""

    thread: float
    process: float
    wall: float
    drain: float


def measure(task: Task) -> dict[str, Any]:
    """Measures a variant here: what a :class:`benchmarks.suite.sample.Sample` holds, without family and variant.

    Raises RuntimeError when this process has not the form of log calls that its row names.
    """
    beside = floor()
    _burst(beside, _WARM_UP)
    before = _rss()
    with contextlib.ExitStack() as stack:
        peer = VARIANTS[task.variant].make(Place(Path(task.directory), task.endpoint, stack))
        if task.form:
            expect(task.form)
        figures: dict[str, float] = {}
        ratios: dict[str, float] = {}
        _flat(task, peer, beside, figures, ratios)
        _paced(task, peer, beside, figures, ratios)
        figures["rss_mib"] = (_rss() - before) / 2**20
        _single(task, peer, beside, figures, ratios)
        if peer.volume is not None:
            figures["bytes_per_record"] = _volume(peer, peer.volume, task.burst // 4)
        made = peer.calls.made
        lost = 0 if peer.arrived is None else abs(made - peer.arrived())
    return {
        "figures": figures,
        "floor": {name: figures[name] / ratio for name, ratio in ratios.items()},
        "records": made,
        "lost": lost,
        "notes": task.form,
    }


def _flat(task: Task, peer: Peer, beside: Peer, figures: dict[str, float], ratios: dict[str, float]) -> None:
    _burst(peer, _WARM_UP)
    probe = _burst(peer, _PROBE).process / _PROBE
    count = task.burst if probe * task.burst < _LONG_S else task.burst // 4
    _burst(peer, count)  # buffers and queues have grown
    spent = 0.0 if peer.consumer is None else -peer.consumer()
    pairs: list[tuple[_Burst, _Burst]] = []
    begun = time.monotonic()
    while len(pairs) < task.pairs or (len(pairs) < _MOST_PAIRS and time.monotonic() - begun < task.flat_s):
        pairs.append(_pair(peer, beside, count, len(pairs)))
    for what in ("thread", "process", "wall"):
        _note(what, pairs, count, figures, ratios)
    figures["drain_ms"] = statistics.median(own.drain for own, _ in pairs) * 1e3
    if peer.consumer is not None:
        figures["consumer_us"] = (spent + peer.consumer()) / (len(pairs) * count) * 1e6


def _paced(task: Task, peer: Peer, beside: Peer, figures: dict[str, float], ratios: dict[str, float]) -> None:
    pairs = [_pair(peer, beside, task.paced, number, paced=True) for number in range(task.pairs)]
    for what in ("thread", "process"):
        _note(what, pairs, task.paced, figures, ratios, "paced_")


def _note(
    what: str,
    pairs: Sequence[tuple[_Burst, _Burst]],
    count: int,
    figures: dict[str, float],
    ratios: dict[str, float],
    prefix: str = "",
) -> None:
    """The medians of the pairs: of the variant's figures, and of their ratios to those of the floor."""
    found = [(getattr(own, what), getattr(other, what)) for own, other in pairs]
    name = f"{prefix}{what}_us"
    figures[name] = statistics.median(own for own, _ in found) / count * 1e6
    ratios[name] = statistics.median(own / other for own, other in found)


def _pair(peer: Peer, beside: Peer, count: int, number: int, *, paced: bool = False) -> tuple[_Burst, _Burst]:
    """A burst of each, in turns the one or the other first."""
    burst = _paced_burst if paced else _burst
    if number % 2:
        own = burst(peer, count)
        return own, burst(beside, count)
    other = burst(beside, count)
    return burst(peer, count), other


def _burst(peer: Peer, count: int) -> _Burst:
    wall, process, thread = time.perf_counter(), time.process_time(), time.thread_time()
    peer.calls.log(count)
    thread = time.thread_time() - thread
    logged = time.perf_counter()
    peer.drain()
    drained = time.perf_counter()
    return _Burst(thread, time.process_time() - process, logged - wall, drained - logged)


def _paced_burst(peer: Peer, count: int) -> _Burst:
    """A small burst that comes late is not skipped."""
    thread = 0.0
    begun, process = time.monotonic(), time.process_time()
    for done in range(0, count, PACED_BURST):
        _wait(begun + done / PACED_RATE)
        before = time.thread_time()
        peer.calls.log(PACED_BURST)
        thread += time.thread_time() - before
    logged = time.monotonic()
    peer.drain()
    return _Burst(thread, time.process_time() - process, logged - begun, time.monotonic() - logged)


def _single(task: Task, peer: Peer, beside: Peer, figures: dict[str, float], ratios: dict[str, float]) -> None:
    """Percentiles of single calls; the two take turns, and what the one left to do is done before the other's turn."""
    own: list[int] = []
    other: list[int] = []
    for turn in range(0, task.calls, _TIMED):
        sides = [(peer, own), (beside, other)]
        for side, times in sides if turn // _TIMED % 2 else reversed(sides):
            _timed(side, min(_TIMED, task.calls - turn), times)
    cost = clock_cost()
    for name, share in (("call_p50_us", 0.5), ("call_p99_us", 0.99), ("call_p999_us", 0.999)):
        figures[name], floors = (max(_quantile(times, share) - cost, 1) / 1e3 for times in (own, other))
        ratios[name] = figures[name] / floors


def _timed(peer: Peer, count: int, times: list[int]) -> None:
    begun = time.monotonic()
    for done in range(0, count, PACED_BURST):
        _wait(begun + done / PACED_RATE)
        peer.calls.timed(PACED_BURST, times.append)
    peer.drain()


def _quantile(values: Sequence[int], share: float) -> int:
    """The value that this share of all stays below."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _volume(peer: Peer, volume: Callable[[], int], count: int) -> float:
    """Bytes per record that one burst more sends."""
    before = volume()
    peer.calls.log(count)
    peer.drain()
    return (volume() - before) / count


def _wait(until: float) -> None:
    ahead = until - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)


def _rss() -> int:
    """Bytes of memory that this process has, now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
