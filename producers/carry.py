"""Context that goes along with work: into threads, executors and other processes.

A task inherits the context of its creator by itself, a thread and an executor's worker don't. :func:`carry` remembers
the whole context (:mod:`contextvars`) of its caller, and each call runs in a copy of its own, so that calls which
overlap don't meet and nothing that one binds is seen by another.

A context can't travel to another process. What is pickled instead is what records carry, as plain values; a span's ids
become fields. There the fields replace whatever the worker has: one that was forked in the middle of a request has
that request's.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, TypeVar, cast

from logbus.producers import tracing
from logbus.producers.context import Active, active, active_in, hold, is_coroutine, is_generator, join
from logbus.producers.origin import note
from logbus.producers.tracing import SPAN_ID, TRACE_ID

F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")


def carry(function: F) -> F:
    """The function, run in the context of whoever called ``carry()``, wherever it is called.

    For ``threading.Thread(target=logbus.carry(work))``, ``loop.run_in_executor(None, logbus.carry(work))``, callbacks.
    Each call gets a copy of that context. What is returned can be pickled if the function can; in another process
    logbus's fields are active, and the other context variables are that process's. A coroutine function stays one.
    Raises TypeError for a generator function: whoever iterates would be inside the context, or outside, by chance.
    """
    if is_generator(function):
        raise TypeError(f"carry(): expected a function or coroutine function, found the generator {function!r}")
    context = copy_context()
    if is_coroutine(function):

        @functools.wraps(function)
        async def carried(*args: Any, **kwargs: Any) -> Any:
            return await _steps(context.copy(), function(*args, **kwargs))

        return cast("F", carried)
    return cast("F", Carried(function, context))


def carrying(executor: Executor) -> Carrying:
    """An executor in front of another one: ``submit`` and ``map`` carry the context of whoever calls them.

    What only makes a generator is handed over as it is: whoever iterates runs it. For thread and process pools, and
    for ``loop.run_in_executor(carrying(pool), work)``. Leaving it as a context manager, or ``shutdown()``, shuts the
    other one down.
    """
    return Carrying(executor)


class Carried:
    """What :func:`carry` returns for a function that is not a coroutine's."""

    def __init__(self, function: Callable[..., Any], context: Context) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._context = context

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Calls the function, in a copy of the context."""
        context = self._context.copy()
        try:
            return context.run(self._function, *args, **kwargs)
        except BaseException as error:
            if error.__traceback__ is not None:
                note(
                    error.__traceback__, active_in(context), None, error
                )  # for who reports it: nobody may catch it here
            raise

    def __reduce__(self) -> tuple[Any, ...]:
        # In whatever thread the executor pickles: the context that counts is that of carry().
        return Arrived, (self._function, self._context.copy().run(_to_send))

    def __repr__(self) -> str:
        return f"<carried {self._function!r}>"


class Arrived(Carried):
    """A carried function in another process: logbus's fields are those that were sent."""

    def __init__(self, function: Callable[..., Any], fields: Active | None) -> None:
        context = copy_context()
        context.run(hold, fields)
        super().__init__(function, context)


class Carrying(Executor):
    """What :func:`carrying` returns."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """As the other executor's, with the caller's context."""
        return _bare(self._executor.submit, _carried(fn), *args, **kwargs)

    def map(self, fn: Callable[..., R], *iterables: Iterable[Any], **options: Any) -> Iterator[R]:
        """As the other executor's, with the caller's context; options are those of the other one."""
        return _bare(self._executor.map, _carried(fn), *iterables, **options)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Shuts the other executor down."""
        self._executor.shutdown(wait=wait, cancel_futures=cancel_futures)

    def __enter__(self) -> Carrying:
        self._executor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return self._executor.__exit__(kind, error, traceback)


def _carried(function: F) -> F:
    return function if is_generator(function) else carry(function)


def _bare(call: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
    """Calls without logbus's fields: a worker that is started now lives on after this request, and would keep them."""
    if active() is None:
        return call(*args, **kwargs)
    context = copy_context()
    context.run(hold, None)
    return context.run(call, *args, **kwargs)


def _to_send() -> Active | None:
    """The fields of this context, and those of its span."""
    span = tracing.span_ids()
    return active() if span is None else join(active(), {TRACE_ID: span[0], SPAN_ID: span[1]})


@types.coroutine
def _steps(context: Context, coroutine: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
    """Runs each step of a coroutine in a context: the task is its caller's, with its cancellation and its timeouts."""
    step: Callable[..., Any] = coroutine.send
    argument: Any = None
    while True:
        try:
            asked = context.run(step, argument)
        except StopIteration as end:
            return cast("R", end.value)
        try:
            step, argument = coroutine.send, (yield asked)
        except GeneratorExit:
            context.run(coroutine.close)
            raise
        except BaseException as error:
            step, argument = coroutine.throw, error
