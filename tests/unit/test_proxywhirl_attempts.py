"""Attempts: the failures and retries of real requests, and the id that retry metrics get."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logbus.integrations.proxywhirl import install, uninstall
from logbus.producers.context import context, current_context
from tests.real_proxywhirl import async_rotator, events, needs_proxywhirl, proxies, rotator

pytestmark = needs_proxywhirl

URL = "http://127.0.0.1/"


@pytest.fixture(autouse=True)
def instrumented() -> Iterator[None]:
    """The package is instrumented, and given back."""
    install()
    yield
    uninstall()


def answers(*sequence: int | type[BaseException]) -> Callable[[Any], int]:
    """An answer for each attempt, one after the other: a status, or an error."""
    left = iter(sequence)

    def answer(request: Any) -> int:
        now = next(left)
        if isinstance(now, type):
            raise now("by order")
        return now

    return answer


def refused() -> type[Exception]:
    """What httpx raises where nobody listens."""
    import httpx

    return httpx.ConnectError


def test_a_failed_attempt_and_its_retry_are_told() -> None:
    """Each with its number, the error or the delay, in the request's context, from the executor's own line."""
    with rotator(answers(refused(), 200), retries=3) as made, events() as seen:
        made.get(URL)
    assert seen.names() == ["proxy_selected", "attempt_failed", "retry"]
    failed, retry = seen.last("attempt_failed"), seen.last("retry")
    assert (failed["attempt"], failed["max_attempts"]) == (1, 3)
    assert failed["error"] == "httpx.ConnectError: by order"
    assert (failed["levelno"], failed["name"]) == (logging.WARNING, "proxywhirl.rotator")
    assert (failed["filename"], failed["funcName"]) == ("executor.py", "execute_with_retry")
    assert (retry["attempt"], retry["max_attempts"], retry["levelno"]) == (2, 3, logging.INFO)
    assert 0 < retry["delay_ms"] < 60_000
    assert (retry["filename"], retry["funcName"]) == ("executor.py", "execute_with_retry")
    assert failed["request_id"] == retry["request_id"]
    assert failed["proxy_url"] == "http://127.0.0.1:8001"
    assert seen.records[1].getMessage() == "Attempt 1/3 failed: httpx.ConnectError: by order"


def test_a_status_to_be_retried_is_a_failed_attempt() -> None:
    """Only where proxywhirl retries it: a 404 is an answer, and so is a 503 to what is not retried."""
    with rotator(answers(503, 404), retries=3) as made, events() as seen:
        assert made.get(URL).status_code == 404
    assert seen.names() == ["proxy_selected", "attempt_failed", "retry"]
    assert seen.last("attempt_failed")["error"] == "status 503"
    with rotator(answers(503), retries=3) as made, events() as seen:
        assert made.post(URL).status_code == 503
    assert seen.names() == ["proxy_selected"]


def test_a_method_that_is_not_retried_has_one_attempt() -> None:
    """Its failure is 1 of 1."""
    from proxywhirl.exceptions import ProxyConnectionError

    with (
        rotator(answers(refused()), retries=3) as made,
        events() as seen,
        pytest.raises(ProxyConnectionError),
    ):
        made.post(URL)
    failed = seen.last("attempt_failed")
    assert (failed["attempt"], failed["max_attempts"]) == (1, 1)
    assert failed["funcName"] == "_execute_single_attempt"


@pytest.mark.parametrize("status", [401, 407])
def test_a_refused_password_is_a_failed_attempt(status: int) -> None:
    """It is not retried, and the error is what proxywhirl says of it."""
    from proxywhirl.exceptions import ProxyAuthenticationError

    with (
        rotator(answers(status), retries=3) as made,
        events() as seen,
        pytest.raises(ProxyAuthenticationError),
    ):
        made.get(URL)
    assert seen.names() == ["proxy_selected", "attempt_failed"]
    assert seen.last("attempt_failed")["error"].startswith("proxywhirl.exceptions.ProxyAuthenticationError: ")


def test_an_async_rotator_tells_the_same() -> None:
    """Of each attempt, with its number, in the task that makes it; a 503 is an answer there, as upstream has it."""

    async def work() -> None:
        async with async_rotator(answers(refused(), 503), retries=3) as made:
            assert (await made.get(URL)).status_code == 503

    with events() as seen:
        asyncio.run(work())
    assert seen.names() == ["proxy_selected", "attempt_failed", "retry"]
    failed, retry = seen.last("attempt_failed"), seen.last("retry")
    assert (failed["attempt"], failed["max_attempts"], retry["attempt"]) == (1, 3, 2)
    assert (failed["filename"], failed["funcName"]) == ("async_.py", "_execute_async_with_retry")
    assert retry["funcName"] == "_execute_async_with_retry"
    assert failed["request_id"] == retry["request_id"]


def test_a_policy_of_one_request_is_the_one_that_counts() -> None:
    """The number of attempts told is that of the request's own policy."""
    from proxywhirl import RetryPolicy
    from proxywhirl.exceptions import ProxyConnectionError

    policy = RetryPolicy(max_attempts=2, base_delay=0.001)

    async def work() -> None:
        async with async_rotator(answers(refused(), refused()), retries=5) as made:
            await made.get(URL, retry_policy=policy)

    with events() as seen:
        with rotator(answers(refused(), refused()), retries=5) as made, pytest.raises(ProxyConnectionError):
            made.get(URL, retry_policy=policy)
        with pytest.raises(ProxyConnectionError):
            asyncio.run(work())
    told = [record.__dict__["max_attempts"] for record in seen.records if hasattr(record, "max_attempts")]
    assert told == [2] * 6


def test_cancellation_is_no_failure() -> None:
    """A task that is cancelled in an attempt ends without an event."""

    async def work() -> None:
        async with async_rotator(answers(asyncio.CancelledError)) as made:
            with pytest.raises(asyncio.CancelledError):
                await made.get(URL)

    with events() as seen:
        asyncio.run(work())
    assert seen.names() == ["proxy_selected"]


def test_retry_metrics_name_the_request() -> None:
    """The attempts that proxywhirl keeps have the id that the records have."""
    seen: list[dict[str, Any]] = []

    def answer(request: Any) -> int:
        seen.append(current_context())
        return 200

    with rotator(answer) as made:
        made.get(URL)
        kept = list(made.get_retry_metrics().current_attempts)
    assert [attempt.request_id for attempt in kept] == [seen[0]["request_id"]]


@pytest.mark.parametrize("given", [None, "theirs"])
def test_an_executor_on_its_own_tells_of_its_attempts(given: str | None) -> None:
    """Without a scope the events have the proxy and an id, the same as the metrics, and no context is left."""
    import httpx

    proxy = proxies("http://someone:sesame@127.0.0.1:1")[0]
    answer = answers(refused(), 200)
    with rotator(answers(), retries=2) as made, events() as seen:
        executor = made.retry_executor
        executor.execute_with_retry(lambda: httpx.Response(answer(None)), proxy, "GET", URL, request_id=given)
        kept = {attempt.request_id for attempt in made.get_retry_metrics().current_attempts}
    assert current_context() == {}
    assert seen.contexts == [{}, {}]
    for record in seen.records:
        assert record.__dict__["proxy_url"] == "http://***:***@127.0.0.1:1"
        assert {record.__dict__["request_id"]} == kept
    assert given is None or kept == {given}


def test_the_executors_own_async_loop_is_watched() -> None:
    """What an application gives to it is told of as well."""
    import httpx

    answer = answers(refused(), 200)

    async def request() -> Any:
        return httpx.Response(answer(None))

    with rotator(answers(), retries=2) as made, events() as seen, context(request_id="mine"):
        response = asyncio.run(made.retry_executor.execute_with_retry_async(request, made.pool.proxies[0], "GET", URL))
    assert response.status_code == 200
    assert seen.names() == ["attempt_failed", "retry"]
    assert seen.contexts[0]["request_id"] == "mine"
    assert seen.contexts[0]["proxy_url"] == "http://127.0.0.1:8001"


def test_the_proxy_that_is_used_is_the_one_in_the_context() -> None:
    """An attempt through another proxy than the one selected replaces its fields for the rest of the scope."""
    import httpx

    found: list[Any] = []

    def request() -> Any:
        found.append(current_context()["proxy_url"])
        return httpx.Response(200)

    with rotator(answers()) as made, context(request_id="mine"):
        made.strategy.select(made.pool)
        for proxy in reversed(made.pool.proxies):
            made.retry_executor.execute_with_retry(request, proxy, "GET", URL)
    assert found == ["http://127.0.0.1:8002", "http://127.0.0.1:8001"]


def test_nothing_is_told_where_warnings_are_off() -> None:
    """Nor is a retry told of at WARNING."""
    with rotator(answers(refused(), 200, refused(), 200), retries=2) as made:
        with events(level=logging.ERROR) as seen:
            made.get(URL)
        assert seen.names() == []
        with events(level=logging.WARNING) as seen:
            made.get(URL)
        assert seen.names() == ["attempt_failed"]


def test_odd_objects_of_the_application_do_no_harm() -> None:
    """A response without a status and an error that has no text pass as they are."""
    from proxywhirl.retry import NonRetryableError

    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with rotator(answers(), retries=1) as made, events() as seen:

        def raising() -> Any:
            raise SilentError

        with pytest.raises(RuntimeError, match="no text"):
            made.retry_executor.execute_with_retry(raising, made.pool.proxies[0], "GET", URL)
        with pytest.raises(NonRetryableError, match="no attribute 'status_code'"):
            made.retry_executor.execute_with_retry(object, made.pool.proxies[0], "GET", URL)
    assert seen.names() == ["attempt_failed"]
    assert "failed: RuntimeError" in seen.last("attempt_failed")["error"]


@pytest.mark.parametrize("public_only", [False, True])
def test_the_words_of_an_error_have_no_credentials(public_only: bool) -> None:
    """An error that quotes the URL of its proxy is told of without user and password, in the message too."""
    from proxywhirl import ProxyConnectionError

    def quote(request: Any) -> int:
        raise refused()("no way via http://user:verysecret@127.0.0.1:1 nor user:verysecret@127.0.0.1")

    async def attempt() -> None:
        async with async_rotator(quote) as made:
            with pytest.raises(ProxyConnectionError):
                await made.get(URL)

    install(public_only=public_only)
    with events() as seen:
        with rotator(quote) as made, pytest.raises(ProxyConnectionError):
            made.get(URL)
        asyncio.run(attempt())
    failed = [record.__dict__ for record in seen.records if record.__dict__["event"] == "attempt_failed"]
    assert len(failed) == 2
    assert all("via http://***:***@127.0.0.1:1 nor ***:***@127.0.0.1" in record["error"] for record in failed)
    assert not any("verysecret" in str(record) for record in failed)


def test_an_executor_of_an_application_may_give_arguments_to_an_attempt() -> None:
    """What is put in between hands them on."""
    from proxywhirl import RetryPolicy
    from proxywhirl.retry import RetryExecutor, RetryMetrics

    class Executor(RetryExecutor):
        def _execute_single_attempt(self, request_fn: Any, *args: Any, **kwargs: Any) -> Any:
            return request_fn("one", two=2)

    def attempt(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    metrics: Any = RetryMetrics
    made: Any = Executor(RetryPolicy(max_attempts=1), {}, metrics())
    assert made.execute_with_retry(attempt, proxies()[0], "POST", URL) == (("one",), {"two": 2})
