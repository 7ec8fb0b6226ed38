"""Deliveries of any lines into files of any size: what is written, what is booked, and what an intent says."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings, strategies as st

from logbus.collectors.ledger import Ledger
from logbus.collectors.rows import Range, coalesced
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.writing.writer import Writer
from tests.bench import AT_ONCE
from tests.frames import producer

LINES = st.lists(st.integers(0, 40), min_size=1, max_size=12)
#: A delivery: the lengths of its lines, and where gaps stand before a number.
DELIVERIES = st.lists(st.tuples(LINES, st.sets(st.integers(0, 11))), min_size=1, max_size=6)


class Files(MemorySink):
    """Files of at most so many bytes, of which writes fail when the test says so."""

    def __init__(self, size: int, failures: list[bool]) -> None:
        super().__init__("main")
        self.size = size
        self.failures = failures
        self.files: list[list[bytes]] = [[]]

    def look(self, first: int = 0) -> int:
        """Begins the next file for a line that this one has no room for."""
        if self.files[-1] and sum(map(len, self.files[-1])) + first > self.size:
            self.files.append([])
        return max(first, self.size - sum(map(len, self.files[-1])))

    def write(self, data: bytes) -> None:
        """Keeps the lines, or fails and keeps none."""
        if self.failures and self.failures.pop():
            raise OSError("not now")
        self.files[-1] += data.splitlines(keepends=True)
        super().write(data)


@settings(max_examples=60)
@given(DELIVERIES, st.integers(1, 120), st.lists(st.booleans(), max_size=8))
def test_every_line_once_in_files_that_are_not_too_long(
    deliveries: list[tuple[list[int], set[int]]], size: int, failures: list[bool]
) -> None:
    """In order, none split, none lost when a write fails; and each intent numbers exactly what its write holds."""
    sink = Files(size, failures)
    number = 0
    numbers: list[int] = []
    lines: list[bytes] = []
    with tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as directory:
        ledger = Ledger.open(Path(directory), name="t")
        writer = Writer(sink, ledger, complain=lambda text: None, terms=AT_ONCE)
        for lengths, gaps in deliveries:
            ranges: list[Range] = []
            data = b""
            for place, length in enumerate(lengths):
                number += 1 + (place in gaps)
                numbers.append(number)
                ranges.append((producer(1), number, 1))
                lines.append(b"x" * length + b"\n")
                data += lines[-1]
            with ledger.transaction() as change:
                writer.row.offered += len(lengths)
                assert writer.admit(len(lengths))
                change.sink(writer.row)
            writer.put(data, len(lengths), coalesced(ranges))
        intents = []
        before = sink.intent

        def noted(count: int, length: int, delivered_before: int, ranges: tuple[Range, ...]) -> object:
            intents.append((count, length, delivered_before, ranges))
            return before(count, length, delivered_before, ranges)

        sink.intent = noted  # type: ignore[assignment, method-assign]
        while writer.queued:
            writer._courier.deliver()
            assert writer.row.problems(writer.queued) == []
        ledger.close()
    assert [line for file in sink.files for line in file] == lines
    for file, following in zip(sink.files, [*sink.files[1:], [b"x" * (size + 1)]], strict=True):
        assert sum(map(len, file)) <= size or len(file) == 1
        assert sum(map(len, file)) + len(following[0]) > size
    assert not writer.full
    assert writer.row.delivered == len(lines)
    for count, length, delivered_before, held in intents:
        written = slice(delivered_before, delivered_before + count)
        assert length == sum(map(len, lines[written]))
        assert held == coalesced((producer(1), one, 1) for one in numbers[written])
