"""The contents of a ledger as bytes."""

from __future__ import annotations

import msgpack
import pytest

from logbus.collectors.book import LAYOUT, Book, pack_change, pack_snapshot, refill, replay
from logbus.collectors.rows import Intent, SinkRow, WorkerRow

A, B = b"a" * 16, b"b" * 16


def full_worker(producer: bytes = A) -> WorkerRow:
    """A row with another value in every field."""
    return WorkerRow(
        producer, "w", "h", 2, "app", 3, "crashed", "source", 4, False, 5, 6, [7, 8, 9, 10, 11, 12], 13, 14,
        15.5, 16, 17, 18, [19, 20, 21, 22, 23, 24], 25, [26, 27, 28, 29, 30, 31], 32, [33, 34, 35],
    )  # fmt: skip


def full_sink(name: str = "main") -> SinkRow:
    """A row with another value in every field."""
    intent = Intent(3, 4, ((A, 5, 6), (B, 7, 8)), "/p", 9, 10, 11, 12, True)
    return SinkRow(name, "file", True, "failing", 1, 2, 3, 4, 5, [6, 7, 8, 9, 10, 11], 12, 13, 14, "error", intent, 15)


def test_a_snapshot_holds_everything() -> None:
    """Every field of every row comes back, with its type."""
    book = Book("id", 7, {A: full_worker()}, {"main": full_sink(), "bare": SinkRow("bare", "console")})
    found = replay([pack_snapshot(book)])
    assert found == book
    assert type(found.sinks["main"].intent) is Intent


def test_changes_are_entered_in_their_order() -> None:
    """The last value of a row counts, rows that were forgotten are gone, and the version goes along."""
    book = Book("id", 7, {A: full_worker()}, {"main": full_sink()})
    later = full_sink()
    later.delivered, later.intent = 999, None
    found = replay(
        [
            pack_snapshot(book),
            pack_change(8, [full_worker(B)], [full_sink()], []),
            pack_change(9, [], [later], [A]),
        ]
    )
    assert found == Book("id", 9, {B: full_worker(B)}, {"main": later})


def test_entering_a_change_twice_is_entering_it_once() -> None:
    """Values are absolute: redoing the last change after a crash does no harm."""
    snapshot = pack_snapshot(Book("id", 1, {A: full_worker()}))
    change = pack_change(2, [full_worker(B)], [full_sink()], [A])
    assert replay([snapshot, change, change]) == replay([snapshot, change])


def test_text_that_is_not_utf_8_comes_back_as_it_was() -> None:
    """A path with undecodable bytes, or a broken surrogate in an error, must not stop a commit."""
    row = full_sink()
    row.last_error = "no such file: \udcff \ud800"
    book = Book("id", 1, {}, {"main": row})
    assert replay([pack_snapshot(book)]) == book


@pytest.mark.parametrize("layout", [1, 2])
def test_the_layouts_before_are_read(layout: int) -> None:
    """A ledger of an earlier version keeps its rows and changes, which know no recorder (1), no spool (both)."""
    _, ident, version, [row], [sink] = msgpack.unpackb(
        pack_snapshot(Book("id", 7, {A: full_worker()}, {"s": full_sink()}))
    )
    row = row[:-1] if layout == 1 else row
    sink = [*sink[:-2], sink[-2][:-1]]  # without acked, and an intent without spooled
    old = msgpack.packb([layout, ident, version, [row], [sink]])
    found = replay([old, msgpack.packb([8, [[B, *row[1:]]], [["other", *sink[1:]]], []])])
    assert (found.version, found.workers[A].mark_unknown) == (8, 32)
    assert found.workers[B].recorder == ([0, 0, 0] if layout == 1 else [33, 34, 35])
    intent = full_sink().intent
    assert intent is not None
    for name in ("main", "other"):
        assert (found.sinks[name].acked, found.sinks[name].last_error) == (0, "error")
        assert found.sinks[name].intent == intent._replace(spooled=False)


@pytest.mark.parametrize(
    "entries",
    [
        [b"\xc1"],
        [b""],
        [msgpack.packb(None)],
        [msgpack.packb([LAYOUT + 1, "id", 1, [], []])],
        [msgpack.packb([LAYOUT, "id", 1, [], [], []])],
        [msgpack.packb([LAYOUT, "id", 1, [[A, "too short"]], []])],
        [msgpack.packb([LAYOUT, "id", 1, [], [["too short"]]])],
        [msgpack.packb([LAYOUT, "id", 1, [], []]), msgpack.packb([2])],
    ],
)
def test_entries_that_are_not_ours_are_refused(entries: list[bytes]) -> None:
    """What another version or program wrote raises, so that the page is put aside and not half read."""
    with pytest.raises((ValueError, TypeError)):
        replay(entries)


def test_refilling_keeps_the_object() -> None:
    """Whoever holds a row sees the values go back."""
    worker, sink = WorkerRow(A, "", "", 0, "", 0), SinkRow("main", "file")
    assert refill(worker, full_worker()) is worker
    assert refill(sink, full_sink()) is sink
    assert (worker, sink) == (full_worker(), full_sink())
