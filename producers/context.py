"""Fields that belong to a task or a thread, and so to every record that it logs: kept in one context variable.

The values are made plain once, when they enter; a log call reads the result with a single lookup and shares it,
so what is active is never changed, only replaced. Threads start with nothing, asyncio tasks with a copy of what
their creator had, and neither sees what the other does.

A scope remembers on a second variable what it replaced. Tokens would be simpler, but a token raises when its scope
ends in another context than the one it began in, which is what happens to generators and to fixtures: there, leaving
does nothing. And when two scopes end in the wrong order, the one that is left still restores what came before both.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from logbus.producers.sanitise import FIELD_BYTES, MAX_FIELDS, split_extra
from logbus.producers.text import Scalar, text_bytes

#: What is active: scalars, nested values, size in bytes (estimated). Nobody may change the dicts.
Active = tuple[dict[str, Scalar] | None, dict[str, Any] | None, int]
#: The scopes that are open, outermost first, each with what was active before it.
_Stack = tuple[tuple["Scope", Active | None], ...]

F = TypeVar("F", bound=Callable[..., Any])

_ACTIVE: Final[ContextVar[Active | None]] = ContextVar("logbus_context", default=None)
_STACK: Final[ContextVar[_Stack]] = ContextVar("logbus_scopes", default=())

#: What is active here and now, or None. The bare method of the variable: each log call calls it.
active: Final = _ACTIVE.get


def context(**fields: Any) -> Scope:
    """A scope in which every record carries these fields: for ``with``, or as the decorator of a function.

    Scopes nest: inner values win, and the end of a scope restores what was before it. Raises no Exception but
    TypeError, when a generator function is decorated.
    """
    return Scope(fields)


def bind(**fields: Any) -> None:
    """Adds fields for the rest of the scope that is open, or else of this task or thread."""
    _ACTIVE.set(_join(_ACTIVE.get(), fields))


def clear_context() -> None:
    """Forgets every field of this task or thread; a scope that is open still restores what was before it."""
    _ACTIVE.set(None)


def current_context() -> dict[str, Any]:
    """The fields that a record would carry now, as a dict of one's own."""
    now = _ACTIVE.get()
    if now is None:
        return {}
    scalars, nested, _ = now
    _, copied, _ = split_extra(nested.items()) if nested else (None, None, 0)
    return {**(scalars or {}), **(copied or {})}


def add_context(
    extra: dict[str, Scalar] | None, nested: dict[str, Any] | None, size: int, now: Active
) -> tuple[dict[str, Scalar] | None, dict[str, Any] | None, int]:
    """The fields of a record together with what is active; the record's own win. No dict is changed."""
    scalars_now, nested_now, size_now = now
    if nested is not None and scalars_now is not None:
        scalars_now = {key: value for key, value in scalars_now.items() if key not in nested}
    if nested_now is not None:
        if extra is not None:
            nested_now = {key: value for key, value in nested_now.items() if key not in extra}
        nested = {**nested_now, **nested} if nested else nested_now
    if scalars_now:
        extra = {**scalars_now, **extra} if extra else scalars_now
    return extra or None, nested or None, size + size_now


class Scope:
    """What :func:`context` returns. It may be entered many times, also inside itself and in several threads."""

    __slots__ = ("_fields",)

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __enter__(self) -> Scope:
        before = _ACTIVE.get()
        _STACK.set((*_STACK.get(), (self, before)))
        _ACTIVE.set(_join(before, self._fields))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack = _STACK.get()
        at = next((at for at in range(len(stack) - 1, -1, -1) if stack[at][0] is self), None)
        if at is None:  # entered in another context, which has its own end
            return
        before = stack[at][1]
        rest = stack[at + 1 :]
        if rest:  # a scope that began later is still open: it restores what we would have
            rest = ((rest[0][0], before), *rest[1:])
        else:
            _ACTIVE.set(before)
        _STACK.set((*stack[:at], *rest))

    def __call__(self, function: F) -> F:
        """The function, run inside the scope. Raises TypeError for a generator function.

        A generator would leak the scope into whoever iterates over it; let it open the scope itself.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"context(): expected a function or coroutine function, found the generator {function!r}")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_scope_async(*args: Any, **kwargs: Any) -> Any:
                with self:
                    return await function(*args, **kwargs)

            return cast("F", in_scope_async)

        @functools.wraps(function)
        def in_scope(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast("F", in_scope)


def _join(before: Active | None, fields: dict[str, Any]) -> Active | None:
    """What is active once these fields have been added: at most MAX_FIELDS, the newest."""
    joined = split_extra(fields.items())
    if before is None:
        return joined if fields else None
    if not fields:
        return before
    extra, nested, _ = add_context(*joined, before)
    extra, nested = _newest(extra), _newest(nested)
    return extra, nested, sum(_size(value) for part in (extra, nested) if part for value in part.values())


def _newest(fields: dict[str, Any] | None) -> dict[str, Any] | None:
    # Somebody may bind in a loop and invent a key each time.
    return fields if fields is None or len(fields) <= MAX_FIELDS else dict(list(fields.items())[-MAX_FIELDS:])


def _size(value: Any) -> int:
    if type(value) is str:
        return FIELD_BYTES + text_bytes(value)
    if type(value) is dict:
        return FIELD_BYTES + sum(_size(item) for item in value.values())
    if type(value) is list:
        return FIELD_BYTES + sum(map(_size, value))
    return FIELD_BYTES
