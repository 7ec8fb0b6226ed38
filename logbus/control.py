"""Control messages as bytes: the state that a collector publishes, and the commands that it answers. No I/O here.

Control runs from the collector to the workers, against the records. State is always a full snapshot, never a
delta: a subscriber that missed ten of them and got the eleventh knows everything. It is the welcome message of
the PUB socket too, so that a late worker has it as soon as it has connected.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Final, Literal, NamedTuple

from logbus.errors import WireError
from logbus.rules import Levels

#: Topic of the state snapshot; the JSON document follows it in the same part.
STATE_TOPIC: Final = b"S"
#: Topic of the same snapshot as the welcome of a new connection: only there may another ledger begin.
WELCOME_TOPIC: Final = b"W"
#: Topic of one producer (its 16 bytes follow): subscribed by each, so that the collector knows who listens.
PRODUCER_TOPIC: Final = b"P"
_ADDRESS_BYTES: Final = len(PRODUCER_TOPIC) + 16
#: Topic of a confirmation. Nothing is ever published there: a subscription travels to the collector ahead of every
#: record, where a MARK waits behind those that were sent before it. The producer's 16 bytes, the first 16 characters
#: of the ledger and the version follow.
CONFIRMATION_TOPIC: Final = b"C"
_CONFIRMATION: Final = struct.Struct("!1s16s16sQ")
_ACKNOWLEDGEMENT: Final = struct.Struct("!Q?")
#: Bytes of a control message that are read at most.
MAX_CONTROL_BYTES: Final = 1024 * 1024
#: Bytes of an answer that are read at most: a status has a row of some 500 bytes, or 5 kB, for each worker.
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
#: Version of commands and state; another one is refused.
PROTOCOL: Final = 1


class State(NamedTuple):
    """What a collector says to every worker.

    ``life`` names one run of a collector process; ``request`` is the number of the newest mark request, higher than
    all those of earlier runs, which each worker answers with a MARK that echoes it. While ``state`` is "draining"
    workers hold their records. ``levels`` are the level rules in force, which each MARK confirms.
    """

    ledger: str
    life: str
    name: str
    pid: int
    version: int
    state: Literal["serving", "draining"]
    request: int
    levels: Levels = Levels()

    def pack(self, *, welcome: bool = False) -> bytes:
        """The message, topic and document in one part; ``welcome``: for those who connect."""
        document = {**self._asdict(), "levels": self.levels.document()}
        return (WELCOME_TOPIC if welcome else STATE_TOPIC) + json.dumps({"v": PROTOCOL, **document}).encode()

    @classmethod
    def unpack(cls, message: bytes) -> State:
        """The state in a message, a welcome or not. Raises WireError("control")."""
        known = message.startswith((STATE_TOPIC, WELCOME_TOPIC))
        document = _document(message[len(STATE_TOPIC) :]) if known else None
        if document is None:
            raise WireError("control", "control message is not a state snapshot")
        values = {key: value for key, value in document.items() if key in cls._fields}
        values["levels"] = Levels.of(values.get("levels"))
        try:
            state = cls(**values)
        except TypeError as error:
            raise WireError("control", f"state snapshot lacks a key: {error}") from error
        kinds = {"version": int, "request": int, "pid": int, "levels": Levels}
        wrong = [key for key in cls._fields if type(getattr(state, key)) is not kinds.get(key, str)]
        numbers = [key for key, kind in kinds.items() if kind is int and key not in wrong]
        wrong += [key for key in numbers if not 0 <= getattr(state, key) < 1 << 63]
        if wrong or state.state not in ("serving", "draining"):
            raise WireError("control", f"state snapshot has a wrong value for {', '.join(wrong) or 'state'}")
        return state


def confirmation_topic(producer: bytes, ledger: str, version: int) -> bytes:
    """The topic to which a worker subscribes to say which level rules are in force in it."""
    return _CONFIRMATION.pack(CONFIRMATION_TOPIC, producer, ledger.encode("utf-8", "replace"), version)


def read_confirmation(subscription: bytes, *, ledger: str) -> tuple[bytes, int] | None:
    """Producer and version in a subscription to a :func:`confirmation_topic` of this ledger; None in any other."""
    if len(subscription) != 1 + _CONFIRMATION.size or not subscription.startswith(b"\1" + CONFIRMATION_TOPIC):
        return None
    _, producer, prefix, version = _CONFIRMATION.unpack_from(subscription, 1)
    return (producer, version) if prefix == ledger.encode("utf-8", "replace")[:16].ljust(16, b"\0") else None


def pack_personal(producer: bytes, message: bytes) -> bytes:
    """A state message for one producer only."""
    return PRODUCER_TOPIC + producer + message


def without_address(message: bytes) -> bytes:
    """The state message in a personal one; any other message, an acknowledgement too, as it is."""
    longer = len(message) > _ADDRESS_BYTES + _ACKNOWLEDGEMENT.size
    return message[_ADDRESS_BYTES:] if longer and message.startswith(PRODUCER_TOPIC) else message


def pack_acknowledgement(producer: bytes, seq: int, *, bye: bool) -> bytes:
    """The message that tells one producer: every record below ``seq`` is accounted for, and its BYE if ``bye``."""
    return PRODUCER_TOPIC + producer + _ACKNOWLEDGEMENT.pack(seq, bye)


def unpack_acknowledgement(message: bytes) -> tuple[int, bool]:
    """Sequence number and BYE of an acknowledgement. Raises WireError("control")."""
    if len(message) != _ADDRESS_BYTES + _ACKNOWLEDGEMENT.size or not message.startswith(PRODUCER_TOPIC):
        raise WireError("control", f"control message of {len(message)} bytes is not an acknowledgement")
    seq, bye = _ACKNOWLEDGEMENT.unpack(message[_ADDRESS_BYTES:])
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
