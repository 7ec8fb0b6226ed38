"""A collector and workers under faults, and the court that compares the ledger with witnesses who do not trust it.

The witnesses are the workers' own counts of their calls (mmap'd, so that they survive ``kill -9``) and the lines in the
log file. Every record carries its worker, its thread and its number.
"""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.collector_command import ROOT, CollectorCommand, child_environment
from tests.eventually import eventually
from tests.programs.load import witnessed
from tests.rotating import rotated

#: Seconds that a worker or the ledger may take to come to rest after a fault.
SETTLE = 30.0

StartCollector = Callable[..., CollectorCommand]


@dataclass
class Worker:
    """One load process and what it was told to do."""

    name: str
    witness: Path
    process: subprocess.Popen[bytes]
    killed: bool = False

    def end(self, how: int) -> None:
        """Ends it by a signal."""
        self.killed = self.killed or how == signal.SIGKILL
        self.process.send_signal(how)

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(SETTLE)


@dataclass
class Scenario:
    """A collector that writes JSON to one file, and its workers. ``collector_killed`` once it was ended by SIGKILL.

    ``keys`` are more of the sink's: with a rotation its lines are in several files.
    """

    directory: Path
    start_collector: StartCollector
    seed: int = 0
    keys: str = ""
    collector: CollectorCommand = field(init=False)
    workers: list[Worker] = field(default_factory=list)
    collector_killed: bool = False

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.log = self.directory / "records.jsonl"
        self.start()

    def start(self) -> None:
        """Starts the collector (again)."""
        self.collector = self.start_collector("--sink", f"file:{self.log}{self.keys}", directory=self.directory)

    @property
    def files(self) -> list[Path]:
        """The files of the sink that are there, in the order of their lines."""
        return [*rotated(self.log), *([self.log] if self.log.exists() else [])]

    def kill_collector(self) -> None:
        """SIGKILL, as a crash would."""
        self.collector_killed = True
        self.collector.kill()

    def restart_collector(self) -> None:
        """SIGTERM, the drain, and a new one."""
        assert self.collector.stop() == 0
        self.start()

    def work(self, count: int, *, patience: float = 2.0, **options: Any) -> Worker:
        """Starts a worker that logs ``count`` records in each thread, and drains for ``patience`` seconds at most."""
        name = f"w{len(self.workers)}"
        witness = self.directory / f"{name}.witness"
        load = {"name": name, "witness": str(witness), "count": count, "seed": self.seed, **options}
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.programs.load", json.dumps(load)],
            env=child_environment(LOGBUS_SHUTDOWN_TIMEOUT=f"{patience:g}"),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )
        worker = Worker(name, witness, process)
        self.workers.append(worker)
        return worker

    def wait_written(self, lines: int) -> None:
        """Waits until the log has at least so many lines."""
        eventually(lambda: self.log.exists() and self.log.read_bytes().count(b"\n") >= lines, SETTLE, what="lines")

    def wait_begun(self, worker: Worker, calls: int) -> None:
        """Waits until a worker has begun so many calls, or has ended."""

        def begun() -> bool:
            return worker.process.poll() is not None or (
                worker.witness.exists() and worker.witness.stat().st_size > 0 and witnessed(worker.witness)[0] >= calls
            )

        eventually(begun, SETTLE, what=f"{calls} calls of {worker.name}")

    def end(self) -> None:
        """Ends what still runs, so that a failed scenario leaves no process behind."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait(SETTLE)

    def settled(self) -> dict[str, Any]:
        """The status once every worker that ended is closed and nothing is queued."""
        ended = {worker.name for worker in self.workers if worker.process.poll() is not None}

        def look() -> dict[str, Any]:
            status = self.collector.status()
            rows = {row["worker"] for row in status["workers"] if row["state"] != "live"}
            assert rows >= ended, f"{ended - rows} not closed"
            assert all(sink["queued"] == 0 for sink in status["sinks"]), status["sinks"]
            return status

        return eventually(look, SETTLE)

    def judge(self) -> dict[str, Any]:
        """Holds the ledger against the witnesses, after every worker has ended. Returns the status."""
        status = self.settled()
        lines = [line for path in self.files for line in read_lines(path)]
        assert status["balanced"], status["problems"]
        own = [line for line in lines if line["worker"] == "logbus"]
        rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in status["workers"]:
            rows[row["worker"]].append(row)
        [sink] = status["sinks"]
        assert sink["delivered"] == len(lines), "the file has other lines than the ledger says"
        assert sink["unknown"] == sink["duplicated"] == sink["filtered"] == 0, sink
        assert sink["offered"] == sum(row["collected"] for row in status["workers"])
        missing_in_file = 0
        for worker in self.workers:
            [row] = rows[worker.name]
            begun, returned = witnessed(worker.witness)
            assert returned <= row["emitted"] <= begun, (worker.name, returned, row, begun)
            assert row["exact"], row
            assert row["unknown"] == row["in_flight"] == row["duplicated"] == 0, row
            assert row["emitted"] == row["collected"] + sum(row["dropped"].values()), row
            written = [line for line in lines if line["worker"] == worker.name]
            _check_order(written)
            assert len(written) <= row["collected"], row
            missing_in_file += row["collected"] - len(written)
            if not worker.killed and not self.collector_killed:
                told = [(line["timestamp"], line["message"], line["extra"]) for line in own]
                assert set(row["dropped"]) <= {"high_water_mark", "shutdown"}, (row, told)
        missing_in_file += sum(row["collected"] for row in rows["logbus"]) - len(own)
        assert missing_in_file == sum(sink["dropped"].values()), (missing_in_file, sink)
        assert not any(b"hunter2" in content(path) for path in self.files)
        return status


def content(path: Path) -> bytes:
    """What is in a log file, also in a compressed one."""
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a log file as its record; each must be whole."""
    data = content(path)
    assert data.endswith(b"\n") or not data, f"{path} ends in a torn line"
    return [json.loads(line) for line in data.splitlines()]


def _check_order(lines: list[dict[str, Any]]) -> None:
    """Each record of a worker once, and those of each thread in their order."""
    last: dict[int, int] = {}
    for line in lines:
        thread, number = line["extra"]["lane"], line["extra"]["number"]
        assert number > last.get(thread, -1), f"thread {thread}: {number} after {last[thread]}"
        last[thread] = number
