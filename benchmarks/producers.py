"""What a log call costs the process that makes it: each variant in a process of its own, for each repetition.

Two runs one after the other, the same for all. Flat out: bursts that fit every buffer; between them, outside the
calls' time and inside the process's, the variant drains. Paced: 10,000 records a second in bursts of 50, whose
caches are cold and whose background threads wake up for little.

The clock of a shared machine changes by half from one second to the next. So each burst has one of the floor beside
it, in the same process, now before and now after it: ratios are those of such pairs.

The program is ``python -m benchmarks.producers '{"variant": …}'``; it prints its result as JSON.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import queue
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.record import LOGGER, JsonLine, log_paced, log_records
from benchmarks.service import PATIENCE_S, environment

#: The variants, the floor first.
VARIANTS: Final = ("null", "logbus", "queue_listener", "json_file")
#: Records of one burst flat out: the default buffer has room for ten of these.
BURST: Final = 4000
#: Records before the clock starts: threads, sockets and caches come to life.
WARM_UP: Final = 500
#: Records a second of the paced run.
PACED_RATE: Final = 10_000.0
#: What is measured: CPU of the calling thread and of the process, flat out and paced.
FIGURES: Final = ("flat_thread", "flat_process", "paced_thread", "paced_process")


@dataclass(frozen=True, slots=True)
class Task:
    """What one child does. ``endpoint`` is the collector's; files go to ``directory``.

    ``bursts`` flat out, then as many paced ones of ``paced`` records.
    """

    variant: str
    endpoint: str
    directory: str
    bursts: int
    paced: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians by figure: ``costs`` in CPU microseconds per record, ``ratios`` to the floor. ``lost`` of ``records``."""

    costs: dict[str, float]
    ratios: dict[str, float]
    records: int
    lost: int


Drain = Callable[[], None]
Lost = Callable[[int], int]


def run(task: Task) -> Cost:
    """Runs a task in a new process. Raises RuntimeError with its stderr when it fails."""
    directory = Path(task.directory)
    command = [sys.executable, "-m", "benchmarks.producers", json.dumps(asdict(task))]
    done = subprocess.run(
        command, cwd=directory, env=environment(directory), capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{task.variant} failed: {done.stderr}")
    return Cost(**json.loads(done.stdout))


def measure(task: Task) -> Cost:
    """Runs a task here."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    handler, drain, lost = _variant(task)
    sides: dict[bool, tuple[logging.Handler, Drain]] = {
        True: (handler, drain),
        False: (logging.NullHandler(), lambda: None),
    }
    root.addHandler(handler)
    log = logging.getLogger(LOGGER)
    log_records(log, WARM_UP)
    drain()
    costs: dict[str, list[float]] = {figure: [] for figure in FIGURES}
    ratios: dict[str, list[float]] = {figure: [] for figure in FIGURES}
    for number in range(2 * task.bursts):
        count, rate = (BURST, 0.0) if number < task.bursts else (task.paced, PACED_RATE)
        pair: dict[bool, tuple[float, float]] = {}
        for measured in (True, False) if number % 2 else (False, True):
            handler, drain = sides[measured]
            root.handlers[:] = [handler]
            pair[measured] = _burst(log, count, rate, drain)
        for at, figure in enumerate(FIGURES[2:] if rate else FIGURES[:2]):
            costs[figure].append(pair[True][at] / count * 1e6)
            ratios[figure].append(pair[True][at] / pair[False][at])
    records = WARM_UP + task.bursts * (BURST + task.paced)
    return Cost(
        {figure: statistics.median(values) for figure, values in costs.items()},
        {figure: statistics.median(values) for figure, values in ratios.items()},
        records,
        lost(records),
    )


def _burst(log: logging.Logger, count: int, rate: float, drain: Drain) -> tuple[float, float]:
    """CPU seconds of one burst, in the thread and in the process; the process has drained when its clock is read."""
    process = time.process_time()
    if rate:
        thread = log_paced(log, count, rate)
    else:
        thread = -time.thread_time()
        log_records(log, count)
        thread += time.thread_time()
    drain()
    return thread, time.process_time() - process


def _variant(task: Task) -> tuple[logging.Handler, Drain, Lost]:
    """The variant's handler, how it drains, and how many of n records it has lost."""
    if task.variant == "null":
        return logging.NullHandler(), (lambda: None), (lambda records: 0)
    if task.variant == "logbus":
        return _logbus(task.endpoint)
    path = Path(task.directory) / f"{task.variant}.jsonl"
    path.unlink(missing_ok=True)
    file = logging.FileHandler(path)
    file.setFormatter(JsonLine())

    def missing(records: int) -> int:
        return records - path.read_bytes().count(b"\n")

    if task.variant == "json_file":
        return file, (lambda: None), missing
    waiting: queue.SimpleQueue[object] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(waiting, file)
    listener.start()

    def drain() -> None:
        listener.stop()
        listener.start()

    return logging.handlers.QueueHandler(waiting), drain, missing


def _logbus(endpoint: str) -> tuple[logging.Handler, Drain, Lost]:
    import logbus

    def drain() -> None:
        if not logbus.flush(PATIENCE_S):
            raise RuntimeError(f"nobody took the records within {PATIENCE_S:g} s")

    def lost(records: int) -> int:
        stats = logbus.stats()
        return records - stats.sent + sum(stats.dropped.values())

    return logbus.LogbusHandler(endpoint), drain, lost


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Task(**json.loads(sys.argv[1]))))))
