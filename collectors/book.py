"""What a ledger holds, as bytes: the snapshot and the changes that its page keeps. No I/O here.

Rows are msgpack arrays, by position: a field that is added, moved or removed is a new :data:`LAYOUT`::

    snapshot  [layout, ledger id, version, [worker row, …], [sink row, …]]
    change    [version, [worker row, …], [sink row, …], [producer to forget before, …]]

Values are absolute, so that entering a change twice is entering it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, TypeVar

import msgpack

from logbus.collectors.rows import Intent, SinkRow, WorkerRow

#: Version of this layout. Those before are read too; a page with another one is put aside.
LAYOUT: Final = 3

_WORKER_FIELDS: Final = tuple(item.name for item in fields(WorkerRow))
_SINK_FIELDS: Final = tuple(item.name for item in fields(SinkRow))
_INTENT: Final = _SINK_FIELDS.index("intent")
#: By layout: how many values a worker's row and a sink's have. The first ends before ``recorder``, both old ones before
#: ``acked``.
_LENGTHS: Final = {
    1: (len(_WORKER_FIELDS) - 1, len(_SINK_FIELDS) - 1),
    2: (len(_WORKER_FIELDS), len(_SINK_FIELDS) - 1),
    LAYOUT: (len(_WORKER_FIELDS), len(_SINK_FIELDS)),
}
# Every value of a row in one call in C: a transaction packs three rows or so, thousands of times a second.
_worker_values = attrgetter(*_WORKER_FIELDS)
_sink_values = attrgetter(*_SINK_FIELDS)
#: A path or the text of an error may hold what is not UTF-8, and must come back as it was.
_UNICODE_ERRORS: Final = "surrogatepass"

_Row = TypeVar("_Row", WorkerRow, SinkRow)


@dataclass(slots=True)
class Book:
    """The contents of a ledger. ``workers`` are by producer, ``sinks`` by name."""

    id: str
    version: int = 0
    workers: dict[bytes, WorkerRow] = field(default_factory=dict)
    sinks: dict[str, SinkRow] = field(default_factory=dict)


def pack_snapshot(book: Book) -> bytes:
    """The whole book as bytes."""
    rows = [*map(_worker_values, book.workers.values())], [*map(_sink_values, book.sinks.values())]
    return _pack((LAYOUT, book.id, book.version, *rows))


def pack_change(
    version: int, workers: Iterable[WorkerRow], sinks: Iterable[SinkRow], forgotten: Sequence[bytes]
) -> bytes:
    """Every row that one transaction has touched, as bytes."""
    return _pack((version, [*map(_worker_values, workers)], [*map(_sink_values, sinks)], forgotten))


def replay(entries: Sequence[bytes]) -> Book:
    """The book after a snapshot and its changes. Raises whatever decoding raises when they are not such entries."""
    layout, ident, version, workers, sinks = _unpack(entries[0])
    if layout not in _LENGTHS:
        raise ValueError(f"expected layout {LAYOUT}, found {layout!r}")
    lengths = _LENGTHS[layout]
    book = Book(ident, version)
    _enter(book, workers, sinks, lengths)
    for entry in entries[1:]:
        book.version, workers, sinks, forgotten = _unpack(entry)
        for producer in forgotten:
            book.workers.pop(producer, None)
        _enter(book, workers, sinks, lengths)
    return book


def refill(row: _Row, values: _Row) -> _Row:
    """The same row with every value of another."""
    for item in fields(row):
        setattr(row, item.name, getattr(values, item.name))
    return row


def _enter(book: Book, workers: list[list[Any]], sinks: list[list[Any]], lengths: tuple[int, int]) -> None:
    for values in workers:
        _expect(values, lengths[0])
        worker = WorkerRow(*values)
        book.workers[worker.producer] = worker
    for values in sinks:
        _expect(values, lengths[1])
        if values[_INTENT] is not None:
            count, before, ranges, *place = values[_INTENT]
            values[_INTENT] = Intent(
                count, before, tuple((producer, first, n) for producer, first, n in ranges), *place
            )
        sink = SinkRow(*values)
        book.sinks[sink.name] = sink


def _expect(values: list[Any], length: int) -> None:
    if len(values) != length:
        raise ValueError(f"a row has {length} values, found {len(values)}")


def _pack(document: object) -> bytes:
    packed: bytes = msgpack.packb(document, unicode_errors=_UNICODE_ERRORS)
    return packed


def _unpack(entry: bytes) -> Any:
    return msgpack.unpackb(entry, unicode_errors=_UNICODE_ERRORS)
