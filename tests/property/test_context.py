"""Scopes in any order: what is active is what a plain model of nested dicts says."""

from __future__ import annotations

import contextvars
from typing import Any

from hypothesis import given, strategies as st

from logbus.producers.context import Scope, active, bind, clear_context, context, current_context

FIELDS = st.dictionaries(st.sampled_from("abc"), st.one_of(st.integers(0, 9), st.lists(st.integers(0, 9), max_size=2)))
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
