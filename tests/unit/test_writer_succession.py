"""Writers that follow one another: on one row, on one file, with a queue that takes records meanwhile."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logbus.collectors.sinks.file import FileSink
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.wire import SHUTDOWN
from tests.bench import ENOUGH, Gated, WriterBench
from tests.eventually import eventually


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WriterBench]:
    """A bench whose writers try again at once; they are ended with the test."""
    with WriterBench(tmp_path) as bench:
        yield bench


def test_the_next_writer_of_a_row_begins_when_the_last_has_ended(bench: WriterBench) -> None:
    """It takes records at once, opens its sink after the other has closed its own, and the row counts both."""
    journal: list[str] = []
    old_sink, new_sink = Gated("main", journal), Gated("main", journal)
    new_sink.gate.set()
    old = bench.start(old_sink)
    bench.give(old, "1", "2")
    assert old_sink.inside.wait(ENOUGH)
    bench.give(old, "3")
    new = bench.start(new_sink, old)
    assert new.row is old.row
    old.retire(time.monotonic() + ENOUGH)
    assert bench.give(new, "4", "5")
    assert (new.row.offered, new.row.delivered, old.queued, new.queued) == (5, 0, 3, 2)
    assert bench.law(old, new)
    assert new_sink.lines() == []
    old_sink.gate.set()
    eventually(lambda: new.queued == 0)
    assert old.ended
    assert (old_sink.lines(), new_sink.lines()) == ([b"1", b"2", b"3"], [b"4", b"5"])
    assert journal == ["open main", "write main", "write main", "close main", "open main", "write main"]
    assert (new.row.delivered, new.row.state, new.row.intent) == (5, "ok", None)
    assert bench.law(old, new)


def test_one_file_passes_from_sink_to_sink(bench: WriterBench, tmp_path: Path) -> None:
    """Another name, the same file: its lines stand in the order of their coming, and both rows are exact."""
    path = tmp_path / "log"
    writer = bench.start(FileSink("s0", path, json_lines=True))
    writers = [writer]
    for number in range(200):
        if number % 20 == 19:
            after = bench.start(FileSink(f"s{number}", path, json_lines=True), writer)
            writer.retire(time.monotonic() + ENOUGH)
            writer = after
            writers.append(writer)
        assert bench.give(writer, f'"{number}"')
    eventually(lambda: writer.queued == 0)
    assert path.read_text() == "".join(f'"{number}"\n' for number in range(200))
    assert all(bench.law(one) for one in writers)
    assert sum(one.row.delivered for one in writers) == 200
    assert bench.complaints == []


def test_a_retired_writer_gives_up_at_its_deadline(bench: WriterBench) -> None:
    """What a sink that fails has not taken by then is dropped by the shutdown, and the next one begins."""
    old_sink, new_sink = Gated("main"), Gated("main")
    for sink in (old_sink, new_sink):
        sink.gate.set()
    old_sink.failure = OSError(errno.ENOSPC, "No space left on device")
    old = bench.start(old_sink)
    bench.give(old, "1", "2")
    new = bench.start(new_sink, old)
    bench.give(new, "3")
    old.retire(time.monotonic() + 0.05)
    eventually(lambda: new.queued == 0)
    assert (old.ended, old.queued, new.row.dropped[SHUTDOWN], new.row.delivered) == (True, 0, 2, 1)
    assert (new.row.state, new.row.last_error) == ("ok", None)
    assert bench.law(old, new)


def test_a_write_that_hangs_is_given_up_by_who_looks(bench: WriterBench) -> None:
    """Its books are closed a moment after the deadline, without waiting, and its row is free for the next."""
    old_sink, new_sink = Gated("main"), Gated("main")
    new_sink.gate.set()
    old = bench.start(old_sink)
    bench.give(old, "1", "2")
    assert old_sink.inside.wait(ENOUGH)
    new = bench.start(new_sink, old)
    bench.give(new, "3")
    old.give_up()
    assert not old.ended
    old.retire(time.monotonic())

    def given_up() -> bool:
        old.give_up()
        return old.ended

    eventually(given_up)
    eventually(lambda: new.queued == 0)
    assert (new.row.unknown, new.row.delivered, new.row.intent) == (2, 1, None)
    assert bench.law(old, new)
    old_sink.gate.set()
    eventually(lambda: old_sink.lines() == [b"1", b"2"])
    old.finish(time.monotonic() + ENOUGH)
    assert (new.row.unknown, new.row.delivered, new.row.intent) == (2, 1, None)
    assert bench.law(old, new)


def test_a_writer_may_end_before_its_turn_has_come(bench: WriterBench) -> None:
    """A reload that comes while another one drains: what waited behind is dropped at its own deadline, exactly."""
    first_sink, second_sink, third_sink = (Gated("main") for _ in range(3))
    first = bench.start(first_sink)
    bench.give(first, "1")
    assert first_sink.inside.wait(ENOUGH)
    second = bench.start(second_sink, first)
    bench.give(second, "2", "3")
    third = bench.start(third_sink, first, second)
    bench.give(third, "4")
    first.retire(time.monotonic() + ENOUGH)
    second.retire(time.monotonic())
    eventually(lambda: second.ended)
    assert (second.queued, second.row.dropped[SHUTDOWN], second_sink.journal) == (0, 2, ["close main"])
    first_sink.gate.set()
    third_sink.gate.set()
    eventually(lambda: third.queued == 0)
    assert third_sink.lines() == [b"4"]
    assert bench.law(first, second, third)


def test_a_sink_that_can_not_be_opened_in_its_turn_is_tried_again(bench: WriterBench) -> None:
    """Its row says that it fails, it complains once, and nothing is lost."""
    old = bench.start(Gated("old"))
    sink = Gated("new")
    sink.refusals = 3
    sink.gate.set()
    new = bench.start(sink, old)
    bench.give(new, "1")
    old.retire(time.monotonic() + ENOUGH)
    eventually(lambda: new.queued == 0)
    assert sink.lines() == [b"1"]
    assert (new.row.state, new.row.last_error) == ("ok", None)
    assert bench.complaints == ["sink 'new' fails and is tried again: SinkError: sink 'new': not yet"]


def test_who_waits_behind_a_sink_that_fails_does_not_push_back(bench: WriterBench) -> None:
    """A full disk stops nobody: neither the sink that fails nor the one that waits for its file."""
    old_sink = Gated("old")
    old_sink.gate.set()
    old = bench.start(old_sink)
    new = bench.start(Gated("new"), old, terms=Terms(queue_bytes=5))
    assert bench.give(new, "12345678")
    pushed_back = [new.pushes_back]
    old_sink.failure = OSError(errno.ENOSPC, "No space left on device")
    bench.give(old, "1")
    eventually(lambda: old.row.state == "failing")
    pushed_back.append(new.pushes_back)
    assert pushed_back == [True, False]
    assert not bench.give(new, "x")
    assert bench.law(new)


def test_a_writer_that_is_not_wanted_after_all_leaves_nothing(bench: WriterBench, tmp_path: Path) -> None:
    """Opened, started, or waiting behind another: its file is closed, and its row is removed or another's."""
    opened = Writer(FileSink("a", tmp_path / "a", json_lines=True), bench.ledger, complain=pytest.fail)
    opened.open()
    opened.cancel()
    assert "a" not in bench.ledger.sinks
    started = bench.start(FileSink("a", tmp_path / "a", json_lines=True))
    started.cancel()
    assert (started.ended, started.row.state) == (True, "removed")
    running = bench.start(Gated("main"))
    waiting = bench.start(Gated("main"), running)
    waiting.cancel()
    assert (waiting.ended, running.row.state) == (True, "ok")
    assert bench.law(running, waiting)
