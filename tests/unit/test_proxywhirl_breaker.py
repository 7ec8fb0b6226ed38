"""Circuit breakers: one event for each change of their state, told where nothing is locked any more."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

from logbus.integrations.proxywhirl import breaker, install, uninstall
from logbus.producers.context import context
from tests.race import race
from tests.real_proxywhirl import Events, events, needs_proxywhirl, proxies

pytestmark = needs_proxywhirl

#: Seconds until a thread that hangs fails its test.
PATIENCE = 30.0


@pytest.fixture(params=[False, True], ids=["private", "public"], autouse=True)
def instrumented(request: pytest.FixtureRequest) -> Iterator[bool]:
    """The package is instrumented, in both manners, and given back; the value says whether by public names alone."""
    install(public_only=request.param)
    yield request.param
    uninstall()


@pytest.fixture
def seen() -> Iterator[Events]:
    """The events of the breakers."""
    with events("circuit_breaker") as kept:
        yield kept


def made(**options: Any) -> Any:
    """A breaker of the sync kind that opens at the second failure, for a long time."""
    from proxywhirl.circuit_breaker import CircuitBreaker

    given: dict[str, Any] = {"proxy_id": "p1", "failure_threshold": 2, "timeout_duration": 60.0}
    return CircuitBreaker(**(given | options))


def pass_time(which: Any) -> None:
    """An open breaker may try again."""
    which.next_test_time = 1.0


def test_a_life_is_told_once_at_each_turn(seen: Events) -> None:
    """Opened, half-open, opened again, half-open, closed; with what it was before and how many failures there were."""
    found = made()
    found.record_success()
    found.record_failure()
    assert seen.names() == []
    found.record_failure()
    assert not found.should_attempt_request()
    for attempt in (found.record_failure, found.record_success):
        pass_time(found)
        assert found.should_attempt_request()
        attempt()
    assert seen.names() == [
        "circuit_opened",
        "circuit_half_open",
        "circuit_opened",
        "circuit_half_open",
        "circuit_closed",
    ]
    told = [record.__dict__ for record in seen.records]
    assert [each["before"] for each in told] == ["closed", "open", "half_open", "open", "half_open"]
    assert [each["failures"] for each in told] == [2, 2, 3, 3, 3]
    assert {each["proxy_id"] for each in told} == {"p1"}
    assert [each["levelname"] for each in told] == ["WARNING", "INFO", "WARNING", "INFO", "INFO"]


def test_an_async_breaker_tells_the_same(seen: Events) -> None:
    """Its lock and its methods are others, its states are not."""
    from proxywhirl.circuit_breaker import AsyncCircuitBreaker

    async def live() -> None:
        found = AsyncCircuitBreaker(proxy_id="p1", failure_threshold=1)
        await found.record_failure()
        pass_time(found)
        assert await found.should_attempt_request()
        await found.record_success()
        await found.reset()

    asyncio.run(live())
    assert seen.names() == ["circuit_opened", "circuit_half_open", "circuit_closed"]
    assert {record.funcName for record in seen.records} == {"live"}


def test_a_reset_is_an_event_only_where_it_changes_something(seen: Events) -> None:
    """A breaker that is closed stays closed, however often it is reset."""
    found = made(failure_threshold=1)
    found.reset()
    found.record_failure()
    found.reset()
    found.reset()
    assert seen.names() == ["circuit_opened", "circuit_closed"]
    assert seen.last("circuit_closed")["before"] == "open"


def test_it_names_the_proxy_where_that_is_known(seen: Events) -> None:
    """By the masked URL of its id; never by that of the proxy which the request at hand goes through."""
    from logbus.integrations.proxywhirl.names import proxy_fields

    (proxy,) = proxies("http://user:secret@127.0.0.1:8009")
    proxy_fields(proxy)
    other = context(proxy_id="other", proxy_url="http://other:1", source="fetched")
    with other:
        made(proxy_id=str(proxy.id), failure_threshold=1).record_failure()
        known = seen.last("circuit_opened")
        made(failure_threshold=1).record_failure()
        unknown = seen.last("circuit_opened")
    assert (known["proxy_id"], known["proxy_url"]) == (str(proxy.id), "http://***:***@127.0.0.1:8009")
    assert known["source"] == proxy.source.value
    assert (unknown["proxy_id"], unknown["proxy_url"], unknown["source"]) == ("p1", None, None)
    assert "secret" not in "".join(record.getMessage() for record in seen.records)


def test_the_call_site_is_the_caller_s(seen: Events) -> None:
    """Whoever reports to the breaker: proxywhirl's own code, in a request."""
    made(failure_threshold=1).record_failure()
    (record,) = seen.records
    assert (record.module, record.funcName) == (__name__.rpartition(".")[2], "test_the_call_site_is_the_caller_s")


def test_a_handler_may_come_back_to_the_breaker(seen: Events) -> None:
    """The lock is not held any more where the event is told, so a handler that uses the breaker does not hang."""
    found = made(failure_threshold=1)
    answers: list[bool] = []

    class Curious(logging.Handler):
        """Asks the breaker."""

        def emit(self, record: logging.LogRecord) -> None:
            """Asks."""
            answers.append(found.should_attempt_request())

    curious = Curious()
    logging.getLogger("proxywhirl.circuit_breaker").addHandler(curious)
    try:
        thread = threading.Thread(target=found.record_failure, daemon=True)
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()
    finally:
        logging.getLogger("proxywhirl.circuit_breaker").removeHandler(curious)
    assert answers == [False]


def test_a_handler_that_raises_does_not_reach_the_caller(seen: Events) -> None:
    """The breaker has done what it should, and the request goes on."""

    class Broken(logging.Handler):
        """Raises, and does not let logging handle it."""

        def handle(self, record: logging.LogRecord) -> bool:
            """Raises."""
            raise RuntimeError("a handler of the application")

    broken = Broken()
    logging.getLogger("proxywhirl.circuit_breaker").addHandler(broken)
    try:
        found = made(failure_threshold=1)
        found.record_failure()
    finally:
        logging.getLogger("proxywhirl.circuit_breaker").removeHandler(broken)
    assert found.state.value == "open"


def test_nothing_is_noted_where_nobody_listens() -> None:
    """Below the level there is no event, and none is left behind for later."""
    with events("circuit_breaker", level=logging.WARNING) as kept:
        found = made(failure_threshold=1)
        found.record_failure()
        pass_time(found)
        found.should_attempt_request()
        found.record_success()
        assert kept.names() == ["circuit_opened"]
    assert breaker._NOTED == []


def test_threads_at_one_breaker_double_nothing(seen: Events, instrumented: bool) -> None:
    """There are as many openings as closings, however many threads report; by public names there may be fewer."""
    found = made(failure_threshold=1)

    def report(name: str) -> None:
        for _ in range(100):
            found.record_failure()
            found.reset()

    race(report, "abc", found.should_attempt_request)
    found.reset()
    opened, closed = (seen.names().count(name) for name in ("circuit_opened", "circuit_closed"))
    assert 0 < opened <= 300
    assert 0 < closed <= 300
    assert opened + closed == len(seen.records)
    if not instrumented:
        assert opened == closed
    assert breaker._NOTED == []


def test_a_record_has_the_context_of_the_call_that_changed_it(seen: Events) -> None:
    """Tasks that share a breaker each tell of their own change."""
    from proxywhirl.circuit_breaker import AsyncCircuitBreaker

    async def request(found: Any, number: int) -> None:
        with context(request_id=str(number)):
            await found.record_failure()

    async def live() -> None:
        for number in range(5):
            found = AsyncCircuitBreaker(proxy_id=f"p{number}", failure_threshold=1)
            await asyncio.gather(*(request(found, 10 * number + each) for each in range(3)))

    asyncio.run(live())
    assert seen.names() == ["circuit_opened"] * 5
    ids = [where["request_id"] for where in seen.contexts]
    assert [int(each) // 10 for each in ids] == [0, 1, 2, 3, 4]


def test_uninstalled_it_tells_nothing_and_gives_all_back(seen: Events) -> None:
    """The methods are upstream's own, and so are those of breakers made before."""
    from proxywhirl.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker, CircuitBreakerBase

    found = made(failure_threshold=1)
    uninstall()
    found.record_failure()
    assert seen.names() == []
    for kind in (CircuitBreaker, AsyncCircuitBreaker, CircuitBreakerBase):
        functions = [value for value in vars(kind).values() if isinstance(value, FunctionType)]
        assert functions
        assert not [each for each in functions if "logbus" in each.__code__.co_filename]
