"""A frame whose records stay in it: the compiled part looks through them and writes their lines, no object is made.

:func:`unpack` makes a batch of such a frame where nobody will ask for more of a record than its line of JSON and its
call site. It is a :class:`~logbus.collectors.decode.Batch` all the same: who asks for its records gets them, from the
Python that does this for every frame where nothing is compiled. What is unusual about a record (an exception, nested
values, a key that may say what another's value is) is that Python's business in any case: such records are decoded,
redacted and written by it, and put in their places among the lines of the others. A frame that is not as it should be
is left to it whole, so that there is one place that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from logbus.collectors.compiled import NATIVE
from logbus.collectors.decode import Batch, Drop, Record, Site, Source, check_tables, decode, decode_records
from logbus.wire import Header

if TYPE_CHECKING:
    from logbus.collectors._native import Rows

#: The share of unusual records beyond which a frame is Python's as a whole: one by one they cost more than together.
STRANGE: Final = 0.5


class _Tables(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    source: Source
    sites: list[Site]
    threads: list[str]


_read_tables = msgspec.msgpack.Decoder(_Tables).decode
_read_drops = msgspec.msgpack.Decoder(list[Drop]).decode


class Packed(Batch):
    """The records of one frame, in which they stay until somebody asks for them.

    ``rows`` is what the compiled part has found in it, and None from when records were exchanged; ``chosen`` are the
    places of this batch's records in the frame (None: all).
    """

    __slots__ = ("_header", "_payload", "_records", "_redact", "_strange", "chosen", "rows")

    def __init__(self, header: Header, payload: bytes | memoryview, rows: Rows) -> None:
        tables = _read_tables(rows.tables)
        self.producer = header.producer
        self.first_seq = header.first_seq
        self.source = tables.source
        self.sites = tables.sites
        self.threads = tables.threads
        self.drops = _read_drops(rows.drops)
        check_tables(header.count, self.source, self.sites, self.threads, self.drops)
        self.rows: Rows | None = rows
        self.chosen: Sequence[int] | None = None
        self._header = header
        self._payload = payload
        self._records: list[Record] | None = None
        #: What redaction has done to it, to be done again to records that somebody asks for.
        self._redact: Callable[[Batch], None] | None = None
        #: The records that are Python's, by their places in the frame.
        self._strange: dict[int, Record] = {}
        self.take_strange()

    @property
    def records(self) -> list[Record]:
        """The records themselves, decoded and redacted when they are first asked for."""
        if self._records is None:
            whole = decode(self._header, self._payload)
            if self._redact is not None:
                self._redact(whole)
            found = whole.records
            self._records = found if self.chosen is None else [found[at] for at in self.chosen]
        return self._records

    @records.setter
    def records(self, records: list[Record]) -> None:
        self._records, self.rows = records, None

    @property
    def count(self) -> int:
        """How many records there are."""
        if self.rows is None:
            return len(self.records)
        return len(self.rows) if self.chosen is None else len(self.chosen)

    def record_sites(self) -> list[int]:
        """The call site of each record, as an index into :attr:`sites`."""
        if self.rows is None:
            return Batch.record_sites(self)
        found = self.rows.sites()
        for at, record in self._strange.items():
            found[at] = record.site
        return found if self.chosen is None else [found[at] for at in self.chosen]

    def part(self, chosen: Sequence[int]) -> Batch:
        """The chosen records, in that order, with the same tables and without drops."""
        if self.rows is None:
            return Batch.part(self, chosen)
        part = object.__new__(Packed)
        for name in (*Batch.__slots__, *Packed.__slots__):
            if name not in ("records", "_records", "drops", "chosen"):
                setattr(part, name, getattr(self, name))
        part.drops, part._records = [], None
        part.chosen = list(chosen) if self.chosen is None else [self.chosen[at] for at in chosen]
        return part

    def take_strange(self) -> list[Record]:
        """Decodes the records that are Python's and were not before; returns all of them.

        Raises WireError on one that nobody takes.
        """
        assert self.rows is not None
        found = {at: data for at, data in self.rows.unusual().items() if at not in self._strange}
        if found:
            records = decode_records(list(found.values()), len(self.sites), len(self.threads))
            self._strange.update(zip(found, records, strict=True))
        return list(self._strange.values())

    def leave_out(self, wanted: Sequence[bool]) -> None:
        """Empties the records of call sites that nobody wants."""
        assert self.rows is not None
        self.rows.leave_out(wanted)
        for at, record in self._strange.items():
            if not wanted[record.site]:
                self._strange[at] = Record(0, record.site, 0, "")

    def redacted(self, redact: Callable[[Batch], None]) -> None:
        """Says how it was redacted, names and all."""
        self._redact = redact

    def left_to_python(self) -> list[int]:
        """The places in the frame of this batch's records that are Python's, in order."""
        if not self._strange or self.chosen is None:
            return sorted(self._strange)
        return [at for at in self.chosen if at in self._strange]

    def plain(self, places: Sequence[int]) -> Batch:
        """A batch of those of :meth:`left_to_python`."""
        records = [self._strange[at] for at in places]
        return Batch(self.producer, self.first_seq, self.source, self.sites, self.threads, records, [])


def unpack(header: Header, payload: bytes | memoryview, *, strange: float = STRANGE) -> Packed | None:
    """The batch of a DATA frame's payload; None where it is Python's: always, if nothing is compiled here.

    ``strange`` is the share of unusual records beyond which it is. Never raises on a payload.
    """
    if NATIVE is None:
        return None
    try:
        rows: Any = NATIVE.scan(payload, header.count)
        if rows is None or len(rows.unusual()) > strange * header.count:
            return None
        return Packed(header, payload, rows)
    except Exception:  # what is wrong with it, and whether anything is, Python says
        return None
