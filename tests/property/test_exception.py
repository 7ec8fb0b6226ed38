"""Whatever hangs together by cause, context and membership: its description is a bounded tree of plain values."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import given, strategies as st

from logbus.producers.exception import MAX_EXCEPTIONS, MAX_FRAMES, MAX_LEVELS, describe, finish, from_text
from logbus.producers.sanitise import repair

#: Edges between exceptions: from, to, and how.
EDGES = st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19), st.sampled_from(["cause", "context"])), max_size=60)


def measure(described: list[Any]) -> tuple[int, int]:
    """The number of exceptions in a description and its depth, after a look at its shape."""
    kind, message, lines, cause, context, members = described
    assert type(kind) is type(message) is str
    assert all(type(line) is str for line in lines)
    parts = [measure(part) for part in (cause, context, *members) if part is not None]
    return 1 + sum(count for count, _ in parts), 1 + max((depth for _, depth in parts), default=0)


@given(EDGES, st.lists(st.lists(st.integers(0, 19), min_size=1, max_size=20), max_size=4))
def test_any_graph_of_exceptions_ends(edges: list[tuple[int, int, str]], groups: list[list[int]]) -> None:
    """Rings, shared ancestors and groups of them give a tree within the limits, each exception once."""
    errors: list[Exception] = [ValueError(f"error {n}") for n in range(20)]
    made = [ExceptionGroup(f"group {n}", [errors[at] for at in members]) for n, members in enumerate(groups)]
    for start, end, how in edges:
        if how == "cause":
            errors[start].__cause__ = errors[end]
        else:
            errors[start].__context__ = made[end % len(made)] if made else errors[end]
    for root in (*errors[:3], *made):
        described = describe(root)
        assert described is not None
        msgpack.packb(described)
        travelling = finish(described)
        count, depth = measure(travelling)
        assert count <= MAX_EXCEPTIONS
        assert depth <= MAX_LEVELS
        messages = [part for part in repr(travelling).split("'") if part.startswith("error ")]
        assert len(messages) == len(set(messages))


@given(st.text(st.characters(exclude_categories=()), max_size=3000))
def test_any_text_is_a_description(text: str) -> None:
    """Text that claims to be a traceback gives the usual shape, and no more lines than a traceback has."""
    described = finish(from_text(text))
    assert measure(described) == (1, 1)
    assert len(described[2]) <= MAX_FRAMES + 1
    msgpack.packb(repair(described))
