"""From batches to the queues of the sinks: what each is offered, and what it gets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.decode import Batch, decode
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat
from logbus.collectors.ledger import Ledger
from logbus.collectors.route import Delivery, Route, Router
from logbus.collectors.sinks.base import Sink
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.writer import Writer
from logbus.wire import HIGH_WATER_MARK, Header, pack_payload
from tests.frames import payload, producer, site

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


class Impatient(MemorySink):
    """A sink whose records are dropped when it is slow."""

    patient = False


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger."""
    with closing(Ledger.open(tmp_path, name="t")) as ledger:
        yield ledger


@pytest.fixture
def writer(ledger: Ledger) -> MakeWriter:
    """Makes writers that were not started: their queues keep what they are given."""

    def make(sink: Sink, **options: Any) -> Writer:
        return Writer(sink, ledger, complain=pytest.fail, **options)

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
        delivery.writer.put(delivery.data, delivery.count, delivery.ranges)
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
    screen, log = writer(Impatient("screen"), queue_bytes=10), writer(MemorySink("log"))
    router = Router([Route(screen, SinkFilter(), CountingFormat()), Route(log, SinkFilter(), CountingFormat())])
    enter(router, ledger, batch(0, 0, 0))
    assert screen.full
    assert not router.pushes_back
    [delivery] = enter(router, ledger, batch(0, 0))
    assert delivery.writer is log
    assert (screen.row.dropped[HIGH_WATER_MARK], screen.queued, screen.row.offered) == (2, 3, 5)
    assert (log.queued, sum(log.row.dropped)) == (5, 0)
    assert screen.row.law(screen.queued)


def test_a_patient_sink_that_is_full_pushes_back(ledger: Ledger, writer: MakeWriter) -> None:
    """The receiver is asked to wait; what comes all the same is kept, not dropped."""
    log = writer(MemorySink("log"), queue_bytes=10)
    router = Router([Route(log, SinkFilter(), CountingFormat())])
    pushed = [router.pushes_back]
    enter(router, ledger, batch(0, 0, 0))
    pushed.append(router.pushes_back)
    enter(router, ledger, batch(0))
    assert (log.queued, sum(log.row.dropped)) == (4, 0)
    log.row.state = "failing"
    pushed.append(router.pushes_back)
    assert pushed == [False, True, False]
    enter(router, ledger, batch(0))
    assert (log.queued, log.row.dropped[HIGH_WATER_MARK]) == (4, 1)
    assert log.row.law(log.queued)
