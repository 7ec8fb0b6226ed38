"""A writer whose ledger fails now and then, since its disk is full: nothing is sent twice for it, or left uncounted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.writing import courier, writer as module
from logbus.collectors.writing.terms import Terms
from logbus.errors import PageError
from logbus.wire import COLLECTOR_LOST, HIGH_WATER_MARK, REJECTED
from tests.answering import Answering
from tests.bench import ENOUGH, Gated, WriterBench
from tests.eventually import eventually

REMOTE = Terms(on_full="shed_lowest", initial_s=0.01, max_interval_s=0.01)


class Disk:
    """The page of a ledger, which refuses a commit when the test says so."""

    def __init__(self, bench: WriterBench) -> None:
        self._append = bench.ledger._page.append
        self._path = bench.ledger._page.path
        self.refuses: Callable[[], bool] = lambda: False
        self.refused = 0
        bench.ledger._page.append = self._commit  # type: ignore[method-assign]

    def _commit(self, payload: bytes) -> None:
        if self.refuses():
            self.refused += 1
            raise PageError(self._path, "can't grow")
        self._append(payload)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WriterBench]:
    """A bench whose writers are ended."""
    with WriterBench(tmp_path) as bench:
        yield bench


@pytest.fixture
def disk(bench: WriterBench) -> Disk:
    """The disk of its ledger."""
    return Disk(bench)


def assert_set(event: threading.Event) -> None:
    """Waits for it."""
    assert event.wait(ENOUGH)


def ended(bench: WriterBench, disk: Disk, answer: Sent | None, **options: object) -> Answering:
    """A sink that has answered so while the disk was full for three commits, the one for that answer first."""
    sink = Answering(answer)
    writer = bench.start(sink, terms=REMOTE, **options)
    sink.gate.clear()
    bench.give(writer, "1", "2")
    assert sink.inside.wait(ENOUGH)
    disk.refuses = lambda: disk.refused < 3
    sink.gate.set()
    eventually(lambda: disk.refused == 3 and bench.written(writer))
    assert bench.law(writer)
    return sink


def test_what_was_delivered_and_not_booked_is_booked_and_not_sent_again(bench: WriterBench, disk: Disk) -> None:
    """As soon as the disk takes it."""
    sink = ended(bench, disk, None)
    assert sink.writes == [[b"1", b"2"]]
    assert (bench.ledger.sinks["main"].delivered, bench.ledger.sinks["main"].duplicated) == (2, 0)


def test_what_was_refused_and_not_booked_is_buried_once(bench: WriterBench, disk: Disk) -> None:
    """And counted once."""
    letters: list[bytes] = []
    sink = ended(
        bench, disk, Sent(2, (Refusal(b"1\n", 1, "no"),)), bury=lambda *letter: letters.append(letter[1][0].lines)
    )
    row = bench.ledger.sinks["main"]
    assert (len(sink.writes), letters, row.delivered, row.dropped[REJECTED]) == (1, [b"1\n"], 1, 1)


def test_what_may_be_there_twice_is_counted_though_the_failure_was_not_booked(bench: WriterBench, disk: Disk) -> None:
    """With the next entry that works."""
    sink = Answering(TryAgainError("no answer", doubtful=2))
    writer = bench.start(sink, terms=REMOTE)
    sink.gate.clear()
    bench.give(writer, "1", "2")
    assert sink.inside.wait(ENOUGH)
    disk.refuses = lambda: disk.refused < 1
    sink.gate.set()
    eventually(lambda: bench.written(writer))
    assert (len(sink.writes), disk.refused, writer.row.delivered, writer.row.duplicated) == (2, 1, 2, 2)


def test_the_law_holds_in_every_moment_of_a_commit_that_fails(bench: WriterBench, disk: Disk) -> None:
    """Whoever takes the ledger's lock next sees the row and the queue as they were."""
    sink = Answering()
    writer = bench.start(sink, terms=REMOTE)
    sink.gate.clear()
    bench.give(writer, "1", "2")
    assert sink.inside.wait(ENOUGH)
    seen: list[list[str]] = []
    ledger, lock = bench.ledger, bench.ledger._lock

    class Watched:
        """Looks at the law whenever the lock is let go of."""

        def __enter__(self) -> None:
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

        def acquire(self) -> None:
            """Takes it."""
            lock.acquire()

        def release(self) -> None:
            """Looks, and lets go."""
            seen.append(writer.row.problems(writer.queued))
            lock.release()

    with lock:
        ledger._lock = Watched()  # type: ignore[assignment]
    disk.refuses = lambda: disk.refused < 3
    sink.gate.set()
    eventually(lambda: bench.written(writer))
    assert len(seen) > 3
    assert not any(seen)


def test_records_that_the_ledger_can_not_be_told_were_shed_are_booked_later(bench: WriterBench, disk: Disk) -> None:
    """Whoever hands lines over notices nothing of it, and it is told once."""
    sink = Answering()
    writer = bench.start(sink, terms=replace(REMOTE, queue_bytes=12))
    sink.gate.clear()
    bench.give(writer, "111")
    assert sink.inside.wait(ENOUGH)
    assert bench.give(writer, "222", "333")
    with bench.ledger.transaction() as change:
        writer.row.offered += 3
        assert writer.admit(3)
        change.sink(writer.row)
    disk.refuses = lambda: True
    for line in (b"444\n", b"555\n"):
        writer.put(line, 1, (), b"\2")
    disk.refuses = lambda: False
    assert writer.row.dropped[HIGH_WATER_MARK] == 0
    assert bench.law(writer)
    writer.put(b"666\n", 1, (), b"\2")
    assert writer.row.dropped[HIGH_WATER_MARK] == 3
    assert bench.law(writer)
    assert [line.partition(": can't")[0] for line in bench.complaints if "no room" not in line] == [
        f"sink 'main': its queue fails: PageError: {bench.ledger._page.path}"
    ]


def test_lines_that_do_not_get_into_the_queue_are_booked_as_lost(bench: WriterBench) -> None:
    """A defect on the way there ends neither the receiver nor the law."""
    writer = bench.start(Answering(), terms=REMOTE)
    with bench.ledger.transaction() as change:
        writer.row.offered += 2
        assert writer.admit(2)
        change.sink(writer.row)
    writer.put(b"1\n2\n", 2, (), b"")
    assert (writer.queued, writer.row.dropped[COLLECTOR_LOST]) == (0, 2)
    assert bench.law(writer)
    assert bench.complaints == [
        "sink 'main': its queue fails: ValueError: levels: expected one for each of 2 records, found 0"
    ]


def test_a_writer_begins_when_the_ledger_lets_it(
    bench: WriterBench, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that had ended instead would take records for ever and deliver none."""
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    old = bench.start(Answering(), terms=REMOTE)
    new_sink = Answering()
    waits = threading.Event()
    old.sink.close = lambda: assert_set(waits)  # type: ignore[method-assign]
    new = bench.start(new_sink, old, terms=REMOTE)
    assert bench.give(new, "1")
    old.retire(time.monotonic() + ENOUGH)
    disk.refuses = lambda: threading.current_thread() is new._thread and disk.refused < 3
    waits.set()
    eventually(lambda: bench.written(new))
    assert (new_sink.received, disk.refused) == ([b"1"], 3)


def test_a_look_that_is_wanted_does_not_have_a_sink_opened_without_a_pause(bench: WriterBench) -> None:
    """A file that can't be opened is tried at its pace, whoever sends a SIGHUP meanwhile."""
    old, sink = bench.start(Gated("main")), Gated("new")
    sink.refusals = 1000
    new = bench.start(sink, old, terms=Terms(initial_s=100.0, max_interval_s=100.0))
    old.retire(time.monotonic())
    eventually(lambda: sink.refusals == 999)
    new.reopen()
    eventually(lambda: sink.refusals == 998)
    assert not new._ending.called
    sink.refusals = 0
    new.reopen()


def test_a_sink_that_hangs_is_called_so_though_nothing_comes(
    bench: WriterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After what it may take by its own word; who waits for it has gone on by then."""
    sink = Answering()
    sink.gate.clear()
    monkeypatch.setattr(Answering, "patience_s", 3600.0)
    writer = bench.start(sink, terms=Terms(queue_bytes=1))
    bench.give(writer, "1")
    assert sink.inside.wait(ENOUGH)
    assert writer.pushes_back
    monkeypatch.setattr(courier, "HUNG_S", 0.0)
    writer.watch()
    assert (writer.pushes_back, writer.row.state) == (False, "ok")
    monkeypatch.setattr(Answering, "patience_s", 0.0)
    writer.watch()
    assert (writer.row.state, bench.complaints) == (
        "failing",
        ["sink 'main' hangs: it has not come back for 5 s, and is waited for"],
    )


def test_a_call_is_aborted_until_it_ends(bench: WriterBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One word that comes between two calls of a write is not heard; and an abort that hangs holds nobody up."""
    monkeypatch.setattr(module, "HANG_S", ENOUGH)
    sink, hangs = Answering(), threading.Event()
    sink.gate.clear()
    words: list[int] = []

    def abort() -> None:
        words.append(1)
        if len(words) == 3:
            sink.gate.set()
        elif len(words) == 2:
            assert hangs.wait(ENOUGH)

    sink.abort = abort  # type: ignore[method-assign]
    writer = bench.start(sink, terms=REMOTE)
    bench.give(writer, "1")
    assert sink.inside.wait(ENOUGH)
    writer.retire(time.monotonic())
    for _ in range(3):
        writer.give_up()
    assert len(words) == 2
    hangs.set()

    def has_ended() -> bool:
        writer.give_up()
        return writer.ended

    eventually(has_ended)
    assert len(words) == 3
    assert writer.row.delivered + writer.row.unknown == 1
