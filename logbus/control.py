"""Control messages as bytes: the state that a collector publishes, and the commands that it answers. No I/O here.

Control runs from the collector to the workers, against the records. State is always a full snapshot, never a
delta: a subscriber that missed ten of them and got the eleventh knows everything. It is the welcome message of
the PUB socket too, so that a late worker has it as soon as it has connected.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from logbus.errors import WireError

#: Topic of the state snapshot; the JSON document follows it in the same part.
STATE_TOPIC: Final = b"S"
#: Topic of one producer (its 16 bytes follow): subscribed by each, so that the collector knows who listens.
PRODUCER_TOPIC: Final = b"P"
_ACKNOWLEDGEMENT: Final = struct.Struct("!Q?")
#: Bytes of a control message that are read at most.
MAX_CONTROL_BYTES: Final = 1024 * 1024
#: Bytes of an answer that are read at most: a status has a row of some 500 bytes, or 5 kB, for each worker.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
#: Version of commands and state; another one is refused.
PROTOCOL: Final = 1


@dataclass(frozen=True, slots=True)
class State:
    """What a collector says to every worker.

    ``life`` names one run of a collector process; ``request`` is the number of the newest mark request, higher than
    all those of earlier runs, which each worker answers with a MARK that echoes it. While ``state`` is "draining"
    workers hold their records.
    """

    ledger: str
    life: str
    name: str
    pid: int
    version: int
    state: Literal["serving", "draining"]
    request: int

    def pack(self) -> bytes:
        """The message: topic and document in one part."""
        return STATE_TOPIC + json.dumps({"v": PROTOCOL, **asdict(self)}).encode()

    @classmethod
    def unpack(cls, message: bytes) -> State:
        """The state in a message. Raises WireError("control")."""
        document = _document(message[len(STATE_TOPIC) :]) if message.startswith(STATE_TOPIC) else None
        if document is None:
            raise WireError("control", "control message is not a state snapshot")
        try:
            state = cls(**{key: value for key, value in document.items() if key in cls.__slots__})
        except TypeError as error:
            raise WireError("control", f"state snapshot lacks a key: {error}") from error
        kinds = {"version": int, "request": int, "pid": int}
        wrong = [key for key in cls.__slots__ if type(getattr(state, key)) is not kinds.get(key, str)]
        wrong += [key for key in kinds if key not in wrong and not 0 <= getattr(state, key) < 1 << 63]
        if wrong or state.state not in ("serving", "draining"):
            raise WireError("control", f"state snapshot has a wrong value for {', '.join(wrong) or 'state'}")
        return state


def pack_acknowledgement(producer: bytes, seq: int, *, bye: bool) -> bytes:
    """The message that tells one producer: every record below ``seq`` is accounted for, and its BYE if ``bye``."""
    return PRODUCER_TOPIC + producer + _ACKNOWLEDGEMENT.pack(seq, bye)


def unpack_acknowledgement(message: bytes) -> tuple[int, bool]:
    """Sequence number and BYE of an acknowledgement. Raises WireError("control")."""
    if len(message) != len(PRODUCER_TOPIC) + 16 + _ACKNOWLEDGEMENT.size or not message.startswith(PRODUCER_TOPIC):
        raise WireError("control", f"control message of {len(message)} bytes is not an acknowledgement")
    seq, bye = _ACKNOWLEDGEMENT.unpack(message[len(PRODUCER_TOPIC) + 16 :])
    return seq, bye


def pack_message(document: dict[str, Any]) -> bytes:
    """A command or an answer as bytes."""
    return json.dumps({"v": PROTOCOL, **document}).encode()


def unpack_message(message: bytes) -> dict[str, Any]:
    """A command. Raises WireError("control")."""
    return _document(message, MAX_CONTROL_BYTES)


def unpack_answer(message: bytes) -> dict[str, Any]:
    """The answer to a command. Raises WireError("control")."""
    return _document(message, MAX_ANSWER_BYTES)


def _document(message: bytes, max_bytes: int = MAX_CONTROL_BYTES) -> dict[str, Any]:
    if len(message) > max_bytes:
        raise WireError("control", f"control message of {len(message)} bytes: at most {max_bytes} are read")
    try:
        document = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise WireError("control", f"control message is not JSON: {error}") from error
    if not isinstance(document, dict) or document.get("v") != PROTOCOL:
        raise WireError("control", f"control message is not an object with v = {PROTOCOL}")
    return document
