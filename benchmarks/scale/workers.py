"""One worker, or two hundred: what a record costs them and the collector, and what they take by being there.

Together they log at one rate, in bursts of one size, however many they are: two hundred send as many frames as four do,
each of about as many records. But each of the two hundred sleeps between two bursts, where one of four is awake, and
waking up costs it some tenths of a millisecond; that is a cost of its pace and not of the crowd. So there are four
workers as slow as one of two hundred, beside which one sees what the crowd costs, and by which it is judged; and
smaller bursts, which share what is paid per frame among fewer records. Costs are of the time in between: neither the
start of a worker nor its last words are in them, but all that a worker does by being there, its MARK each second among
it.

Memory is that of a worker whose buffer is empty again, beside that of a *bare* one: a fork of a process that has loaded
the standard library's logging and the benchmark's own code, and no logbus.
"""

from __future__ import annotations

import time
from typing import Final

from benchmarks.record import PACED_BURST, floor_seconds
from benchmarks.scale.collector import Collector
from benchmarks.scale.crew import Crew, Worked
from benchmarks.scale.memory import Memory
from benchmarks.scale.place import Place
from benchmarks.scale.work import Flow, Task
from benchmarks.service import PATIENCE_S
from benchmarks.suite.sample import Sample

#: Records a second of all workers together.
RATE: Final = 10_000.0
#: Records of a small burst: what a request of a web application logs, more or less.
SMALL_BURST: Final = 10
#: Bare workers beside those that are measured, at most.
_BARE: Final = 16
#: Seconds before the first that counts: each worker has logged something, and each has sent a MARK.
WARM_UP_S: Final = 1.5


def paced(place: Place, workers: int, seconds: float, burst: int = PACED_BURST, crowd: int = 0) -> Sample:
    """So many workers that log at :data:`RATE` together for so long; each of the records is once in the file.

    With a ``crowd`` each logs as slowly as one of so many does: beside that crowd, it shows what its size costs.

    ``paced_*_us`` are CPU per record: of the calling thread, of the workers' processes, of the collector;
    ``beyond_idle_*_us`` the same without what the same workers, silent, cost in as much time, and the collector.
    ``welcomed_ms`` is from the first fork until the last worker was welcomed, ``confirm_ms`` until all had confirmed a
    level. ``above_bare_*`` is what a worker takes beyond a bare one.
    """
    bare = _bare(place, workers)
    with place.collector() as collector, place.crew(Task(workers)) as crew:
        confirmed = _confirmed(place, workers)
        idle = _Idle(collector, crew, seconds)
        crew.begin(Flow(None, RATE / (crowd or workers), burst))
        time.sleep(min(WARM_UP_S, seconds))
        before, spent_before = crew.spent(), collector.cpu_seconds()
        time.sleep(seconds)
        after, spent = crew.spent(), collector.cpu_seconds() - spent_before
        crew.rest()
        worker = crew.memory()  # before the report, for which each loads what most workers never do
        whole = crew.report()
        status = collector.wait_collected(whole.emitted)
        resident = collector.memory()
    worked = after.since(before)
    costs = _costs(worked, spent, "paced_")
    time_us = worked.wall_s / max(worked.records, 1) * 1e6
    figures = {
        **costs,
        "beyond_idle_process_us": costs["paced_process_us"] - idle.workers_share * time_us,
        "beyond_idle_collector_us": costs["paced_collector_us"] - idle.collector_share * time_us,
        "collector_rss_mib": resident.rss,
        "worker_rss_mib": worker.rss,
        "worker_pss_mib": worker.pss,
        "worker_private_mib": worker.private,
        "above_bare_rss_mib": worker.rss - bare.rss,
        "above_bare_private_mib": worker.private - bare.private,
        "welcomed_ms": crew.seconds * 1e3,
        "confirm_ms": confirmed,
    }
    floor = worked.costs()[2]
    floors = {name: floor for name in figures if name.endswith("_us")}
    lost = place.lost(status, whole.records)
    return Sample("workers", named(workers, burst, crowd), figures, floors, whole.records, lost)


def named(workers: int, burst: int = PACED_BURST, crowd: int = 0) -> str:
    """The name of that variant."""
    if crowd:
        return f"{workers}, as slow as {crowd}"
    return str(workers) if burst == PACED_BURST else f"{workers}, bursts of {burst}"


def flat_out(place: Place, workers: int, records: int) -> Sample:
    """So many workers that log ``records`` each, as fast as they can; their buffers hold what the collector doesn't."""
    with place.collector() as collector, place.crew(Task(workers)) as crew:
        floor = floor_seconds()
        before = collector.cpu_seconds()
        crew.begin(Flow(records))
        worked = crew.finish()
        status = collector.wait_collected(worked.emitted)
        spent = collector.cpu_seconds() - before
        floor = (floor + floor_seconds()) / 2 * 1e6
    figures = {**_costs(worked, spent, ""), "records_per_s": worked.records / worked.wall_s}
    ours = worked.costs()[2]
    floors = {"thread_us": ours, "process_us": ours, "collector_us": floor}
    lost = place.lost(status, worked.records)
    return Sample("workers", f"{workers}, flat out", figures, floors, worked.records, lost)


def idle(place: Place, workers: int, seconds: float) -> Sample:
    """So many workers that say nothing: CPU milliseconds a second, of one of them and of the collector."""
    with place.collector() as collector, place.crew(Task(workers)) as crew:
        collector.wait_workers(workers)
        silent = _Idle(collector, crew, seconds)
        figures = {
            "worker_ms_per_s": silent.workers_share / workers * 1e3,
            "workers_ms_per_s": silent.workers_share * 1e3,
            "collector_ms_per_s": silent.collector_share * 1e3,
            "collector_rss_mib": collector.memory().rss,
            "worker_private_mib": crew.memory().private,
        }
    return Sample("idle", str(workers), figures, None, 0, 0)


class _Idle:
    """What part of a core workers that say nothing take together, and their collector, over so many seconds."""

    def __init__(self, collector: Collector, crew: Crew, seconds: float) -> None:
        time.sleep(min(WARM_UP_S, seconds))  # what comes with the welcome is over
        begun, collector_s, workers_s = time.monotonic(), collector.cpu_seconds(), crew.cpu_seconds()
        time.sleep(seconds)
        took = time.monotonic() - begun
        self.collector_share = (collector.cpu_seconds() - collector_s) / took
        self.workers_share = (crew.cpu_seconds() - workers_s) / took


def _costs(worked: Worked, collector_s: float, prefix: str) -> dict[str, float]:
    thread, process, _ = worked.costs()
    return {
        f"{prefix}thread_us": thread,
        f"{prefix}process_us": process,
        f"{prefix}collector_us": collector_s / max(worked.records, 1) * 1e6,
    }


def _bare(place: Place, workers: int) -> Memory:
    with place.crew(Task(min(workers, _BARE), bare=True)) as crew:
        return crew.memory()


def _confirmed(place: Place, workers: int) -> float:
    """Milliseconds until every worker has confirmed a level, by the collector's clock."""
    place.running.wait_workers(workers)  # one that was welcomed just now has not been heard yet
    command = {"command": "set_level", "selector": "rotator", "level": 10, "force": True, "wait_seconds": PATIENCE_S}
    answer = place.running.order(command)
    if (answer["confirmed"], answer["workers"]) != (workers, workers):
        raise RuntimeError(f"expected {workers} workers that confirm, found {answer}")
    return float(answer["milliseconds"])
