"""Frames as bytes: what goes in comes out, and what is not whole is refused with its reason."""

from __future__ import annotations

import math
import struct
import zlib
from typing import Any

import msgpack
import pytest

from logbus import wire
from logbus.errors import WireError

PRODUCER = bytes(range(16))


def frame(type_: int = wire.DATA, first_seq: int = 7, count: int = 2, payload: bytes = b"\x93\x01\x02\x03") -> bytes:
    """A small valid frame."""
    return wire.pack_frame(type_, PRODUCER, first_seq, count, payload, flags=5)


def sealed(**changes: int | bytes) -> bytes:
    """A frame with a header of one's own and a checksum that is right."""
    fields: dict[str, int | bytes] = {
        "magic": wire.MAGIC,
        "type": wire.DATA,
        "flags": 0,
        "schema": wire.SCHEMA,
        "producer": PRODUCER,
        "first_seq": 0,
        "count": 0,
        **changes,
    }
    header = wire.HEADER.pack(*fields.values(), 0)
    return header[:-4] + struct.pack("!I", zlib.crc32(header)) + b""


def reason_of(data: bytes) -> str:
    """Why a frame is refused."""
    with pytest.raises(WireError) as caught:
        wire.unpack_frame(data)
    return caught.value.reason


def test_a_frame_comes_out_as_it_went_in() -> None:
    """Every field of the header and the payload survive the way."""
    header, payload = wire.unpack_frame(frame())
    assert header == wire.Header(wire.DATA, 5, wire.SCHEMA, PRODUCER, 7, 2)
    assert bytes(payload) == b"\x93\x01\x02\x03"


def test_the_header_is_the_one_that_is_described() -> None:
    """The layout is a contract with other versions: 40 bytes, big-endian, starting with the magic."""
    data = frame(payload=b"")
    assert wire.HEADER.size == len(data) == 40
    assert data[:8] == b"LB1\0" + bytes([wire.DATA, 5, 0, wire.SCHEMA])
    assert data[8:24] == PRODUCER
    assert data[24:36] == (7).to_bytes(8, "big") + (2).to_bytes(4, "big")
    assert data[36:] == zlib.crc32(data[:36] + bytes(4)).to_bytes(4, "big")


def test_every_truncation_is_refused() -> None:
    """A frame that lacks its last bytes, however many, is never taken for a frame."""
    data = frame()
    assert {reason_of(data[:length]) for length in range(len(data))} == {"truncated", "checksum"}


def test_every_flipped_byte_is_refused() -> None:
    """One byte changed to any other value is noticed, wherever it is."""
    data = frame()
    for at in range(len(data)):
        for value in range(256):
            if value != data[at]:
                changed = data[:at] + bytes([value]) + data[at + 1 :]
                assert reason_of(changed) in ("magic", "checksum"), (at, value)


def test_bytes_behind_a_frame_are_refused() -> None:
    """A frame is a whole message."""
    assert reason_of(frame() + b"\0") == "checksum"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (bytes(39), "truncated"),
        (bytes(40), "magic"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + bytes(20), "magic"),
        (bytes(wire.MAX_FRAME_BYTES + 1), "oversized"),
        (sealed(magic=b"LB2\0"), "magic"),
        (sealed(schema=2), "schema"),
        (sealed(type=0), "type"),
        (sealed(type=wire.ACK), "type"),
        (sealed(type=wire.CREDIT), "type"),
        (sealed(type=7), "type"),
        (sealed(count=wire.MAX_FRAME_RECORDS + 1), "count"),
        (sealed(type=wire.MARK, count=1), "count"),
        (sealed(type=wire.BYE, count=1), "count"),
        (sealed(first_seq=(1 << 63) - 1, count=1), "count"),
    ],
)
def test_what_is_no_frame_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    """Each reason is the key of a counter; none is an accident of another check."""
    assert reason_of(data) == reason


def test_a_frame_may_be_as_large_as_the_limit() -> None:
    """The limit is the last size that is read."""
    data = frame(payload=bytes(wire.MAX_FRAME_BYTES - wire.HEADER.size))
    assert len(data) == wire.MAX_FRAME_BYTES
    wire.unpack_frame(data)
    with pytest.raises(WireError):
        wire.unpack_frame(data, max_bytes=wire.MAX_FRAME_BYTES - 1)


@pytest.mark.parametrize("type_", [wire.DATA, wire.MARK, wire.BYE])
def test_every_readable_type_is_read(type_: int) -> None:
    """The three types of this version pass, without records too."""
    header, _ = wire.unpack_frame(sealed(type=type_))
    assert header.type == type_


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"a": [1, -1, 2**64 - 1, -(2**63), 1.5, None, True, "ü𐍈"]},
        [math.inf, -math.inf],
        "x" * 70_000,
        [[[[[[]]]]]],
    ],
)
def test_a_payload_comes_out_as_it_went_in(value: Any) -> None:
    """What the wire describes survives the way."""
    assert wire.unpack_payload(wire.pack_payload(value)) == value


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\xc1", id="never used"),
        pytest.param(b"\x92\x01", id="cut off"),
        pytest.param(b"\x01\x02", id="two values"),
        pytest.param(b"\xa1\xff", id="not UTF-8"),
        pytest.param(b"\xc4\x01x", id="bytes"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="an array of four billion"),
        pytest.param(b"\xdf\xff\xff\xff\xff", id="a map of four billion"),
        pytest.param(b"\x81\x01\x02", id="a map whose key is a number"),
        pytest.param(b"\xd6\xff\0\0\0\0", id="a timestamp"),
        pytest.param(b"\xd7\xff" + bytes(8), id="a longer timestamp"),
        pytest.param(b"\xd4\x05x", id="an ext type"),
        pytest.param(b"\xc7\x00\x05", id="an empty ext type"),
        pytest.param(b"\x91" * 100_000 + b"\x01", id="deep nesting"),
    ],
)
def test_what_the_wire_does_not_hold_is_refused(payload: bytes) -> None:
    """A payload can't bring other types, more than it has bytes for, or an exception of another kind."""
    with pytest.raises(WireError) as caught:
        wire.unpack_payload(payload)
    assert caught.value.reason == "payload"


def test_what_msgpack_can_not_hold_raises_at_the_producer() -> None:
    """The packer of batches relies on it: such a record is found before it is sent."""
    for value in ("\ud800", 2**64, object()):
        with pytest.raises((UnicodeEncodeError, OverflowError, TypeError)):
            wire.pack_payload([value])
    assert msgpack.unpackb(wire.pack_payload([2**64 - 1])) == [2**64 - 1]
