"""From the record socket to batches: every kind of bad frame, counted, and the loop that goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zmq

from logbus.bus import pull_socket
from logbus.collectors.decode import Batch, Record
from logbus.collectors.identities import Identities
from logbus.collectors.mark import Mark, Names
from logbus.collectors.receiver import TURN_FRAMES, TURN_S, Receiver, is_bye
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.unwanted import Wants
from logbus.collectors.zap import Doorkeeper
from logbus.wire import NAMES, pack_frame, pack_payload
from tests.bad_frames import BROKEN, GOOD, PARTS, REJECTED
from tests.eventually import eventually
from tests.frames import data, mark, mark_payload, producer, raw, site, source

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


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_frame_is_counted_and_nothing_else(receiver: Receiver, send: Send, what: str) -> None:
    """It is counted by its reason, is nobody's arrival, and the next frame is read."""
    frame, reason = BROKEN[what]
    send(frame, GOOD)
    arrivals = receiver.receive().arrivals + receiver.receive().arrivals  # an oversized one fills a turn
    assert dict(receiver.bad_frames) == {reason: 1}
    [(header, batch)] = arrivals
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
    ruins += [GOOD[:at] + bytes([GOOD[at] ^ 1 << bit]) + GOOD[at + 1 :] for at in range(len(GOOD)) for bit in range(8)]
    send(*ruins)
    full = True
    while full:
        turn = receiver.receive()
        assert turn.arrivals == []
        full = turn.full
    assert sum(receiver.bad_frames.values()) == len(ruins)
    assert set(receiver.bad_frames) == {"truncated", "magic", "checksum"}


@pytest.mark.parametrize("parts", PARTS)
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


def test_a_turn_that_takes_long_is_followed_by_smaller_ones(receiver: Receiver, send: Send) -> None:
    """Down to a frame, so that commands are answered whatever the sinks cost; and by larger ones where it was quick."""
    sizes = []
    for times in (0.0, 4.0, 2.0, 1e6, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1):
        send(*[data(A, number, "x") for number in range(TURN_FRAMES)])
        turn = receiver.receive()
        sizes.append(len(turn.arrivals))
        while receiver.receive():
            pass
        receiver.pace(turn, times * TURN_S)
    assert sizes == [32, 32, 8, 4, 1, 1, 2, 4, 8, 16, 32]
    receiver.pace(receiver.receive(), 1e6)
    receiver.pace(receiver.receive(), 0.0)  # nothing was waiting: that says nothing of a turn that is full
    send(*[data(A, number, "x") for number in range(TURN_FRAMES)])
    assert len(receiver.receive().arrivals) == 1


def test_secrets_are_masked_before_anybody_sees_the_batch(receiver: Receiver, send: Send) -> None:
    """The batch that arrives is redacted already."""
    send(data(A, 0, "via http://u:hunter2@proxy", extra={"password": "hunter2"}))
    [(_, batch)] = receiver.receive().arrivals
    assert isinstance(batch, Batch)
    assert "hunter2" not in str(batch)
    assert batch.records[0].extra == {"password": "***"}


def test_what_nobody_wants_arrives_empty(receiver: Receiver, send: Send) -> None:
    """It is asked once the names are masked; records of an unwanted call site are there to be counted, no more."""
    asked: list[str] = []

    def wants(batch: Batch) -> list[bool]:
        asked.extend(site.component for site in batch.sites)
        return [False]

    receiver.wants = wants
    send(data(A, 0, "one", "via http://u:hunter2@proxy", sites=[site("http://u:hunter2@h/")], extra={"k": "hunter2"}))
    [(_, batch)] = receiver.receive().arrivals
    assert isinstance(batch, Batch)
    assert asked == ["http://u:***@h/"]
    assert batch.records == [Record(0, 0, 0, "")] * 2
    assert "hunter2" not in str(batch)


def test_a_defect_of_ours_costs_one_frame(sockets: tuple[zmq.Socket[bytes], zmq.Socket[bytes]], send: Send) -> None:
    """Should redaction ever raise, its frame is rejected and counted, nothing unredacted goes on, and the loop does."""

    class Defective(Redactor):
        def redact(self, batch: Batch, wants: Wants | None = None) -> None:
            if batch.first_seq == 0:
                raise KeyError("a defect")

    receiver = Receiver(sockets[1], Defective())
    send(GOOD, data(A, 1, "fine"))
    (_, nothing), (_, batch) = receiver.receive().arrivals
    assert nothing is None
    assert isinstance(batch, Batch)
    assert dict(receiver.bad_frames) == {"internal_KeyError": 1}


def test_a_frame_of_somebody_else_s_producer_is_refused(directories: Path) -> None:
    """Where several users log, nobody continues the sequence of another or closes his book, and no row pays for it."""
    identities = Identities(directories)
    assert identities.admits(A, identities.owner + 1)
    url = f"ipc://{directories}/records"
    with zmq.Context() as context, context.socket(zmq.PUSH) as push, pull_socket(context) as pull:
        receiver = Receiver(pull, Redactor(), identities=identities)
        with closing(Doorkeeper(context)) as doorkeeper:
            pull.bind(url)
            push.connect(url)
            for frame in (data(A, 0, "stolen"), mark(A, sent=9, bye=True), data(producer(2), 0, "mine")):
                push.send(frame)
            turns = []

            def read() -> bool:
                doorkeeper.answer()
                turns.append(receiver.receive())
                return any(turns)

            eventually(read)
            arrivals = [arrival for turn in turns for arrival in turn.arrivals]
            assert [header.producer for header, _ in arrivals] == [producer(2)]
            assert dict(receiver.bad_frames) == {"foreign": 2}


def test_names_in_marks_are_masked_as_those_in_records(receiver: Receiver, send: Send) -> None:
    """A worker, or a logger, that is named for a URL shows its password in no status and in no list of names."""
    named = pack_frame(NAMES, A, 0, 0, pack_payload([source("w"), ["app", "token=hunter2"]]))
    send(mark(A, sent=0, worker="http://u:hunter2@w"), named)
    arrivals = [arrival for _, arrival in receiver.receive().arrivals]
    assert isinstance(arrivals[0], Mark)
    assert isinstance(arrivals[1], Names)
    assert arrivals[0].source.worker == "http://u:***@w"
    assert arrivals[1].names == ["app", "token=***"]
