"""What a log call costs the process that makes it: each variant in a process of its own, for each repetition.

Two runs one after the other, the same for all. Flat out: bursts that fit every buffer; between them, outside the
calls' time and inside the process's, the variant drains. Paced: 10,000 records a second in bursts of 50, whose
caches are cold and whose background threads wake up for little.

The program is ``python -m benchmarks.producers '{"variant": …}'``; it prints its result as JSON.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import queue
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
#: Records of one burst flat out: the default buffer has room for a dozen of these.
BURST: Final = 5000
#: Records before the clock starts: threads, sockets and caches come to life.
WARM_UP: Final = 500
#: Records a second of the paced run.
PACED_RATE: Final = 10_000.0


@dataclass(frozen=True, slots=True)
class Task:
    """What one child does. ``endpoint`` is the collector's; files go to ``directory``."""

    variant: str
    endpoint: str
    directory: str
    bursts: int
    paced: int


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds per record, in the calling thread and in the process; ``lost`` of the ``records`` logged."""

    flat_thread: float
    flat_process: float
    paced_thread: float
    paced_process: float
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
    drain, lost = _attach(task)
    log = logging.getLogger(LOGGER)
    log_records(log, WARM_UP)
    drain()

    thread = 0.0
    process = time.process_time()
    for _ in range(task.bursts):
        before = time.thread_time()
        log_records(log, BURST)
        thread += time.thread_time() - before
        drain()
    process = time.process_time() - process

    paced_process = time.process_time()
    paced_thread = log_paced(log, task.paced, PACED_RATE)
    drain()
    paced_process = time.process_time() - paced_process

    flat, paced = task.bursts * BURST, task.paced
    records = WARM_UP + flat + paced
    return Cost(
        flat_thread=thread / flat * 1e6,
        flat_process=process / flat * 1e6,
        paced_thread=paced_thread / paced * 1e6,
        paced_process=paced_process / paced * 1e6,
        records=records,
        lost=lost(records),
    )


def _attach(task: Task) -> tuple[Drain, Lost]:
    """Attaches the variant's handler to the root logger; how it drains, and how many of n records it has lost."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    if task.variant == "null":
        root.addHandler(logging.NullHandler())
        return (lambda: None), (lambda records: 0)
    if task.variant == "logbus":
        return _attach_logbus(root, task.endpoint)
    path = Path(task.directory) / f"{task.variant}.jsonl"
    path.unlink(missing_ok=True)
    file = logging.FileHandler(path)
    file.setFormatter(JsonLine())

    def missing(records: int) -> int:
        return records - path.read_bytes().count(b"\n")

    if task.variant == "json_file":
        root.addHandler(file)
        return (lambda: None), missing
    waiting: queue.SimpleQueue[object] = queue.SimpleQueue()
    root.addHandler(logging.handlers.QueueHandler(waiting))
    listener = logging.handlers.QueueListener(waiting, file)
    listener.start()

    def drain() -> None:
        listener.stop()
        listener.start()

    return drain, missing


def _attach_logbus(root: logging.Logger, endpoint: str) -> tuple[Drain, Lost]:
    import logbus

    root.addHandler(logbus.LogbusHandler(endpoint))

    def drain() -> None:
        if not logbus.flush(PATIENCE_S):
            raise RuntimeError(f"nobody took the records within {PATIENCE_S:g} s")

    def lost(records: int) -> int:
        stats = logbus.stats()
        return records - stats.sent + sum(stats.dropped.values())

    return drain, lost


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Task(**json.loads(sys.argv[1]))))))
