"""Any state comes back as it was, and any bytes are a state, a command, an acknowledgement, or refused."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, strategies as st

from logbus.control import (
    STATE_TOPIC,
    State,
    pack_acknowledgement,
    pack_message,
    unpack_acknowledgement,
    unpack_message,
)
from logbus.errors import WireError
from logbus.rules import Levels

NUMBERS = st.integers(0, 2**63 - 1)
STATES = st.builds(
    State,
    *(st.text(), st.text(), st.text(), NUMBERS, NUMBERS),
    *(st.sampled_from(["serving", "draining"]), NUMBERS, st.just(Levels())),
)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(STATES)
def test_a_state_comes_back(state: State) -> None:
    """Every field survives the way."""
    assert State.unpack(state.pack()) == state


@given(STATES, st.sampled_from(State._fields), DOCUMENTS)
def test_a_state_with_another_value_is_that_state_or_refused(state: State, key: str, value: object) -> None:
    """A value of another type or range never reaches a worker."""
    document = {**json.loads(state.pack()[1:]), key: value}
    try:
        found = State.unpack(STATE_TOPIC + json.dumps(document).encode())
    except WireError:
        return
    assert type(getattr(found, key)) is type(getattr(state, key))
    assert State.unpack(found.pack()) == found


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but a WireError is raised on what somebody else wrote."""
    for read in (State.unpack, unpack_message, unpack_acknowledgement):
        for message in (data, STATE_TOPIC + data):
            with contextlib.suppress(WireError):
                read(message)


@given(st.dictionaries(st.text().filter(lambda key: key != "v"), DOCUMENTS, max_size=4))
def test_a_command_comes_back(document: dict[str, object]) -> None:
    """Every value that JSON holds survives the way."""
    assert unpack_message(pack_message(document)) == {"v": 1, **document}


@given(st.binary(min_size=16, max_size=16), st.integers(0, 2**64 - 1), st.booleans())
def test_an_acknowledgement_comes_back(producer: bytes, seq: int, bye: bool) -> None:
    """Sequence number and BYE survive the way."""
    assert unpack_acknowledgement(pack_acknowledgement(producer, seq, bye=bye)) == (seq, bye)
