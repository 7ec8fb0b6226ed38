"""Sampling in a real collector: whole requests at their rate, what went wrong, and a ledger that knows the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.chance import limit_of, request_number
from tests.collector_command import CollectorCommand
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender
from tests.integration.watch import lines_of, settled, sink_of, status_of
from tests.sampled import Load, configured

#: Requests sent together.
BATCH = 400
#: Seconds of a window that ends while a test waits.
WINDOW = 0.5


def requests_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of a file by their request."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines_of(path):
        if "request_id" in line:
            found[line["request_id"]].append(line)
    return found


def all_in(collector: CollectorCommand, load: Load) -> dict[str, Any]:
    """The status once everything that was sent is collected, and the books balance."""
    return settled(
        collector,
        lambda status: (
            status["balanced"]
            and sum(row["collected"] for row in status["workers"] if row["worker"] != "logbus") == sum(load.sent)
        ),
    )


def events_of(path: Path, event: str) -> list[dict[str, Any]]:
    """The collector's own records of an event."""
    return [line for line in lines_of(path) if line["worker"] == "logbus" and line["extra"].get("event") == event]


@pytest.mark.soak
def test_a_tenth_of_the_requests_by_key(
    start_collector: StartCollector, tmp_path: Path, scale: Callable[[int, int], int]
) -> None:
    """Within three sigma, each whole in every sink, every error there; offered is delivered and sampled out."""
    count, rate = scale(100_000, 2_000), 0.1
    sample = {"rate": rate, "key": "request_id"}
    collector = start_collector(
        *configured(
            tmp_path,
            {"name": "a", "sample": sample},
            {"name": "b", "format": "json", "sample": {**sample, "keep": "ERROR"}, "static_fields": {"env": "test"}},
        )
    )
    names = [f"req-{number:08x}" for number in range(count)]
    errors = set(names[::50])
    with RawSender(collector.endpoint) as sender:
        load = Load(sender)
        for start in range(0, count, BATCH):
            part = names[start : start + BATCH]
            load.send(0, *[(name, False) for name in part])
            load.send(1, *[(name, name in errors) for name in part], *[(name, False) for name in part])
        load.end()
        status = all_in(collector, load)
        settled(collector, lambda status: not any(row["queued"] for row in status["sinks"]))
    status = status_of(collector)
    for sink in "ab":
        found = requests_of(tmp_path / f"{sink}.jsonl")
        lucky = {name for name in names if request_number(name) < limit_of(rate)}
        assert abs(len(lucky) - count * rate) <= 3 * math.sqrt(count * rate * (1 - rate))
        assert set(found) == lucky | errors
        for name, lines in found.items():
            assert len(lines) == (3 if name in lucky else 1)
            assert [line.get("sample_rate") for line in lines] == [
                None if line["level"] == "ERROR" else rate for line in lines
            ]
        row = sink_of(status, sink)
        written = sum(map(len, found.values()))
        assert row["sampled_out"] == 3 * count - written
        assert row["offered"] == row["delivered"] + row["sampled_out"]
        # Counts can be restored from what was kept.
        restored = sum(1 / line.get("sample_rate", 1.0) for lines in found.values() for line in lines)
        assert restored == pytest.approx(3 * count, rel=0.3 if count < 10_000 else 0.05)
    assert status["balanced"]


def test_the_first_of_a_call_site_and_a_count_of_the_rest(start_collector: StartCollector, tmp_path: Path) -> None:
    """One record a sink and interval says what was left out, in every sink, and nothing else is said."""
    sample = {"first": 5, "interval": "200 ms"}
    collector = start_collector(*configured(tmp_path, {"name": "few", "sample": sample}, {"name": "all"}))
    with RawSender(collector.endpoint) as sender:
        load = Load(sender)
        load.send(0, *[(None, False)] * 300, *[(None, True)] * 10)
        [told] = eventually(lambda: events_of(tmp_path / "all.jsonl", "sampled"), timeout=20) or []
        assert (told["level"], told["extra"]["sink"], told["extra"]["count"]) == ("INFO", "few", 295)
        assert told["extra"]["sites"] == [{"site": "till INFO module.function:7", "count": 295}]
        load.send(0, (None, False))
        load.end()
        settled(collector, lambda status: sink_of(status, "all")["offered"] == 312)
    collector.stop()
    assert len(events_of(tmp_path / "few.jsonl", "sampled")) == len(events_of(tmp_path / "all.jsonl", "sampled")) == 1
    kept = [line["message"] for line in lines_of(tmp_path / "few.jsonl") if line["worker"] != "logbus"]
    assert kept == [*map(str, range(5)), *map(str, range(300, 310)), "310"]


def tail(**options: Any) -> dict[str, Any]:
    """A sink that samples whole requests after the fact."""
    sample = {"rate": 0.5, "key": "request_id", "tail": True, **options}
    return {"name": "tail", "sample": sample}


def test_a_request_that_went_wrong_is_there_from_its_beginning(start_collector: StartCollector, tmp_path: Path) -> None:
    """With what other workers said of it before and after; the others are held, and the status says so."""
    collector = start_collector(*configured(tmp_path, tail(window="1 hour", rate=0)))
    path = tmp_path / "tail.jsonl"
    with RawSender(collector.endpoint) as sender:
        load = Load(sender)
        load.send(0, ("good", False), ("bad", False), ("bad", False))
        load.send(1, ("bad", False), ("good", False))
        settled(collector, lambda status: sink_of(status, "tail")["offered"] == 5)
        assert requests_of(path) == {}
        load.send(0, ("bad", True), ("bad", False))
        load.send(1, ("bad", False))
        status = settled(collector, lambda status: sink_of(status, "tail")["delivered"] == 6)
        load.end()
    [(name, lines)] = requests_of(path).items()
    assert name == "bad"
    found = [f"{line['worker']} {line['message']}" for line in lines]
    assert found == ["w0 1", "w0 2", "w1 0", "w0 3", "w0 4", "w1 2"]
    assert not any("sample_rate" in line for line in lines)
    row = sink_of(status, "tail")
    assert (row["queued"], row["held"]["records"], row["held"]["requests"]) == (2, 2, 1)
    assert status["balanced"]


def lucky_and_not(count: int, rate: float = 0.5) -> tuple[list[str], list[str]]:
    """So many names of requests that the rate keeps, and so many of others."""
    names = [f"r{at}" for at in range(100 * count)]
    lucky = [name for name in names if request_number(name) < limit_of(rate)]
    return lucky[:count], [name for name in names if name not in set(lucky)][:count]


def test_a_window_ends_though_nothing_comes(start_collector: StartCollector, tmp_path: Path) -> None:
    """What it decides is written then, stamped, or sampled out; and what comes late goes the same way."""
    collector = start_collector(*configured(tmp_path, tail(window=f"{WINDOW} s")))
    lucky, others = lucky_and_not(3)
    with RawSender(collector.endpoint) as sender:
        load = Load(sender)
        load.send(0, *[(name, False) for name in (*lucky, *others)] * 2)
        settled(
            collector,
            lambda status: (row := sink_of(status, "tail"))["sampled_out"] == 6 and row["delivered"] == 6,
        )
        load.end()
    found = requests_of(tmp_path / "tail.jsonl")
    assert {name: [line["sample_rate"] for line in lines] for name, lines in found.items()} == {
        name: [0.5, 0.5] for name in lucky
    }


@pytest.mark.parametrize("end", ["stop", "reload"])
def test_an_end_decides_what_is_held(start_collector: StartCollector, tmp_path: Path, end: str) -> None:
    """Nothing is held across a drain, or across a reload that samples otherwise; nothing is dropped by either."""
    arguments = configured(tmp_path, tail(window="1 hour"))
    collector = start_collector(*arguments)
    lucky, others = lucky_and_not(5)
    with RawSender(collector.endpoint) as sender:
        load = Load(sender)
        load.send(0, *[(name, False) for name in (*lucky, *others)] * 3)
        load.end()
        settled(collector, lambda status: sink_of(status, "tail").get("held", {}).get("records") == 30)
    if end == "stop":
        collector.stop()
        collector = start_collector(*arguments)
    else:
        configured(tmp_path, tail(window="2 hours"))
    status = settled(
        collector,
        lambda status: (row := sink_of(status, "tail"))["sampled_out"] == 15 and row["queued"] == 0,
    )
    row = sink_of(status, "tail")
    assert (row["dropped"], row["held"]["records"], status["balanced"]) == ({}, 0, True)
    found = requests_of(tmp_path / "tail.jsonl")
    assert {name: [line.get("sample_rate") for line in lines] for name, lines in found.items()} == {
        name: [0.5] * 3 for name in lucky
    }


def test_a_flood_of_requests_has_bounded_memory(start_collector: StartCollector, tmp_path: Path) -> None:
    """The oldest are sampled before their time; the status counts them, and a warning says so, once."""
    collector = start_collector(*configured(tmp_path, tail(window="1 hour", max_bytes="64 KiB"), {"name": "all"}))
    names: Sequence[str] = [f"req-{number}" for number in range(2000)]
    with RawSender(collector.endpoint) as sender:
        load = Load(sender)
        load.send(0, *[(name, False) for name in names])
        load.end()
        [told] = eventually(lambda: events_of(tmp_path / "all.jsonl", "sampled_early"), timeout=20) or []
        status = settled(collector, lambda status: sink_of(status, "tail")["offered"] >= 2001)
    held = sink_of(status, "tail")["held"]
    assert (told["level"], told["extra"]["sink"]) == ("WARNING", "tail")
    assert 0 < told["extra"]["count"] <= held["decided_early"] == 2000 - held["requests"]
    assert 0 < held["bytes"] <= 64 * 1024
    assert status["balanced"]
