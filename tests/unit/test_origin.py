"""Where something was raised: what was active in the scopes that an exception has left."""

from __future__ import annotations

import contextlib
import gc
import threading
from contextlib import ExitStack

import pytest

from logbus.producers import origin as module
from logbus.producers.context import bind, context
from logbus.producers.origin import MAX_NOTES, origin


def fail(**fields: str) -> None:
    """Raises inside a scope."""
    with context(**fields):
        raise ValueError(fields)


def fields_of(error: BaseException | None) -> dict[str, object] | None:
    """The scalars that were active; None where nothing is known."""
    now = origin(error)
    return None if now is None else dict(now[0] or {})


def caught(call: object, *arguments: object, **fields: str) -> BaseException:
    """What a call raises."""
    try:
        call(*arguments, **fields)  # type: ignore[operator]
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_the_innermost_scope_counts() -> None:
    """It has the fields of those around it, and what was bound in it."""

    def inner() -> None:
        with context(a="1"), context(b="2"):
            bind(c="3")
            raise ValueError

    assert fields_of(caught(inner)) == {"a": "1", "b": "2", "c": "3"}


def test_several_scopes_of_one_frame() -> None:
    """However deep, and again and again, the innermost counts."""

    def inner(number: int) -> None:
        with context(a=str(number)):
            with context(b=str(number)), context(c=str(number)):
                raise ValueError

    for number in range(200):
        assert fields_of(caught(inner, number)) == {key: str(number) for key in "abc"}


def test_a_scope_within_a_caught_one() -> None:
    """What was caught and raised again has left the inner scope first."""

    def again() -> None:
        with context(a="1"):
            try:
                fail(b="2")
            except ValueError:
                bind(c="3")
                raise

    assert fields_of(caught(again)) == {"a": "1", "b": "2"}


def test_who_left_no_scope_is_not_known() -> None:
    """Neither what was raised outside nor what never was raised, nor nothing at all."""
    assert fields_of(caught(int, "x")) is None
    assert fields_of(ValueError()) is None
    assert fields_of(None) is None


def test_a_decorated_function_and_a_stack_of_scopes() -> None:
    """Both leave notes as a ``with`` does."""

    def stacked() -> None:
        with ExitStack() as stack:
            stack.enter_context(context(a="1"))
            raise ValueError

    assert fields_of(caught(context(a="2")(int), "x")) == {"a": "2"}
    assert fields_of(caught(stacked)) == {"a": "1"}


def test_what_was_raised_because_of_it() -> None:
    """An exception outside of every scope has the fields of its cause, or of what was being handled."""

    def wrapped(*, cause: bool) -> None:
        try:
            fail(a="1")
        except ValueError as error:
            raise KeyError from (error if cause else None)

    def handled() -> None:
        try:
            fail(a="2")
        except ValueError:
            int("x")

    assert fields_of(caught(lambda: wrapped(cause=True))) == {"a": "1"}
    assert fields_of(caught(handled)) == {"a": "2"}


def test_the_same_instruction_again_replaces_the_note() -> None:
    """Of a thousand failures of one line each has its own fields, whatever addresses they get."""
    for number in range(1000):
        error = caught(fail, number=str(number))
        assert fields_of(error) == {"number": str(number)}
        del error


def test_a_loop_that_fails_elsewhere_finds_nothing_of_it() -> None:
    """Notes of exceptions that are gone are never those of another one, though addresses repeat."""
    for number in range(1000):
        caught(fail, number=str(number))
        gc.collect(0)
        assert fields_of(caught(int, "x")) is None


@pytest.mark.parametrize(
    "kind", [ValueError, type("Own", (Exception,), {}), type("Slots", (Exception,), {"__slots__": ()})]
)
def test_a_with_statement_that_opens_a_scope_only_at_times(kind: type[Exception]) -> None:
    """Of an exception that has left none nothing is told, though one of the same line had this address before."""

    def work(number: int, scoped: bool) -> None:
        with context(number=str(number)) if scoped else contextlib.nullcontext():
            raise kind(f"number {number}")

    for number in range(100):
        assert fields_of(caught(lambda: work(number, True))) == {"number": str(number)}  # noqa: B023
        assert fields_of(caught(lambda: work(number, False))) is None  # noqa: B023


def test_another_thread_may_ask() -> None:
    """The note is the exception's, not the thread's."""
    errors: list[BaseException] = []
    thread = threading.Thread(target=lambda: errors.append(caught(fail, a="1")))
    thread.start()
    thread.join()
    assert fields_of(errors[0]) == {"a": "1"}


def test_notes_are_bounded() -> None:
    """The newest stay."""
    errors = [caught(fail, number=str(number)) for number in range(MAX_NOTES + 50)]
    assert len(module._NOTES) <= MAX_NOTES
    assert fields_of(errors[-1]) == {"number": str(MAX_NOTES + 49)}
    assert fields_of(errors[0]) is None


@pytest.mark.parametrize("depth", [1, 8, 100])
def test_a_ring_of_causes_ends(depth: int) -> None:
    """However exceptions refer to each other."""
    errors = [caught(int, "x") for _ in range(depth)]
    for at, error in enumerate(errors):
        error.__context__ = errors[(at + 1) % depth] if depth > 1 else None
    assert fields_of(errors[0]) is None
