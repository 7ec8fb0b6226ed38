"""Scopes of requests: which id, operation and strategy their records carry, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.integrations.proxywhirl import install, uninstall
from logbus.integrations.proxywhirl.rotator import VERBS
from logbus.producers.context import bind, clear_context, context, current_context
from tests.real_proxywhirl import async_rotator, needs_proxywhirl, rotator

pytestmark = [needs_proxywhirl, pytest.mark.parametrize("public_only", [False, True], ids=["whole", "public-only"])]


@pytest.fixture(autouse=True)
def instrumented(public_only: bool) -> Iterator[None]:
    """The package is instrumented, and given back."""
    install(public_only=public_only)
    yield
    uninstall()


class Seen:
    """An answer to every request that keeps the context in which it was asked for."""

    def __init__(self) -> None:
        self.contexts: list[dict[str, Any]] = []

    def __call__(self, request: Any) -> int:
        """Keeps it."""
        self.contexts.append(current_context())
        return 200

    @property
    def ids(self) -> list[str]:
        """The ids of the requests."""
        return [seen["request_id"] for seen in self.contexts]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_opens_a_scope(verb: str) -> None:
    """Sync and async, its id is new, of 32 hex digits, and gone afterwards."""
    seen = Seen()

    async def work() -> None:
        async with async_rotator(seen) as made:
            await getattr(made, verb)("http://127.0.0.1/")
            assert current_context() == {}

    with rotator(seen, strategy="random") as made:
        getattr(made, verb)("http://127.0.0.1/")
    assert current_context() == {}
    asyncio.run(work())
    assert [context["strategy"] for context in seen.contexts] == ["random", "round-robin"]
    assert {context["operation"] for context in seen.contexts} == {"proxied_request"}
    assert len(set(seen.ids)) == 2
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in seen.ids)


def test_an_id_and_an_operation_are_inherited() -> None:
    """A request inside a scope of the application belongs to it; so does one below a trace."""
    seen = Seen()
    with rotator(seen) as made:
        with context(request_id="mine", operation="checkout", user_id=7):
            made.get("http://127.0.0.1/")
            assert current_context() == {"request_id": "mine", "operation": "checkout", "user_id": 7}
        with context(request_id=17):
            made.get("http://127.0.0.1/")
        with context(request_id=None, trace_id="4bf92f3577b34da6a3ce929d0e0e4736"):
            made.get("http://127.0.0.1/")
        with context(request_id=""):
            made.get("http://127.0.0.1/")
    assert seen.ids[:3] == ["mine", 17, "4bf92f3577b34da6a3ce929d0e0e4736"]
    assert len(seen.ids[3]) == 32
    assert [each["operation"] for each in seen.contexts] == ["checkout", *["proxied_request"] * 3]
    assert seen.contexts[0]["user_id"] == 7


def test_a_request_inside_a_request_is_the_same_one() -> None:
    """The inner one keeps the id, shows its own proxy, and gives the outer's back."""
    inner = Seen()
    outer: list[dict[str, Any]] = []

    def answer(request: Any) -> int:
        before = current_context()
        with rotator(inner, strategy="random") as second:
            second.get("http://127.0.0.1/")
        outer.extend((before, current_context()))
        return 200

    with rotator(answer) as made:
        made.get("http://127.0.0.1/")
    assert outer[0] == outer[1]
    assert inner.ids == [outer[0]["request_id"]]
    assert inner.contexts[0]["operation"] == "proxied_request"
    assert "operation_path" not in inner.contexts[0]
    assert (outer[0]["strategy"], inner.contexts[0]["strategy"]) == ("round-robin", "random")
    assert outer[0]["proxy_id"] != inner.contexts[0]["proxy_id"]


def test_the_proxy_of_another_request_is_not_that_of_a_new_one() -> None:
    """Before its own selection a request carries no proxy, whatever was selected around it before."""
    from loguru import logger
    from proxywhirl.exceptions import ProxyPoolEmptyError

    told: list[dict[str, Any]] = []
    handler = logger.add(lambda message: told.append(current_context()), level="ERROR")
    try:
        with context(request_id="mine", nested={"kept": True}), rotator(Seen(), strategy="random") as made:
            made.strategy.select(made.pool)
            selected = current_context()
            for breaker in made.circuit_breakers.values():
                for _ in range(breaker.failure_threshold):
                    breaker.record_failure()
            with pytest.raises(ProxyPoolEmptyError):
                made.get("http://127.0.0.1/")
            assert current_context() == selected
    finally:
        logger.remove(handler)
    assert {"proxy_id", "proxy_url", "source"} <= set(selected)
    assert told
    expected = {"request_id": "mine", "nested": {"kept": True}, "operation": "proxied_request", "strategy": "random"}
    assert [each for each in told if each != expected] == []


def test_what_is_bound_inside_a_request_ends_with_it() -> None:
    """The scope is one like any other."""

    def answer(request: Any) -> int:
        bind(found="yes")
        return 200

    with rotator(answer) as made:
        made.get("http://127.0.0.1/")
    assert current_context() == {}


def test_an_error_goes_through_and_ends_the_scope() -> None:
    """What a request raises is proxywhirl's own, and no context is left by it."""
    from proxywhirl.exceptions import ProxyConnectionError, ProxyPoolEmptyError

    def failing(request: Any) -> int:
        raise LookupError("lost")

    with rotator(failing) as made, pytest.raises(ProxyConnectionError, match="lost"):
        made.get("http://127.0.0.1/")
    assert current_context() == {}
    with rotator(failing, proxies=[]) as made, pytest.raises(ProxyPoolEmptyError):
        made.get("http://127.0.0.1/")
    assert current_context() == {}


def test_threads_and_tasks_have_an_id_each() -> None:
    """However they are interleaved, no request sees the id of another."""
    wrong: list[str] = []
    ids: list[str] = []

    def answer(request: Any) -> int:
        now = current_context()
        ids.append(now["request_id"])
        if now["mine"] != request.url.path:
            wrong.append(request.url.path)
        return 200

    def thread(number: int) -> None:
        for turn in range(5):
            with context(mine=f"/{number}/{turn}"):
                made.get(f"http://127.0.0.1/{number}/{turn}")

    async def task(made: Any, number: int) -> None:
        with context(mine=f"/{number}"):
            await asyncio.sleep(0)
            await made.get(f"http://127.0.0.1/{number}")

    async def tasks() -> None:
        async with async_rotator(answer) as made:
            await asyncio.gather(*(task(made, number) for number in range(20)))

    with rotator(answer) as made:
        threads = [threading.Thread(target=thread, args=(number,)) for number in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    asyncio.run(tasks())
    assert wrong == []
    assert len(set(ids)) == len(ids) == 40


def test_a_cancelled_request_leaves_nothing() -> None:
    """The task that goes on after a timeout has the context that it had before."""

    async def work() -> dict[str, Any]:
        async def slow(*args: Any, **kwargs: Any) -> Any:
            started.set()
            await asyncio.Event().wait()

        started = asyncio.Event()
        async with async_rotator(Seen()) as made:
            client = await made._get_or_create_client(None, None)
            client.request = slow
            with context(mine="kept"):
                task = asyncio.ensure_future(made.get("http://127.0.0.1/"))
                await started.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await made.get("http://127.0.0.1/")
                return current_context()

    assert asyncio.run(work()) == {"mine": "kept"}


def test_a_rotator_of_the_application_may_be_anything() -> None:
    """A subclass with its own verbs and a strategy that is none is served as any other."""
    from proxywhirl import ProxyWhirl

    class Theirs(ProxyWhirl):
        def get(self, url: str, **kwargs: Any) -> Any:
            return super().get(url, **kwargs)

    seen = Seen()
    with rotator(seen) as made:
        made.__class__ = Theirs
        made.get("http://127.0.0.1/")
        del made.strategy
        with pytest.raises(AttributeError, match="strategy"):
            made.get("http://127.0.0.1/")
    assert len(seen.ids) == 1
    clear_context()


def test_requests_that_are_queued_are_covered() -> None:
    """A rotator whose rate limit has been reached queues, and the queued request carries what any other does."""
    from proxywhirl import ProxyConfiguration

    class Refusing:
        """Lets nothing pass at once; proxywhirl's own limiters leave a thread behind."""

        def check_limit(self, proxy_id: str) -> bool:
            """Never."""
            return False

    seen = Seen()
    with rotator(seen, config=ProxyConfiguration(queue_enabled=True), rate_limiter=Refusing()) as made:
        threads = [threading.Thread(target=made.get, args=("http://127.0.0.1/",)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len(set(seen.ids)) == 4
    assert all({"proxy_id", "proxy_url", "source"} <= set(each) for each in seen.contexts)
