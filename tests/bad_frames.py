"""Every kind of frame that a collector refuses, with the reason under which it counts it."""

from __future__ import annotations

import zlib
from typing import Any

import msgpack

from logbus.collectors.decode import MAX_DEPTH, MAX_DROPS, MAX_NODES
from logbus.collectors.mark import MAX_COUNT
from logbus.collectors.roll import OWN
from logbus.collectors.rows import OLDER
from logbus.wire import ACK, HEADER, MAX_FRAME_BYTES, MAX_FRAME_RECORDS, pack_frame, pack_payload
from tests.frames import data, mark_payload, payload, producer, site

A = producer(1)


def changed(frame: bytes, at: int, value: bytes) -> bytes:
    """A frame with other bytes in its header, and the checksum that goes with them."""
    head = bytearray(frame[: HEADER.size])
    head[at : at + len(value)] = value
    head[-4:] = bytes(4)
    crc = zlib.crc32(frame[HEADER.size :], zlib.crc32(head))
    head[-4:] = crc.to_bytes(4, "big")
    return bytes(head) + frame[HEADER.size :]


def deep(levels: int) -> Any:
    """A value nested so deep."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def raised(levels: int) -> list[Any]:
    """An exception with so many causes."""
    chain: Any = None
    for _ in range(levels):
        chain = ["E", "m", [], chain, None, []]
    assert chain is not None
    return list(chain)


GOOD = data(A, 0, "fine")

#: Frames that say nothing which could be trusted, and why: they are counted, and that is all.
BROKEN = {
    "empty": (b"", "truncated"),
    "short": (GOOD[: HEADER.size - 1], "truncated"),
    "header cut in its middle": (GOOD[:7], "truncated"),
    "other magic": (b"LB2\0" + GOOD[4:], "magic"),
    "text": (b"GET / HTTP/1.1\r\nHost: logbus\r\nConnection: close\r\n\r\n", "magic"),
    "flipped bit": (GOOD[:-1] + bytes([GOOD[-1] ^ 1]), "checksum"),
    "cut payload": (GOOD[:-1], "checksum"),
    "longer payload": (GOOD + b"\0", "checksum"),
    "other schema": (changed(GOOD, 6, b"\0\2"), "schema"),
    "reserved type": (changed(GOOD, 4, bytes([ACK])), "type"),
    "type 0": (changed(GOOD, 4, b"\0"), "type"),
    "too many records": (changed(GOOD, HEADER.size - 8, (MAX_FRAME_RECORDS + 1).to_bytes(4, "big")), "count"),
    "a MARK with records": (pack_frame(2, A, 0, 1, pack_payload(mark_payload(sent=0))), "count"),
    "sequence beyond 63 bits": (changed(GOOD, HEADER.size - 16, (2**63).to_bytes(8, "big")), "count"),
    "sequence beyond all counts": (changed(GOOD, HEADER.size - 16, (MAX_COUNT + 1).to_bytes(8, "big")), "count"),
    "oversized": (pack_frame(1, A, 0, 1, bytes(MAX_FRAME_BYTES)), "oversized"),
    "the collector's own row": (data(OWN, 0, "I am the collector"), "producer"),
    "the row of the folded": (data(OLDER, 0, "I am many"), "producer"),
}

#: Whole frames of a producer that can't be decoded, and why: they are its loss.
REJECTED = {
    "no msgpack": (b"\xc1", "payload"),
    "empty payload": (b"", "payload"),
    "text": (b"hello", "payload"),
    "a map": ({}, "payload"),
    "cut msgpack": (pack_payload(payload("x"))[:-3], "payload"),
    "something behind": (pack_payload(payload("x")) + b"\xc0", "payload"),
    "bytes for text": ([*payload("x")[:2], [b"MainThread"], *payload("x")[3:]], "payload"),
    "bad UTF-8": (pack_payload(payload("xyzzy")).replace(b"xyzzy", b"\xff\xfe\xfd\xfc\xfb"), "payload"),
    "ext type": (pack_payload([*payload("x")[:3], [msgpack.ExtType(5, b"payload")], []]), "payload"),
    "ext among the nested": (pack_payload(payload("x", nested={"a": msgpack.ExtType(5, b"p")})), "payload"),
    "timestamp among the nested": (pack_payload(payload("x", nested={"a": msgpack.Timestamp(1)})), "payload"),
    "map key of another type": (payload("x", nested={"a": {1: 2}}), "payload"),
    "bomb of arrays": (b"\xdd\xff\xff\xff\xff" + b"\x90" * 100_000, "payload"),
    "bomb of maps": (b"\x95" + b"\xdf\xff\xff\xff\xff" + b"\x80" * 100_000, "payload"),
    "nesting without end": (b"\x91" * 200_000, "payload"),
    "nested too deep": (payload("x", nested={"a": deep(MAX_DEPTH)}), "limits"),
    "nesting that ends the stack": (
        pack_payload(payload("x", nested={"a": 1})).replace(
            b"\x81\xa1a\x01", b"\x81\xa1a" + b"\x91" * 50_000 + b"\x01"
        ),
        "payload",
    ),
    "too many nodes": (payload("x", nested={"a": list(range(MAX_NODES))}), "limits"),
    "arrays without number": (payload("x", nested={"a": [[] for _ in range(50_000)]}), "limits"),
    "causes without end": (payload("x", exception=raised(MAX_DEPTH + 1)), "limits"),
    "site that isn't there": (payload("x", at=[1]), "limits"),
    "site below zero": (payload("x", at=[-1]), "payload"),
    "thread that isn't there": ([*payload("x")[:2], [], *payload("x")[3:]], "limits"),
    "no sites at all": ([payload()[0], [], *payload("x")[2:]], "limits"),
    "more drops than there are counters": (payload("x", drops=[[0, 0, 1, 1, 1]] * (MAX_DROPS + 1)), "limits"),
    "drop of a reason that is not his": (payload("x", drops=[[3, 0, 1, 1, 1]]), "payload"),
    "other number of records": (payload("x", "y"), "count"),
    "level beyond 64 bits": (
        pack_payload(payload("x", sites=[site()])).replace(b"\xa2db\x14\xa4INFO", b"\xa2db\xc4\x01\x14\xa4INFO"),
        "payload",
    ),
}

#: Messages of several parts, though one of these may look like a frame.
PARTS: list[list[bytes]] = [[GOOD, GOOD], [GOOD, b""], [b"", GOOD, GOOD], [b"x"] * 100]
