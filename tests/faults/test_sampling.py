"""Collectors that are killed while sampling holds requests: what was held is lost, and counted as that."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any

from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender
from tests.integration.watch import lines_of, settled, sink_of, status_of
from tests.sampled import Load, configured

#: How often a collector is killed under load.
KILLS = 3
TAIL: dict[str, Any] = {"rate": 0.5, "key": "request_id", "tail": True}


def test_what_a_killed_collector_held_is_lost_and_counted(start_collector: StartCollector, tmp_path: Path) -> None:
    """Each record that it held is the sink's collector_lost after the restart, and each other one is where it was."""
    arguments = configured(
        tmp_path, {"name": "tail", "sample": {**TAIL, "window": "1 hour"}}, {"name": "all", "level": "INFO"}
    )
    collector = start_collector(*arguments)
    with RawSender(collector.endpoint) as sender:
        load = Load(sender)
        load.send(0, *[(f"r{at}", False) for at in range(20)])
        load.send(1, *[(f"r{at}", False) for at in range(20)], ("r3", True), ("r4", True), ("r4", False))
        status = settled(
            collector,
            lambda status: (row := sink_of(status, "tail"))["delivered"] == 7 and row["held"]["records"] == 36,
        )
        assert sink_of(status, "tail")["queued"] == 36
        collector.kill()
    collector = start_collector(*arguments)
    status = settled(collector, lambda status: sink_of(status, "all")["queued"] == 0)
    row = sink_of(status, "tail")
    assert (row["dropped"], row["queued"], row["sampled_out"]) == ({"collector_lost": 36}, 0, 0)
    assert status["balanced"], status["problems"]
    told = [line for line in lines_of(tmp_path / "all.jsonl") if line.get("extra", {}).get("event") == "restarted"]
    assert [(line["extra"]["sink"], line["extra"]["count"]) for line in told] == [("tail", 36)]
    found = [line for line in lines_of(tmp_path / "tail.jsonl") if line["worker"] != "logbus"]
    assert sorted(line["request_id"] for line in found) == ["r3"] * 3 + ["r4"] * 4
    assert row["delivered"] == len(lines_of(tmp_path / "tail.jsonl"))


def test_kills_under_load_leave_books_that_balance(start_collector: StartCollector, tmp_path: Path) -> None:
    """Whenever they come: a line in the file is delivered, and everything else is in a term of the law."""
    chance = random.Random(4)
    arguments = configured(
        tmp_path,
        {"name": "tail", "sample": {**TAIL, "window": "100 ms", "max_bytes": "64 KiB"}},
        {"name": "key", "sample": {"rate": 0.2, "key": "request_id"}},
        {"name": "first", "sample": {"first": 3, "interval": "100 ms", "rate": 0.1}},
    )
    collector = start_collector(*arguments)
    with RawSender(collector.endpoint) as sender:
        load = Load(sender)
        for number in range(KILLS):
            written = size_of(tmp_path / "key.jsonl")
            for _ in range(20 + chance.randrange(20)):
                names = [f"r{chance.randrange(300)}" for _ in range(chance.randrange(1, 60))]
                load.send(number % 2, *[(name, chance.random() < 0.02) for name in names])
            eventually(partial(grown, tmp_path / "key.jsonl", written))
            collector.kill()
            collector = start_collector(*arguments)
        load.end()
        settled(
            collector,
            lambda status: (
                status["balanced"]
                and not any(row["queued"] for row in status["sinks"])
                and all(row["state"] != "live" for row in status["workers"] if row["worker"] != "logbus")
            ),
        )
    for name in ("tail", "key", "first"):
        row = sink_of(status_of(collector), name)
        assert row["sampled_out"] > 0
        assert row["delivered"] == len(lines_of(tmp_path / f"{name}.jsonl"))
        assert row["unknown"] == 0


def size_of(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


def grown(path: Path, size: int) -> bool:
    """Whether a file has more bytes than that."""
    return size_of(path) > size
