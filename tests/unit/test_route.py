"""From batches to the queues of the sinks: what each is offered, and what it gets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from logbus.collectors import route as module
from logbus.collectors.chance import limit_of, request_number
from logbus.collectors.decode import Batch, decode
from logbus.collectors.delivery import Delivery
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat
from logbus.collectors.ledger import Ledger
from logbus.collectors.plan import Slot
from logbus.collectors.roll import OWN
from logbus.collectors.route import Destination, Route, Router
from logbus.collectors.sample import LeftOut, Sampling
from logbus.collectors.sinks.base import Sink
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.writing import standing
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.wire import HIGH_WATER_MARK, UNENCODABLE, Header, pack_payload
from tests.bench import RouterBench
from tests.eventually import eventually
from tests.frames import payload, producer, site
from tests.sampled import batch as requests

A, B = producer(1), producer(2)
SITES = [site("db", 10, "DEBUG"), site("rotator", 20, "INFO"), site("rotator", 40, "ERROR")]
MakeWriter = Callable[..., Writer]


class CountingFormat(JsonFormat):
    """JSON that counts how often it was asked, and shows messages only."""

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, batch: Batch) -> bytes:
        """A line for each message."""
        self.encoded += 1
        return b"".join([f"{record.message}\n".encode() for record in batch.records])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger."""
    with closing(Ledger.open(tmp_path, name="t")) as ledger:
        yield ledger


@pytest.fixture
def writer(ledger: Ledger) -> MakeWriter:
    """Makes writers that were not started: their queues keep what they are given."""

    def make(sink: Sink, **options: Any) -> Writer:
        return Writer(sink, ledger, **{"complain": pytest.fail, **options})

    return make


def batch(*at: int, first_seq: int = 100, who: bytes = A) -> Batch:
    """A batch with a record at each of these sites, its message the site and the place in the batch."""
    messages = [f"{place}.{number}" for number, place in enumerate(at)]
    body = pack_payload(payload(*messages, sites=SITES, at=at))
    return decode(Header(1, 0, 1, who, first_seq, len(at)), body)


def enter(router: Router, ledger: Ledger, *batches: Batch) -> list[Delivery]:
    """Books batches, and hands them over as the collector does after the commit."""
    with ledger.transaction() as change:
        deliveries = router.enter(change, batches)
    for delivery in deliveries:
        delivery.hand_over()
    return deliveries


def test_each_sink_gets_what_it_takes(ledger: Ledger, writer: MakeWriter) -> None:
    """By level and by component; what it does not take is filtered, and the law of each holds."""
    everything, errors, rotator = (writer(MemorySink(name)) for name in ("everything", "errors", "rotator"))
    form = CountingFormat()
    router = Router(
        [
            Route(everything, SinkFilter(), form),
            Route(errors, SinkFilter(40), form),
            Route(rotator, SinkFilter(0, ("rotator",)), form),
        ]
    )
    deliveries = enter(router, ledger, batch(0, 1, 2, 0), batch(0, 0, first_seq=104))
    assert [(delivery.writer.sink.name, delivery.data) for delivery in deliveries] == [
        ("everything", b"0.0\n1.1\n2.2\n0.3\n"),
        ("errors", b"2.2\n"),
        ("rotator", b"1.1\n2.2\n"),
        ("everything", b"0.0\n0.1\n"),
    ]
    books = {name: (row.offered, row.filtered, row.accepted) for name, row in ledger.sinks.items()}
    assert books == {"everything": (6, 0, 6), "errors": (6, 5, 1), "rotator": (6, 4, 2)}
    assert all(each.row.law(each.queued) for each in (everything, errors, rotator))


def test_only_what_sinks_of_a_format_take_is_encoded(ledger: Ledger, writer: MakeWriter) -> None:
    """The records that any of them takes, and no other; each gets its own."""
    seen: list[int] = []

    class Seeing(CountingFormat):
        def encode(self, batch: Batch) -> bytes:
            seen.append(len(batch.records))
            return super().encode(batch)

    form = Seeing()
    errors, db = writer(MemorySink("errors")), writer(MemorySink("db"))
    router = Router([Route(errors, SinkFilter(40), form), Route(db, SinkFilter(0, ("db",)), form)])
    deliveries = enter(router, ledger, batch(0, 1, 2, 1, 0))
    assert [one.data for one in deliveries] == [b"2.2\n", b"0.0\n0.4\n"]
    assert seen == [3]


def test_sinks_of_one_format_share_the_encoding(ledger: Ledger, writer: MakeWriter) -> None:
    """A batch is encoded once per format, and not at all when nobody takes anything of it."""
    shared, other = CountingFormat(), CountingFormat()
    router = Router(
        [
            Route(writer(MemorySink("a")), SinkFilter(), shared),
            Route(writer(MemorySink("b")), SinkFilter(20), shared),
            Route(writer(MemorySink("c")), SinkFilter(40), other),
        ]
    )
    enter(router, ledger, batch(0, 1, 2))
    assert (shared.encoded, other.encoded) == (1, 1)
    enter(router, ledger, batch(0, 0))
    assert (shared.encoded, other.encoded) == (2, 1)


def test_a_delivery_says_which_records_it_holds(ledger: Ledger, writer: MakeWriter) -> None:
    """The whole batch as one range, a part of it as its runs."""
    form = CountingFormat()
    router = Router(
        [
            Route(writer(MemorySink("all")), SinkFilter(), form),
            Route(writer(MemorySink("some")), SinkFilter(20), form),
        ]
    )
    everything, some = enter(router, ledger, batch(1, 2, 0, 0, 2, 0, 1))
    assert everything.ranges == ((A, 100, 7),)
    assert some.ranges == ((A, 100, 2), (A, 104, 1), (A, 106, 1))
    assert (everything.count, some.count) == (7, 4)


def test_a_batch_that_was_here_before_is_offered_to_nobody(ledger: Ledger, writer: MakeWriter) -> None:
    """Duplicates are taken out by then: a batch without records changes no row."""
    form = CountingFormat()
    router = Router([Route(writer(MemorySink("a")), SinkFilter(), form)])
    assert enter(router, ledger, batch()) == []
    assert ledger.sinks["a"].offered == 0
    assert form.encoded == 0


def test_an_impatient_sink_that_is_full_drops(ledger: Ledger, writer: MakeWriter) -> None:
    """It is counted as high_water_mark and does not make the receiver wait; others get everything."""
    screen, log = (
        writer(MemorySink("screen"), terms=Terms(queue_bytes=10, on_full="drop_newest"), complain=lambda text: None),
        writer(MemorySink("log")),
    )
    router = Router([Route(screen, SinkFilter(), CountingFormat()), Route(log, SinkFilter(), CountingFormat())])
    enter(router, ledger, batch(0, 0, 0))
    assert screen.full
    assert not router.pushes_back
    [delivery] = enter(router, ledger, batch(0, 0))
    assert delivery.writer is log
    assert (screen.row.dropped[HIGH_WATER_MARK], screen.queued, screen.row.offered) == (2, 3, 5)
    assert (log.queued, sum(log.row.dropped)) == (5, 0)
    assert screen.row.law(screen.queued)


def test_a_patient_sink_that_is_full_pushes_back(ledger: Ledger) -> None:
    """The receiver is asked to wait, and what comes all the same is kept, not dropped, until the sink fails."""
    log = Writer(MemorySink("log"), ledger, complain=lambda text: None, terms=Terms(queue_bytes=10))
    router = Router([Route(log, SinkFilter(), CountingFormat())])
    pushed = [router.pushes_back]
    enter(router, ledger, batch(0, 0, 0))
    pushed.append(router.pushes_back)
    enter(router, ledger, batch(0))
    assert (log.queued, sum(log.row.dropped)) == (4, 0)
    log._books.fail("OSError: no space")
    pushed.append(router.pushes_back)
    assert pushed == [False, True, False]
    enter(router, ledger, batch(0))
    assert (log.queued, log.row.dropped[HIGH_WATER_MARK]) == (4, 1)
    assert log.row.law(log.queued)


class Broken(CountingFormat):
    """A format that can't write what it is told, or anything."""

    def __init__(self, *messages: str) -> None:
        super().__init__()
        self.messages = messages
        self.error: str | None = None

    def encode_each(self, batch: Batch) -> list[bytes | None]:
        """None for these messages; raises where there are none."""
        if not self.messages:
            raise ValueError("not today")
        self.error = "TypeError: no"
        return [None if record.message in self.messages else f"{record.message}\n".encode() for record in batch.records]


class Clock:
    """Monotonic seconds of a test."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """What it shows."""
        return self.now


def sampled(writer: Writer, form: JsonFormat | None = None, **options: Any) -> Route:
    """The route to a sink that samples."""
    destination = Destination(writer.sink, SinkFilter(), form or Stamping(), None, Sampling(**options))
    return Route.of(destination, writer, None)


class Stamping(JsonFormat):
    """The number of a record, and its rate."""

    def encode(self, batch: Batch) -> bytes:
        """A line for each message."""
        return b"".join([f"{record.message}\n".encode() for record in batch.records])

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The rate behind the number."""
        return line[:-1] + f"@{rate}\n".encode()


def lines_of(deliveries: list[Delivery]) -> list[str]:
    """The lines of deliveries, each of which knows how many it has and which they are."""
    for delivery in deliveries:
        numbers = [first + at for _, first, count in delivery.ranges for at in range(count)]
        assert delivery.data.count(b"\n") == delivery.count
        assert numbers == [int(line.split(b"@")[0]) for line in delivery.data.split()]
    return [line.decode() for delivery in deliveries for line in delivery.data.split()]


def test_a_sink_whose_format_fails_touches_no_other(ledger: Ledger) -> None:
    """Its records are dropped as unencodable, it is failing and says why; the others get everything."""
    complaints: list[str] = []
    bad, odd, good = (Writer(MemorySink(name), ledger, complain=complaints.append) for name in ("bad", "odd", "good"))
    router = Router(
        [
            Route(bad, SinkFilter(), Broken()),
            Route(odd, SinkFilter(), Broken("1.1", "2.2")),
            Route(good, SinkFilter(), CountingFormat()),
        ]
    )
    deliveries = enter(router, ledger, batch(0, 1, 2, 0), batch(0, 0, first_seq=104))
    found = [(one.writer.sink.name, one.data.split(), one.ranges) for one in deliveries]
    assert found == [
        ("odd", [b"0.0", b"0.3"], ((A, 100, 1), (A, 103, 1))),
        ("good", [b"0.0", b"1.1", b"2.2", b"0.3"], ((A, 100, 4),)),
        ("odd", [b"0.0", b"0.1"], ((A, 104, 2),)),
        ("good", [b"0.0", b"0.1"], ((A, 104, 2),)),
    ]
    books = {
        each.sink.name: (each.row.state, each.row.last_error, each.row.dropped[UNENCODABLE], each.queued)
        for each in (bad, odd, good)
    }
    assert books == {
        "bad": ("failing", "ValueError: not today", 6, 0),
        "odd": ("failing", "TypeError: no", 2, 4),
        "good": ("ok", None, 0, 6),
    }
    assert all(each.row.law(each.queued) and each.row.outstanding == each.queued for each in (bad, odd, good))
    assert complaints == [
        "sink 'bad' drops records that its format can't write: ValueError: not today",
        "sink 'odd' drops records that its format can't write: TypeError: no",
    ]


def test_what_a_format_can_t_write_is_not_complained_of_without_end(ledger: Ledger) -> None:
    """A complaint is a record of the collector's own, which the format may be unable to write, too."""
    complaints: list[str] = []
    bad = Writer(MemorySink("bad"), ledger, complain=complaints.append)
    router = Router([Route(bad, SinkFilter(), Broken())])
    for _ in range(3):
        enter(router, ledger, batch(0, who=OWN))
    assert (complaints, bad.row.dropped[UNENCODABLE]) == ([], 3)
    for _ in range(3):
        enter(router, ledger, batch(0))
    assert len(complaints) == 1


def test_a_sink_whose_format_works_again_is_well_after_a_while(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the next record, or nobody would see it; and a patient one pushes back all the while."""
    odd = Writer(MemorySink("odd"), ledger, complain=lambda text: None, terms=Terms(queue_bytes=1))
    router = Router([Route(odd, SinkFilter(), Broken("1.0"))])
    enter(router, ledger, batch(1), batch(0))
    assert (odd.row.state, router.pushes_back) == ("failing", True)
    enter(router, ledger, batch(0))
    assert odd.row.last_error == "TypeError: no"
    monkeypatch.setattr(standing, "REFUSED_S", 0.0)
    enter(router, ledger, batch(0))
    document = odd.row.document(odd.queued)
    assert (document["state"], document["last_error"]) == ("ok", None)
    assert odd.row.law(odd.queued)


def test_what_is_sampled_out_is_booked(ledger: Ledger, writer: MakeWriter) -> None:
    """Beside what the filter took out; what is kept is stamped, and another sink of the format gets everything."""
    few, everything, form = writer(MemorySink("few")), writer(MemorySink("everything")), Stamping()
    router = Router([sampled(few, form, rate=0.2, key="request_id"), Route(everything, SinkFilter(), form)])
    names = [f"r{at // 2}" for at in range(200)]
    deliveries = enter(router, ledger, requests(*[(name, 20) for name in names]))
    expected = [f"{at}@0.2" for at, name in enumerate(names) if request_number(name) < limit_of(0.2)]
    assert lines_of(deliveries[:1]) == expected
    assert lines_of(deliveries[1:]) == [str(at) for at in range(200)]
    assert (few.row.sampled_out, few.queued) == (200 - len(expected), len(expected))
    assert all(each.row.law(each.queued) for each in (few, everything))


def test_a_rate_of_one_is_no_sampling(ledger: Ledger, writer: MakeWriter) -> None:
    """It costs nothing and holds nothing."""
    assert sampled(writer(MemorySink("a")), rate=1.0, key="request_id", tail=True).sampler is None


def test_own_records_are_not_sampled(ledger: Ledger, writer: MakeWriter) -> None:
    """Not by rate, not by place, and they are not held."""
    routes = [
        sampled(writer(MemorySink("rate")), rate=0.001),
        sampled(writer(MemorySink("first")), rate=0.0, first=1),
        sampled(writer(MemorySink("tail")), rate=0.0, key="worker", tail=True),
    ]
    deliveries = enter(Router(routes), ledger, requests(*[(None, 20)] * 50, who=OWN))
    assert [delivery.count for delivery in deliveries] == [50, 50, 50]


def test_what_is_held_is_queued_until_it_is_decided(ledger: Ledger, writer: MakeWriter) -> None:
    """Then it goes on or is sampled out; the law holds at every moment, and nothing has to come for it."""
    clock = Clock()
    sink = writer(MemorySink("tail"))
    router = Router([sampled(sink, rate=0.5, key="request_id", tail=True, window_s=10.0)], clock=clock)
    names = [f"r{at}" for at in range(40)]
    assert enter(router, ledger, requests(*[(name, 20) for name in names])) == []
    assert (sink.queued, sink.row.accepted, sink.row.sampled_out, router.due) == (40, 40, 0, False)
    assert router.held() == {"tail": {"records": 40, "requests": 40, "bytes": ANY, "decided_early": 0}}
    clock.now += 5.0
    failed = enter(router, ledger, requests((names[3], 40), first_seq=40))
    assert lines_of(failed) == ["3", "40"]
    clock.now += 5.0
    assert router.due
    expected = [f"{at}@0.5" for at, name in enumerate(names) if at != 3 and request_number(name) < limit_of(0.5)]
    assert lines_of(enter(router, ledger)) == expected
    assert (sink.queued, sink.row.sampled_out) == (2 + len(expected), 39 - len(expected))
    assert sink.row.outstanding == sink.queued
    assert sink.row.law(sink.queued)
    assert not router.due


def test_what_ends_keeps_up_with_what_comes(
    ledger: Ledger, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More may come in a turn than one decides by itself; nothing is held beyond its time until memory is full."""
    monkeypatch.setattr(module, "LINES_A_TURN", 4)
    clock = Clock()
    router = Router(
        [sampled(writer(MemorySink("tail")), rate=0.5, key="request_id", tail=True, window_s=1.0)], clock=clock
    )
    for turn in range(20):
        enter(router, ledger, requests(*[(f"r{turn}.{at}", 20) for at in range(30)], first_seq=30 * turn))
        assert router.held()["tail"]["requests"] <= 30
        clock.now += 1.0


def test_sinks_share_what_a_turn_decides(ledger: Ledger, writer: MakeWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """The windows of many end together, and the receive loop waits as long as for one; the rest is due at once."""
    monkeypatch.setattr(module, "LINES_A_TURN", 40)
    clock = Clock()
    router = Router(
        [
            sampled(writer(MemorySink(name)), rate=0.5, key="request_id", tail=True, window_s=1.0)
            for name in ("a", "b", "c", "d")
        ],
        clock=clock,
    )
    enter(router, ledger, requests(*[(f"r{at}", 20) for at in range(30)]))
    assert router.due_in == 1.0
    clock.now += 1.0
    left = []
    while router.due:
        enter(router, ledger)
        left.append([held["records"] for held in router.held().values()])
    assert left == [[20] * 4, [10] * 4, [0] * 4]
    assert router.due_in == math.inf


def test_a_full_sink_holds_nothing_more(ledger: Ledger, writer: MakeWriter) -> None:
    """What comes is dropped, and counted as that; what it held goes on when its request fails."""
    terms = Terms(queue_bytes=10, on_full="drop_newest")
    sink = writer(MemorySink("tail"), terms=terms, complain=lambda text: None)
    router = Router([sampled(sink, rate=0.0, key="request_id", tail=True)])
    enter(router, ledger, requests(("a", 20), (None, 40), (None, 40), (None, 40), (None, 40), (None, 40)))
    assert sink.full
    assert lines_of(enter(router, ledger, requests(("a", 20), ("b", 20), first_seq=6))) == []
    assert (sink.row.dropped[HIGH_WATER_MARK], router.held()["tail"]["requests"]) == (2, 1)
    assert lines_of(enter(router, ledger, requests(("a", 40), first_seq=8))) == ["0"]
    assert (sink.row.dropped[HIGH_WATER_MARK], sink.queued, router.held()["tail"]["records"]) == (3, 6, 0)
    assert sink.row.law(sink.queued)


def test_what_can_t_be_encoded_is_not_held(ledger: Ledger) -> None:
    """It is dropped where it would have been; its request goes on without it."""
    sink = Writer(MemorySink("tail"), ledger, complain=lambda text: None)
    router = Router([sampled(sink, Broken("1", "2"), rate=0.0, key="request_id", tail=True)])
    enter(router, ledger, requests(("a", 20), ("a", 20), ("b", 20)))
    assert (sink.queued, sink.row.dropped[UNENCODABLE]) == (1, 2)
    assert router.held()["tail"]["requests"] == 1
    assert lines_of(enter(router, ledger, requests(("a", 40), first_seq=3))) == ["0", "3"]
    assert sink.row.law(sink.queued)


def test_a_sink_that_holds_all_is_well_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its format has worked for a while, on lines that are held; it need not deliver one to be forgiven."""
    sink = Writer(MemorySink("tail"), ledger, complain=lambda text: None)
    router = Router([sampled(sink, Broken("1"), rate=0.0, key="request_id", tail=True)])
    enter(router, ledger, requests(("a", 20), ("a", 20)))
    assert sink.row.state == "failing"
    monkeypatch.setattr(standing, "REFUSED_S", 0.0)
    enter(router, ledger, requests(("b", 20), ("b", 20), first_seq=2))
    assert (sink.row.state, sink.row.last_error, sink.queued) == ("ok", None, 3)


def test_what_sampling_has_to_tell_names_the_sink(ledger: Ledger, writer: MakeWriter) -> None:
    """It is due at the end of the interval, and told once."""
    clock = Clock()
    router = Router([sampled(writer(MemorySink("a")), rate=0.0, first=1, interval_s=1.0)], clock=clock)
    enter(router, ledger, requests((None, 20), (None, 20)))
    assert (router.due, router.told()) == (False, [])
    clock.now += 1.0
    assert router.due
    assert router.told() == [("a", LeftOut(1, 1.0, (("shop.till INFO till.sell:7", 1),)))]
    assert (router.due, router.told()) == (False, [])
    enter(router, ledger, requests((None, 20), (None, 20)))
    router.end_sampling()
    assert [name for name, _ in router.told()] == ["a"]


@pytest.mark.parametrize("change", ["nothing", "another rate", "no sampling", "no sink"])
def test_a_reload_decides_what_is_held_unless_it_changes_nothing(tmp_path: Path, change: str) -> None:
    """By the rate, at once: it goes on before the sink's end, or is sampled out; nothing is dropped."""
    with RouterBench(tmp_path) as bench:
        policy = Sampling(rate=0.5, key="request_id", tail=True)
        router, form, sink = bench.router, Stamping(), MemorySink("tail")

        def wanted(sampling: Sampling | None) -> Destination:
            return Destination(sink, SinkFilter(), form, Slot("tail", "here", ""), sampling)

        router.commit(router.prepare([wanted(policy)], bench.make))
        [writer] = router.writers
        names = [f"r{at}" for at in range(40)]
        enter(router, bench.ledger, requests(*[(name, 20) for name in names]))
        after = {
            "nothing": [wanted(Sampling(rate=0.5, key="request_id", tail=True))],
            "another rate": [wanted(Sampling(rate=0.25, key="request_id", tail=True))],
            "no sampling": [wanted(None)],
            "no sink": [],
        }[change]
        router.commit(router.prepare(after, bench.make))
        if change == "nothing":
            assert (writer.queued, router.held()["tail"]["records"]) == (40, 40)
            router.end_sampling()
        expected = [f"{at}@0.5".encode() for at, name in enumerate(names) if request_number(name) < limit_of(0.5)]
        eventually(lambda: writer.queued == 0)
        assert sink.lines() == expected
        assert (writer.row.sampled_out, sum(writer.row.dropped)) == (40 - len(expected), 0)
        assert writer.row.law(0)
