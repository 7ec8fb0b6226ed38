"""Context fields: scopes, binding, tasks, threads, and endings in the wrong order or place."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import loguru
import pytest
import structlog

from logbus.producers.calls import Way
from logbus.producers.context import (
    MAX_PATH_CHARS,
    active,
    active_about,
    add_context,
    bind,
    bind_plain,
    bind_plain_here,
    clear_context,
    context,
    current_context,
    first_scope,
    hold,
    is_open,
    plain_scope,
)
from logbus.producers.direct import Direct
from logbus.producers.loguru import LoguruSink
from logbus.producers.request import request_scope
from logbus.producers.sanitise import FIELD_BYTES, MAX_FIELDS
from logbus.producers.structlog import StructlogProcessor
from logbus.rules import Table
from tests.kept import Kept
from tests.requested import listen, log

#: Whether threads get a copy of their creator's context.
_INHERITS = bool(getattr(sys.flags, "thread_inherit_context", False))


def test_scopes_nest_and_restore() -> None:
    """Inner values win while they last, and the outer ones come back."""
    assert current_context() == {}
    assert active() is None
    with context(request_id="r1", operation="outer"):
        with context(operation="inner", attempt=2):
            inner = {"request_id": "r1", "operation": "inner", "operation_path": "outer/inner", "attempt": 2}
            assert current_context() == inner
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


def test_an_operation_inside_another_says_the_way() -> None:
    """Every nested operation adds its name to the path; scopes that name none, or the same again, add nothing."""
    with context(operation="api"), context(operation="api"), context(user="u"):
        assert "operation_path" not in current_context()
        with plain_scope({"operation": "proxied"}):
            assert current_context() == {"operation": "proxied", "operation_path": "api/proxied", "user": "u"}
            with context(operation="proxied"), context(operation="retry", attempt=2):
                assert current_context()["operation_path"] == "api/proxied/retry"
            assert current_context()["operation_path"] == "api/proxied"
    assert active() is None


def test_bind_renames_the_operation_where_it_is() -> None:
    """Bound fields go no deeper: the last name of the path becomes another."""
    with context(operation="api"):
        bind(operation="rest")
        assert current_context() == {"operation": "rest"}
        with context(operation="first/part"):
            bind(operation="second")
            assert current_context()["operation_path"] == "rest/second"
            bind_plain({"operation": "third"})
            assert current_context()["operation_path"] == "rest/third"
            bind(operation=None)
            assert current_context()["operation_path"] == "rest/third"


def test_a_path_may_be_said_by_the_application() -> None:
    """A field of that name is taken as it is, and goes on from there."""
    with context(operation="a", operation_path="x/a"), context(operation="b"):
        assert current_context()["operation_path"] == "x/a/b"
        with context(operation="c", operation_path=["no", "text"]), context(operation="d"):
            assert current_context()["operation_path"] == "c/d"


def test_an_operation_path_is_bounded() -> None:
    """However deep it goes, the outermost names stay, the last one is the active one, and the text has an end."""
    with ExitStack() as stack:
        for n in range(50):
            stack.enter_context(context(operation=f"o{n}"))
        assert current_context()["operation_path"] == "o0/o1/o2/o3/o4/o5/o6/o49"
        stack.enter_context(context(operation="x" * 5000))
        assert len(current_context()["operation_path"]) <= MAX_PATH_CHARS


def test_plain_fields_are_bounded_too() -> None:
    """Where a scope is full of other fields the newest win, and the size stays that of what is there."""
    with context(**{f"k{n}": "é" for n in range(MAX_FIELDS)}), plain_scope({"a": "1", "b": "22"}):
        now = active()
        assert now is not None
        assert now[0] is not None
        assert len(now[0]) == MAX_FIELDS
        assert (now[0]["a"], now[0]["b"]) == ("1", "22")
        assert now[2] == MAX_FIELDS * FIELD_BYTES + 4 * (MAX_FIELDS - 2) + 3
    with context(operation="é"), plain_scope({"operation": "api"}):
        now = active()
        assert now is not None
        assert now[2] == 2 * FIELD_BYTES + len("api") + 4 * len("é/api")


def test_whether_a_scope_is_open() -> None:
    """Fields that are bound without a scope open none; one that was left is not open any more."""
    assert not is_open()
    bind(a=1)
    assert not is_open()
    with context():
        assert is_open()
        with plain_scope({}):
            assert is_open()
    assert not is_open()


def test_a_held_context_is_open_and_stands_alone() -> None:
    """What is put in place of everything else forgets what was there, as a scope or as none."""

    def look() -> tuple[bool, dict[str, Any]]:
        return is_open(), current_context()

    with context(a=1):
        now = active()
        inner = contextvars.copy_context()
    with context(b=2):
        other = contextvars.copy_context()
        other.run(hold, now)
        inner.run(hold, None)
    assert other.run(look) == (True, {"a": 1})
    assert inner.run(look) == (False, {})


def test_a_record_about_an_exception_belongs_to_the_request_that_it_has_left(kept: Kept) -> None:
    """Logged outside by whoever catches it: through logging, loguru or structlog; within a request nothing changes."""
    listen(kept)
    loguru.logger.add(LoguruSink(kept.producer))
    told = structlog.wrap_logger(structlog.ReturnLogger(), processors=[StructlogProcessor(producer=kept.producer)])
    direct: Any = Direct(loguru.logger, globals())
    direct.follow(Way(kept.producer, Table(), 20))
    for scope in (request_scope("r1"), context(user="u")):
        with context(service="shop"):
            try:
                with scope, context(step=2):
                    raise KeyError
            except KeyError as error:
                log.exception("logging")
                log.error("logging", exc_info=error)
                loguru.logger.exception("loguru")
                direct.exception("direct")
                told.exception("structlog")
                with request_scope("r2"):
                    log.exception("inside another")
            log.info("no exception")
    found = [(entry.message, {**(entry.extra or {})}) for entry in kept.entries]
    left = {"service": "shop", "request_id": "r1", "step": 2}
    names = ["logging", "logging", "loguru", "direct", "structlog"]
    for first, fields in ((0, left), (7, {"service": "shop"})):
        assert found[first : first + 7] == [
            *((name, fields) for name in names),
            ("inside another", {"service": "shop", "request_id": "r2"}),
            ("no exception", {"service": "shop"}),
        ]


@pytest.mark.parametrize("raised", [None, 7, (1, 2, 3), (None, None, None), ("a", "b")])
def test_what_is_no_exception_has_left_nothing(raised: Any) -> None:
    """The record carries what is active, whatever it was given as an exception."""
    assert active_about(raised) is None
    with context(a=1):
        assert active_about(raised) is active()


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


def test_a_plain_scope_can_leave_fields_of_outside_out() -> None:
    """They are gone inside, scalar or nested, counted no more, and back again afterwards."""
    with context(proxy_id="p", source=["a", "list"], kept="k"):
        outside = active()
        with plain_scope({"request_id": "r"}, ("proxy_id", "source", "absent")):
            assert current_context() == {"kept": "k", "request_id": "r"}
            now = active()
            assert now is not None
            assert now[1:] == (None, 2 * FIELD_BYTES + len("k") + len("r"))
        assert active() is outside
    with plain_scope({}, ("proxy_id",)):
        assert active() is None


def test_a_first_scope_has_its_fields_and_ends_with_them() -> None:
    """What is active inside is the dict that was given, counted as any other; what is bound inside ends with it."""
    with context(request_id="r1", operation="sell"):
        usual = active()
    with first_scope({"request_id": "r1", "operation": "sell"}):
        assert active() == usual
        assert is_open()
        assert bind_plain_here({"till": "four"})
        assert current_context() == {"request_id": "r1", "operation": "sell", "till": "four"}
    assert (current_context(), is_open()) == ({}, False)


def test_nothing_is_bound_where_no_scope_is_open() -> None:
    """What would outlive the call that binds it is not bound, and the caller is told."""
    assert not bind_plain_here({"till": "four"})
    bind(shop="one")
    assert not bind_plain_here({"till": "four"})
    assert current_context() == {"shop": "one"}
