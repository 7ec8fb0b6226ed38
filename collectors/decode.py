"""From a DATA frame to a batch of typed records: the collector's first stage, in one C call per frame.

A frame was checked for size, magic and CRC by :mod:`logbus.wire`; its payload may still be anything, because
whoever may connect may write it. So the payload is decoded into typed, positional structs: a type that is not
in the wire's description (bytes, ext types, timestamps, containers among the scalars) is refused by msgspec
while it decodes, before it costs memory. What types can't say is checked afterwards: the number of records,
indices into the tables, how deep and how many the nested values are. Every violation is one WireError.

NaN and the infinities have no place in JSON, and looking for them would cost every record something. The first
decoder therefore accepts finite floats only, which its C code checks for nothing; a frame that it refuses is
decoded again without that rule, and its non-finite floats become the texts "NaN", "Infinity" and "-Infinity",
once, for all formats.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Annotated, Any, Final

import msgspec

from logbus import wire
from logbus.errors import WireError
from logbus.levels import BUCKETS

#: Entries in the site table and in the thread table of one frame.
MAX_TABLE: Final = 4096
#: Levels of containers in a record's nested values, and of exceptions in an exception.
MAX_DEPTH: Final = 16
#: Entries of policy drops in one frame: one for each reason and level bucket. Each becomes a record of the collector.
MAX_DROPS: Final = wire.PRODUCER_REASONS * len(BUCKETS)
#: Containers and scalars in the nested values of one record, and exceptions in one exception.
MAX_NODES: Final = 1024
#: Characters of names (source, site and thread) that the records of one frame repeat, all lines together: a name of
#: 200 kB before 4,000 empty records would become lines of 800 MB. An honest frame has 800 records.
MAX_REPEATED_CHARS: Final = 8 * 1024 * 1024

_Index = Annotated[int, msgspec.Meta(ge=0, le=MAX_TABLE - 1)]
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Finite = Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Reason = Annotated[int, msgspec.Meta(ge=0, le=wire.PRODUCER_REASONS - 1)]
_Bucket = Annotated[int, msgspec.Meta(ge=0, le=5)]

Scalar = str | int | float | bool | None


class Source(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The process that the records of a batch come from."""

    host: str
    pid: int
    worker: str
    app_name: str


class Site(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A call site: what all records of one logging call share. Hashable, so that decisions can be kept by site."""

    logger: str
    level_no: int
    level_name: str
    module: str
    function: str
    line: int
    component: str


class Raised(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """An exception: its type, message and traceback lines, and the exceptions that it hangs on."""

    type: str
    message: str
    traceback: list[str]
    cause: Raised | None
    context: Raised | None
    members: list[Raised]


# Records hold no cycles, so that the garbage collector need not see them: it would walk every batch in flight.
class Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """One record. ``time_us`` is microseconds since the epoch; ``site`` and ``thread`` index the batch's tables."""

    time_us: _Int64
    site: _Index
    thread: _Index
    message: str
    extra: dict[str, str | int | _Finite | bool | None] | None = None
    nested: dict[str, Any] | None = None
    exception: Raised | None = None


class _AnyFloatRecord(Record, array_like=True, forbid_unknown_fields=True, gc=False):
    extra: dict[str, Scalar] | None = None


class Drop(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A policy drop that the producer reports in-band: how many records of a level bucket, why, and when."""

    reason: _Reason
    bucket: _Bucket
    count: _Count
    first_us: _Int64
    last_us: _Int64


class _Payload(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    source: Source
    sites: list[Site]
    threads: list[str]
    records: list[Record]
    drops: list[Drop]


class _AnyFloatPayload(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    source: Source
    sites: list[Site]
    threads: list[str]
    records: list[_AnyFloatRecord]
    drops: list[Drop]


@dataclass(slots=True)
class Batch:
    """The records of one frame with their tables. Redaction changes it in place; formats only read it."""

    producer: bytes
    first_seq: int
    source: Source
    sites: list[Site]
    threads: list[str]
    records: list[Record]
    drops: list[Drop]

    @property
    def count(self) -> int:
        """How many records there are."""
        return len(self.records)

    def record_sites(self) -> list[int]:
        """The call site of each record, as an index into :attr:`sites`."""
        return [record.site for record in self.records]

    def part(self, chosen: Sequence[int]) -> Batch:
        """The chosen records, in that order, with the same tables and without drops."""
        records = [self.records[at] for at in chosen]
        return Batch(self.producer, self.first_seq, self.source, self.sites, self.threads, records, [])


_names = attrgetter("logger", "level_name", "module", "function", "component")
_decoder = msgspec.msgpack.Decoder(_Payload)
_any_float_decoder = msgspec.msgpack.Decoder(_AnyFloatPayload)
_records_decoder = msgspec.msgpack.Decoder(list[Record])
_any_float_records_decoder = msgspec.msgpack.Decoder(list[_AnyFloatRecord])
_encoder = msgspec.msgpack.Encoder()


def decode(header: wire.Header, payload: bytes | memoryview) -> Batch:
    """The batch in the payload of a DATA frame.

    Raises WireError and nothing else: ``payload`` (not the types of the wire), ``count`` (not as many records as
    the header says) or ``limits`` (an index or a size out of bounds).
    """
    try:
        body = _decoder.decode(payload)
    except Exception:  # which is wrong, a float or the frame, the second decoder tells
        body = _decode_any_float(payload)
    records = body.records
    if len(records) != header.count:
        raise WireError("count", f"payload of {len(records)} records: its header says {header.count}")
    sites, threads = body.sites, body.threads
    check_tables(len(records), body.source, sites, threads, body.drops)
    check_records(records, len(sites), len(threads))
    return Batch(header.producer, header.first_seq, body.source, sites, threads, records, body.drops)


def check_tables(count: int, source: Source, sites: list[Site], threads: list[str], drops: list[Drop]) -> None:
    """Refuses tables beyond their bounds, for a payload of so many records. Raises WireError."""
    if len(sites) > MAX_TABLE or len(threads) > MAX_TABLE:
        raise WireError("limits", f"payload of {len(sites)} sites and {len(threads)} threads: at most {MAX_TABLE} each")
    if len(drops) > MAX_DROPS:
        raise WireError("limits", f"payload of {len(drops)} drop entries: at most {MAX_DROPS}")
    # All names together, in one call in C: nearly always they are few enough to be no question.
    if len(_encoder.encode((source, sites, threads))) * count > MAX_REPEATED_CHARS:
        longest = max([sum(map(len, _names(found))) for found in sites], default=0)
        longest += max(map(len, threads), default=0) + len(source.host) + len(source.worker) + len(source.app_name)
        if longest * count > MAX_REPEATED_CHARS:
            raise WireError("limits", f"{count} records with names of {longest} characters: too much to repeat")


def check_records(records: list[Record], sites: int, threads: int) -> None:
    """Refuses what the types of records can't say, for tables of so many entries; names non-finite floats in place.

    Raises WireError.
    """
    if records:
        if (site := max([record.site for record in records])) >= sites:
            raise WireError("limits", f"record of site {site}: the payload has {sites} sites")
        if (thread := max([record.thread for record in records])) >= threads:
            raise WireError("limits", f"record of thread {thread}: the payload has {threads} threads")
    for record in records:
        if record.nested is not None:
            _check_nested(record.nested)
        if record.exception is not None:
            _check_exception(record.exception)


def build(
    source: Source,
    sites: list[Site],
    threads: list[str],
    records: list[Record],
    *,
    producer: bytes,
    first_seq: int,
) -> Batch:
    """A batch of this process's own records, through the same door as everybody's.

    It shares nothing with the arguments. Raises WireError as :func:`decode` does.
    """
    try:
        payload = _encoder.encode(_Payload(source, sites, threads, records, []))
    except Exception as error:
        raise WireError("payload", f"records can't be encoded: {type(error).__name__}: {error}") from error
    return decode(wire.Header(wire.DATA, 0, wire.SCHEMA, producer, first_seq, len(records)), payload)


def decode_records(rows: Sequence[bytes], sites: int, threads: int) -> list[Record]:
    """Records that stand for themselves, each in msgpack, for tables of so many entries.

    Raises WireError as :func:`decode` does.
    """
    payload = b"".join([b"\xdd", len(rows).to_bytes(4, "big"), *rows])
    try:
        records = _records_decoder.decode(payload)
    except Exception:
        try:
            records = _named(_any_float_records_decoder.decode(payload))
        except Exception as error:
            raise WireError("payload", f"not the records of a DATA frame: {type(error).__name__}: {error}") from error
    check_records(records, sites, threads)
    return records


def _decode_any_float(payload: bytes | memoryview) -> _Payload:
    try:
        body = _any_float_decoder.decode(payload)
    except Exception as error:  # RecursionError and MemoryError among them: a frame never ends the collector
        raise WireError("payload", f"payload is not a DATA frame's: {type(error).__name__}: {error}") from error
    return _Payload(body.source, body.sites, body.threads, _named(body.records), body.drops)


def _named(records: list[_AnyFloatRecord]) -> list[Record]:
    """The records with the names of floats that JSON has no word for."""
    named = []
    for found in records:
        extra = found.extra
        if extra is not None:
            for key, value in extra.items():
                if type(value) is float and not math.isfinite(value):
                    extra[key] = _name_of(value)
        named.append(
            Record(found.time_us, found.site, found.thread, found.message, extra, found.nested, found.exception)
        )
    return named


def _check_nested(nested: dict[str, Any]) -> None:
    """Refuses what JSON has no word for, and trees too deep or too big; names non-finite floats in place."""
    nodes = 0
    level: list[Any] = [nested]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for container in level:
            nodes += len(container)
            if nodes > MAX_NODES:
                raise WireError("limits", f"nested values of more than {MAX_NODES} nodes in one record")
            for key, value in container.items() if type(container) is dict else enumerate(container):
                if type(container) is dict and type(key) is not str:
                    raise WireError("payload", f"nested map with a key of type {type(key).__name__}: expected str")
                kind = type(value)
                if kind is dict or kind is list:
                    deeper.append(value)
                elif kind is float:
                    if not math.isfinite(value):
                        container[key] = _name_of(value)
                elif not (kind is str or kind is int or kind is bool or value is None):
                    raise WireError("payload", f"nested value of type {kind.__name__}: expected what JSON can hold")
        if not deeper:
            return
        level = deeper
    raise WireError("limits", f"nested values of more than {MAX_DEPTH} levels in one record")


def _check_exception(raised: Raised) -> None:
    nodes = 0
    level = [raised]
    for _ in range(MAX_DEPTH):
        deeper: list[Raised] = []
        for exception in level:
            deeper += exception.members
            deeper += [linked for linked in (exception.cause, exception.context) if linked is not None]
        nodes += len(level)
        if nodes > MAX_NODES:
            raise WireError("limits", f"exception of more than {MAX_NODES} exceptions in one record")
        if not deeper:
            return
        level = deeper
    raise WireError("limits", f"exception of more than {MAX_DEPTH} levels in one record")


def _name_of(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
