"""Context that goes along: into threads, thread and process pools, callbacks and coroutines of another loop."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import inspect
import multiprocessing
import pickle
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

import logbus
from logbus.producers.carry import carry, carrying
from logbus.producers.context import active, bind, context, current_context, is_open

OTHER: contextvars.ContextVar[str] = contextvars.ContextVar("other", default="none")


def look(*_: Any) -> dict[str, Any]:
    """The fields where it is called; binds one, which nobody else may see."""
    found = current_context()
    bind(bound="by a call")
    return found


def look_around() -> tuple[dict[str, Any], str, bool]:
    """The same with what is not logbus's."""
    return look(), OTHER.get(), is_open()


class Till:
    """Something with methods."""

    def look(self, price: int) -> tuple[int, dict[str, Any]]:
        """What a call is made of."""
        return price, look()


def test_a_thread_gets_the_context_of_whoever_called_carry() -> None:
    """Fields, other context variables and the open scope; what the thread does stays there."""
    found: list[Any] = []

    def work() -> None:
        found.append(look_around())

    with context(request_id="r1", tags=["a"]):
        OTHER.set("mine")
        thread = threading.Thread(target=carry(work))
    assert "work" in thread.name
    thread.start()
    thread.join()
    assert found == [({"request_id": "r1", "tags": ["a"]}, "mine", True)]
    assert active() is None
    OTHER.set("none")
    assert (logbus.carry, logbus.carrying) == (carry, carrying)


def test_carried_functions_are_themselves() -> None:
    """Arguments, results, exceptions, names; methods, partials, and what is carried already."""

    def fail() -> None:
        """Fails."""
        raise KeyError(1)

    with context(a=1):
        carried = carry(fail)
        method, partial = carry(Till().look), carry(functools.partial(Till().look, price=3))
        inner = carry(look)
    with context(a=2):
        outer = carry(inner)
    assert (carried.__name__, carried.__doc__) == ("fail", "Fails.")
    assert repr(carried).startswith("<carried <function")
    with pytest.raises(KeyError):
        carried()
    assert (method(7), partial()) == ((7, {"a": 1}), (3, {"a": 1}))
    assert outer() == {"a": 1}


def test_calls_that_overlap_have_a_context_each() -> None:
    """One carried function runs in several threads at a time, and inside itself."""
    barrier = threading.Barrier(4, timeout=10)

    def work(deeper: bool = True) -> list[dict[str, Any]]:
        barrier.wait()
        mine = look()
        barrier.wait()
        return [mine, *(carried(deeper=False) if deeper else [])]

    with context(a=1):
        carried = carry(work)
    with ThreadPoolExecutor(4) as pool:
        found = [pool.submit(carried) for _ in range(4)]
        assert [future.result(10) for future in found] == [[{"a": 1}, {"a": 1}]] * 4


def test_generator_functions_are_refused() -> None:
    """Whoever iterates would be inside by chance; partials of one are one."""

    def numbers() -> Iterator[int]:
        yield 1

    async def more() -> AsyncIterator[int]:
        yield 1

    for function in (numbers, more, functools.partial(numbers)):
        with pytest.raises(TypeError, match=r"carry\(\): expected a function or coroutine function, found the gen"):
            carry(function)


def test_a_thread_pool_carries_what_each_caller_has() -> None:
    """Submit and map, in tasks whose contexts differ, through ``run_in_executor`` too; no field stays in a worker."""

    async def work(name: str, pool: Executor) -> Any:
        loop = asyncio.get_running_loop()
        with context(task=name):
            return [
                await loop.run_in_executor(pool, look, name),
                await asyncio.wrap_future(pool.submit(look)),
                *await asyncio.to_thread(lambda: list(pool.map(look, "ab", timeout=10))),
            ]

    async def main(pool: Executor) -> Any:
        return await asyncio.gather(*(work(str(n), pool) for n in range(8)))

    with ThreadPoolExecutor(3) as bare:
        found = asyncio.run(main(carrying(bare)))
        assert found == [[{"task": str(n)}] * 4 for n in range(8)]
        assert [bare.submit(current_context).result(10) for _ in range(6)] == [{}] * 6


def test_an_executor_takes_generator_functions_as_ever() -> None:
    """Whoever iterates runs them: nothing is carried, and nothing refused."""

    def count() -> Iterator[dict[str, Any]]:
        yield current_context()

    with context(a=1), carrying(ThreadPoolExecutor(1)) as pool:
        assert list(pool.submit(count).result()) == [{"a": 1}]


def test_an_executor_is_shut_down_through_the_other() -> None:
    """As a context manager and by hand, what waits is cancelled if that is wanted."""
    with carrying(ThreadPoolExecutor(1)) as pool:
        pool.submit(look).result(10)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(look)
    begun, go_on = threading.Event(), threading.Event()

    def wait() -> bool:
        begun.set()
        return go_on.wait(10)

    pool = carrying(ThreadPoolExecutor(1))
    first, second = pool.submit(wait), pool.submit(look)
    assert begun.wait(10)
    pool.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    assert (first.result(10), second.cancelled()) == (True, True)
    pool.shutdown()


def test_a_worker_that_is_started_keeps_nothing_of_the_request() -> None:
    """Whoever starts the workers may be inside a request: their context is that of no request."""

    class Inheriting(Executor):
        """Starts workers in the context of whoever submits, as a fork does, or a thread where threads inherit."""

        def __init__(self) -> None:
            self.contexts: list[contextvars.Context] = []

        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            """Runs at once."""
            self.contexts.append(contextvars.copy_context())
            future: Future[Any] = Future()
            future.set_result(fn(*args, **kwargs))
            return future

    pool = Inheriting()
    with context(request_id="r1"):
        OTHER.set("mine")
        assert carrying(pool).submit(look_around).result() == ({"request_id": "r1"}, "mine", True)
        assert list(carrying(pool).map(look, "ab")) == [{"request_id": "r1"}] * 2
    assert [each.run(look_around) for each in pool.contexts] == [({}, "mine", False)] * 3
    OTHER.set("none")


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_get_the_fields(method: str) -> None:
    """Under every start method, with methods and in chunks, whichever request a worker was started in."""
    bind(started_by="nobody")  # a field that forked workers have of their own
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as bare:
        pool = carrying(bare)
        with context(request_id="r1", tags=["a", {"b": None}]):
            expected = {"started_by": "nobody", "request_id": "r1", "tags": ["a", {"b": None}]}
            first = pool.submit(Till().look, 7)
        with context(request_id="r2"):
            second = list(pool.map(look, range(4), chunksize=2, timeout=60))
            third = bare.submit(carry(look_around))
        assert first.result(60) == (7, expected)
        assert second == [{"started_by": "nobody", "request_id": "r2"}] * 4
        assert third.result(60) == ({"started_by": "nobody", "request_id": "r2"}, "none", True)
        assert "request_id" not in bare.submit(look).result(60)


def test_a_process_of_its_own_gets_the_fields() -> None:
    """``multiprocessing.Process`` pickles its target, or forks with it."""
    for method in ("fork", "spawn"):
        processes = multiprocessing.get_context(method)
        ours, theirs = processes.Pipe()
        with context(request_id="r1"):
            process = processes.Process(target=carry(send_look), args=(theirs,))  # type: ignore[attr-defined]
        process.start()
        assert ours.poll(60)
        assert ours.recv() == {"request_id": "r1"}
        process.join()
        ours.close()
        theirs.close()


def send_look(pipe: Any) -> None:
    """Tells the other end what it sees."""
    pipe.send(look())


def test_what_was_pickled_can_be_pickled_again() -> None:
    """A worker may hand a carried function on; without fields there are none in the end."""
    with context(a=1, b=[{"c": 2}]):
        carried: Any = carry(look)
    for arrived in (pickle.loads(pickle.dumps(carried)), copy.deepcopy(carried)):
        again = pickle.loads(pickle.dumps(arrived))
        with context(other=1):
            assert arrived() == again() == {"a": 1, "b": [{"c": 2}]}
    empty: Any = pickle.loads(pickle.dumps(carry(look_around)))
    with context(other=1):
        assert empty() == ({}, "none", False)


def test_coroutines_run_in_the_context_on_another_loop() -> None:
    """Every step does, between them the task is its own; what it creates inherits; results and errors come through."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def child() -> dict[str, Any]:
        return look()

    async def work(fail: bool) -> Any:
        task = asyncio.current_task()
        assert current_context() == {"a": 1}
        await asyncio.sleep(0)
        bind(late=1)
        found = await asyncio.gather(child(), child())
        await asyncio.sleep(0)
        assert asyncio.current_task() is task
        if fail:
            raise KeyError(current_context())
        return [*found, current_context()]

    with context(a=1):
        carried = carry(work)
    try:
        assert inspect.iscoroutinefunction(carried)
        for _ in range(2):
            found = asyncio.run_coroutine_threadsafe(carried(False), loop).result(10)
            assert found == [{"a": 1, "late": 1}] * 3
        with pytest.raises(KeyError, match="late"):
            asyncio.run_coroutine_threadsafe(carried(True), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_carried_coroutines_are_cancelled_and_closed_as_others_are() -> None:
    """A timeout reaches the innermost wait, in its context, and a coroutine that is given up runs its ``finally``."""
    ends: list[Any] = []

    async def work(swallow: bool) -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ends.append(current_context())
            if not swallow:
                raise
            await asyncio.sleep(0)
        finally:
            ends.append(current_context())
        return "done"

    async def main() -> None:
        for swallow in (False, True):
            task = asyncio.create_task(carried(swallow))
            await asyncio.sleep(0)
            task.cancel()
            if swallow:
                assert await task == "done"
            else:
                with pytest.raises(asyncio.CancelledError):
                    await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await carried(False)
        given_up = carried(False)
        given_up.send(None)
        given_up.close()

    with context(a=1):
        carried = carry(work)
    asyncio.run(main())
    assert ends == [{"a": 1}] * 7
