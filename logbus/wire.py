"""The wire: frames between producers and collectors, as bytes. No I/O here.

A frame is one ZeroMQ message of a 40-byte header and a msgpack payload::

    magic "LB1\\0" | type u8 | flags u8 | schema u16 | producer 16 B | first_seq u64 | count u32 | crc32 u32

(big-endian). The CRC covers the whole frame with the CRC field itself as zero. ``first_seq`` and ``count``
number the records of a DATA frame: the sender gives a record its number when it leaves the buffer, so the
numbers of one producer are contiguous and a gap can only mean loss in transit.

Payloads are positional msgpack arrays (a map may hide a duplicate key); integers for time, no ext types:

DATA  ``[source, sites, threads, records, drops]``
    source  ``[host, pid, worker, app_name]``
    site    ``[logger, level_no, level_name, module, function, line, component]``
    thread  its name
    record  ``[time_us, site index, thread index, message, extra | nil, nested | nil, exception | nil]``;
            ``extra`` holds scalars only (str, int, float, bool, nil), ``nested`` lists and maps
    exception ``[type, message, traceback lines, cause | nil, context | nil, members]``
    drop    ``[reason index, bucket index, count, first_us, last_us]``: a policy drop since the last frame
MARK, BYE ``[source, started_us, request, emitted, sent, buffered, drops, exact, level_version, ledger, gate,
    recorder]``
    cumulative counters of the producer. ``drops`` is ``[[reason index, bucket index, count], …]``;
    ``request`` echoes the number of the mark request that it answers (0: none); ``buffered`` counts what is in
    the buffer, and calls that have been counted and not yet appended. ``level_version`` and ``ledger`` confirm the
    level rules that are in force in the worker, ``gate`` says by what they act; ``recorder`` is
    ``[recorded, replayed, discarded]``, the flight recorder's counts. A BYE is the last frame of a producer.
NAMES ``[source, names]``
    loggers that exist in the worker, for those who want to set their level; each is told once to a collector.

A MARK or BYE with the flag ACK_WANTED is answered on the control socket (:mod:`logbus.control`) once everything up to
it is in the ledger. Frame types ACK and CREDIT are reserved for acknowledged delivery and flow control.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final, NamedTuple

import msgpack

from logbus.errors import WireError

MAGIC: Final = b"LB1\0"
SCHEMA: Final = 1
HEADER: Final = struct.Struct("!4sBBH16sQII")
_CRC_AT: Final = HEADER.size - 4
_CRC: Final = struct.Struct("!I")

DATA: Final = 1
MARK: Final = 2
BYE: Final = 3
#: Flag of a MARK or BYE: the producer waits for an acknowledgement of everything up to it.
ACK_WANTED: Final = 1
#: Reserved: cumulative acknowledgement, credit.
ACK: Final = 4
CREDIT: Final = 5
NAMES: Final = 6
#: Names in one NAMES frame, and characters of each; what is longer is left out.
MAX_NAMES: Final = 2048
MAX_NAME_CHARS: Final = 100

#: Frame types that this version reads.
READABLE: Final = frozenset({DATA, MARK, BYE, NAMES})

#: Bytes of a whole frame, header included, beyond which a collector refuses it.
MAX_FRAME_BYTES: Final = 256 * 1024
#: Records in one frame.
MAX_FRAME_RECORDS: Final = 4096

#: Why records end before delivery: a closed list (design §4). The index is what travels.
REASONS: Final = ("high_water_mark", "shutdown", "unencodable", "worker_lost", "collector_lost", "rejected")
HIGH_WATER_MARK, SHUTDOWN, UNENCODABLE, WORKER_LOST, COLLECTOR_LOST, REJECTED = range(6)
#: The reasons that a producer itself counts; the others are booked by the collector.
PRODUCER_REASONS: Final = 3


class Header(NamedTuple):
    """The header of a frame; ``producer`` is 16 random bytes, one identity per process life."""

    type: int
    flags: int
    schema: int
    producer: bytes
    first_seq: int
    count: int  # type: ignore[assignment]  # hides the method of tuples


def pack_payload(payload: object) -> bytes:
    """The payload as msgpack. Raises what msgpack raises on a value that it can't hold."""
    packed: bytes = msgpack.packb(payload, use_bin_type=True)
    return packed


def pack_frame(type_: int, producer: bytes, first_seq: int, count: int, payload: bytes, *, flags: int = 0) -> bytes:
    """One frame. ``producer`` is 16 bytes; the payload is msgpack already."""
    header = HEADER.pack(MAGIC, type_, flags, SCHEMA, producer, first_seq, count, 0)
    crc = zlib.crc32(payload, zlib.crc32(header))
    return b"".join((header[:_CRC_AT], _CRC.pack(crc), payload))


def unpack_frame(frame: bytes, *, max_bytes: int = MAX_FRAME_BYTES) -> tuple[Header, memoryview]:
    """Header and payload of a frame. Raises WireError, with its reason, on anything else.

    Reasons: ``oversized``, ``truncated``, ``magic``, ``checksum``, ``schema``, ``type``, ``count``.
    """
    if len(frame) > max_bytes:
        raise WireError("oversized", f"frame of {len(frame)} bytes: at most {max_bytes} are read")
    if len(frame) < HEADER.size:
        raise WireError("truncated", f"frame of {len(frame)} bytes: a header alone has {HEADER.size}")
    magic, type_, flags, schema, producer, first_seq, count, crc = HEADER.unpack_from(frame)
    if magic != MAGIC:
        raise WireError("magic", f"frame starts with {magic!r}: expected {MAGIC!r}")
    view = memoryview(frame)
    actual = zlib.crc32(view[HEADER.size :], zlib.crc32(b"\0\0\0\0", zlib.crc32(view[:_CRC_AT])))
    if actual != crc:
        raise WireError("checksum", f"frame checksum {crc:#010x}: computed {actual:#010x}")
    if schema != SCHEMA:
        raise WireError("schema", f"frame schema {schema}: this version reads {SCHEMA}")
    if type_ not in READABLE:
        raise WireError("type", f"frame type {type_}: this version reads {sorted(READABLE)}")
    if count > MAX_FRAME_RECORDS or (type_ != DATA and count):
        raise WireError("count", f"frame of type {type_} with {count} records")
    if first_seq + count >= 1 << 63:
        raise WireError("count", f"frame with sequence number {first_seq}")
    return Header(type_, flags, schema, producer, first_seq, count), view[HEADER.size :]


def unpack_payload(payload: bytes | memoryview) -> Any:
    """The plain objects of a payload, with every limit on. Raises WireError("payload").

    For MARK and BYE and for tests; DATA payloads are decoded in bulk by the collector.
    """
    size = len(payload)
    try:
        return msgpack.unpackb(
            payload,
            raw=False,
            timestamp=0,
            ext_hook=_no_ext,
            max_ext_len=0,
            max_str_len=size,
            max_bin_len=0,
            max_array_len=size,
            max_map_len=size,
            strict_map_key=True,
        )
    except Exception as error:  # every decoder error has a type of its own, RecursionError among them
        raise WireError("payload", f"payload is not valid msgpack: {type(error).__name__}: {error}") from error


def _no_ext(code: int, data: bytes) -> object:
    raise ValueError(f"ext type {code} is not accepted")
