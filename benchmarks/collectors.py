"""What carrying a record from four real workers into one JSON file costs: logbus against a ``multiprocessing.Queue``.

The workers are processes of ``multiprocessing`` in both, log the same records at the same time, and count as done
when their last record has left them. The receiving process counts from the start signal until its last line is in
the file. Both deliver every line, or the run is void. logbus redacts; the queue's listener does not.

The two run one right after the other, and the floor of a log call is taken beside each: on a machine whose clock
changes, a cost in floors says more than one in microseconds.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any, Final

from benchmarks.record import LOGGER, SITES, JsonLine, floor_seconds, log_paced, log_records
from benchmarks.service import PATIENCE_S, Service, cpu_seconds

WORKERS: Final = 4
#: Seconds that a whole run may take.
_TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Carried:
    """CPU seconds of the receiving process and of the workers, over ``wall`` seconds, for ``records`` in all.

    ``floor`` is what a log call with a null handler took just then, in CPU seconds.
    """

    receiver: float
    workers: float
    wall: float
    records: int
    lost: int
    floor: float

    @property
    def share(self) -> float:
        """The receiving process's part of one core."""
        return self.receiver / self.wall


def through_logbus(service: Service, count: int, rate: float = 0.0) -> Carried:
    """Four workers with a LogbusHandler, ``count`` records each, at ``rate`` a second together or flat out."""
    base = service.lines + WORKERS * SITES
    with _workers(_log_to_logbus, service.endpoint, count, rate) as pipes:
        warm = service.wait_lines(base)
        floor = floor_seconds()
        before = service.cpu_seconds()
        begun = time.monotonic()
        results = _run(pipes)
        whole = service.wait_lines(base + WORKERS * count)
        wall = time.monotonic() - begun
        receiver = service.cpu_seconds() - before
        floor = (floor + floor_seconds()) / 2
    lost = sum(int(lost) for _, lost in results)
    if not (warm and whole):
        lost += abs(base + WORKERS * count - service.lines)
    return Carried(receiver, sum(cpu for cpu, _ in results), wall, WORKERS * count, lost, floor)


def through_queue(directory: Path, count: int) -> Carried:
    """Four workers with a QueueHandler, ``count`` records each flat out, and a process with a QueueListener."""
    path = directory / "mp_queue.jsonl"
    path.unlink(missing_ok=True)
    context = multiprocessing.get_context("spawn")
    waiting: Queue[Any] = context.Queue()
    with _spawned(context, _listen, (waiting, str(path))) as (listener, pipe):
        _receive(pipe)
        with _workers(_log_to_queue, waiting, count, 0.0) as pipes:
            _wait_written(path, WORKERS * SITES)
            floor = floor_seconds()
            before = cpu_seconds(listener.pid or 0)
            begun = time.monotonic()
            results = _run(pipes)
        pipe.send("stop")
        _receive(pipe)
        wall = time.monotonic() - begun
        receiver = cpu_seconds(listener.pid or 0) - before
        floor = (floor + floor_seconds()) / 2
    lines = path.read_bytes().count(b"\n")
    lost = abs(WORKERS * (count + SITES) - lines)
    return Carried(receiver, sum(cpu for cpu, _ in results), wall, WORKERS * count, lost, floor)


# ── in the workers ──────────────────────────────────────────────────────────────────────────────────────────────────


def _log_to_logbus(pipe: Connection, endpoint: str, count: int, rate: float) -> None:
    import logbus

    logging.getLogger().addHandler(logbus.LogbusHandler(endpoint))

    def drain() -> None:
        if not logbus.flush(PATIENCE_S):
            raise RuntimeError(f"nobody took the records within {PATIENCE_S:g} s")

    def lost() -> int:
        return sum(logbus.stats().dropped.values())

    _log(pipe, count, rate, drain, lost)


def _log_to_queue(pipe: Connection, waiting: Queue[Any], count: int, rate: float) -> None:
    logging.getLogger().addHandler(logging.handlers.QueueHandler(waiting))

    def drain() -> None:
        waiting.close()
        waiting.join_thread()

    _log(pipe, count, rate, drain, lambda: 0)


def _log(pipe: Connection, count: int, rate: float, drain: Callable[[], None], lost: Callable[[], int]) -> None:
    """A few records to wake everything up; then, at a signal, those that count."""
    log = logging.getLogger(LOGGER)
    logging.getLogger().setLevel(logging.INFO)
    log_records(log, SITES)
    pipe.send("ready")
    pipe.recv()
    before = time.process_time()
    if rate:
        log_paced(log, count, rate / WORKERS)
    else:
        log_records(log, count)
    drain()
    pipe.send((time.process_time() - before, lost()))
    pipe.recv()


def _listen(pipe: Connection, waiting: Queue[Any], path: str) -> None:
    file = logging.FileHandler(path)
    file.setFormatter(JsonLine())
    listener = logging.handlers.QueueListener(waiting, file)
    listener.start()
    pipe.send("ready")
    pipe.recv()
    listener.stop()
    pipe.send("done")
    pipe.recv()


# ── around them ─────────────────────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _spawned(
    context: SpawnContext, target: Callable[..., None], arguments: tuple[Any, ...]
) -> Iterator[tuple[SpawnProcess, Connection]]:
    """A process, just started, and the pipe to it. It ends with the block: when it is told to, or by force."""
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(theirs, *arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        yield process, ours
        ours.send("end")
        process.join(PATIENCE_S)
    finally:
        if process.is_alive():
            process.kill()
            process.join()
        ours.close()
        process.close()


@contextlib.contextmanager
def _workers(
    target: Callable[..., None], destination: str | Queue[Any], count: int, rate: float
) -> Iterator[Sequence[Connection]]:
    """The pipes to four workers that are ready to log."""
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        arguments = (destination, count, rate)
        pipes = [stack.enter_context(_spawned(context, target, arguments))[1] for _ in range(WORKERS)]
        for pipe in pipes:
            _receive(pipe)
        yield pipes


def _run(pipes: Sequence[Connection]) -> list[tuple[float, int]]:
    """Tells the workers to log; (CPU seconds, records lost) of each."""
    for pipe in pipes:
        pipe.send("go")
    return [_receive(pipe) for pipe in pipes]


def _receive(pipe: Connection) -> Any:
    if not pipe.poll(_TIMEOUT_S):
        raise RuntimeError(f"a process of the benchmark did not answer within {_TIMEOUT_S:g} s")
    return pipe.recv()


def _wait_written(path: Path, lines: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while path.read_bytes().count(b"\n") < lines and time.monotonic() < deadline:
        time.sleep(0.01)
