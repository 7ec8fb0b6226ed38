"""The spool behind a sink's queue: what goes to disk and when, in which order it leaves, and what a bad disk does."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait as wait_for
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.spool.lanes import Lanes
from logbus.collectors.spool.spool import Spool
from logbus.collectors.spool.spools import Spools
from logbus.collectors.writing import keeper as module, writer as writer_module
from logbus.collectors.writing.books import Books
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.errors import PageError
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK, REJECTED, SHUTDOWN
from tests.answering import Answering
from tests.bench import ENOUGH, WriterBench
from tests.eventually import eventually
from tests.small_disk import can_mount, small_disk

SPOOLED = Terms(
    max_records=4,
    on_full="spool",
    initial_s=0.01,
    max_interval_s=0.02,
    breaker_failures=3,
    spool_bytes=1024 * 1024,
    dialect="plain",
)
BUSY = TryAgainError("503 Service Unavailable")
DEBUG, INFO, ERROR = 1, 2, 4


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriterBench]:
    """A bench with spools, whose disks are tried again soon; its writers are ended."""
    monkeypatch.setattr(module, "DISK_RETRY_S", 0.02)
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    monkeypatch.setattr(module, "GATHER_S", 0.01)
    with WriterBench(tmp_path) as bench:
        yield bench


def start(bench: WriterBench, sink: Answering, *behind: Writer, terms: Terms = SPOOLED) -> Writer:
    """A writer with a spool, running."""
    return bench.start(sink, *behind, terms=terms, spools=bench.spools)


def delivered(bench: WriterBench, writer: Writer) -> bool:
    """Whether nothing waits any more."""
    return bench.law(writer) and not writer.queued and not writer.row.spooled


def numbers(stop: int, start: int = 0) -> list[bytes]:
    """The lines that :func:`give` has given."""
    return [b"%d" % number for number in range(start, stop)]


def give(bench: WriterBench, writer: Writer, stop: int, start: int = 0, level: int = INFO) -> None:
    """A delivery for each number."""
    for number in range(start, stop):
        assert bench.give(writer, str(number), first=number, level=level)


def test_what_a_failing_sink_can_not_take_goes_to_disk(bench: WriterBench) -> None:
    """Soon, whatever room there is, what is in hand between two attempts too; it leaves in order once it is back."""
    sink = Answering(always=BUSY)
    writer = start(bench, sink)
    give(bench, writer, 1)
    eventually(lambda: writer.row.state == "failing")
    give(bench, writer, 10, 1)
    eventually(lambda: writer.row.spooled == 10)
    assert writer.queued == 0
    give(bench, writer, 20, 10)
    eventually(lambda: writer.row.spooled == 20)
    document = writer.document()
    assert document["spool"]["records"] == 20
    assert document["spool"]["bytes"] > 0
    assert document["spool"]["max_bytes"] == SPOOLED.spool_bytes
    assert document["oldest_seconds"] == document["spool"]["oldest_seconds"] >= 0
    sink.always = None
    eventually(lambda: delivered(bench, writer))
    assert sink.received == numbers(20)
    assert (writer.row.delivered, writer.row.duplicated, sum(writer.row.dropped)) == (20, 0, 0)
    assert writer.document()["spool"]["records"] == 0


def test_a_sink_that_is_slow_has_its_queue_moved_when_it_is_half_full(bench: WriterBench) -> None:
    """Nobody waits for it, and nothing is dropped; while anything is on disk nothing newer is sent."""
    sink = Answering()
    sink.gate.clear()
    writer = start(bench, sink, terms=replace(SPOOLED, queue_bytes=2000))
    give(bench, writer, 1)
    assert sink.inside.wait(ENOUGH)
    give(bench, writer, 10, 1)
    assert writer.row.spooled == 0
    for number in range(10, 1000):
        bench.give(writer, str(number), first=number)
        eventually(lambda: writer.document()["queue_bytes"] < 1500)
    assert writer.row.spooled > 300
    assert not writer.pushes_back
    sink.gate.set()
    eventually(lambda: delivered(bench, writer))
    assert sink.received == numbers(1000)
    assert sum(writer.row.dropped) == 0


def test_the_end_keeps_what_is_left(bench: WriterBench) -> None:
    """After one more attempt, what is in hand under its own numbers; the next collector delivers all of it, once."""
    sink = Answering(always=BUSY)
    writer = start(bench, sink)
    give(bench, writer, 2)
    eventually(lambda: writer.row.state == "failing")
    give(bench, writer, 9, 2)
    eventually(lambda: writer.row.spooled == 9 - writer.queued)
    tries = len(sink.writes)
    writer.finish(time.monotonic() + 1000.0)
    assert len(sink.writes) <= tries + 3  # those that were under way, and the last
    assert (writer.row.spooled, writer.queued, sum(writer.row.dropped)) == (9, 0, 0)
    assert "sink 'main': 9 records wait in its spool" in bench.complaints
    bench.spools = Spools(bench.directory / "state", bench.complaints.append)
    after = Answering()
    writer = start(bench, after)
    eventually(lambda: delivered(bench, writer))
    assert after.received == numbers(9)
    assert (writer.row.delivered, writer.row.duplicated) == (9, 0)


def test_a_partial_answer_for_what_stands_in_the_spool(bench: WriterBench) -> None:
    """The first have ended and are gone; the rest is read again, and what is refused is buried once."""
    letters: list[Refusal] = []
    sink = Answering(always=BUSY)
    writer = bench.start(
        sink,
        terms=replace(SPOOLED, breaker_failures=0),
        spools=bench.spools,
        bury=lambda name, refusals, dialect: letters.extend(refusals),
    )
    give(bench, writer, 1)
    eventually(lambda: writer.row.state == "failing")
    give(bench, writer, 9, 1)
    eventually(lambda: writer.row.spooled == 9)
    sink.answers.extend([Sent(3, (Refusal(b"2\n", 1, "400"),)), Sent(1), None, None])
    eventually(lambda: delivered(bench, writer))
    assert sink.writes[-4:] == [numbers(4), numbers(7, 3), numbers(8, 4), numbers(9, 8)]
    assert sink.received == [*numbers(2), *numbers(9, 3)]
    assert (letters, writer.row.dropped[REJECTED], writer.row.delivered) == ([Refusal(b"2\n", 1, "400")], 1, 8)


def test_a_request_that_hangs_at_the_end_is_sent_again_from_the_spool(bench: WriterBench) -> None:
    """It does not come back when it is aborted: what it holds is kept, and may be there twice."""
    sink = Answering()
    sink.gate.clear()
    sink.deaf = True
    writer = start(bench, sink)
    give(bench, writer, 1)
    assert sink.inside.wait(ENOUGH)
    give(bench, writer, 3, 1)
    writer.finish(time.monotonic() + 0.05)
    row = writer.row
    assert (row.spooled, row.duplicated, row.unknown, writer.queued, row.intent) == (3, 1, 0, 0, None)
    assert bench.law(writer)
    after = Answering()
    again = start(bench, after)
    eventually(lambda: delivered(bench, again))
    assert after.received == numbers(3)
    sink.gate.set()
    eventually(lambda: sink.received)  # it comes back after all, and nobody books it
    assert (again.row.delivered, again.row.duplicated) == (3, 1)
    assert bench.law(again)


def test_a_disk_that_refuses_leaves_records_in_memory(bench: WriterBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lowest levels give way there; that is told, and stands beside the error, until the disk takes them."""
    append = Spool.append
    refusing = [True]

    def full(spool: Spool, first: int, lines: Sequence[bytes], levels: bytes) -> list[int]:
        if refusing[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return append(spool, first, lines, levels)

    monkeypatch.setattr(Spool, "append", full)
    sink = Answering(always=BUSY)
    writer = start(bench, sink, terms=replace(SPOOLED, queue_bytes=60))
    give(bench, writer, 1)
    eventually(lambda: writer.row.state == "failing")
    give(bench, writer, 11, 1, level=DEBUG)
    eventually(lambda: any("its spool can't be used" in text for text in bench.complaints))
    give(bench, writer, 40, 11, level=ERROR)
    assert writer.row.spooled == 0
    assert writer.row.dropped[HIGH_WATER_MARK] > 10
    assert bench.law(writer)
    refusing[0] = False
    eventually(lambda: writer.row.spooled > 0)
    sink.always = None
    eventually(lambda: delivered(bench, writer))
    assert sink.received[-1] == b"39"
    assert not {b"%d" % number for number in range(1, 11)} & set(sink.received)  # no DEBUG
    assert (writer.row.state, writer.row.last_error) == ("ok", None)


def test_a_disk_that_refuses_at_the_end_loses_what_is_in_memory(
    bench: WriterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is dropped by the shutdown, exactly, and told."""

    def broken(*_: object) -> list[int]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Spool, "append", broken)
    writer = start(bench, Answering(always=BUSY))
    give(bench, writer, 3)
    writer.finish(time.monotonic() + ENOUGH)
    assert (writer.row.dropped[SHUTDOWN], writer.row.spooled, writer.queued) == (3, 0, 0)
    assert "sink 'main': 3 records were dropped at its end" in bench.complaints
    assert bench.law(writer)


def test_a_disk_that_hangs_stops_nobody(bench: WriterBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The receiver hands over as ever, the end is bounded, and what is on disk after all is found by the next."""
    monkeypatch.setattr(writer_module, "SPILL_S", 0.1)
    append, going, inside = Lanes.append, threading.Event(), threading.Event()

    def hanging(lanes: Lanes, first: int, lines: Sequence[bytes], levels: bytes) -> list[int]:
        inside.set()
        assert going.wait(ENOUGH)
        return append(lanes, first, lines, levels)

    monkeypatch.setattr(Lanes, "append", hanging)
    writer = start(bench, Answering(always=BUSY), terms=replace(SPOOLED, queue_bytes=100))
    give(bench, writer, 1)
    assert inside.wait(ENOUGH)
    give(bench, writer, 100, 1)
    assert writer.document()["spool"]["records"] == 0
    writer.finish(time.monotonic())
    assert writer.ended
    assert writer.queued == 0
    assert sum(writer.row.dropped) == 100
    assert bench.law(writer)
    going.set()
    after = Answering()
    again = start(bench, after)
    eventually(lambda: again.row.delivered == 1)
    assert after.received == [b"0"]
    assert again.row.offered == 101  # as somebody else's record
    assert bench.law(again)
    writer._stock.keeper.join(ENOUGH)  # type: ignore[union-attr]


@pytest.mark.skipif(not can_mount(), reason="needs to mount a file system")
def test_a_disk_that_is_nearly_full_takes_what_it_has_room_for(bench: WriterBench, tmp_path: Path) -> None:
    """A move is whole or not at all: so smaller ones are tried; the rest waits in memory, and nothing is lost."""
    with small_disk(tmp_path / "disk", 100) as disk:
        bench.spools = Spools(disk.path, bench.complaints.append)
        sink = Answering(always=BUSY)
        writer = start(bench, sink, terms=replace(SPOOLED, spool_bytes=1 << 30))
        give(bench, writer, 1)
        eventually(lambda: writer.row.state == "failing")
        keeper = writer._stock.keeper
        assert keeper is not None
        with keeper._moving:  # so that all of it goes in one move
            for number in range(1, 7):
                bench.give(writer, *(f"{number} {'x' * 1000}" for _ in range(100)), level=ERROR)
        eventually(lambda: writer.row.spooled > 100)
        assert bench.law(writer)
        sink.always = None
        eventually(lambda: delivered(bench, writer))
        assert (writer.row.delivered, sum(writer.row.dropped)) == (601, 0)
        assert [int(line.split()[0]) for line in sink.received] == [0] + [n for n in range(1, 7) for _ in range(100)]
        writer.finish(time.monotonic() + ENOUGH)


def test_a_ledger_that_refuses_is_told_again_and_nothing_is_stored_twice(
    bench: WriterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on disk and not in the books is counted as queued until it is; nothing newer goes before it."""
    commit, refusals = bench.ledger._commit, [2]

    def refusing(*rows: Any) -> None:
        if threading.current_thread().name.startswith("logbus-keeper") and refusals[0]:
            refusals[0] -= 1
            bench.ledger._roll_back()
            raise PageError(bench.directory, "can't be made")
        commit(*rows)

    sink = Answering(always=BUSY)
    writer = start(bench, sink)
    give(bench, writer, 1)
    eventually(lambda: writer.row.state == "failing")
    monkeypatch.setattr(bench.ledger, "_commit", refusing)
    give(bench, writer, 3, 1)
    eventually(lambda: refusals == [0])
    assert bench.law(writer)
    give(bench, writer, 6, 3)
    eventually(lambda: writer.row.spooled == 6)
    assert bench.law(writer)
    sink.always = None
    eventually(lambda: delivered(bench, writer))
    assert sink.received == numbers(6)
    assert (writer.row.delivered, writer.row.duplicated) == (6, 0)


def test_nothing_is_read_that_the_ledger_does_not_know_of(bench: WriterBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While records go to disk, the writer waits for the commit that says so."""
    move, inside, going = Books.move, threading.Event(), threading.Event()

    def waiting(books: Books, records: int, shed: int) -> None:
        inside.set()
        assert going.wait(ENOUGH)
        move(books, records, shed)

    sink = Answering(always=BUSY)
    writer = start(bench, sink)
    give(bench, writer, 1)
    eventually(lambda: writer.row.state == "failing")
    give(bench, writer, 2, 1)
    eventually(lambda: writer.row.spooled == 2)
    monkeypatch.setattr(Books, "move", waiting)
    give(bench, writer, 9, 2)
    assert inside.wait(ENOUGH)
    keeper = writer._stock.keeper
    assert keeper is not None
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(keeper.read, 100, 10_000)
        assert not wait_for([reading], 0.05).done
        going.set()
        reading.result(ENOUGH)
    sink.always = None
    eventually(lambda: delivered(bench, writer))
    assert sink.received == numbers(9)


def test_what_can_not_be_read_any_more_is_lost(bench: WriterBench) -> None:
    """A byte of a segment has changed: the record is counted as lost, told, and all others are delivered."""
    sink = Answering()
    sink.gate.clear()
    writer = start(bench, sink, terms=replace(SPOOLED, queue_bytes=400))
    give(bench, writer, 1)
    assert sink.inside.wait(ENOUGH)
    lines = [f"{number} {'x' * 50}" for number in range(1, 8)]
    for line in lines:
        bench.give(writer, line)
        eventually(lambda: writer.document()["queue_bytes"] < 200)
    assert writer.row.spooled >= 4
    [segment] = (bench.directory / "state" / "spools").glob("*/*.seg")
    data = segment.read_bytes()
    at = data.index(b"2 x")
    with segment.open("r+b") as file:
        file.seek(at)
        file.write(b"3")
    sink.gate.set()
    eventually(lambda: delivered(bench, writer))
    assert [line[:1] for line in sink.received] == [b"0", b"1", *numbers(8, 3)]
    assert (writer.row.delivered, writer.row.dropped[COLLECTOR_LOST]) == (7, 1)
    assert any(".seg is damaged" in text for text in bench.complaints)


def test_a_spool_that_has_gone_is_lost(bench: WriterBench) -> None:
    """Somebody has removed its files: what the row calls spooled is lost, and new records are delivered."""
    writer = start(bench, Answering(always=BUSY))
    give(bench, writer, 3)
    writer.finish(time.monotonic() + ENOUGH)
    assert writer.row.spooled == 3
    for segment in (bench.directory / "state" / "spools").glob("*/*.seg"):
        segment.unlink()
    after = Answering()
    again = start(bench, after)
    give(bench, again, 5, 3)
    eventually(lambda: delivered(bench, again))
    assert after.received == numbers(5, 3)
    assert again.row.dropped[COLLECTOR_LOST] == 3


def test_lines_of_another_dialect_are_not_sent(bench: WriterBench) -> None:
    """They were written before the sink's form changed: they become dead letters, under the name of their own."""
    writer = start(bench, Answering(always=BUSY))
    give(bench, writer, 3)
    writer.finish(time.monotonic() + ENOUGH)
    letters: list[tuple[bytes, int, str]] = []
    after = Answering()
    again = bench.start(
        after,
        terms=replace(SPOOLED, dialect="fancy"),
        spools=bench.spools,
        bury=lambda name, refusals, dialect: letters.extend((one.lines, one.records, dialect) for one in refusals),
    )
    give(bench, again, 4, 3)
    eventually(lambda: delivered(bench, again))
    assert after.received == [b"3"]
    assert letters == [(b"0\n1\n2\n", 3, "plain")]
    assert (again.row.dropped[REJECTED], again.row.delivered) == (3, 1)


def test_a_sink_that_has_no_spool_any_more_empties_it(bench: WriterBench) -> None:
    """What stands there is delivered first; nothing new goes there, and at the end what is left stays."""
    writer = start(bench, Answering(always=BUSY))
    give(bench, writer, 6)
    writer.finish(time.monotonic() + ENOUGH)
    after = Answering(Sent(2), always=BUSY)
    again = start(bench, after, terms=replace(SPOOLED, on_full="shed_lowest", spool_bytes=0))
    give(bench, again, 8, 6)
    eventually(lambda: again.row.delivered == 2 and again.row.state == "failing")
    again.finish(time.monotonic() + ENOUGH)
    assert (again.row.spooled, again.row.dropped[SHUTDOWN]) == (4, 2)
    last = Answering()
    end = start(bench, last, terms=replace(SPOOLED, on_full="shed_lowest", spool_bytes=0))
    eventually(lambda: delivered(bench, end))
    assert last.received == numbers(6, 2)
    assert bench.law(end)


def test_the_next_writer_of_a_name_takes_the_spool_over(bench: WriterBench) -> None:
    """A reload: the old one ends at its first failure, and what it leaves is delivered before what has come since."""
    old_sink, new_sink = Answering(always=BUSY), Answering()
    old = start(bench, old_sink)
    give(bench, old, 5)
    eventually(lambda: old.row.state == "failing")
    new = start(bench, new_sink, old)
    old.retire(time.monotonic() + 1000.0)
    give(bench, new, 9, 5)
    eventually(lambda: old.ended and delivered(bench, new))
    assert new_sink.received == numbers(9)
    assert (new.row.delivered, new.row.duplicated, sum(new.row.dropped)) == (9, 0, 0)


def test_who_ends_before_its_turn_keeps_what_it_has(bench: WriterBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one before it hangs until both are to end: what waited behind it goes into the spool all the same."""
    monkeypatch.setattr(writer_module, "SPILL_S", ENOUGH)
    old_sink, new_sink = Answering(), Answering()
    old_sink.gate.clear()
    old = start(bench, old_sink)
    give(bench, old, 1)
    assert old_sink.inside.wait(ENOUGH)
    new = start(bench, new_sink, old)
    give(bench, new, 4, 1)
    deadline = time.monotonic() + 0.05
    old.retire(deadline)
    new.retire(deadline)
    for writer in (old, new):
        writer.finish(deadline)
    assert (new.row.spooled, sum(new.row.dropped)) == (4, 0)
    after = Answering()
    again = start(bench, after)
    eventually(lambda: delivered(bench, again))
    assert after.received == numbers(4)


def test_a_spool_that_is_full_gives_up_what_is_lowest(bench: WriterBench) -> None:
    """Each record is counted as dropped by the high water mark, in the commit that says what has come instead."""
    sink = Answering(always=BUSY)
    writer = start(bench, sink, terms=replace(SPOOLED, spool_bytes=256 * 1024))
    bench.give(writer, "first", level=ERROR)
    eventually(lambda: writer.row.state == "failing")
    for number in range(0, 400, 4):
        for at in range(number, number + 4):
            bench.give(writer, f"{at} {'x' * 1000}", level=DEBUG if at % 4 else ERROR)
        assert bench.law(writer)
    eventually(lambda: writer.queued == 0)
    dropped = writer.row.dropped[HIGH_WATER_MARK]
    assert dropped > 100
    assert writer.document()["spool"]["bytes"] <= 256 * 1024
    sink.always = None
    eventually(lambda: delivered(bench, writer))
    assert len(sink.received) == 401 - dropped
    received = {int(line.split()[0]) for line in sink.received[1:]}
    assert received >= set(range(0, 400, 4))  # every ERROR
