"""A sink in which a call does not come back, as on a network disk that has gone: it is that sink's trouble alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from logbus.collectors.writing import courier
from logbus.collectors.writing.terms import Terms
from logbus.wire import HIGH_WATER_MARK
from tests.bench import ENOUGH, Held, WriterBench
from tests.eventually import eventually


class Hanging(Held):
    """One that waits in the call that it is told, until the test lets it go."""

    def __init__(self, where: str) -> None:
        super().__init__("main")
        self.where = where
        self.going = threading.Event()
        if where != "write":
            self.gate.set()

    def look(self, first: int = 0) -> int:
        """Waits, or not."""
        if self.where == "look" and first:
            self.inside.set()
            assert self.going.wait(ENOUGH)
        return super().look(first)

    def release(self) -> None:
        """Lets everything through from now on."""
        super().release()
        self.going.set()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[WriterBench]:
    """A bench whose writers are ended."""
    with WriterBench(tmp_path) as bench:
        yield bench


@pytest.mark.parametrize("where", ["write", "look"])
def test_a_sink_that_hangs_holds_nobody_up(bench: WriterBench, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """It pushes back for a while, then its records beyond the queue are dropped, counted; and it is called failing."""
    sink = Hanging(where)
    writer = bench.start(sink, terms=Terms(queue_bytes=5))
    bench.give(writer, "12345678")
    assert sink.inside.wait(ENOUGH)
    pushed_back = [writer.pushes_back]
    monkeypatch.setattr(courier, "HUNG_S", 0.0)  # as if the time had passed
    pushed_back.append(writer.pushes_back)
    assert pushed_back == [True, False]

    admitted = [bench.give(writer, "more") for _ in range(3)]

    assert admitted == [False] * 3
    assert writer.row.dropped[HIGH_WATER_MARK] == 3
    assert (writer.row.state, writer.queued) == ("failing", 1)
    assert bench.law(writer)
    [complaint] = [line for line in bench.complaints if "no room" not in line]
    assert complaint.startswith("sink 'main' hangs: it has not come back for")
    monkeypatch.undo()
    sink.release()
    eventually(lambda: bench.written(writer))
    assert sink.lines() == [b"12345678"]
    assert (writer.row.state, writer.row.last_error) == ("ok", None)
    assert bench.law(writer)


def test_who_waits_behind_a_sink_that_hangs_holds_nobody_up(
    bench: WriterBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does the one that waits for its file."""
    old_sink = Hanging("write")
    old = bench.start(old_sink)
    bench.give(old, "1")
    assert old_sink.inside.wait(ENOUGH)
    new = bench.start(Held("new"), old, terms=Terms(queue_bytes=5))
    assert bench.give(new, "12345678")
    pushed_back = [new.pushes_back]
    monkeypatch.setattr(courier, "HUNG_S", 0.0)
    pushed_back.append(new.pushes_back)
    assert pushed_back == [True, False]
    assert bench.law(new)
