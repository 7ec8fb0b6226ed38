"""The way to a sink: what comes of each answer, when the next attempt is made, and when none is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.writing import breaker
from logbus.collectors.writing.terms import Terms
from logbus.wire import REJECTED, SHUTDOWN
from tests.answering import Answering
from tests.bench import ENOUGH, WriterBench
from tests.eventually import eventually

#: The terms of a remote sink, but for the waits.
REMOTE = Terms(max_records=4, on_full="shed_lowest", initial_s=0.01, max_interval_s=0.02, jitter=True, dialect="plain")
BUSY = TryAgainError("503 Service Unavailable")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WriterBench]:
    """A bench whose writers are ended."""
    with WriterBench(tmp_path) as bench:
        yield bench


class Graves:
    """Keeps dead letters, and what the row said when they came."""

    def __init__(self) -> None:
        self.letters: list[tuple[bytes, int, str, str]] = []
        self.seen: list[Any] = []
        self.look: Any = lambda: None

    def __call__(self, name: str, refusals: Sequence[Refusal], dialect: str) -> None:
        """Keeps them."""
        self.seen.append(self.look())
        self.letters += [(*refusal, dialect) for refusal in refusals]


def test_what_has_not_ended_comes_again(bench: WriterBench) -> None:
    """The first of a batch have ended, the others follow, with nothing newer between them."""
    sink = Answering(Sent(3), Sent(1), None)
    sink.gate.clear()
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1", "2", "3", "4")
    assert sink.inside.wait(ENOUGH)
    bench.give(writer, "5", "6")
    sink.gate.set()
    eventually(lambda: bench.written(writer))
    assert sink.writes == [[b"1", b"2", b"3", b"4"], [b"4"], [b"5", b"6"]]
    assert (writer.row.delivered, writer.row.duplicated) == (6, 0)
    assert bench.law(writer)


def test_what_is_refused_for_good_is_buried_and_then_booked(bench: WriterBench) -> None:
    """So that a crash between the two shows it twice rather than not at all; the others of the write are delivered."""
    answer = Sent(3, (Refusal(b"2\n", 1, "400 no such field"),))
    sink, graves = Answering(answer), Graves()
    writer = bench.start(sink, terms=REMOTE, bury=graves)
    graves.look = lambda: writer.row.dropped[REJECTED]
    bench.give(writer, "1", "2", "3")
    eventually(lambda: bench.written(writer))
    assert graves.letters == [(b"2\n", 1, "400 no such field", "plain")]
    assert (graves.seen, writer.row.dropped[REJECTED], writer.row.delivered) == ([0], 1, 2)
    assert writer.row.state == "ok"
    assert bench.complaints == ["sink 'main': 1 record was refused for good, as dead letters: 400 no such field"]
    assert bench.law(writer)


def test_dead_letters_that_can_not_be_kept_are_counted(bench: WriterBench) -> None:
    """And told; the sink goes on."""

    def full(*_: object) -> None:
        raise OSError("disk full")

    writer = bench.start(Answering(Sent(1, (Refusal(b"1\n", 1, "no"),))), terms=REMOTE, bury=full)
    bench.give(writer, "1")
    eventually(lambda: bench.written(writer))
    assert writer.row.dropped[REJECTED] == 1
    assert bench.complaints[1:] == ["sink 'main': its dead letters can't be kept: OSError: disk full"]


def test_what_is_in_doubt_is_sent_again_and_counted_each_time(bench: WriterBench) -> None:
    """It may be there once for each attempt that had no answer, and what a sink has sent again by itself counts too."""
    doubt = TryAgainError("no answer", doubtful=2)
    sink = Answering(doubt, doubt, Sent(2, resent=5))
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1", "2")
    eventually(lambda: bench.written(writer))
    assert (writer.row.delivered, writer.row.duplicated, writer.row.unknown) == (2, 2 + 2 + 5, 0)
    assert (len(sink.writes), sink.received) == (3, [b"1", b"2"])
    assert bench.law(writer)


@pytest.mark.parametrize("records", [-1, 0, 3])
def test_an_answer_that_can_not_be_is_a_failure(bench: WriterBench, records: int) -> None:
    """Somebody else's sink may count wrongly: nothing has ended then, and it is not asked without a pause."""
    sink = Answering(always=Sent(records))
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1", "2")
    eventually(lambda: writer.row.state == "failing")
    assert writer.row.last_error == f"expected an answer for 1 to 2 records, found one for {records}"
    sink.always = None
    eventually(lambda: bench.written(writer))
    assert writer.row.delivered == 2
    assert bench.law(writer)


def test_who_wants_to_be_left_alone_is(bench: WriterBench) -> None:
    """No attempt is made sooner than the other side has said, however short our own waits are."""
    sink = Answering(TryAgainError("429 Too Many Requests", after_s=0.3))
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1")
    eventually(lambda: bench.written(writer))
    assert sink.times[1] - sink.times[0] >= 0.3


@pytest.mark.parametrize("how", ["reopen", "retire"])
def test_a_wait_ends_when_somebody_wants_something(bench: WriterBench, how: str) -> None:
    """An hour that a server has asked for is over when a look is wanted, or when the end begins."""
    sink = Answering(TryAgainError("come back later", after_s=3600.0))
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1")
    eventually(lambda: writer.row.state == "failing")
    bench.give(writer, "2")  # which is no reason to try again
    if how == "reopen":
        writer.reopen()
    else:
        writer.retire(time.monotonic() + ENOUGH)
    eventually(lambda: bench.written(writer))
    assert sink.received == [b"1", b"2"]
    assert writer.row.delivered == 2


def test_after_some_failures_a_single_record_is_tried(bench: WriterBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until that one is delivered; then everything is, and the status says in each case what the circuit is."""
    monkeypatch.setattr(breaker, "OPEN_S", 0.05)
    sink = Answering(always=BUSY)
    writer = bench.start(sink, terms=replace(REMOTE, breaker_failures=2, max_interval_s=0.1))
    assert writer.document()["circuit"] == "closed"
    bench.give(writer, "1", "2", "3")
    eventually(lambda: len(sink.writes) >= 4)
    assert writer.document()["circuit"] != "closed"
    assert [len(lines) for lines in sink.writes[:4]] == [3, 3, 1, 1]
    sink.always = None
    eventually(lambda: bench.written(writer))
    assert [len(lines) for lines in sink.writes[-2:]] == [1, 2]
    assert writer.document()["circuit"] == "closed"
    assert sink.received == [b"1", b"2", b"3"]


def test_what_was_tried_for_too_long_is_given_up(bench: WriterBench) -> None:
    """The whole batch, as dead letters with the last error, and the next one is tried."""
    sink, graves = Answering(always=BUSY), Graves()
    writer = bench.start(sink, terms=replace(REMOTE, max_elapsed_s=0.05), bury=graves)
    bench.give(writer, "1", "2")
    eventually(lambda: writer.row.dropped[REJECTED] == 2)
    [letter] = graves.letters
    assert letter == (b"1\n2\n", 2, "given up after 0.05 s: 503 Service Unavailable", "plain")
    sink.always = None
    bench.give(writer, "3")
    eventually(lambda: bench.written(writer))
    assert sink.received == [b"3"]
    assert bench.law(writer)


def test_a_batch_is_taken_when_it_is_full(bench: WriterBench) -> None:
    """By its records or its bytes; what is too little for one waits, and at the end it doesn't."""
    sink = Answering()
    writer = bench.start(sink, terms=replace(REMOTE, max_records=3, max_bytes=20, max_delay_s=1000.0))
    bench.give(writer, "1", "2")
    bench.give(writer, "3", "4")
    eventually(lambda: len(sink.received) == 3)
    assert writer.queued == 1
    bench.give(writer, "5" * 30)
    eventually(lambda: len(sink.received) >= 4)
    bench.give(writer, "6")
    writer.finish(time.monotonic() + ENOUGH)
    assert sink.writes == [[b"1", b"2", b"3"], [b"4"], [b"5" * 30], [b"6"]]


def test_a_batch_is_taken_when_its_oldest_line_is_old_enough(bench: WriterBench) -> None:
    """It comes within the delay and not before, though the thread had lain down for longer."""
    sink = Answering()
    writer = bench.start(sink, terms=replace(REMOTE, max_records=100, max_delay_s=0.2))
    given = time.monotonic()
    bench.give(writer, "1")
    bench.give(writer, "2")
    eventually(lambda: bench.written(writer))
    assert sink.writes == [[b"1", b"2"]]
    assert sink.times[0] - given >= 0.2


def test_a_request_under_way_is_aborted_at_the_deadline(bench: WriterBench) -> None:
    """It has not ended: what it held is dropped by the shutdown and not unknown, and may be there."""
    sink = Answering()
    sink.gate.clear()
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1", "2")
    assert sink.inside.wait(ENOUGH)
    writer.finish(time.monotonic() + 0.05)
    assert sink.was_aborted
    assert (writer.row.dropped[SHUTDOWN], writer.row.unknown, writer.row.duplicated) == (2, 0, 2)
    assert "sink 'main': 2 records were dropped at its end" in bench.complaints
    assert bench.law(writer)


def test_a_server_that_refuses_connections_does_not_hold_the_end(bench: WriterBench) -> None:
    """It is tried until its breaker would open, and then no more, though there is time."""
    sink = Answering(always=ConnectionRefusedError("refused"))
    writer = bench.start(sink, terms=replace(REMOTE, breaker_failures=3))
    bench.give(writer, "1")
    eventually(lambda: writer.document()["circuit"] == "open")
    before = len(sink.writes)
    writer.finish(time.monotonic() + 1000.0)
    assert len(sink.writes) == before + 3
    assert writer.row.dropped[SHUTDOWN] == 1


def test_an_abort_that_raises_hinders_nobody(bench: WriterBench) -> None:
    """It is somebody else's code, and the collector's thread; so is what a sink says of itself."""

    class Clumsy(Answering):
        def abort(self) -> None:
            super().abort()
            raise RuntimeError("clumsy")

        def document(self) -> dict[str, Any]:
            raise RuntimeError("clumsy")

    sink = Clumsy()
    sink.gate.clear()
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1")
    assert sink.inside.wait(ENOUGH)
    assert writer.document()["queue_bytes"] == 2
    writer.finish(time.monotonic() + 0.01)
    assert writer.row.dropped[SHUTDOWN] == 1


class Repeating(Answering):
    """Sends again what it has delivered, in looks and as it is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.owed = 0

    def look(self, first: int = 0) -> int:
        """Sends three again, and fails."""
        if first:
            return sys.maxsize
        self.owed += 3
        raise TryAgainError("nobody is there")

    def close(self) -> None:
        """Sends five again, and says that not all was."""
        self.owed += 5
        self.trouble = "2 lines may be lost"

    def resent(self) -> int:
        """Those that were not told."""
        owed, self.owed = self.owed, 0
        return owed


def test_what_is_sent_again_without_a_write_is_booked(bench: WriterBench) -> None:
    """In a look, though that fails, and as the sink is closed; what is wrong then is told, too."""
    sink = Repeating()
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1")
    eventually(lambda: bench.written(writer))
    writer.reopen()
    eventually(lambda: writer.row.duplicated)
    writer.finish(time.monotonic() + ENOUGH)
    assert writer.row.duplicated % 3 == 5 % 3
    assert writer.row.duplicated >= 8
    assert bench.complaints == ["sink 'main': 2 lines may be lost"]
    assert bench.law(writer)
