"""The workers of a benchmark, from the outside: they are told what to log, and say what it has cost them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.scale.memory import Memory
from benchmarks.scale.work import Flow, Task
from benchmarks.service import cpu_seconds, environment

#: Seconds for all of them to drain and end.
_ENDING_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Worked:
    """What some workers have done together; seconds are CPU time of all.

    ``floor_total_s`` is what ``floor_records`` records have cost that a null handler got beside the others. ``emitted``
    to ``buffered`` are the counters of the producers, since these began; 0 where nobody asked for them. ``backlog`` is
    the most that each of their buffers held after a burst since the last report, added up, if their flow looks at it.
    """

    records: int
    process_s: float
    thread_s: float
    floor_total_s: float
    floor_records: int
    wall_s: float
    emitted: int
    sent: int
    dropped: int
    buffered: int
    backlog: int

    @classmethod
    def of(cls, reports: Sequence[Mapping[str, Any]]) -> Self:
        """The sum of what each says; the longest of their times."""
        return cls(
            sum(report["records"] for report in reports),
            sum(report["process_s"] for report in reports),
            sum(report["thread_s"] for report in reports),
            sum(report["floor_s"] for report in reports),
            sum(report["floor_records"] for report in reports),
            max(report["wall_s"] for report in reports),
            sum(report.get("emitted", 0) for report in reports),
            sum(report.get("sent", 0) for report in reports),
            sum(sum(report.get("dropped", {}).values()) for report in reports),
            sum(report.get("queued", 0) for report in reports),
            sum(report.get("backlog", 0) for report in reports),
        )

    def since(self, earlier: Self) -> Self:
        """What they have done since then; the counters of the producers stay those since their beginning."""
        return replace(
            self,
            records=self.records - earlier.records,
            process_s=self.process_s - earlier.process_s,
            thread_s=self.thread_s - earlier.thread_s,
            floor_total_s=self.floor_total_s - earlier.floor_total_s,
            floor_records=self.floor_records - earlier.floor_records,
            wall_s=self.wall_s - earlier.wall_s,
        )

    def costs(self) -> tuple[float, float, float]:
        """Microseconds per record: in the calling thread, in the process, and of the floor."""
        records = max(self.records, 1) / 1e6
        return self.thread_s / records, self.process_s / records, self.floor_total_s / max(self.floor_records, 1) * 1e6


class Crew:
    """Workers, forked from one process and welcomed; they drain and end with the block.

    ``seconds`` is how long that took: the forks, ``configure()`` in each, and the welcomes.
    """

    def __init__(self, task: Task, directory: Path, *, python: str = sys.executable) -> None:
        self._process = subprocess.Popen(
            [python, "-m", "benchmarks.scale.work", json.dumps(asdict(task))],
            cwd=directory,
            env=environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is for the one who ends them
        )
        try:
            ready = self._heard()
        except BaseException:
            self._kill()
            raise
        self.pids: list[int] = ready["pids"]
        self.seconds: float = ready["seconds"]

    def begin(self, flow: Flow, *, staggered: bool = True) -> None:
        """Has each log a flow. ``staggered``: spread over one burst's interval, as those of real workers are."""
        order = {"do": "begin", **asdict(flow)}
        if staggered and flow.rate:
            order["phases"] = flow.burst / flow.rate
        self._order(order)

    def finish(self) -> Worked:
        """Waits until each has logged its count, and all of it has left it."""
        return Worked.of(self._order({"do": "finish"}))

    def halt(self) -> Worked:
        """Has them log no more; what they have done, once all of it has left them."""
        return Worked.of(self._order({"do": "halt"}))

    def rest(self) -> None:
        """Has them log no more; returns when all of it has left them. They have been asked for no counters."""
        self._order({"do": "rest"})

    def report(self) -> Worked:
        """What they have done so far."""
        return Worked.of(self._order({"do": "report"}))

    def spent(self) -> Worked:
        """The same without the counters of their producers, for which logbus would load something in each."""
        return Worked.of(self._order({"do": "spent"}))

    def cpu_seconds(self) -> float:
        """CPU time of all of them so far, with that of the benchmark's own part in them."""
        return sum(cpu_seconds(pid) for pid in self.pids)

    def memory(self) -> Memory:
        """What memory one of them takes: the median."""
        return Memory.median(self.pids)

    def rss(self) -> list[float]:
        """The resident set of each, MiB."""
        return [round(Memory.of(pid).rss, 3) for pid in self.pids]

    def end(self) -> None:
        """Ends them; returns when each has drained and gone. Raises RuntimeError when one did not end well."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if code := self._process.wait(_ENDING_S):
            raise RuntimeError(f"{code} workers did not end well")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._process.poll() is None:
                self.end()
        finally:
            self._kill()

    def _order(self, order: Mapping[str, Any]) -> list[dict[str, Any]]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answers: list[dict[str, Any]] = self._heard()
        return answers

    def _heard(self) -> Any:
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("the workers have died")
        return json.loads(line)

    def _kill(self) -> None:
        """All of them at once: one that saw the others go would still tidy up, in a directory that is being removed."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()
