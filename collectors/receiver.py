"""From the record socket to decoded, redacted batches: what is wrong with a frame is counted here, by reason.

A frame that is not whole (magic, checksum, size) says nothing that can be trusted, not even whose it is: it is
counted, and the gap in the sequence tells the rest. One that is whole and can't be decoded is its producer's loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import zmq

from logbus.collectors.decode import Batch, decode
from logbus.collectors.identities import Identities, peer_uid
from logbus.collectors.mark import MAX_COUNT, Mark, Names, decode_mark, decode_names
from logbus.collectors.packed import unpack
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.roll import OWN
from logbus.collectors.rows import OLDER
from logbus.collectors.unwanted import Wants
from logbus.errors import WireError
from logbus.wire import BYE, DATA, NAMES, Header, unpack_frame

#: Frames taken in one turn: what is committed, and handed to the sinks, together.
TURN_FRAMES: Final = 32
#: Bytes taken in one turn, about. Decoded they are three times as many, and are gone through again to be encoded: with
#: more of them than a core's cache holds, a record costs up to a tenth more.
TURN_BYTES: Final = 256 * 1024
#: Seconds of the thread's time that a turn may take. Thirty sinks, each with a format and a sample of its own, took
#: seven for a full one, and nobody is answered meanwhile: then a turn takes in less.
TURN_S: Final = 0.1
#: Producers that are rows of the collector's own; whoever calls himself so is not let in.
_RESERVED: Final = frozenset({OWN, OLDER})


@dataclass(slots=True)
class Turn:
    """What one turn of the loop took in, in the order of its arrival: a batch, a mark, names, or a rejected frame."""

    arrivals: list[tuple[Header, Batch | Mark | Names | None]]
    #: Whether more may wait in the socket.
    full: bool = False
    #: Bytes of all frames, the rejected ones too.
    size: int = 0

    def __bool__(self) -> bool:
        return bool(self.arrivals)


class Receiver:
    """Reads the PULL socket; the socket is bound by the collector.

    ``identities`` tells the producers of several users apart; None where only one user gets in.
    """

    def __init__(self, socket: zmq.Socket[bytes], redactor: Redactor, *, identities: Identities | None = None) -> None:
        self.socket = socket
        #: Frames refused, by reason.
        self.bad_frames: Counter[str] = Counter()
        #: May be replaced between two turns.
        self.redactor = redactor
        #: Tells which records somebody may want; None: all of them. The others arrive empty.
        self.wants: Wants | None = None
        #: Whether nobody is going to ask for more of a record than its line of JSON; None: nobody is.
        self.takes_rows: Callable[[], bool] | None = None
        self._identities = identities
        #: How much of a full turn is taken in.
        self._share = 1.0

    def receive(self) -> Turn:
        """Takes what waits in the socket, up to a turn's worth. Never waits, never raises on what it reads."""
        turn = Turn([])
        frames = 0
        while not turn.full:
            try:
                message = self.socket.recv(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                break
            frame = message.bytes
            frames += 1
            turn.size += len(frame)
            turn.full = frames >= TURN_FRAMES * self._share or turn.size >= TURN_BYTES * self._share
            if message.more:
                self._skip_parts()
                continue
            try:
                header, payload = unpack_frame(frame)
                _check(header)
                self._check_owner(header, message)
            except WireError as error:
                self.bad_frames[error.reason] += 1
                continue
            turn.arrivals.append((header, self._decode(header, payload)))
        return turn

    def pace(self, turn: Turn, seconds: float) -> None:
        """Has the next turns take in less where one took more than :data:`TURN_S` of the thread's time, or more again.

        A frame is the least.
        """
        if seconds > TURN_S:
            self._share = max(self._share * TURN_S / seconds, 1 / TURN_FRAMES)
        elif turn.full and seconds < TURN_S / 2:
            self._share = min(1.0, 2 * self._share)

    def _decode(self, header: Header, payload: memoryview) -> Batch | Mark | Names | None:
        try:
            if header.type == NAMES:
                names = decode_names(payload)
                self.redactor.source(names.source, names.names)
                return names
            if header.type != DATA:
                mark = decode_mark(payload)
                self.redactor.source(mark.source)
                return mark
            batch = (unpack(header, payload) if self._may_pack() else None) or decode(header, payload)
            self.redactor.redact(batch, self.wants)
            return batch
        except WireError as error:
            self.bad_frames[error.reason] += 1
        except Exception as error:  # a defect of ours on somebody's record: the loop goes on, the record is counted
            self.bad_frames[f"internal_{type(error).__name__}"] += 1
        return None

    def _may_pack(self) -> bool:
        return self.redactor.takes_rows and (self.takes_rows is None or self.takes_rows())

    def _check_owner(self, header: Header, message: zmq.Frame) -> None:
        """Refuses a frame that speaks for another user's producer. Raises WireError."""
        if self._identities is not None:
            uid = peer_uid(message)
            if not self._identities.admits(header.producer, uid):
                raise WireError("foreign", f"frame of producer {header.producer.hex()}, which is not uid {uid}'s")

    def _skip_parts(self) -> None:
        """Reads the rest of a multipart message, which is a protocol error."""
        self.bad_frames["multipart"] += 1
        while self.socket.get(zmq.RCVMORE):
            self.socket.recv(zmq.NOBLOCK)


def _check(header: Header) -> None:
    """Refuses what the wire allows and the ledger can't hold. Raises WireError."""
    if header.producer in _RESERVED:
        raise WireError("producer", f"frame of producer {header.producer.hex()}, which is the collector's own row")
    if header.first_seq > MAX_COUNT:
        raise WireError("count", f"frame with sequence number {header.first_seq}: at most {MAX_COUNT} can be counted")


def is_bye(header: Header) -> bool:
    """Whether a frame is the last one of its producer."""
    return header.type == BYE
