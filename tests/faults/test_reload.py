"""The figure of reloads: a collector under load whose configuration changes all the while loses and reorders nothing.

Three witnesses: a file sink that no reload touches; a sink that takes everything too and is another one after each
reload (name, path, format), so that its files together must hold each record once; and the kernel's own list of the
threads and descriptors of the process.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from logbus.bus import Endpoint
from logbus.cli import client
from logbus.errors import ControlError
from tests.conftest import SOAK, StartCollector
from tests.eventually import eventually
from tests.faults.scenario import Scenario, read_lines
from tests.programs.load import witnessed

#: Seconds for one reload, however it was asked for, on a machine that is busy.
PATIENCE = 20.0
#: One line of a load, in text and in logfmt: worker and number.
_TEXT = re.compile(r"Z \w+ +(w\d+) +load +load: +record (\d+) ")
_TEXT_OF_OURS = re.compile(r"Z \w+ +logbus +logbus ")
_LOGFMT_WORKER = re.compile(r" worker=(\w+)")
_LOGFMT_NUMBER = re.compile(r' message="record (\d+)[ "]')


@dataclass
class Reloaded(Scenario):
    """A collector with a configuration file, which the test writes anew."""

    config: Path = field(init=False)
    calls: int = 0

    def start(self) -> None:
        """Starts the collector with the first configuration."""
        self.config = self.directory / "c.json"
        self.write([])
        self.collector = self.start_collector("--config", str(self.config), directory=self.directory)
        self.control = Endpoint.parse(self.collector.control)

    def write(self, sinks: list[dict[str, Any]], **sections: Any) -> None:
        """A configuration with the witness and other sinks, put in the place of the old one in one step."""
        witness = {"type": "file", "name": "witness", "path": str(self.log)}
        new = self.config.with_suffix(".new")
        new.write_text(json.dumps({"sinks": [witness, *sinks], **sections}))
        new.replace(self.config)

    def said(self) -> tuple[int, str | None]:
        """Which version of the configuration is in force, and why a later one is not."""
        answer = client.request({"command": "describe"}, control=self.control, timeout=PATIENCE)
        part = answer["collector"]["configuration"]
        return part["version"], part["error"]

    def reload(self, how: str, *, wrong: str | None) -> None:
        """Has the file read in one of three ways; ``wrong`` is what the error must say."""
        version, _ = self.said()
        if how == "command":
            if wrong is None:
                client.request({"command": "reload"}, control=self.control, timeout=PATIENCE)
            else:
                with pytest.raises(ControlError, match=re.escape(wrong)):
                    client.request({"command": "reload"}, control=self.control, timeout=PATIENCE)
        elif how == "signal":
            os.kill(self.collector.process.pid, signal.SIGHUP)

        def done() -> bool:
            now, error = self.said()
            return now == version + 1 and error is None if wrong is None else wrong in (error or "")

        eventually(done, PATIENCE, what=f"reload by {how}, {wrong or 'valid'}")
        assert self.said()[0] == version + (wrong is None)

    def holds(self) -> tuple[int, int]:
        """Threads and descriptors of the collector."""
        process = Path(f"/proc/{self.collector.process.pid}")
        return len([*(process / "task").iterdir()]), len([*(process / "fd").iterdir()])


@pytest.fixture
def run(directories: Path, start_collector: StartCollector) -> Iterator[Reloaded]:
    """A collector, and workers that end with the test."""
    scenario = Reloaded(directories, start_collector, seed=3)
    yield scenario
    scenario.end()


def numbers_of(path: Path) -> list[tuple[str, int]]:
    """Worker and number of each line of the loads in a file of JSON, text and logfmt lines, in order."""
    found = []
    data = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    assert data.endswith("\n") or not data, f"{path} ends in a torn line"
    for line in data.splitlines():
        if line.startswith("{"):
            record = json.loads(line)
            if record["worker"] != "logbus":
                found.append((record["worker"], record["extra"]["number"]))
        elif line.startswith("timestamp="):
            worker, number = _LOGFMT_WORKER.search(line), _LOGFMT_NUMBER.search(line)
            assert worker, line
            if worker[1] != "logbus":
                assert number, line
                found.append((worker[1], int(number[1])))
        elif not _TEXT_OF_OURS.search(line):
            match = _TEXT.search(line)
            assert match, line
            found.append((match[1], int(match[2])))
    return found


def check_each_once(files: list[Path], emitted: dict[str, int]) -> None:
    """Every record is once in the files, and in each of them in the order of its worker."""
    seen: dict[str, list[int]] = defaultdict(list)
    for path in files:
        last: dict[str, int] = {}
        for worker, number in numbers_of(path):
            assert number > last.get(worker, -1), f"{path}: {worker} {number} after {last[worker]}"
            last[worker] = number
            seen[worker].append(number)
    assert {worker: len(numbers) for worker, numbers in seen.items()} == emitted
    assert all(sorted(numbers) == [*range(emitted[worker])] for worker, numbers in seen.items())


def a_rover(rng: random.Random, directory: Path) -> dict[str, Any]:
    """A sink that takes everything, under one of two names, in one of three files that may be rotated, in one of three
    formats.
    """
    path = directory / f"rover-{rng.randrange(3)}.log"
    rover: dict[str, Any] = {
        "type": "file",
        "name": rng.choice(("r0", "r1")),
        "path": str(path),
        "format": rng.choice(("json", "json", "text", "logfmt")),
    }
    if rng.random() < 0.5:
        rover["rotation"] = rng.choice(("100 kB", ["150 kB", "1 s"], "00:00"))
        rover["retention"] = rng.choice(("1 day", ["10000 files", "1 GB"]))
        if rng.random() < 0.5:
            rover["compression"] = "gz"
    if rng.random() < 0.5:
        rover["where"] = rng.choice(({"number": {"ge": 0}}, [{"logger": {"matches": "^l"}}, {"worker": "logbus"}]))
    if rng.random() < 0.5:
        rover["static_fields"] = {"shard": rng.randrange(3)}
    return rover


def a_configuration(rng: random.Random, directory: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The sinks and the other sections of a right configuration."""
    sinks = [a_rover(rng, directory)]
    if rng.random() < 0.7:
        sinks.append({"type": "console", "name": "c", "format": rng.choice(("json", "text")), "level": "ERROR"})
    if rng.random() < 0.7:
        side: dict[str, Any] = {"type": "file", "name": "side", "path": str(directory / "side.log"), "format": "json"}
        side |= {"level": rng.choice(("DEBUG", "ERROR")), "exclude_components": rng.choice(([], ["x"]))}
        side["sample"] = rng.choice(
            (
                {"rate": 0.5},
                {"rate": 0.1, "key": "number", "keep": "ERROR"},
                {"first": 3, "interval": "100 ms"},
                {"rate": 0.2, "key": "number", "tail": True, "window": "500 ms"},
            )
        )
        sinks.append({**side, "rename_fields": rng.choice(({}, {"message": "msg"}))})
    rng.shuffle(sinks)
    sections: dict[str, Any] = {}
    if rng.random() < 0.5:
        sections["redaction"] = {"fields": ["password", rng.choice(("pin", "puk"))]}
        sections["redaction"]["patterns"] = rng.choice(([], ["acct-[0-9]{8}"]))
    if rng.random() < 0.5:
        sections["levels"] = {"load.nobody": rng.choice(("DEBUG", "INFO"))}
    return sinks, sections


def spoil(run: Reloaded, rng: random.Random, number: int) -> str:
    """Writes a wrong configuration; returns what the error must say."""
    rover = a_rover(rng, run.directory)
    kind = rng.choice(("syntax", "key", "open", "fixed", "gone"))
    if kind == "syntax":
        run.config.write_text(f'{{"wrong": {number}')
        return "not valid JSON"
    if kind == "key":
        run.write([rover], **{f"key{number}": 1})
        return f"key{number}: unknown key"
    if kind == "open":
        run.write([rover, {"type": "file", "name": "x", "path": f"/proc/nowhere/{number}"}])
        return f"/proc/nowhere/{number}: can't be opened"
    if kind == "fixed":
        run.write([rover], metrics={"address": f"127.0.0.1:{20000 + number}"})
        return f'metrics.address: needs a restart; the default is in force, found "127.0.0.1:{20000 + number}"'
    run.config.unlink()
    return "can't be read: No such file or directory"


@pytest.mark.soak
@pytest.mark.timeout(900 if SOAK else 120)
def test_reloads_under_load(run: Reloaded, scale: Callable[[int, int], int]) -> None:
    """Many reloads under load, a third of them invalid: none lost, none reordered, nothing leaked, all balanced."""
    reloads, rate, workers = scale(500, 24), scale(5000, 500), scale(4, 2)
    rng = run.random
    rover = {"type": "file", "name": "r0", "path": str(run.directory / "rover-0.log")}
    run.write([rover])
    run.reload("command", wrong=None)
    run.said()
    held = run.holds()
    settings = {"capacity": 500_000, "capacity_bytes": 1 << 30, "shutdown_timeout": 60}
    for _ in range(workers):
        run.work(rate * scale(120, 60), rate=rate, settings=settings)
    for worker in run.workers:
        run.wait_begun(worker, 100)
    invalid = 0
    for number in range(reloads):
        how = "file" if number % 8 == 7 else rng.choice(("command", "signal", "signal"))
        if number % 3 == 2:
            invalid += 1
            run.reload(how, wrong=spoil(run, rng, number))
        else:
            sinks, sections = a_configuration(rng, run.directory)
            run.write(sinks, **sections)
            run.reload(how, wrong=None)
        if rng.random() < 0.2:
            begun = witnessed(run.workers[0].witness)[0]
            run.wait_begun(run.workers[0], begun + rate // 20)
    assert [worker.process.poll() for worker in run.workers] == [None] * workers, "the load ended too soon"
    for worker in run.workers:
        worker.process.send_signal(signal.SIGTERM)
        worker.wait()
    run.write([rover])
    run.reload("signal", wrong=None)
    status = run.settled()

    assert invalid == reloads // 3
    assert status["balanced"], status["problems"]
    emitted = {row["worker"]: row["emitted"] for row in status["workers"] if row["worker"] != "logbus"}
    assert all(row["dropped"] == {} and row["unknown"] == 0 for row in status["workers"]), status["workers"]
    for worker in run.workers:
        begun, returned = witnessed(worker.witness)
        assert returned <= emitted[worker.name] <= begun
    rows = {row["name"]: row for row in status["sinks"]}
    assert all(row["dropped"] == {} and row["unknown"] == 0 for row in rows.values()), rows
    assert rows["witness"]["delivered"] == len(read_lines(run.log))
    assert rows["r0"]["state"] == "ok"
    assert all(rows[name]["state"] == "removed" for name in rows if name not in ("witness", "r0"))
    check_each_once([run.log], emitted)
    # A compressed form that is whole stands beside the plain file until that is removed.
    rovers = [path for path in run.directory.glob("rover-*.log*") if not path.with_name(f"{path.name}.gz").exists()]
    assert len(rovers) > 3, "nothing was rotated"
    check_each_once(rovers, emitted)
    assert not [path for path in run.directory.glob("*.log") if "hunter2" in path.read_text()]
    # The same threads, and no more descriptors: what was open for a moment at the first look need not come back.
    eventually(
        lambda: (now := run.holds())[0] == held[0] and now[1] <= held[1],
        PATIENCE,
        what=f"{held} threads and descriptors, now {run.holds()}",
    )
