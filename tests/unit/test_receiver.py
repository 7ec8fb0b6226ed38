"""From the record socket to batches: every kind of bad frame, counted, and the loop that goes on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgpack
import pytest
import zmq

from logbus.bus import pull_socket
from logbus.collectors.decode import MAX_DEPTH, MAX_DROPS, MAX_NODES, Batch
from logbus.collectors.mark import MAX_COUNT, Mark
from logbus.collectors.receiver import TURN_FRAMES, Receiver, is_bye
from logbus.collectors.redact import Redactor
from logbus.collectors.roll import OWN
from logbus.collectors.rows import OLDER
from logbus.wire import ACK, HEADER, MAX_FRAME_BYTES, MAX_FRAME_RECORDS, pack_frame, pack_payload
from tests.frames import data, mark, mark_payload, payload, producer, raw, site

A = producer(1)
Send = Callable[..., None]


@pytest.fixture
def sockets() -> Iterator[tuple[zmq.Socket[bytes], zmq.Socket[bytes]]]:
    """A pair of sockets, the sender first, with room for everything that a test sends."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, pull_socket(context) as pull:
        push.set(zmq.SNDHWM, 10_000)
        push.set(zmq.LINGER, 0)
        pull.bind("inproc://records")
        push.connect("inproc://records")
        yield push, pull


@pytest.fixture
def receiver(sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]]) -> Receiver:
    """A receiver whose socket is bound."""
    return Receiver(sockets[1], Redactor())


@pytest.fixture
def send(sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]]) -> Send:
    """Sends frames, or a message of several parts for a list."""

    def send(*frames: bytes | list[bytes]) -> None:
        for frame in frames:
            sockets[0].send_multipart(frame if isinstance(frame, list) else [frame], zmq.NOBLOCK)

    return send


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
    "nesting that ends the stack": (pack_payload(payload("x", nested={"a": 1})).replace(b"\x81\xa1a\x01", b"\x81\xa1a" + b"\x91" * 50_000 + b"\x01"), "payload"),
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
    "level beyond 64 bits": (pack_payload(payload("x", sites=[site()])).replace(b"\xa2db\x14\xa4INFO", b"\xa2db\xc4\x01\x14\xa4INFO"), "payload"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_frame_is_counted_and_nothing_else(receiver: Receiver, send: Send, what: str) -> None:
    """It is counted by its reason, is nobody's arrival, and the next frame is read."""
    frame, reason = BROKEN[what]
    send(frame, GOOD)
    turn = receiver.receive()
    assert dict(receiver.bad_frames) == {reason: 1}
    [(header, batch)] = turn.arrivals
    assert header.producer == A
    assert isinstance(batch, Batch)
    assert [record.message for record in batch.records] == ["fine"]


@pytest.mark.parametrize("what", REJECTED)
def test_a_whole_frame_that_can_not_be_decoded_is_somebodys(receiver: Receiver, send: Send, what: str) -> None:
    """It is counted by its reason and arrives as a header without a batch, so that its producer's row gets it."""
    body, reason = REJECTED[what]
    send(raw(A, 5, 1, body), data(A, 6, "fine"))
    turn = receiver.receive()
    assert dict(receiver.bad_frames) == {reason: 1}
    (bad, nothing), (_, batch) = turn.arrivals
    assert (bad.producer, bad.first_seq, bad.count, nothing) == (A, 5, 1, None)
    assert isinstance(batch, Batch)


def test_every_truncation_and_every_flipped_bit_of_a_frame_is_survived(receiver: Receiver, send: Send) -> None:
    """Exhaustively for one frame: none of its ruins becomes a record."""
    ruins = [GOOD[:cut] for cut in range(len(GOOD))]
    ruins += [
        GOOD[:at] + bytes([GOOD[at] ^ 1 << bit]) + GOOD[at + 1 :] for at in range(len(GOOD)) for bit in range(8)
    ]
    send(*ruins)
    full = True
    while full:
        turn = receiver.receive()
        assert turn.arrivals == []
        full = turn.full
    assert sum(receiver.bad_frames.values()) == len(ruins)
    assert set(receiver.bad_frames) == {"truncated", "magic", "checksum"}


@pytest.mark.parametrize("parts", [[GOOD, GOOD], [GOOD, b""], [b"", GOOD, GOOD], [b"x"] * 100])
def test_a_message_of_several_parts_is_one_bad_frame(receiver: Receiver, send: Send, parts: list[bytes]) -> None:
    """None of its parts is read as a frame, though one may look like it; what follows is."""
    send(parts, data(A, 1, "after"))
    [(header, _)] = receiver.receive().arrivals
    assert header.first_seq == 1
    assert dict(receiver.bad_frames) == {"multipart": 1}


def test_a_mark_that_can_not_be_read_is_counted(receiver: Receiver, send: Send) -> None:
    """Absurd counters reach nobody's row; those that are right do, and a BYE is known as one."""
    absurd = mark_payload(sent=1)
    absurd[3] = -1
    send(pack_frame(2, A, 1, 0, pack_payload(absurd)), mark(A, sent=4), mark(A, sent=4, bye=True))
    (bad, nothing), (first, counters), (last, _) = receiver.receive().arrivals
    assert nothing is None
    assert isinstance(counters, Mark)
    assert counters.sent == 4
    assert [is_bye(header) for header in (bad, first, last)] == [False, False, True]
    assert dict(receiver.bad_frames) == {"payload": 1}


def test_a_turn_has_an_end(receiver: Receiver, send: Send) -> None:
    """What waits beyond a turn's frames or bytes is left for the next, good frames or bad."""
    send(*[data(A, number, "x") for number in range(TURN_FRAMES + 3)])
    first, second, third = receiver.receive(), receiver.receive(), receiver.receive()
    assert (len(first.arrivals), first.full) == (TURN_FRAMES, True)
    assert (len(second.arrivals), second.full) == (3, False)
    assert (third.arrivals, third.full, bool(third)) == ([], False, False)
    send(*[b"junk"] * (2 * TURN_FRAMES))
    assert receiver.receive().full
    assert receiver.bad_frames["truncated"] == TURN_FRAMES
    large = data(A, 0, "x" * 200_000)
    send(*[large] * 10)
    receiver.receive()
    assert len(receiver.receive().arrivals) < 10


def test_secrets_are_masked_before_anybody_sees_the_batch(receiver: Receiver, send: Send) -> None:
    """The batch that arrives is redacted already."""
    send(data(A, 0, "via http://u:hunter2@proxy", extra={"password": "hunter2"}))
    [(_, batch)] = receiver.receive().arrivals
    assert isinstance(batch, Batch)
    assert "hunter2" not in str(batch)
    assert batch.records[0].extra == {"password": "***"}


def test_a_defect_of_ours_costs_one_frame(
    sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]], send: Send
) -> None:
    """Should redaction ever raise, that frame is rejected and counted, unredacted nothing goes on, and the loop does."""

    class Defective(Redactor):
        def redact(self, batch: Batch) -> None:
            if batch.first_seq == 0:
                raise KeyError("a defect")

    receiver = Receiver(sockets[1], Defective())
    send(GOOD, data(A, 1, "fine"))
    (_, nothing), (_, batch) = receiver.receive().arrivals
    assert nothing is None
    assert isinstance(batch, Batch)
    assert dict(receiver.bad_frames) == {"internal_KeyError": 1}
