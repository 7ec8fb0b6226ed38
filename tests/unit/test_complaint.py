"""Complaints about sinks: what they say to programs, to whom they go, and that they make no further ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from logbus.collectors.decode import Batch
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat
from logbus.collectors.histogram import Histogram
from logbus.collectors.own import OwnRecords
from logbus.collectors.route import Destination
from logbus.collectors.sinks.base import Refusal, Sent
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.writing import books
from logbus.collectors.writing.complaint import FAILED, WORKS, Complaint, fields_of
from logbus.collectors.writing.standing import TOLD_S, Standing
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from tests.bench import RouterBench
from tests.eventually import eventually
from tests.sampled import batch

TERMS = Terms(initial_s=0.01, max_interval_s=0.01)


class Moody(MemorySink):
    """A sink that delivers, refuses all of a write for good, or fails, as the test says."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.mood = "well"
        self.attempts = 0

    def write(self, data: bytes) -> Sent | None:  # type: ignore[override]
        """By its mood."""
        self.attempts += 1
        if self.mood == "fails":
            raise OSError(5, "Input/output error")
        if self.mood == "refuses":
            records = data.count(b"\n")
            return Sent(records, (Refusal(data, records, "answered 400"),))
        super().write(data)
        return None


class Bench(RouterBench):
    """A router whose complaints become records, as in the collector's loop; time is the test's."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.complaints: deque[str] = deque()
        self.told: list[str] = []
        self.now = 0.0
        self.own = OwnRecords(self.ledger, host="h")

    def make(self, destination: Destination, behind: object, latency: Histogram) -> Writer:
        """A writer that complains to us."""
        return Writer(destination.sink, self.ledger, complain=self.complaints.append, terms=TERMS, latency=latency)

    def start(self, *sinks: Moody) -> None:
        """Has these sinks take all records."""
        destinations = [Destination(sink, SinkFilter(), JsonFormat()) for sink in sinks]
        self.router.commit(self.router.prepare(destinations, self.make))

    def turn(self, *batches: Batch) -> None:
        """A turn of the loop."""
        while self.complaints:
            complaint = self.complaints.popleft()
            self.told.append(complaint)
            self.own.say(complaint, **fields_of(complaint))
        with self.ledger.transaction() as change:
            own = self.own.enter(change)
            deliveries = self.router.enter(change, [*batches, *([own] if own else [])])
        for delivery in deliveries:
            delivery.hand_over()

    def rest(self) -> None:
        """Turns until nothing waits in a sink that takes something, and nobody complains."""

        def quiet() -> bool:
            self.turn()
            idle = all(not writer.queued or writer.row.state == "failing" for writer in self.writers)
            return idle and not self.complaints and not self.own

        eventually(quiet)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench."""
    bench = Bench(tmp_path)
    monkeypatch.setattr(books, "Standing", partial(Standing, clock=lambda: bench.now))
    with bench:
        yield bench
        for route in bench.router.routes:
            assert isinstance(route.writer.sink, Moody)
            route.writer.sink.mood = "well"


def test_a_complaint_is_a_line_with_fields() -> None:
    """Any other line is one about sinks."""
    line = Complaint("sink 'x' fails", event=FAILED, sink="x", queued=7)
    assert line == "sink 'x' fails"
    assert fields_of(line) == {"event": "sink_failed", "sink": "x", "queued": 7}
    assert fields_of("something") == {"event": "sink_failed"}


def test_that_a_sink_fails_is_said_through_the_others(bench: Bench) -> None:
    """With its name, the error and what waits; the sink itself is told when it works again, as everybody is."""
    web, file = Moody("web"), Moody("file")
    bench.start(web, file)
    web.mood = "fails"
    bench.turn(batch((None, 20), (None, 20)))
    assert eventually(lambda: bench.complaints)
    [complaint] = bench.complaints
    assert fields_of(complaint) == {
        "event": FAILED, "sink": "web", "error": "OSError: [Errno 5] Input/output error", "queued": 2, "spooled": 0,
    }  # fmt: skip
    bench.turn()
    assert file.wait(3, 10)
    assert b"Input/output error" in file.lines()[2]
    assert bench.router.writers[0].row.filtered == 1
    web.mood = "well"
    assert eventually(lambda: bench.complaints)
    assert fields_of(bench.complaints[0])["event"] == WORKS
    bench.turn()
    assert file.wait(4, 10)
    assert web.wait(3, 10)
    assert b"delivers again" in web.lines()[2]


@pytest.mark.parametrize("mood", ["fails", "refuses"])
def test_sinks_that_all_fail_complain_once_and_not_of_each_other(bench: Bench, mood: str) -> None:
    """What they say of one another would be one more record to fail with, for ever."""
    sinks = [Moody("a"), Moody("b"), Moody("c")]
    bench.start(*sinks)
    for sink in sinks:
        sink.mood = mood
    bench.turn(batch((None, 20)))
    eventually(lambda: len(bench.complaints) == 3)
    bench.rest()
    accepted = [writer.row.accepted for writer in bench.router.writers]
    assert accepted == [1, 1, 1]
    for minute in range(1, 4):
        bench.now = minute * (TOLD_S + 1)
        if mood == "fails":  # each says once a minute that it still does
            eventually(lambda: len(bench.complaints) == 3)
        bench.rest()
    assert [writer.row.accepted for writer in bench.router.writers] == accepted
    assert len(bench.told) == (12 if mood == "fails" else 3)
    assert bench.ledger.status_document(bench.router.queued)["balanced"]


def test_a_complaint_about_what_was_refused_ends_where_it_is_refused(bench: Bench) -> None:
    """One sink is refused a record, the other the complaint about that: then there is silence."""
    first, second = Moody("a"), Moody("b")
    bench.start(first, second)
    first.mood = second.mood = "refuses"
    bench.router.routes[1] = replace(bench.router.routes[1], filter=SinkFilter(components=("logbus",)))
    bench.turn(batch((None, 20)))
    eventually(lambda: bench.complaints)
    for _ in range(6):  # each takes its time on its way
        bench.now += 0.9 * TOLD_S
        bench.turn()
        eventually(lambda: not any(writer.queued for writer in bench.writers))
    assert [fields_of(complaint)["sink"] for complaint in bench.told] == ["a", "b"]
