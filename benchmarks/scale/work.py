"""Workers that are forks of one process, as those of an application server are, and do what they are told.

The program is ``python -m benchmarks.scale.work '{"workers": …}'``. It prints a line when all are there; each line on
its stdin is an order for all of them (a JSON object, see :class:`Member`), answered by a line with a list of what each
has said. It ends, and they with it, when its stdin is closed.

What a record costs a worker is the CPU time of its process without that of its main thread outside of bursts: waiting
for the next burst, for orders and for the floor's bursts is the benchmark's work. A burst of the floor stands beside
one of so many others, at the same pace, with caches as cold.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import sys
import time
import traceback
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final, NoReturn

from benchmarks.record import LOGGER
from benchmarks.scale.words import Say, words

#: Of so many bursts one has a burst of the floor beside it.
_FLOOR_EVERY: Final = 10
#: Seconds for a welcome, and for the last record to leave.
_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Task:
    """How many workers, and what they pass to ``logbus.configure``; ``bare`` ones have nothing to do with logbus."""

    workers: int
    settings: dict[str, Any] = field(default_factory=dict)
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Flow:
    """What a worker logs: ``count`` records (None: until it is told to halt), ``rate`` a second or flat out (0).

    They come in bursts of ``burst`` records, the first after ``phase`` seconds. ``backlog``: what the buffer holds
    after each of them is looked at.
    """

    count: int | None
    rate: float = 0.0
    burst: int = 50
    phase: float = 0.0
    shape: str = "reference"
    size: int = 0
    backlog: bool = False


class Member:
    """A worker. Orders: ``begin`` a flow, ``rest`` from it, ``halt`` it, ``finish`` it (one with a count), ``report``,
    and ``spent``, which asks logbus nothing.

    What logbus loads to say its counters is memory that most workers never take: only a report asks for them.
    """

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._log = logging.getLogger(LOGGER)
        self._null = logging.Logger(LOGGER, logging.INFO)
        self._null.addHandler(logging.NullHandler())
        self._flow: Flow | None = None
        self._say: Say
        self._due = 0.0
        self._bursts = self._records = self._floor_records = self._backlog = 0
        self._burst_s = self._floor_s = 0.0
        self._begun = self._process = self._thread = 0.0

    def serve(self) -> None:
        """Does what it is told until the pipe is closed."""
        while True:
            if self._flow is not None and not self._pipe.poll(self._waiting()):
                self._burst(self._flow)
                continue
            try:
                order = self._pipe.recv()
            except EOFError:
                return
            self._pipe.send(getattr(self, order.pop("do"))(**order))

    def begin(self, **flow: Any) -> bool:
        """Starts to log, and counting anew."""
        self._flow = Flow(**flow)
        self._say = words(self._flow.shape, self._flow.size)
        self._bursts = os.getpid()  # not all of them have the floor's burst at the same time
        self._records = self._floor_records = 0
        self._burst_s = self._floor_s = 0.0
        self._begun = time.monotonic()
        self._due = self._begun + self._flow.phase
        self._process, self._thread = time.process_time(), time.thread_time()
        return True

    def finish(self) -> dict[str, Any]:
        """Logs what is left of a flow's count, and reports when all of it has left the worker."""
        while self._flow is not None:
            time.sleep(self._waiting())
            self._burst(self._flow)
        return self.halt()

    def rest(self) -> bool:
        """Logs no more; answers when all of it has left the worker."""
        import logbus

        self._flow = None
        if not logbus.flush(_PATIENCE_S):
            raise RuntimeError(f"nobody took the records within {_PATIENCE_S:g} s")
        return True

    def halt(self) -> dict[str, Any]:
        """Logs no more, and reports when all of it has left the worker."""
        self.rest()
        return self.report()

    def report(self) -> dict[str, Any]:
        """What it has done since it began, and the counters of its producer.

        ``backlog`` is the most that its buffer held after a burst, since the last report.
        """
        import logbus

        backlog, self._backlog = self._backlog, 0
        return {**self.spent(), "backlog": backlog, **asdict(logbus.stats())}

    def spent(self) -> dict[str, Any]:
        """What it has done since it began."""
        outside = time.thread_time() - self._thread - self._burst_s
        return {
            "records": self._records,
            "process_s": time.process_time() - self._process - outside,
            "thread_s": self._burst_s,
            "floor_s": self._floor_s,
            "floor_records": self._floor_records,
            "wall_s": time.monotonic() - self._begun,
        }

    def _waiting(self) -> float:
        return max(0.0, self._due - time.monotonic())

    def _burst(self, flow: Flow) -> None:
        """One burst, and now and then one of the floor beside it; before it and after it in turns."""
        paired = self._bursts % _FLOOR_EVERY == 0
        before = self._bursts // _FLOOR_EVERY % 2
        if paired and before:
            self._floor(flow.burst)
        begun = time.thread_time()
        self._say(self._log, flow.burst)
        self._burst_s += time.thread_time() - begun
        if paired and not before:
            self._floor(flow.burst)
        self._bursts += 1
        self._records += flow.burst
        if flow.backlog:
            self._look()
        if flow.rate:
            self._due += flow.burst / flow.rate
        if flow.count is not None and self._records >= flow.count:
            self._flow = None

    def _look(self) -> None:
        import logbus

        self._backlog = max(self._backlog, logbus.stats().queued)

    def _floor(self, count: int) -> None:
        begun = time.thread_time()
        self._say(self._null, count)
        self._floor_s += time.thread_time() - begun
        self._floor_records += count


def _work(task: Task, number: int, pipe: Connection) -> NoReturn:
    """The life of a worker. It never goes back to where its parent is."""
    try:
        if task.bare:
            pipe.send("ready")
            Member(pipe).serve()
            os._exit(0)
        import logbus

        producer = logbus.configure(worker=f"scale-{number}", **task.settings)
        if not producer.wait_welcome(_PATIENCE_S):
            raise RuntimeError(f"no collector has welcomed it within {_PATIENCE_S:g} s")
        pipe.send("ready")
        Member(pipe).serve()
        logbus.shutdown(_PATIENCE_S)
        os._exit(0)
    except BaseException:
        traceback.print_exc(limit=-1)  # there may be two hundred of them
    finally:
        os._exit(1)


def main(task: Task) -> int:
    """The process from which all workers come: their exit codes, added up."""
    if not task.bare:
        import logbus

        _ = logbus.configure  # its modules are loaded once, here, and shared
    begun = time.monotonic()
    pipes: list[Connection] = []
    pids = []
    for number in range(task.workers):
        ours, theirs = multiprocessing.Pipe()
        pid = os.fork()
        if not pid:
            for pipe in (*pipes, ours):  # or they would outlive the one who tells them to end
                pipe.close()
            os.close(sys.stdin.fileno())
            _work(task, number, theirs)
        theirs.close()
        pipes.append(ours)
        pids.append(pid)
    for pipe in pipes:
        pipe.recv()
    print(json.dumps({"pids": pids, "seconds": time.monotonic() - begun}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        phases = order.pop("phases", None)
        for at, pipe in enumerate(pipes):
            pipe.send(order if phases is None else {**order, "phase": phases * at / len(pipes)})
        print(json.dumps([pipe.recv() for pipe in pipes]), flush=True)
    for pipe in pipes:
        pipe.close()
    return sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in pids)


if __name__ == "__main__":
    raise SystemExit(main(Task(**json.loads(sys.argv[1]))))
