"""The scopes of celery's tasks against a list of names: whatever begins, and whatever never ends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given, strategies as st

import logbus
from logbus.integrations.celery_scopes import Scopes, close_all

#: A task that begins (as a message's or as an eager one) or ends, by its id.
steps = st.lists(st.tuples(st.sampled_from(["message", "eager", "end"]), st.sampled_from("abc")), max_size=30)


@given(steps=steps, inside=st.booleans())
def test_the_innermost_task_is_active(steps: list[tuple[str, str]], inside: bool) -> None:
    """A message's task ends those before it, an eager one joins them, and the end of one ends those inside."""
    scopes = Scopes()
    scope = logbus.context(base="there")
    if inside:
        scope.__enter__()
    before = logbus.current_context()
    running: list[str] = []
    for step, name in steps:
        if step == "end":
            scopes.end(task_id=name)
            running = running[: len(running) - 1 - running[::-1].index(name)] if name in running else running
        else:
            scopes.begin(task_id=name, task=task(name, eager=step == "eager"))
            running = [*running, name] if step == "eager" else [name]
        now = logbus.current_context()
        assert now.get("task_id") == (running[-1] if running else None)
        assert now.get("request_id") == (running[0] if running else None)
        assert now.get("base") == before.get("base")
        if not running:
            assert now == before
    close_all()
    assert logbus.current_context() == before
    scope.__exit__(None, None, None)
    assert logbus.current_context() == {}


def task(name: str, *, eager: bool) -> Any:
    """As much of a task as a scope asks for."""
    request = SimpleNamespace(is_eager=eager, id=name, root_id=name, retries=0, parent_id=None)
    return SimpleNamespace(name=f"shop.{name}", request=request)
