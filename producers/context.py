"""Fields that belong to a task or a thread, and so to every record that it logs: kept in one context variable.

The values are made plain once, when they enter; a log call reads the result with a single lookup and shares it,
so what is active is never changed, only replaced. Threads start with nothing, asyncio tasks with a copy of what
their creator had, and neither sees what the other does.

A scope remembers on a second variable what it replaced. Tokens would be simpler, but a token raises when its scope
ends in another context than the one it began in, which is what happens to generators and to fixtures: there, leaving
does nothing. And when two scopes end in the wrong order, the one that is left still restores what came before both.

One field knows where it stands: a scope that sets ``operation`` while another one is active carries the way there,
``operation_path`` ("api_request/proxied_request"). :func:`bind` renames what is active and goes no deeper.

:func:`plain_scope` and :func:`bind_plain` are for instrumentation, which opens a scope per request with a few short
texts of its own: they skip what makes any value plain.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import Context, ContextVar
from types import TracebackType
from typing import Any, Final, TypeVar, cast

from logbus.producers.origin import note, origin
from logbus.producers.sanitise import FIELD_BYTES, MAX_FIELDS, split_extra
from logbus.producers.text import Scalar, cut, text_bytes

#: What is active: scalars, nested values, size in bytes (estimated). Nobody may change the dicts.
Active = tuple[dict[str, Scalar] | None, dict[str, Any] | None, int]
#: The scopes that are open, outermost first, each with what was active before it.
_Stack = tuple[tuple["Scope", Active | None], ...]

#: What is active, and the scopes that are open, at one point of some work.
State = tuple[Active | None, _Stack]

#: The field that says which request a record belongs to.
REQUEST_ID: Final = "request_id"
#: The field that says what is being done, and the one that says inside of what.
OPERATION: Final = "operation"
OPERATION_PATH: Final = "operation_path"
#: Names in an operation path, at most: the outermost stay, and the last is always the one that is active.
MAX_PATH_NAMES: Final = 8
#: Characters of an operation path, at most.
MAX_PATH_CHARS: Final = 1024

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
    _ACTIVE.set(join(_ACTIVE.get(), fields, deeper=False))


def plain_scope(fields: Mapping[str, str], without: Collection[str] = ()) -> PlainScope:
    """A scope like that of :func:`context`, at a fraction of its cost, for fields that are known to be clean.

    For code of ours that has made the values itself: every value is a ``str`` of at most a few hundred characters, in
    ASCII, without secrets; names and their number are fixed. Nothing of this is checked, and a value of another
    type would reach the sender as it is. The mapping is read at each entry; it must not change in between.

    ``without`` names fields of outside that say nothing about what is inside: its records don't carry them.
    """
    return PlainScope(fields, without)


def bind_plain(fields: Mapping[str, str]) -> None:
    """Adds such fields (:func:`plain_scope`) for the rest of the scope that is open, or else of this task or thread."""
    _ACTIVE.set(_join_plain(_ACTIVE.get(), fields, deeper=False))


def first_scope(fields: dict[str, str]) -> FirstScope:
    """As :func:`plain_scope`, where nothing is active. The dict itself becomes what is active: it is given away."""
    return FirstScope(fields)


def bind_plain_here(fields: Mapping[str, str]) -> bool:
    """As :func:`bind_plain`, for the rest of the scope that is open; False where none is: then nothing has happened."""
    if not _STACK.get():
        return False
    _ACTIVE.set(_join_plain(_ACTIVE.get(), fields, deeper=False))
    return True


def is_open() -> bool:
    """Whether a scope is open in this task or thread: what is bound now ends with it."""
    return bool(_STACK.get())


@contextlib.contextmanager
def acting(now: Active | None) -> Iterator[None]:
    """Has something else be active for a moment: for a record of ours that is about another task."""
    token = _ACTIVE.set(now)
    try:
        yield
    finally:
        _ACTIVE.reset(token)


def here() -> State:
    """What is active, and the scopes that are open, here and now."""
    return _ACTIVE.get(), _STACK.get()


def switch(state: State) -> State:
    """Makes a state active; what was here before. For work that is done in pieces, with other work in between.

    Other context variables stay as they are.
    """
    before = here()
    now, stack = state
    _ACTIVE.set(now)
    _STACK.set(stack)
    return before


def active_in(where: Context) -> Active | None:
    """What is active in a context that is not this one."""
    return where.get(_ACTIVE)


def clear_context() -> None:
    """Forgets every field of this task or thread; a scope that is open still restores what was before it."""
    _ACTIVE.set(None)


def hold(now: Active | None) -> None:
    """Makes this active in place of everything else, in a context that was copied for it; fields count as a scope."""
    _ACTIVE.set(now)
    _STACK.set(() if now is None else ((Scope({}), None),))


def current_context() -> dict[str, Any]:
    """The fields that a record would carry now, as a dict of one's own."""
    now = _ACTIVE.get()
    if now is None:
        return {}
    scalars, nested, _ = now
    _, copied, _ = split_extra(nested.items()) if nested else (None, None, 0)
    return {**(scalars or {}), **(copied or {})}


def active_about(raised: Any) -> Active | None:
    """What a record about an exception carries: what is active, or what was in the request that it has left.

    A server, or whoever else catches what nobody was to catch, logs it outside of the request: the one record of a
    failed request that everybody looks for. ``raised`` is what ``sys.exc_info()`` returns, or anything.
    """
    now = _ACTIVE.get()
    if raised is None or _is_a_request(now):
        return now
    try:
        _, error, traceback = (None, raised, None) if isinstance(raised, BaseException) else raised
        left = origin(error, traceback)
    except Exception:  # no exception, or one of which even this can't be known
        return now
    return left if _is_a_request(left) else now


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
        self._begin(before, join(before, self._fields))
        return self

    def _begin(self, before: Active | None, now: Active | None) -> None:
        _STACK.set((*_STACK.get(), (self, before)))
        _ACTIVE.set(now)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        stack = _STACK.get()
        if stack and stack[-1][0] is self:  # nearly always
            if traceback is not None:
                note(traceback, _ACTIVE.get(), stack[-1][1], error)
            _ACTIVE.set(stack[-1][1])
            _STACK.set(stack[:-1])
            return
        at = next((at for at in range(len(stack) - 1, -1, -1) if stack[at][0] is self), None)
        if at is None:  # entered in another context, which has its own end
            return
        # A scope that began later is still open: it restores what we would have.
        _STACK.set((*stack[:at], (stack[at + 1][0], stack[at][1]), *stack[at + 2 :]))

    def __call__(self, function: F) -> F:
        """The function, run inside the scope. Raises TypeError for a generator function.

        A generator would leak the scope into whoever iterates over it; let it open the scope itself.
        """
        if is_generator(function):
            raise TypeError(f"context(): expected a function or coroutine function, found the generator {function!r}")
        if is_coroutine(function):

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


def is_coroutine(function: Any) -> bool:
    """Whether a call returns a coroutine: also of an object whose ``__call__`` is a coroutine function."""
    import inspect  # a megabyte, for those who decorate

    return _is(inspect.iscoroutinefunction, function)


def is_generator(function: Any) -> bool:
    """Whether a call returns a generator, or an asynchronous one."""
    import inspect  # as above

    return _is(inspect.isgeneratorfunction, function) or _is(inspect.isasyncgenfunction, function)


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    if kind(function):
        return True
    while isinstance(function, functools.partial):
        function = function.func
    return not isinstance(function, type) and kind(getattr(type(function), "__call__", None))  # noqa: B004 (which one it is)


class PlainScope(Scope):
    """What :func:`plain_scope` returns."""

    __slots__ = ("_without",)

    _fields: Any

    def __init__(self, fields: Mapping[str, str], without: Collection[str] = ()) -> None:
        self._fields = fields
        self._without = without

    def __enter__(self) -> PlainScope:
        before = outside = _ACTIVE.get()
        if self._without and outside is not None:
            outside = _drop(outside, self._without)
        self._begin(before, _join_plain(outside, self._fields, deeper=True))
        return self


class FirstScope(Scope):
    """What :func:`first_scope` returns."""

    __slots__ = ("_now",)

    def __init__(self, fields: dict[str, str]) -> None:
        scalars = cast("dict[str, Any]", fields)
        self._now: Active = scalars, None, FIELD_BYTES * len(fields) + sum(map(len, fields.values()))

    def __enter__(self) -> FirstScope:
        _STACK.set((*_STACK.get(), (self, _ACTIVE.get())))
        _ACTIVE.set(self._now)
        return self


def join(before: Active | None, fields: dict[str, Any], *, deeper: bool = True) -> Active | None:
    """What is active once these fields have been added: at most MAX_FIELDS, the newest.

    ``deeper`` says that an operation among them is inside of the one that is active, and does not take its place.
    """
    joined = split_extra(fields.items())
    if before is None:
        return joined if fields else None
    if not fields:
        return before
    if OPERATION in fields and joined[0] is not None and OPERATION_PATH not in fields:
        path = _path(before, joined[0].get(OPERATION), deeper=deeper)
        if path is not None:
            joined[0][OPERATION_PATH] = path
    extra, nested, _ = add_context(*joined, before)
    extra, nested = _newest(extra), _newest(nested)
    return extra, nested, sum(_size(value) for part in (extra, nested) if part for value in part.values())


def _join_plain(before: Active | None, fields: Mapping[str, str], *, deeper: bool) -> Active | None:
    """As :func:`join`, for fields that are plain already; the size is brought up to date instead of counted anew."""
    if before is None:
        return ({**fields}, None, FIELD_BYTES * len(fields) + sum(map(len, fields.values()))) if fields else None
    scalars, nested, size = before
    if OPERATION in fields and OPERATION_PATH not in fields:
        path = _path(before, fields[OPERATION], deeper=deeper)
        if path is not None:
            fields = {**fields, OPERATION_PATH: path}
            size += text_bytes(path) - len(path)  # the names outside may be any text
    joined: dict[str, Any] = {**scalars, **fields} if scalars else {**fields}
    size += FIELD_BYTES * len(fields) + sum(map(len, fields.values()))
    if scalars is not None and len(joined) < len(scalars) + len(fields):
        for key in fields.keys() & scalars.keys():
            size -= _size(scalars[key])
    if nested is not None:
        for key in fields.keys() & nested.keys():
            size -= _size(nested[key])
        nested = {key: value for key, value in nested.items() if key not in fields} or None
    if len(joined) > MAX_FIELDS:
        kept = _newest(joined) or {}
        size -= sum(_size(value) for key, value in joined.items() if key not in kept)
        joined = kept
    return joined or None, nested, size


def _drop(now: Active, names: Collection[str]) -> Active:
    scalars, nested, size = now
    for part in (scalars, nested):
        size -= sum(_size(value) for key, value in part.items() if key in names) if part else 0
    kept = [{key: value for key, value in part.items() if key not in names} if part else None for part in now[:2]]
    return kept[0] or None, kept[1] or None, size


def _path(before: Active, operation: Any, *, deeper: bool) -> str | None:
    """The operation path with this operation; None where nothing changes about it."""
    scalars = before[0] or {}
    outer, path = scalars.get(OPERATION), scalars.get(OPERATION_PATH)
    if type(operation) is not str or not operation or operation == outer:
        return None  # an operation directly inside itself is one: recursion says nothing new
    if type(path) is str and path:
        way = path if deeper else path.removesuffix(f"/{outer}")
    elif type(outer) is str and outer and deeper:
        way = outer
    else:
        return None
    names = way.split("/", MAX_PATH_NAMES - 1)[: MAX_PATH_NAMES - 1]
    return cut("/".join((*names, operation)), MAX_PATH_CHARS)


def _is_a_request(now: Active | None) -> bool:
    return now is not None and now[0] is not None and REQUEST_ID in now[0]


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
