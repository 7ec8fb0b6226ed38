"""Sizes go round: what is printed is read back as it was."""

from __future__ import annotations

from hypothesis import given, strategies as st

from logbus.errors import ConfigurationError
from logbus.sizes import MAX_BYTES, format_size, parse_size


@given(
    st.integers(0, MAX_BYTES)
    | st.integers(0, 10**6).map(lambda n: 1000 * n)
    | st.integers(0, 10**4).map(lambda n: n << 20)
)
def test_what_is_printed_is_read_back(size: int) -> None:
    """Every size, to the byte."""
    assert parse_size(format_size(size)) == size


@given(st.text(max_size=40))
def test_any_text_is_a_size_or_a_mistake(text: str) -> None:
    """Nothing else is ever raised, and what is read lies within the bounds."""
    try:
        assert 0 <= parse_size(text) <= MAX_BYTES
    except ConfigurationError:
        pass
