"""Context fields: scopes, binding, tasks, threads, and endings in the wrong order or place."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from logbus.producers.context import active, add_context, bind, clear_context, context, current_context
from logbus.producers.sanitise import FIELD_BYTES, MAX_FIELDS

#: Whether threads get a copy of their creator's context.
_INHERITS = bool(getattr(sys.flags, "thread_inherit_context", False))


def test_scopes_nest_and_restore() -> None:
    """Inner values win while they last, and the outer ones come back."""
    assert current_context() == {}
    assert active() is None
    with context(request_id="r1", operation="outer"):
        with context(operation="inner", attempt=2):
            assert current_context() == {"request_id": "r1", "operation": "inner", "attempt": 2}
        assert current_context() == {"request_id": "r1", "operation": "outer"}
    assert active() is None


def test_a_scope_ends_with_an_exception_too() -> None:
    """The exception goes on, the fields don't."""
    with pytest.raises(ZeroDivisionError), context(a=1):
        raise ZeroDivisionError
    assert active() is None


def test_values_are_made_plain_at_entry() -> None:
    """Later changes to a list don't show, objects are text already, scalars and nested values are apart."""
    tags = ["a"]
    with context(tags=tags, error=ValueError("no"), n=1):
        tags.append("late")
        size = FIELD_BYTES * 4 + len("ValueError('no')a")
        assert active() == ({"error": "ValueError('no')", "n": 1}, {"tags": ["a"]}, size)


def test_a_name_is_either_scalar_or_nested() -> None:
    """A field that changes its kind in an inner scope is there once."""
    with context(a=1, b=[1]):
        with context(a=[2], b=2):
            assert active() is not None
            assert active()[:2] == ({"b": 2}, {"a": [2]})  # type: ignore[index]
        assert current_context() == {"a": 1, "b": [1]}


def test_what_current_context_gives_is_ones_own() -> None:
    """Changing the dict changes no record."""
    with context(a=1, b=[1]):
        mine = current_context()
        mine["a"] = 2
        mine["b"].append(2)
        assert current_context() == {"a": 1, "b": [1]}


def test_bind_lasts_for_the_rest_of_the_scope() -> None:
    """Outside any scope it lasts until cleared; what is bound inside ends with the scope."""
    bind(user="u1")
    with context(request_id="r1"):
        bind(user="u2", extra=1)
        assert current_context() == {"user": "u2", "request_id": "r1", "extra": 1}
    assert current_context() == {"user": "u1"}
    clear_context()
    assert active() is None


def test_clear_inside_a_scope_ends_with_it() -> None:
    """A scope restores what was before it whatever has happened inside."""
    with context(a=1):
        with context(b=2):
            clear_context()
            assert current_context() == {}
        assert current_context() == {"a": 1}


def test_no_fields_change_nothing() -> None:
    """An empty scope and an empty bind leave what is there, and nothing where nothing is."""
    with context():
        assert active() is None
        bind()
        assert active() is None
        with context(a=1), context():
            assert current_context() == {"a": 1}


def test_any_name_is_allowed() -> None:
    """No field name is taken by the functions themselves."""
    with context(self=1, fields=2, function=3):
        bind(self=4)
        assert current_context() == {"self": 4, "fields": 2, "function": 3}


def test_binding_for_ever_is_bounded() -> None:
    """Ten thousand names leave the newest; one name bound ten thousand times does not grow."""
    for n in range(1000):
        bind(**{f"k{n}": n, f"n{n}": [n]})
    now = active()
    assert now is not None
    assert now[0] is not None
    assert now[1] is not None
    assert len(now[0]) == len(now[1]) == MAX_FIELDS
    assert current_context()["k999"] == 999
    clear_context()
    for n in range(1000):
        bind(n=n, text="x" * 100)
    now = active()
    assert now is not None
    assert now[2] == FIELD_BYTES * 2 + 100


def test_threads_start_with_nothing_and_keep_to_themselves() -> None:
    """A thread neither sees nor changes the context of another."""
    seen: list[dict[str, Any]] = []

    def work() -> None:
        seen.append(current_context())
        bind(thread=1)
        seen.append(current_context())

    with context(a=1):
        # Python 3.14 can be told to let threads inherit, and does so without GIL: not what is meant here.
        thread = threading.Thread(target=contextvars.Context().run if _INHERITS else work, args=(work,) * _INHERITS)
        thread.start()
        thread.join()
        assert seen == [{}, {"thread": 1}]
        assert current_context() == {"a": 1}


def test_tasks_inherit_and_keep_to_themselves() -> None:
    """Interleaved tasks see what their creator had and what they set, however their scopes overlap in time."""

    async def work(name: str, mine: asyncio.Event, other: asyncio.Event) -> list[dict[str, Any]]:
        seen = []
        with context(task=name):
            mine.set()
            await other.wait()
            bind(bound=name)
            await asyncio.sleep(0)
            seen.append(current_context())
        seen.append(current_context())
        return seen

    async def main() -> None:
        one, two = asyncio.Event(), asyncio.Event()
        with context(request="r"):
            found = list(await asyncio.gather(work("1", one, two), work("2", two, one)))
            assert current_context() == {"request": "r"}
        assert found == [
            [{"request": "r", "task": "1", "bound": "1"}, {"request": "r"}],
            [{"request": "r", "task": "2", "bound": "2"}, {"request": "r"}],
        ]

    asyncio.run(main())


def test_scopes_that_end_in_the_wrong_order_restore_what_was_before_both() -> None:
    """Generators in one thread can leave a scope while a later one is open."""
    bind(base=0)
    first, second, third = context(a=1), context(b=2), context(c=3)
    first.__enter__()
    second.__enter__()
    third.__enter__()
    first.__exit__(None, None, None)
    assert current_context() == {"base": 0, "a": 1, "b": 2, "c": 3}
    third.__exit__(None, None, None)
    assert current_context() == {"base": 0, "a": 1, "b": 2}
    second.__exit__(None, None, None)
    assert current_context() == {"base": 0}


def test_leaving_in_another_context_does_nothing() -> None:
    """A scope entered elsewhere (a fixture, another task) ends there, and raises nothing here."""
    scope = context(a=1)
    contextvars.Context().run(scope.__enter__)
    bind(here=1)
    scope.__exit__(None, None, None)
    scope.__exit__(None, None, None)
    assert current_context() == {"here": 1}


def test_one_scope_may_be_entered_again() -> None:
    """The same object serves inside itself and in several threads at a time."""
    scope = context(a=1)
    barrier = threading.Barrier(2, timeout=10)
    seen: list[dict[str, Any]] = []

    def work() -> None:
        with scope:
            barrier.wait()
            bind(b=2)
            with scope:
                seen.append(current_context())
            barrier.wait()
        seen.append(current_context())

    threads = [threading.Thread(target=contextvars.Context().run, args=(work,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [{"a": 1, "b": 2}] * 2 + [{}] * 2


def test_functions_run_in_a_scope() -> None:
    """As a decorator a scope lasts for each call, with the arguments and the result of the function."""

    @context(operation="double")
    def double(number: int) -> tuple[int, dict[str, Any]]:
        """Doubles."""
        if number == 1:
            assert double(2)[1] == {"operation": "double"}
        return 2 * number, current_context()

    assert double(1) == (2, {"operation": "double"})
    assert double.__doc__ == "Doubles."
    assert active() is None


def test_coroutine_functions_run_in_a_scope() -> None:
    """The scope lasts while the coroutine runs, not only while it is made."""

    @context(operation="work")
    async def work() -> dict[str, Any]:
        await asyncio.sleep(0)
        return current_context()

    async def main() -> None:
        assert await work() == {"operation": "work"}
        assert active() is None

    asyncio.run(main())


def test_generator_functions_are_refused() -> None:
    """A decorated generator would leak its scope between two values, so it is an error at once."""

    def numbers() -> Iterator[int]:
        yield 1

    async def more() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, more):
        with pytest.raises(TypeError, match="expected a function or coroutine function, found the generator"):
            context(a=1)(function)


def test_fields_of_a_record_win_over_the_context() -> None:
    """Joined fields are there once, whichever kind they are, and the shared dicts stay as they were."""
    with context(a=1, b=[1], c=[2]):
        now = active()
        assert now is not None
        assert add_context({"b": "mine", "d": 4}, {"a": ["mine"]}, 10, now) == (
            {"b": "mine", "d": 4},
            {"c": [2], "a": ["mine"]},
            10 + now[2],
        )
        assert add_context(None, None, 10, now) == (now[0], now[1], 10 + now[2])
        assert current_context() == {"a": 1, "b": [1], "c": [2]}
