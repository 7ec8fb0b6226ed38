"""Durations go round: what is printed is read back as it was."""

from __future__ import annotations

from hypothesis import given, strategies as st

from logbus.durations import MAX_S, format_duration, parse_duration
from logbus.errors import ConfigurationError


@given(st.integers(0, 10**9).map(float) | st.floats(1e-9, MAX_S) | st.integers(0, 10**9).map(lambda ms: ms / 1000))
def test_what_is_printed_is_read_back(seconds: float) -> None:
    """Every duration from nanoseconds to a century, to the last bit."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_a_mistake(text: str) -> None:
    """Nothing else is ever raised, and what is read lies within the bounds."""
    try:
        assert 0 <= parse_duration(text) <= MAX_S
    except ConfigurationError:
        pass
