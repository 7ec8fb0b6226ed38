"""What a follower gets, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from logbus.collectors.excerpt import Excerpt
from logbus.control import pack_message
from logbus.errors import WireError

_COUNTS = st.integers(0, 2**64 - 1)


@given(_COUNTS, _COUNTS, _COUNTS, st.binary())
def test_an_excerpt_travels_whole(number: int, slow: int, beyond: int, lines: bytes) -> None:
    """Whatever its lines are and however high its counts."""
    excerpt = Excerpt(number, slow, beyond, lines)
    assert Excerpt.unpack(excerpt.pack()) == excerpt


def test_a_document_is_no_excerpt() -> None:
    """Answers and notices come on the same socket."""
    assert Excerpt.unpack(pack_message({"tail": "draining"})) is None


@pytest.mark.parametrize("message", [b"", b"\1", b"\1" + bytes(23), b"\2" + bytes(24), b"[]"])
def test_anything_else_is_refused(message: bytes) -> None:
    """By its length, not its content."""
    with pytest.raises(WireError, match=f"{len(message)} bytes"):
        Excerpt.unpack(message)
