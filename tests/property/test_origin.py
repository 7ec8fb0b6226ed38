"""What was active where something was raised, against a plain reading: the fields at the raise, through any scopes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from logbus.producers.context import active, context
from logbus.producers.origin import origin

NAMES = st.dictionaries(st.sampled_from("abc"), st.text("xyz", min_size=1, max_size=2), min_size=1, max_size=2)
#: Scopes from the outermost on: whether each is a frame of its own, and its fields.
SCOPES = st.lists(st.tuples(st.booleans(), NAMES), min_size=1, max_size=6)


def dive(scopes: list[tuple[bool, dict[str, str]]], expected: list[dict[str, str]]) -> None:
    """Enters the scopes, one or two to a frame, notes what is active and raises."""
    if not scopes:
        now = active()
        assert now is not None
        expected.append(dict(now[0] or {}))  # type: ignore[arg-type]
        raise LookupError("deep")
    (_, fields), rest = scopes[0], scopes[1:]
    if rest and not rest[0][0]:
        with context(**fields), context(**rest[0][1]):
            dive(rest[1:], expected)
    else:
        with context(**fields):
            dive(rest, expected)


@given(st.lists(SCOPES, min_size=1, max_size=5))
def test_the_fields_at_the_raise(runs: list[list[tuple[bool, dict[str, str]]]]) -> None:
    """Run after run in the same frames, each exception has its own."""
    for scopes in runs:
        expected: list[dict[str, str]] = []
        with pytest.raises(LookupError, match="deep") as raised:
            dive(scopes, expected)
        found = origin(raised.value)
        assert found is not None
        assert found[0] == expected[0]
