"""The exchange of routes at a reload: prepared beside the old, committed at once, or cancelled without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from logbus.collectors import route as route_module
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat
from logbus.collectors.plan import Slot
from logbus.collectors.route import Destination
from logbus.collectors.sinks.file import FileSink
from logbus.errors import ControlError, SinkError
from tests.bench import Gated, RouterBench
from tests.eventually import eventually
from tests.frames import producer


class Bench(RouterBench):
    """A router on a ledger, with file sinks by name and path."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.format = JsonFormat()

    def file(self, name: str, path: str) -> Destination:
        """A file sink that takes everything."""
        place = self.directory / path
        return Destination(
            FileSink(name, place, json_lines=True), SinkFilter(), self.format, Slot(name, f"file {place}", "json")
        )

    def gated(self, name: str) -> Destination:
        """A sink whose writes the test lets through."""
        return Destination(Gated(name), SinkFilter(), self.format)

    def exchange(self, *destinations: Destination) -> None:
        """A reload to these sinks."""
        self.router.commit(self.router.prepare(destinations, self.make))

    def give(self, line: str) -> None:
        """One record to every sink, as a turn does it."""
        with self.ledger.transaction() as change:
            for route in self.router.routes:
                route.writer.row.offered += 1
                assert route.writer.admit(1)
                change.sink(route.writer.row)
        for route in self.router.routes:
            route.writer.put(f'"{line}"\n'.encode(), 1, ((producer(1), 0, 1),))

    def lines(self, path: str) -> list[str]:
        """What a file holds."""
        return [line.strip('"') for line in (self.directory / path).read_text().splitlines()]

    def at_rest(self) -> bool:
        """Whether nothing ends and nothing is queued any more; every law holds."""
        self.router.settle()
        document = self.ledger.status_document(self.router.queued)
        assert document["balanced"], document["problems"]
        return not self.router.retired and not any(self.router.queued().values())

    def states(self) -> dict[str, str]:
        """The state of each row."""
        return {name: row.state for name, row in self.ledger.sinks.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A bench; its writers are ended with the test."""
    with Bench(tmp_path) as bench:
        yield bench


def test_what_stays_keeps_its_writer(bench: Bench) -> None:
    """Its queue and its open file too, while its filter is the new one."""
    bench.exchange(bench.file("a", "a.log"))
    [before] = bench.router.routes
    strict = bench.file("a", "a.log")
    strict = Destination(strict.sink, SinkFilter(40), strict.formatter, strict.slot)
    bench.exchange(strict, bench.file("b", "b.log"))
    after, other = bench.router.routes
    assert after.writer is before.writer
    assert after.filter is strict.filter
    assert other.writer.sink.name == "b"
    assert bench.router.retired == []


def test_every_record_goes_by_the_old_or_by_the_new(bench: Bench) -> None:
    """Added, removed, renamed over one file, moved, exchanged: each line once, in order, and the books are exact."""
    plans = [
        (("a", "p"), ("w", "w")),
        (("b", "p"), ("w", "w")),
        (("a", "q"), ("b", "p"), ("w", "w")),
        (("a", "p"), ("b", "q"), ("w", "w")),
        (("w", "w"),),
        (("a", "q"), ("w", "w")),
    ]
    expected: dict[str, list[str]] = {"p": [], "q": [], "w": []}
    for number in range(60):
        wanted = plans[number % len(plans)]
        bench.exchange(*(bench.file(name, path) for name, path in wanted))
        for at in range(3):
            bench.give(f"{number}.{at}")
            for _, path in wanted:
                expected[path].append(f"{number}.{at}")
        if number % 7 == 0:
            eventually(bench.at_rest)
    eventually(bench.at_rest)
    assert {path: bench.lines(path) for path in expected} == expected
    assert bench.states() == {"a": "ok", "b": "removed", "w": "ok"}
    delivered = {name: row.delivered for name, row in bench.ledger.sinks.items()}
    assert delivered["w"] == 180
    assert delivered["a"] + delivered["b"] == len(expected["p"]) + len(expected["q"])


def test_a_removed_sink_is_removed_once_it_has_ended(bench: Bench) -> None:
    """Until then its row is what it was, and what it has queued is in the status."""
    slow = bench.gated("slow")
    bench.exchange(slow, bench.file("a", "a.log"))
    bench.give("1")
    bench.give("2")
    bench.exchange(bench.file("a", "a.log"))
    bench.router.settle()
    assert bench.states()["slow"] == "ok"
    assert bench.router.queued()["slow"] == 2
    assert isinstance(slow.sink, Gated)
    slow.sink.gate.set()
    eventually(bench.at_rest)
    assert bench.states() == {"slow": "removed", "a": "ok"}
    assert bench.ledger.sinks["slow"].delivered == 2


def test_a_sink_that_comes_back_continues_its_row(bench: Bench) -> None:
    """By its name, also while the old one still ends: it is never called removed, and both queues are counted."""
    slow = bench.gated("a")
    bench.exchange(slow)
    bench.give("1")
    bench.exchange(bench.file("x", "x.log"))
    bench.exchange(bench.file("a", "a.log"))
    bench.give("2")
    assert bench.router.queued()["a"] == 2
    assert isinstance(slow.sink, Gated)
    slow.sink.gate.set()
    eventually(bench.at_rest)
    assert bench.states() == {"a": "ok", "x": "removed"}
    assert (bench.ledger.sinks["a"].offered, bench.ledger.sinks["a"].delivered) == (2, 2)
    assert bench.lines("a.log") == ["2"]


def test_what_fails_to_open_changes_nothing(bench: Bench) -> None:
    """The sinks that had been opened for it are closed, and the old ones go on."""
    bench.exchange(bench.file("a", "a.log"))
    (bench.directory / "dir").mkdir()
    before = bench.router.routes
    with pytest.raises(SinkError):
        bench.exchange(bench.file("new", "new.log"), bench.file("bad", "dir"), bench.file("b", "a.log"))
    assert bench.router.routes == before
    assert bench.router.retired == []
    assert bench.states() == {"a": "ok"}
    bench.exchange(bench.file("a", "a.log"), bench.file("again", "new.log"))  # its lock is free
    bench.give("1")
    eventually(bench.at_rest)
    assert (bench.lines("a.log"), bench.lines("new.log")) == (["1"], ["1"])


def test_what_was_prepared_can_be_cancelled(bench: Bench) -> None:
    """Threads, files and rows are what they were."""
    bench.exchange(bench.file("a", "a.log"))
    exchange = bench.router.prepare([bench.file("b", "a.log"), bench.file("c", "c.log")], bench.make)
    exchange.cancel()
    assert [writer.ended for writer in exchange.started] == [True, True]
    assert bench.states() == {"a": "ok", "b": "removed", "c": "removed"}
    bench.give("1")
    eventually(bench.at_rest)
    assert bench.lines("a.log") == ["1"]


def test_sinks_that_end_are_not_piled_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each holds a queue: beyond a number of them a reload is refused, and nothing has changed."""
    monkeypatch.setattr(route_module, "MAX_RETIRED", 1)
    slow = [bench.gated(f"s{number}") for number in range(3)]
    for one in slow[:3]:
        bench.exchange(one)
        bench.give("x")
    before = bench.router.routes
    with pytest.raises(ControlError, match="2 removed sinks still write"):
        bench.exchange(bench.file("a", "a.log"))
    assert bench.router.routes == before
    for one in slow:
        assert isinstance(one.sink, Gated)
        one.sink.gate.set()
    eventually(bench.at_rest)
    bench.exchange(bench.file("a", "a.log"))


def test_latency_is_counted_on_under_one_name(bench: Bench) -> None:
    """Whichever writer a sink has: a counter that began again would look like a restart."""
    bench.exchange(bench.file("a", "p"))
    bench.give("1")
    eventually(bench.at_rest)
    bench.exchange(bench.file("a", "q"))
    bench.give("2")
    eventually(bench.at_rest)
    assert bench.router.routes[0].writer.latency.now().count == 2


def test_a_look_that_falls_into_an_exchange_counts_every_queue_once(bench: Bench) -> None:
    """The metrics are asked for on a thread of their own: there is a moment at which a writer stands in both lists."""
    slow = bench.gated("slow")
    bench.exchange(slow)
    bench.give("1")
    bench.router.retired += bench.router.routes
    assert bench.router.queued() == {"slow": 1}
    bench.router.retired.clear()
    assert isinstance(slow.sink, Gated)
    slow.sink.gate.set()
    eventually(bench.at_rest)
