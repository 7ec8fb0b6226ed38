"""The writer of a sink: its queue, its writes, and the books around them."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks.file import FileSink
from logbus.collectors.writing.writer import Writer
from logbus.errors import SinkError
from logbus.wire import HIGH_WATER_MARK, SHUTDOWN
from tests.bench import AT_ONCE, ENOUGH, A, Held, WriterBench
from tests.eventually import eventually


class Scripted(Held):
    """A sink that fails, waits or loses track as a test tells it."""

    def __init__(self, name: str = "main") -> None:
        super().__init__(name)
        self.undone = True
        self.looks = 0
        self.reopened = 0
        self.closed = False
        self.writes = 0
        self.gate.set()
        self.seen: list[object] = []
        self.row: Callable[[], object] = lambda: None

    def write(self, data: bytes) -> None:
        """Counts, and keeps what the row was then."""
        self.writes += 1
        self.seen.append(self.row())
        super().write(data)

    def undo(self) -> bool:
        """What the test says."""
        return self.undone

    def look(self, first: int = 0) -> int:
        """Counts."""
        self.looks += 1
        return super().look(first)

    def reopen(self) -> None:
        """Counts."""
        self.reopened += 1

    def close(self) -> None:
        """Remembers."""
        self.closed = True


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WriterBench]:
    """A bench whose writers try again at once; its writers are ended."""
    with WriterBench(tmp_path) as bench:
        yield bench


def test_lines_are_written_in_order(bench: WriterBench) -> None:
    """Every line once, in the order of its coming; the row counts them as delivered."""
    sink = Scripted()
    writer = bench.start(sink)
    for number in range(500):
        assert bench.give(writer, f"{number}a", f"{number}b", first=2 * number)
    eventually(lambda: bench.written(writer))
    assert sink.lines() == [f"{number}{part}".encode() for number in range(500) for part in "ab"]
    assert (writer.row.delivered, writer.row.intent, writer.row.state) == (1000, None, "ok")
    assert sink.writes < 500  # what waits is written together
    assert bench.law(writer)


def test_an_intent_stands_in_the_ledger_before_the_write(bench: WriterBench) -> None:
    """How many, which, and how many were delivered before: a restart needs it to find out how far a write came."""
    sink = Scripted()
    writer = bench.start(sink)
    sink.row = lambda: writer.row.intent
    bench.give(writer, "a", "b", first=7)
    eventually(lambda: bench.written(writer))
    bench.give(writer, "c", first=9)
    eventually(lambda: bench.written(writer))
    first, second = sink.seen
    assert first is not None
    assert first[:3] == (2, 0, ((A, 7, 2),))  # type: ignore[index]
    assert second[:3] == (1, 2, ((A, 9, 1),))  # type: ignore[index]


def test_a_sink_that_fails_is_tried_again(bench: WriterBench) -> None:
    """Nothing is lost or doubled; the row says that it fails and why, is told once, and says nothing once it works."""
    sink = Scripted()
    sink.failure = OSError(errno.ENOSPC, "No space left on device")
    writer = bench.start(sink)
    bench.give(writer, "a", "b")
    eventually(lambda: sink.writes > 3)
    assert (writer.row.state, writer.queued, writer.row.delivered) == ("failing", 2, 0)
    assert writer.row.last_error == "OSError: [Errno 28] No space left on device"
    assert bench.complaints == ["sink 'main' fails and is tried again: OSError: [Errno 28] No space left on device"]
    assert bench.law(writer)
    sink.failure = OSError(errno.EIO, "Input/output error")
    eventually(lambda: "Input/output" in (writer.row.last_error or ""))
    assert len(bench.complaints) == 1
    sink.failure = None
    eventually(lambda: bench.written(writer))
    assert bench.complaints[1:] == ["sink 'main' delivers again after 0 s; still waiting: 0"]
    document = writer.row.document(writer.queued)
    assert (document["state"], document["last_error"], document["delivered"]) == ("ok", None, 2)
    assert sink.lines() == [b"a", b"b"]
    assert bench.law(writer)


def test_what_can_not_be_undone_is_unknown(bench: WriterBench) -> None:
    """A part of the write may be out there: it is not written again, and nobody calls it delivered or lost."""
    sink = Scripted()
    sink.failure, sink.undone = BrokenPipeError(errno.EPIPE, "Broken pipe"), False
    writer = bench.start(sink)
    bench.give(writer, "a", "b", "c")
    eventually(lambda: bench.written(writer))
    assert (writer.row.unknown, writer.row.delivered, writer.row.state) == (3, 0, "failing")
    assert sink.writes == 1
    assert bench.law(writer)


def test_a_sink_that_can_not_be_opened_again_fails_before_the_write(bench: WriterBench) -> None:
    """No intent is left, and nothing is unknown though nothing could be undone."""

    class Gone(Scripted):
        def look(self, first: int = 0) -> int:
            if self.failure is not None:
                raise self.failure
            return super().look(first)

    sink = Gone()
    sink.failure, sink.undone = SinkError("main", "expected a regular file"), False
    writer = bench.start(sink)
    bench.give(writer, "a")
    eventually(lambda: writer.row.state == "failing")
    assert (writer.row.intent, writer.row.unknown, writer.queued, sink.writes) == (None, 0, 1, 0)
    sink.failure = None
    eventually(lambda: bench.written(writer))
    assert sink.lines() == [b"a"]


def test_an_impatient_sink_drops_what_it_has_no_room_for(bench: WriterBench) -> None:
    """Counted as high_water_mark, exactly; what was let in is written."""
    sink = Scripted()
    sink.gate.clear()
    writer = bench.start(sink, terms=replace(AT_ONCE, queue_bytes=20, on_full="drop_newest"))
    admitted = [bench.give(writer, "12345678") for _ in range(10)]
    assert admitted == [True] * 3 + [False] * 7
    assert not writer.pushes_back
    assert writer.row.dropped[HIGH_WATER_MARK] == 7
    assert bench.law(writer)
    sink.gate.set()
    eventually(lambda: bench.written(writer))
    assert bench.give(writer, "again")
    eventually(lambda: bench.written(writer))
    assert len(sink.lines()) == 4
    assert bench.law(writer)


def test_what_is_being_written_counts_as_room_that_is_taken(bench: WriterBench) -> None:
    """A queue whose lines are all in hand is full still: or a slow sink would hold twice its limit."""
    sink = Scripted()
    sink.gate.clear()
    writer = bench.start(sink, terms=replace(AT_ONCE, queue_bytes=5))
    bench.give(writer, "12345678")
    assert sink.inside.wait(ENOUGH)
    assert writer.full
    assert writer.pushes_back
    sink.gate.set()
    eventually(lambda: not writer.full)
    assert not writer.pushes_back


def test_a_failing_sink_does_not_push_back(bench: WriterBench) -> None:
    """A full disk must not stop the other sinks: beyond its queue the records of that one sink are dropped."""
    sink = Scripted()
    sink.failure = OSError(errno.ENOSPC, "No space left on device")
    writer = bench.start(sink, terms=replace(AT_ONCE, queue_bytes=20))
    bench.give(writer, "12345678")
    eventually(lambda: writer.row.state == "failing")
    admitted = [bench.give(writer, "12345678") for _ in range(5)]
    assert admitted == [True, True, False, False, False]
    assert not writer.pushes_back
    sink.failure = None
    eventually(lambda: bench.written(writer))
    assert (writer.row.delivered, writer.row.dropped[HIGH_WATER_MARK]) == (3, 3)
    assert bench.law(writer)


def test_the_end_writes_what_is_queued(bench: WriterBench) -> None:
    """Everything that was handed over is in the sink, which is closed."""
    sink = Scripted()
    sink.gate.clear()
    writer = bench.start(sink)
    for number in range(100):
        bench.give(writer, str(number), first=number)
    sink.gate.set()
    writer.finish(time.monotonic() + ENOUGH)
    assert (len(sink.lines()), writer.row.delivered, writer.queued, sink.closed) == (100, 100, 0, True)
    assert bench.law(writer)


def test_the_end_does_not_wait_for_a_sink_that_fails(bench: WriterBench) -> None:
    """What it would not take until the deadline is dropped by the shutdown, exactly."""
    sink = Scripted()
    sink.failure = OSError(errno.ENOSPC, "No space left on device")
    writer = bench.start(sink)
    for number in range(4):
        bench.give(writer, str(number), first=number)
        assert sink.inside.wait(ENOUGH)
    writer.finish(time.monotonic() + 0.05)
    assert (writer.row.dropped[SHUTDOWN], writer.queued, writer.row.unknown, sink.closed) == (4, 0, 0, True)
    assert bench.law(writer)


def test_the_end_does_not_wait_for_a_write_that_hangs(bench: WriterBench) -> None:
    """The write in hand is unknown, the rest dropped by the shutdown; if it ends after all, the books stay closed."""
    sink = Scripted()
    sink.gate.clear()
    writer = bench.start(sink)
    bench.give(writer, "a", "b")
    assert sink.inside.wait(ENOUGH)
    bench.give(writer, "c", first=2)
    began = time.monotonic()
    writer.finish(time.monotonic() + 0.05)
    assert time.monotonic() - began < 5
    books = (writer.row.unknown, writer.row.dropped[SHUTDOWN], writer.row.delivered, writer.queued)
    assert books == (2, 1, 0, 0)
    writer.finish(0.0)
    sink.gate.set()
    eventually(lambda: len(sink.lines()) == 2)
    writer.finish(time.monotonic() + ENOUGH)
    assert (writer.row.unknown, writer.row.dropped[SHUTDOWN], writer.row.delivered, writer.queued) == books
    assert bench.law(writer)


def test_a_write_that_hangs_and_then_fails_changes_no_closed_book(bench: WriterBench) -> None:
    """The error comes too late to be a matter of the ledger."""
    sink = Scripted()
    sink.gate.clear()
    sink.failure = OSError(errno.EPIPE, "Broken pipe")
    writer = bench.start(sink)
    bench.give(writer, "a")
    assert sink.inside.wait(ENOUGH)
    writer.finish(0.0)
    sink.gate.set()
    eventually(lambda: sink.closed)
    assert len(bench.complaints) == 1
    assert "nobody knows what became of them" in bench.complaints[0]
    writer.finish(time.monotonic() + ENOUGH)
    assert (writer.row.unknown, writer.row.state, writer.row.last_error) == (1, "ok", None)
    assert bench.law(writer)


def test_a_sink_is_looked_at_on_request_and_when_nothing_comes(bench: WriterBench) -> None:
    """A request is passed on at once; without one, a file that was moved is noticed within a second or so."""
    sink = Scripted()
    writer = bench.start(sink)
    writer.reopen()
    eventually(lambda: sink.reopened == 1)
    eventually(lambda: sink.looks > 0)
    assert sink.writes == 0


class Roomy(Scripted):
    """A sink of files of so many bytes: a full one makes room by another one."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.files: list[bytes] = [b""]

    def look(self, first: int = 0) -> int:
        """Begins the next file for a line that this one has no room for."""
        super().look(first)
        if self.files[-1] and len(self.files[-1]) + first > self.size:
            self.files.append(b"")
        return max(first, self.size - len(self.files[-1]))

    def write(self, data: bytes) -> None:
        """Keeps it, too."""
        super().write(data)
        self.files[-1] += data


def test_a_delivery_is_split_where_the_room_ends(bench: WriterBench) -> None:
    """Between two lines, in their order, and each intent says how many and which; a longer line goes alone."""
    sink = Roomy(10)
    sink.gate.clear()
    writer = bench.start(sink)
    sink.row = lambda: writer.row.intent
    bench.give(writer, "0")
    assert sink.inside.wait(ENOUGH)
    bench.give(writer, "1", "22", "333", "4444", "5" * 30, "6", first=7)
    bench.give(writer, "7", first=50)
    sink.gate.set()
    eventually(lambda: bench.written(writer))
    assert sink.files == [b"0\n1\n22\n", b"333\n4444\n", b"5" * 30 + b"\n", b"6\n7\n"]
    intents: list[Any] = sink.seen
    assert [intent[:3] for intent in intents] == [
        (1, 0, ((A, 0, 1),)),
        (2, 1, ((A, 7, 2),)),
        (2, 3, ((A, 9, 2),)),
        (1, 5, ((A, 11, 1),)),
        (2, 6, ((A, 12, 1), (A, 50, 1))),
    ]
    assert bench.law(writer)
    assert not writer.full


def test_what_failed_is_written_where_there_is_room_by_then(bench: WriterBench) -> None:
    """A sink that had another file meanwhile is asked again, and given as much as that one takes."""
    sink = Roomy(6)
    sink.failure = OSError(errno.ENOSPC, "No space left on device")
    writer = bench.start(sink)
    bench.give(writer, "1", "2", "3", "4", "5")
    eventually(lambda: sink.writes > 2)
    assert (writer.queued, writer.row.state) == (5, "failing")
    sink.files[-1] = b"....\n"
    sink.failure = None
    eventually(lambda: bench.written(writer))
    assert sink.files == [b"....\n", b"1\n2\n3\n", b"4\n5\n"]
    assert (writer.row.delivered, writer.row.state) == (5, "ok")
    assert bench.law(writer)


def test_what_is_wrong_with_a_sink_that_works_is_told_once(bench: WriterBench) -> None:
    """It is the sink's last error while its state is ok, with and without lines, until it is right again."""
    sink = Scripted()
    writer = bench.start(sink)
    sink.trouble = "rotation fails and is tried again: PermissionError"
    for number in range(3):
        bench.give(writer, str(number), first=number)
        eventually(lambda: bench.written(writer))
    assert bench.complaints == ["sink 'main': rotation fails and is tried again: PermissionError"]
    assert (writer.row.state, writer.row.last_error, writer.row.delivered) == ("ok", sink.trouble, 3)
    sink.failure = OSError(errno.ENOSPC, "No space left on device")
    bench.give(writer, "3", first=3)
    eventually(lambda: writer.row.state == "failing")
    sink.failure = None
    eventually(lambda: bench.written(writer))
    assert (writer.row.state, writer.row.last_error) == ("ok", sink.trouble)
    sink.trouble = None
    eventually(lambda: writer.row.last_error is None)
    assert [text.split(" ", 2)[2][:5] for text in bench.complaints] == ["rotat", "fails", "deliv"]


def test_a_look_that_fails_ends_nothing(bench: WriterBench) -> None:
    """What it says is said by the next write."""

    class Closed(Scripted):
        def reopen(self) -> None:
            super().reopen()
            raise SinkError("main", "somebody has taken the file")

    sink = Closed()
    writer = bench.start(sink)
    writer.reopen()
    eventually(lambda: sink.reopened == 1)
    bench.give(writer, "a")
    eventually(lambda: bench.written(writer))
    assert sink.lines() == [b"a"]


def test_a_new_life_begins_without_the_error_of_the_last(bench: WriterBench) -> None:
    """A row that ended as failing says ok, and no error, once its sink is open."""
    with bench.ledger.transaction() as change:
        row = Writer(Scripted(), bench.ledger, complain=pytest.fail).row
        row.state, row.last_error = "failing", "disk full"
        change.sink(row)
    writer = bench.start(Scripted())
    assert writer.row is row
    document = row.document(0)
    assert (document["state"], document["last_error"]) == ("ok", None)


def test_what_can_not_be_opened_has_no_row(bench: WriterBench, tmp_path: Path) -> None:
    """A collector that does not start leaves nothing about its sinks in the ledger."""
    with pytest.raises(SinkError):
        bench.start(FileSink("main", tmp_path, json_lines=True))
    assert bench.ledger.sinks == {}


def test_a_path_of_any_bytes_is_booked(bench: WriterBench, tmp_path: Path) -> None:
    """The intent holds the path: one that is not UTF-8 is written to like any other."""
    path = Path(str(tmp_path / "caf\udce9.jsonl"))
    writer = bench.start(FileSink("main", path, json_lines=True))
    bench.give(writer, "{}")
    eventually(lambda: bench.written(writer))
    assert path.read_bytes() == b"{}\n"
    assert bench.law(writer)


def test_what_is_withdrawn_is_sampled_out(bench: WriterBench) -> None:
    """Records that were let in and never come are none of the writer's any more; the law holds, and its end too."""
    writer = bench.start(Scripted())
    with bench.ledger.transaction() as change:
        writer.row.offered += 10
        assert writer.admit(10)
        change.sink(writer.row)
    assert bench.law(writer)
    with bench.ledger.transaction() as change:
        writer.withdraw(4)
        change.sink(writer.row)
    assert (writer.queued, writer.row.accepted, writer.row.sampled_out) == (6, 6, 4)
    assert bench.law(writer)
    writer.finish(time.monotonic() + ENOUGH)
    with bench.ledger.transaction() as change:
        writer.withdraw(6)
        change.sink(writer.row)
    assert (writer.queued, writer.row.dropped[SHUTDOWN], writer.row.sampled_out) == (0, 6, 4)
    assert bench.law(writer)


def test_a_sink_that_fails_is_failing_though_its_format_does_too(bench: WriterBench) -> None:
    """Each of the two is over when it is over: lines that go through don't hide what could not be encoded."""
    sink = Scripted()
    sink.failure = OSError(errno.ENOSPC, "no space left")
    writer = bench.start(sink)
    with bench.ledger.transaction() as change:
        writer.row.offered += 1
        assert writer.admit(1)
        writer.refuse(1, "ValueError: no", tell=True)
        change.sink(writer.row)
    bench.give(writer, "a")
    eventually(lambda: "no space left" in (writer.row.last_error or ""))
    with bench.ledger.transaction() as change:
        writer.forgive()
        change.sink(writer.row)
    assert "no space left" in (writer.row.last_error or "")
    sink.release()
    eventually(lambda: bench.written(writer))
    assert (writer.row.state, writer.row.last_error) == ("failing", "ValueError: no")
    assert bench.law(writer)
    assert len(bench.complaints) == 3


@pytest.mark.parametrize("where", ["look", "write"])
def test_a_defect_in_a_sink_is_a_failure_of_that_sink(bench: WriterBench, where: str) -> None:
    """Whatever it raises: the thread goes on and tries again; else a full queue would hold up all other sinks."""

    class Defective(Scripted):
        def look(self, first: int = 0) -> int:
            if self.failure is not None and where == "look":
                raise self.failure
            return super().look(first)

    sink = Defective()
    sink.failure = MemoryError("too much")
    writer = bench.start(sink)
    bench.give(writer, "a", "b")
    eventually(lambda: writer.row.state == "failing")
    assert (writer.row.last_error, writer.ended) == ("MemoryError: too much", False)
    assert bench.law(writer)
    sink.failure = None
    eventually(lambda: bench.written(writer))
    assert sink.lines() == [b"a", b"b"]
    assert (writer.row.state, writer.row.delivered) == ("ok", 2)
    assert bench.law(writer)


def test_a_sink_that_can_not_be_closed_has_ended(bench: WriterBench) -> None:
    """Its books are closed, so that the writer behind it begins; and the reason is told."""

    class Stubborn(Scripted):
        def close(self) -> None:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    writer = bench.start(Stubborn())
    bench.give(writer, "a")
    writer.retire(time.monotonic() + 20.0)
    eventually(lambda: writer.ended)
    assert bench.complaints == [
        "sink 'main' fails as it is closed: OSError: [Errno 122] Disk quota exceeded",
    ]
    assert writer.row.delivered == 1
    assert bench.law(writer)
