"""Lines on their way into a writer's queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from logbus.collectors import delivery as module
from logbus.collectors.decode import Batch
from logbus.collectors.delivery import Delivery, deliver, deliver_lines, ranges_of
from logbus.collectors.encode import Encoded
from logbus.collectors.format import JsonFormat
from logbus.collectors.ledger import Ledger
from logbus.collectors.rows import MAX_RANGES
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.wire import UNENCODABLE
from tests.frames import producer
from tests.sampled import A, batch

B = producer(2)


class Numbers(JsonFormat):
    """The number of each record."""

    def encode(self, batch: Batch) -> bytes:
        """A line for each record."""
        return b"".join([f"{record.message}\n".encode() for record in batch.records])

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The rate behind the number."""
        return line[:-1] + f"@{rate}\n".encode()


class Short(Numbers):
    """A format that can't write a number of three digits."""

    error = "ValueError: long"

    def encode_each(self, batch: Batch) -> list[bytes | None]:
        """None for each of these."""
        return [f"{record.message}\n".encode() if len(record.message) < 3 else None for record in batch.records]


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    """A writer that was not started."""
    with closing(Ledger.open(tmp_path, name="t")) as ledger:
        yield Writer(MemorySink("main"), ledger, complain=lambda text: None)


def delivered(writer: Writer, encoded: Encoded, chosen: list[int] | None, **stamps: object) -> Delivery | None:
    """What a turn delivers of a batch, whose records were offered to the sink."""
    with writer.transaction() as change:
        writer.row.offered += len(encoded.batch.records) if chosen is None else len(chosen)
        found = deliver(writer, encoded, chosen, **stamps)  # type: ignore[arg-type]
        change.sink(writer.row)
    assert writer.row.law(writer.queued)
    return found


@pytest.mark.parametrize("alone", [True, False])
def test_what_was_chosen_is_delivered(writer: Writer, alone: bool) -> None:
    """Stamped where it stands for others, numbered as its producer did, and booked as handed over."""
    encoded = Encoded(Numbers(), batch(*[(None, 20)] * 9, first_seq=50), alone=alone)
    found = delivered(writer, encoded, [1, 2, 5], stamped={2, 5}, rate=0.5)
    assert found == Delivery(writer, b"51\n52@0.5\n55@0.5\n", 3, ((A, 51, 2), (A, 55, 1)))
    assert (writer.queued, writer.row.accepted) == (3, 3)
    whole = delivered(writer, encoded, None)
    assert whole is not None
    assert (whole.count, whole.ranges) == (9, ((A, 50, 9),))


@pytest.mark.parametrize("chosen", [None, [3, 8, 9, 10, 11]])
def test_what_has_no_line_is_dropped(writer: Writer, chosen: list[int] | None) -> None:
    """The others go on under their own numbers."""
    encoded = Encoded(Short(), batch(*[(None, 20)] * 12, first_seq=90), alone=True)
    found = delivered(writer, encoded, chosen)
    expected = [90 + at for at in chosen or range(12) if at < 10]
    assert found is not None
    assert found.data.split() == [str(number).encode() for number in expected]
    assert [first + at for _, first, count in found.ranges for at in range(count)] == expected
    assert (found.count, writer.row.dropped[UNENCODABLE]) == (len(expected), 2)
    assert delivered(writer, encoded, [10, 11]) is None
    assert (writer.queued, writer.row.dropped[UNENCODABLE], writer.row.last_error) == (
        len(expected),
        4,
        "ValueError: long",
    )


def test_nothing_is_nothing(writer: Writer) -> None:
    """No delivery, and nothing booked."""
    assert delivered(writer, Encoded(Numbers(), batch((None, 20))), []) is None
    assert writer.row.accepted == 0


def test_held_lines_go_in_deliveries_of_the_size_of_a_write(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, a longer line alone; neighbours are one range, and a limit of ranges is kept."""
    monkeypatch.setattr(module, "DELIVERY_BYTES", 10)
    lines = [
        (b"aaaa\n", (A, 1, 1), 1),
        (b"bbbb\n", (A, 2, 1), 2),
        (b"c\n", (B, 3, 1), 2),
        (b"d" * 20 + b"\n", (A, 9, 1), 4),
    ]
    assert deliver_lines(writer, lines) == [
        Delivery(writer, b"aaaa\nbbbb\n", 2, ((A, 1, 2),)),
        Delivery(writer, b"c\n", 1, ((B, 3, 1),)),
        Delivery(writer, b"d" * 20 + b"\n", 1, ((A, 9, 1),)),
    ]
    assert deliver_lines(writer, []) == []
    monkeypatch.setattr(module, "DELIVERY_BYTES", 10_000)
    [delivery] = deliver_lines(writer, [(b"x\n", (A, 2 * at, 1), 2) for at in range(MAX_RANGES + 10)])
    assert (delivery.count, len(delivery.ranges)) == (MAX_RANGES + 10, MAX_RANGES)


def test_ranges_are_the_runs_of_what_was_chosen() -> None:
    """Or the whole batch."""
    found = batch(*[(None, 20)] * 6, first_seq=10)
    assert ranges_of(found, None) == ((A, 10, 6),)
    assert ranges_of(found, [0, 1, 3, 5]) == ((A, 10, 2), (A, 13, 1), (A, 15, 1))


def test_levels_go_along_where_the_queue_chooses_by_them(tmp_path: Path) -> None:
    """The bucket of each line, of all or of those chosen, of lines that were held too; nobody else pays for them."""
    with closing(Ledger.open(tmp_path, name="t")) as ledger:
        terms = Terms(on_full="shed_lowest")
        by_level = Writer(MemorySink("main"), ledger, complain=lambda text: None, terms=terms)
        encoded = Encoded(Numbers(), batch((None, 10), (None, 20), (None, 40), (None, 30)), alone=True)
        for chosen, levels in ((None, [1, 2, 4, 3]), ([0, 2], [1, 4])):
            found = delivered(by_level, encoded, chosen)
            assert found is not None
            assert found.levels == bytes(levels)
        [held] = deliver_lines(by_level, [(b"x\n", (A, 1, 1), 4), (b"y\n", (A, 2, 1), 1)])
        assert held.levels == bytes([4, 1])
        plain = Writer(MemorySink("plain"), ledger, complain=lambda text: None)
        found = delivered(plain, encoded, None)
        assert found is not None
        assert found.levels == b""
