"""Scopes in any order: what is active is what a plain model of nested dicts says, the way of its operation included."""

from __future__ import annotations

import contextvars
from typing import Any

from hypothesis import given, strategies as st

from logbus.producers.context import (
    MAX_PATH_NAMES,
    Scope,
    active,
    bind,
    bind_plain,
    clear_context,
    context,
    current_context,
    is_open,
    plain_scope,
)
from logbus.producers.sanitise import FIELD_BYTES
from logbus.producers.text import text_bytes

FIELDS = st.dictionaries(st.sampled_from("abc"), st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=2)))
TEXTS = st.dictionaries(st.sampled_from("abc"), st.text("xyz", max_size=3))
OPERATIONS = st.one_of(st.none(), st.sampled_from(["api", "proxied", "retry", "é"]))
STEPS = st.lists(st.one_of(st.tuples(st.sampled_from(["enter", "bind"]), FIELDS), st.sampled_from(["exit", "clear"])))
#: Which of the open scopes leaves: the newest, or any other.
CHOICES = st.lists(st.integers(0, 100), min_size=1)


@given(STEPS)
def test_nested_scopes_follow_a_stack(steps: list[Any]) -> None:
    """Entering, binding, clearing and leaving in order is what a stack of dicts does."""

    def run() -> None:
        scopes: list[Scope] = []
        model: list[dict[str, Any]] = [{}]
        for step in steps:
            if step == "clear":
                clear_context()
                model[-1] = {}
            elif step == "exit":
                if scopes:
                    scopes.pop().__exit__(None, None, None)
                    model.pop()
            elif step[0] == "bind":
                bind(**step[1])
                model[-1] = model[-1] | step[1]
            else:
                scopes.append(context(**step[1]))
                scopes[-1].__enter__()
                model.append(model[-1] | step[1])
            assert current_context() == model[-1]
            now = active()
            assert now is None or not (now[0] or {}).keys() & (now[1] or {}).keys()

    contextvars.Context().run(run)


@given(FIELDS, st.lists(FIELDS, min_size=1, max_size=6), CHOICES)
def test_scopes_left_in_any_order_leave_nothing(before: dict[str, Any], fields: list[Any], choices: list[int]) -> None:
    """Once the last of several overlapping scopes has ended, everything is as before the first."""

    def run() -> None:
        bind(**before)
        scopes = [context(**given_) for given_ in fields]
        for scope in scopes:
            scope.__enter__()
        while scopes:
            scopes.pop(choices[len(scopes) % len(choices)] % len(scopes)).__exit__(None, None, None)
        assert current_context() == before

    contextvars.Context().run(run)


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from(["enter", "bind"]), st.booleans(), TEXTS, OPERATIONS), st.sampled_from(["exit"])
        ),
        max_size=40,
    )
)
def test_plain_scopes_are_scopes_and_operations_say_their_way(steps: list[Any]) -> None:
    """The cheap way gives what the other one gives, size included; a path is the names on the way, bounded."""

    def run() -> None:
        scopes: list[Scope] = []
        model: list[tuple[dict[str, str], list[str]]] = [({}, [])]
        for step in steps:
            if step == "exit":
                if scopes:
                    scopes.pop().__exit__(None, None, None)
                    model.pop()
            else:
                kind, plain, fields, operation = step
                if operation is not None:
                    operation = "e" if plain and operation == "é" else operation  # plain fields are in ASCII
                    fields = fields | {"operation": operation}
                before, names = model[-1]
                if operation is None:
                    pass
                elif kind == "enter" and operation != before.get("operation"):
                    names = [*names, operation]
                elif kind == "bind":
                    names = [*names[:-1], operation]
                if kind == "enter":
                    scopes.append(plain_scope(fields) if plain else context(**fields))
                    scopes[-1].__enter__()
                    model.append((before | fields, names))
                else:
                    (bind_plain if plain else lambda given: bind(**given))(fields)
                    model[-1] = (before | fields, names)
            fields, names = model[-1]
            if len(names) > 1:
                way = names if len(names) <= MAX_PATH_NAMES else [*names[: MAX_PATH_NAMES - 1], names[-1]]
                fields = fields | {"operation_path": "/".join(way)}
            assert current_context() == fields
            assert is_open() == bool(scopes)
            now = active()
            assert (now[2] if now else 0) == sum(FIELD_BYTES + text_bytes(value) for value in fields.values())

    contextvars.Context().run(run)
