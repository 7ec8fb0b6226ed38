"""A crowd of workers and the operator who sets their levels; and the court over what each worker has passed through.

The witness is the crowd's journal (``tests/programs/crowd.py``): it is written by the workers, and knows nothing of
what the collector says of them.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from logbus.bus import Endpoint, control_endpoint
from logbus.cli.client import request
from logbus.rules import Levels, Table
from tests.collector_command import ROOT, child_environment
from tests.eventually import eventually
from tests.group import end_group
from tests.programs import crowd as program

#: Seconds that a crowd may take to come to life, to take a version or to end, on a machine that does other things.
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one worker: a version of the rules, whether every front has taken it, and what loggers have then."""

    worker: str
    pid: int
    at: float
    ledger: str
    version: int
    taken: bool
    levels: Mapping[str, int]


class Crowd:
    """Workers that run, of one name; ended with the test."""

    _numbers = itertools.count()

    def __init__(self, directory: Path, workers: int, **options: Any) -> None:
        self.journal = directory / f"crowd-{next(self._numbers)}.jsonl"
        self.journal.touch()
        self._offset = 0
        self._rest = b""
        self._steps: list[Step] = []
        self._ready: dict[str, dict[str, Any]] = {}
        options = {"name": "w", **options}
        self._errors = self.journal.with_suffix(".err")
        crowd = program.Crowd(str(self.journal), workers=workers, **options)
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.programs.crowd", json.dumps(asdict(crowd))],
                env=child_environment(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.workers = workers

    def wait_ready(self) -> Crowd:
        """Itself, once every worker has said its first words."""
        eventually(lambda: len(self.pids()) == self.workers, PATIENCE, what=f"{self.workers} workers: {self.errors}")
        return self

    @property
    def errors(self) -> str:
        """What any of them has written to stderr."""
        return self._errors.read_text(errors="replace")

    def pids(self) -> dict[str, int]:
        """The process of each worker that is ready."""
        self._read()
        return {name: line["pid"] for name, line in self._ready.items()}

    def first_levels(self) -> dict[str, dict[str, int]]:
        """The levels that each worker had as it was ready."""
        self._read()
        return {name: line["levels"] for name, line in self._ready.items()}

    def steps(self) -> list[Step]:
        """Every step so far, in the order in which they were written: of one worker, in its order."""
        self._read()
        return self._steps

    def last(self) -> dict[str, Step]:
        """The last step of each worker."""
        return {step.worker: step for step in self.steps()}

    def signal(self, names: Collection[str], number: int) -> None:
        """Sends a signal to some of the workers."""
        pids = self.pids()
        for name in names:
            os.kill(pids[name], number)

    def end(self) -> str:
        """Ends every worker; what they have written to stderr."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            self.process.stdin.close()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.errors

    def kill(self) -> None:
        """Ends every worker at once, whatever it does."""
        end_group(self.process)
        if self.process.stdin is not None:
            self.process.stdin.close()

    def _read(self) -> None:
        with self.journal.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for text in lines:
            line = json.loads(text)
            if line.pop("event") == "ready":
                self._ready[line["worker"]] = line
            else:
                self._steps.append(Step(**line))


class Operator:
    """Gives orders over the control socket of a runtime directory, as the commands do, without starting a process."""

    def __init__(self, runtime: Path, name: str = "default") -> None:
        self.control: Endpoint = control_endpoint(f"ipc://{runtime}/{name}/control")

    def set_level(
        self,
        level: int,
        component: str = "rotator",
        *,
        wait: float = PATIENCE,
        timeout: float | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """The answer to ``set-level``, which waits for confirmations at most ``wait`` seconds."""
        command = {"command": "set_level", "selector": component, "level": level, "force": True, "wait_seconds": wait}
        return request({**command, **more}, control=self.control, timeout=timeout or wait + 10)

    def reset(self, *, wait: float = PATIENCE) -> dict[str, Any]:
        """The answer to ``reset-level --all``."""
        command = {"command": "reset_level", "all": True, "wait_seconds": wait}
        return request(command, control=self.control, timeout=wait + 10)

    def levels(self) -> dict[str, Any]:
        """What ``levels --json`` says."""
        return request({"command": "levels"}, control=self.control, timeout=PATIENCE)

    def wait_current(self, names: Collection[str], timeout: float = PATIENCE) -> dict[str, Any]:
        """What ``levels`` says once exactly these workers are there and have the newest version."""

        def look() -> dict[str, Any]:
            document = self.levels()
            rows = document["workers"]
            assert sorted(row["worker"] for row in rows) == sorted(names), f"workers: {len(rows)} of {len(names)}"
            behind = [row["worker"] for row in rows if not row["current"]]
            assert not behind, f"behind: {behind}"
            return document

        return eventually(look, timeout)


def expected(document: Mapping[str, Any], step: Step, *, otherwise: int) -> dict[str, int]:
    """The levels that the rules of a collector mean for a worker; ``otherwise`` is that of nobody's logger."""
    rules = Levels.of({key: document[key] for key in ("ledger", "version")} | {"rules": _plain(document)}).rules
    table = Table(rules, worker=step.worker, pid=step.pid, host=os.uname().nodename)
    levels = {name: table.decide(name).level for name in step.levels}
    return {name: otherwise if level is None else level for name, level in levels.items()}


def _plain(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in rule.items() if key != "remaining_seconds"} for rule in document["rules"]]


def check_monotony(steps: Collection[Step]) -> int:
    """Holds that nobody went backwards within a ledger, or back to a ledger that it had left. Returns the changes."""
    changes = 0
    for worker, passed in _by_worker(steps).items():
        seen: dict[str, int] = {}
        current = ""
        for step in passed:
            if step.ledger != current:
                assert step.ledger not in seen, f"{worker} went back to ledger {step.ledger}: {passed}"
                current = step.ledger
            assert step.version >= seen.get(current, 0), f"{worker} went back from {seen[current]} to {step}"
            changes += step.version > seen.get(current, -1)
            seen[current] = step.version
    return changes


def _by_worker(steps: Collection[Step]) -> dict[tuple[str, int], list[Step]]:
    found: dict[tuple[str, int], list[Step]] = defaultdict(list)
    for step in steps:
        found[step.worker, step.pid].append(step)
    return found


@contextlib.contextmanager
def stopped(crowd: Crowd, names: Collection[str]) -> Iterator[None]:
    """Some workers stopped by SIGSTOP for a while, and really so before it goes on."""
    pids = crowd.pids()
    crowd.signal(names, signal.SIGSTOP)
    try:
        for name in names:
            path = Path(f"/proc/{pids[name]}/stat")
            eventually(lambda path=path: path.read_text().rpartition(")")[2].split()[0] == "T")  # type: ignore[misc]
        yield
    finally:
        crowd.signal(names, signal.SIGCONT)
