"""Control messages: a state is whole or refused, and so are commands and acknowledgements."""

from __future__ import annotations

import json
from typing import Any

import pytest

from logbus.control import (
    MAX_CONTROL_BYTES,
    PRODUCER_TOPIC,
    PROTOCOL,
    STATE_TOPIC,
    State,
    confirmation_topic,
    pack_acknowledgement,
    pack_message,
    pack_personal,
    read_confirmation,
    unpack_acknowledgement,
    unpack_message,
    without_address,
)
from logbus.errors import WireError

STATE = State("0123", "abcd", "default", 4711, 3, "serving", 9)


def changed(**changes: Any) -> bytes:
    """The message of a state with other values; None takes the key away."""
    document = {**json.loads(STATE.pack()[1:]), **changes}
    return STATE_TOPIC + json.dumps({key: value for key, value in document.items() if value is not None}).encode()


def test_a_state_comes_out_as_it_went_in() -> None:
    """Every field survives the way, whatever stands in the names."""
    assert State.unpack(STATE.pack()) == STATE
    odd = State("", "ü", 'a "name"\n', 0, 0, "draining", (1 << 63) - 1)
    assert State.unpack(odd.pack()) == odd


def test_keys_of_later_versions_are_left_aside() -> None:
    """A state may say more than this version reads."""
    assert State.unpack(changed(moods=[["rotator", 10]])) == STATE


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"S",
        b"X" + STATE.pack()[1:],
        PRODUCER_TOPIC + STATE.pack(),
        b"Snot JSON",
        b"S[]",
        b"S" + b"[" * 100_000,
        b"S\xff",
        STATE_TOPIC + b" " * MAX_CONTROL_BYTES + STATE.pack()[1:],
        changed(v=PROTOCOL + 1),
        changed(v=None),
        *(changed(**{key: None}) for key in State._fields),
        changed(version="3"),
        changed(version=True),
        changed(version=3.0),
        changed(pid=-1),
        changed(request=-1),
        changed(request=1 << 63),
        changed(version=1 << 70),
        changed(life=5),
        changed(state="off"),
    ],
)
def test_what_is_no_state_is_refused(message: bytes) -> None:
    """A worker acts on a whole state or not at all, and never on a number that its own frames can't hold."""
    with pytest.raises(WireError) as caught:
        State.unpack(message)
    assert caught.value.reason == "control"


def test_a_command_comes_out_as_it_went_in() -> None:
    """Commands and answers are objects with the protocol's version."""
    assert unpack_message(pack_message({"command": "status", "n": [1]})) == {"v": 1, "command": "status", "n": [1]}


@pytest.mark.parametrize("message", [b"", b"null", b"[]", b"{}", b'{"v": 2}', b'{"v": "1"}', b"\xff\xfe", b"{" * 10**5])
def test_what_is_no_command_is_refused(message: bytes) -> None:
    """Whoever may connect may write anything: it is refused, and nothing else is raised."""
    with pytest.raises(WireError):
        unpack_message(message)


@pytest.mark.parametrize("bye", [True, False])
def test_an_acknowledgement_comes_out_as_it_went_in(bye: bool) -> None:
    """Sequence number and BYE survive the way, under the producer's own topic."""
    message = pack_acknowledgement(bytes(16), (1 << 63) - 1, bye=bye)
    assert message.startswith(PRODUCER_TOPIC + bytes(16))
    assert unpack_acknowledgement(message) == ((1 << 63) - 1, bye)


@pytest.mark.parametrize(
    "message", [b"", PRODUCER_TOPIC, STATE.pack(), pack_acknowledgement(bytes(16), 1, bye=True)[:-1]]
)
def test_what_is_no_acknowledgement_is_refused(message: bytes) -> None:
    """A message of another length or topic is none."""
    with pytest.raises(WireError):
        unpack_acknowledgement(message)


def test_a_state_may_be_for_one_producer() -> None:
    """Its address comes off; an acknowledgement, which has the same address, stays what it is, whatever its number."""
    state = STATE.pack(welcome=True)
    personal = pack_personal(bytes(16), state)
    assert personal.startswith(PRODUCER_TOPIC + bytes(16))
    assert without_address(personal) == state == without_address(state)
    for seq in (0, 0x57 << 56, (1 << 64) - 1):
        acknowledgement = pack_acknowledgement(bytes(16), seq, bye=True)
        assert without_address(acknowledgement) == acknowledgement


def test_a_confirmation_is_read_by_the_collector_that_it_means() -> None:
    """Producer and version come out of a subscription; another ledger's, an end, and anything else are none."""
    who, ledger = bytes(range(16)), "0123456789abcdef" * 2
    topic = confirmation_topic(who, ledger, 7)
    assert read_confirmation(b"\1" + topic, ledger=ledger) == (who, 7)
    assert read_confirmation(b"\1" + topic, ledger="f" + ledger) is None
    for other in (b"", b"\1", b"\0" + topic, b"\1" + topic + b"x", b"\1P" + topic[1:]):
        assert read_confirmation(other, ledger=ledger) is None
    assert read_confirmation(b"\1" + confirmation_topic(who, "ü" * 40, 1 << 62), ledger="ü" * 40) == (who, 1 << 62)
