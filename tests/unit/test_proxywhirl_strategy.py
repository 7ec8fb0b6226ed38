"""Selections: what a watch passes on, and what it tells and binds."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.integrations.proxywhirl import install, uninstall
from logbus.integrations.proxywhirl.strategy import Watch, unwatched
from logbus.producers.context import context, current_context
from tests.real_proxywhirl import async_rotator, events, needs_proxywhirl, proxies, rotator

pytestmark = needs_proxywhirl

ALL = {"proxy_id", "proxy_url", "source", "strategy"}


@pytest.fixture(autouse=True)
def instrumented() -> Iterator[None]:
    """The package is instrumented, and given back."""
    install()
    yield
    uninstall()


def fine(request: object) -> int:
    """Every request is answered."""
    return 200


class Stubborn:
    """A strategy of an application: the last proxy, always."""

    def __init__(self) -> None:
        self.results: list[bool] = []

    def select(self, pool: Any, context: Any = None) -> Any:
        """The last one."""
        return pool.proxies[-1]

    def record_result(self, proxy: Any, success: bool, response_time_ms: float) -> None:
        """Kept."""
        self.results.append(success)


class Countable(Stubborn):
    """One that Python asks for more than its methods."""

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.results)

    def __call__(self, word: str) -> str:
        """Says it."""
        return word

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Countable)

    def __iter__(self) -> Iterator[bool]:
        return iter(self.results)


def test_a_watch_is_the_real_strategy_in_everything_else() -> None:
    """Its class, attributes, repr, equality and hash are the real one's, and what is set on it is set there."""
    from proxywhirl.strategies import RotationStrategy, RoundRobinStrategy

    real: Any = RoundRobinStrategy()
    with rotator(fine, strategy=real) as made:
        watch = made.strategy
        assert type(watch) is Watch
        assert isinstance(watch, RoundRobinStrategy)
        assert isinstance(watch, RotationStrategy)
        assert watch.__class__.__name__ == "RoundRobinStrategy"
        assert watch == real
        assert real == watch
        assert made.strategy == made.strategy
        assert (watch != real, watch != object()) == (False, True)
        assert hash(watch) == hash(real)
        assert {real: 1}[watch] == 1
        assert (repr(watch), str(watch), f"{watch}") == (repr(real), str(real), f"{real}")
        assert dir(watch) == dir(real)
        made.strategy.config = "mine"
        assert real.config == "mine"
        assert vars(watch) is vars(real)
        del made.strategy.config
        assert not hasattr(watch, "config")
        assert bool(watch)
        assert vars(made)["strategy"] is real
        assert unwatched(watch) is real


def test_special_methods_are_those_of_the_real_type() -> None:
    """What Python looks for in the type is there if the real type has it, and is not if it hasn't."""
    with rotator(fine, strategy=Countable()) as made:
        made.strategy.results += [True, False]
        assert len(made.strategy) == 2
        assert list(made.strategy) == [True, False]
        assert made.strategy("word") == "word"
        assert made.strategy == Countable()
        with pytest.raises(TypeError, match="unhashable"):
            hash(made.strategy)
        made.strategy.results.clear()
        assert not made.strategy
    with rotator(fine, strategy=Stubborn()) as made, pytest.raises(TypeError, match="has no len"):
        len(made.strategy)


def test_copies_and_pickles_are_of_the_real_strategy() -> None:
    """No copy has a watch in it."""
    with rotator(fine, strategy=Stubborn()) as made:
        made.strategy.results.append(True)
        for twin in (
            copy.copy(made.strategy),
            copy.deepcopy(made.strategy),
            pickle.loads(pickle.dumps(made.strategy)),
        ):
            assert type(twin) is Stubborn
            assert twin.results == [True]


def test_a_watch_that_is_assigned_is_taken_off() -> None:
    """What the rotator keeps is the real strategy, also when it got what another rotator handed out."""
    with rotator(fine, strategy=Stubborn()) as one, rotator(fine) as other:
        other.strategy = one.strategy
        assert type(vars(other)["strategy"]) is Stubborn
        other.set_strategy(one.strategy)
        assert type(vars(other)["strategy"]) is Stubborn
        one.strategy = None
        assert one.strategy is None


def test_the_attribute_behaves_as_one() -> None:
    """It can be deleted, and its absence is told in Python's words."""
    from proxywhirl import ProxyWhirl

    with rotator(fine) as made:
        del made.strategy
        with pytest.raises(AttributeError, match="'ProxyWhirl' object has no attribute 'strategy'"):
            _ = made.strategy
        with pytest.raises(AttributeError, match="strategy"):
            del made.strategy
        assert not hasattr(ProxyWhirl, "strategy")


def test_rotators_of_before_and_after_are_whole(caplog: pytest.LogCaptureFixture) -> None:
    """One made before install() is watched, and after uninstall() nothing of ours is in it, nor in a kept watch."""
    uninstall()
    real = Stubborn()
    with rotator(fine, strategy=real) as made, events() as seen:
        assert made.strategy is real
        install()
        watch = made.strategy
        made.get("http://127.0.0.1/")
        assert seen.names() == ["proxy_selected"]
        uninstall()
        assert made.strategy is real
        with context(request_id="mine"):
            watch.select(made.pool)
            assert current_context() == {"request_id": "mine"}
        made.get("http://127.0.0.1/")
        assert seen.names() == ["proxy_selected"]
        assert real.results == [True, True]


def test_a_selection_is_told_with_its_strategy_and_candidates() -> None:
    """The event comes from proxywhirl's own line, and its context has the proxy."""
    with rotator(fine, strategy="least-used") as made, events() as seen:
        made.get("http://127.0.0.1/")
    told = seen.last("proxy_selected")
    assert (told["strategy"], told["candidates"], told["source"]) == ("least-used", 2, "user")
    chosen = {str(proxy.id): proxy.url for proxy in made.pool.proxies}
    assert told["proxy_url"] == chosen[told["proxy_id"]]
    assert told["name"] == "proxywhirl.strategies"
    assert (told["levelno"], told["filename"], told["funcName"]) == (
        logging.INFO,
        "sync.py",
        "_select_proxy_with_circuit_breaker",
    )
    assert seen.records[0].getMessage() == f"Selected proxy {told['proxy_url']} (least-used, candidates: 2)"


@pytest.mark.parametrize("name", ["round-robin", "random", "weighted", "least-used", "performance-based"])
def test_strategies_have_the_names_that_users_know(name: str) -> None:
    """A strategy that was asked for by name is told of by that name."""
    with rotator(fine, strategy=name) as made, events() as seen:
        made.get("http://127.0.0.1/")
    assert seen.last("proxy_selected")["strategy"] == name


def test_a_strategy_of_the_application_has_the_name_of_its_class() -> None:
    """Even if the class is called as one of proxywhirl's."""
    theirs = type("RandomStrategy", (Stubborn,), {"__module__": "shop"})
    with rotator(fine, strategy=theirs()) as made, events() as seen:
        made.get("http://127.0.0.1/")
    assert seen.last("proxy_selected")["strategy"] == "RandomStrategy"


def test_a_strategy_is_swapped_between_selections() -> None:
    """The next request is the new one's, in its context from the first record on."""
    with rotator(fine) as made, events() as seen:
        made.get("http://127.0.0.1/")
        made.set_strategy("random")
        made.get("http://127.0.0.1/")
    assert [told["strategy"] for told in seen.contexts] == ["round-robin", "random"]


def test_an_async_rotator_is_watched_too() -> None:
    """Its selections are told and bound in the task that makes the request."""

    async def work() -> None:
        async with async_rotator(fine, strategy="random") as made:
            await made.get("http://127.0.0.1/")

    with events() as seen:
        asyncio.run(work())
    assert set(seen.contexts[0]) >= {*ALL, "request_id", "operation"}
    assert current_context() == {}


def test_a_direct_selection_binds_into_the_scope_that_is_open() -> None:
    """What is logged until its end carries the proxy, and nothing after it."""
    with rotator(fine) as made:
        with context(request_id="mine"):
            made.strategy.select(made.pool)
            assert current_context()["proxy_url"] == "http://127.0.0.1:8001"
            made.strategy.select(made.pool)
            assert current_context()["proxy_url"] == "http://127.0.0.1:8002"
        assert current_context() == {}


def test_a_direct_selection_without_a_scope_leaves_nothing_in_the_thread() -> None:
    """Then the event alone has the fields."""
    with rotator(fine) as made, events() as seen:
        made.strategy.select(made.pool)
        assert current_context() == {}
    assert seen.contexts == [{}]
    assert set(vars(seen.records[0])) >= {*ALL, "candidates"}


def test_a_suppressed_event_still_binds() -> None:
    """Where INFO is off nothing is logged, and the records of higher levels have the proxy."""
    with rotator(fine) as made, events(level=logging.WARNING) as seen, context(request_id="mine"):
        made.strategy.select(made.pool)
        assert set(current_context()) >= ALL
    assert seen.names() == []


def test_credentials_stay_out_of_event_and_context() -> None:
    """Whether they stand in the proxy's URL or beside it."""
    from proxywhirl import Proxy
    from pydantic import SecretStr

    secret: Any = {"username": SecretStr("someone"), "password": SecretStr("sesame")}
    named = Proxy(url="http://10.0.0.2:2", allow_local=True, **secret)
    with rotator(fine, proxies=[*proxies("http://someone:sesame@127.0.0.1:1"), named]) as made, events() as seen:
        for _ in range(2):
            made.get("http://127.0.0.1/")
    assert [told["proxy_url"] for told in seen.contexts] == ["http://***:***@127.0.0.1:1", "http://10.0.0.2:2"]
    everything = f"{[vars(record) for record in seen.records]} {seen.contexts}"
    assert "sesame" not in everything
    assert "someone" not in everything


class Hostile:
    """A proxy whose attributes do what they like."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


def odd_proxies() -> dict[str, Any]:
    """What strategies of applications may answer, for all that they are told."""
    return {
        "nothing": None,
        "text": "a proxy",
        "raises": Hostile(),
        "unhashable": Hostile(id=[], url="http://h:1", source="user"),
        "in part": Hostile(id=1, url="http://h:1"),
    }


@pytest.mark.parametrize("name", list(odd_proxies()))
def test_whatever_a_strategy_answers_reaches_the_caller(name: str) -> None:
    """What is no proxy is passed on, and neither bound nor told."""
    proxy = odd_proxies()[name]

    class Odd(Stubborn):
        def select(self, pool: Any, context: Any = None) -> Any:
            return proxy

    with rotator(fine, strategy=Odd()) as made, events() as seen, context(request_id="mine"):
        assert made.strategy.select(object()) is proxy
        assert current_context() == {"request_id": "mine"}
    assert seen.names() == []


def test_what_a_strategy_raises_reaches_the_caller() -> None:
    """The error is the application's own, and nothing is told."""

    class Failing(Stubborn):
        def select(self, pool: Any, context: Any = None) -> Any:
            raise LookupError("none today")

    with rotator(fine, strategy=Failing()) as made, events() as seen, pytest.raises(LookupError, match="none today"):
        made.strategy.select(made.pool)
    assert seen.names() == []


def test_a_handler_that_raises_does_not_reach_the_request() -> None:
    """Whatever handlers of the application do with an event, the request goes on."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("broken")

    broken = Broken()
    with rotator(fine) as made, events() as seen:
        logging.getLogger("proxywhirl").addHandler(broken)
        try:
            assert made.get("http://127.0.0.1/").status_code == 200
        finally:
            logging.getLogger("proxywhirl").removeHandler(broken)
    assert seen.names() == ["proxy_selected"]


def test_public_only_tells_of_a_failed_async_request_by_its_result() -> None:
    """Without private names a failure is told once, by the result that the strategy gets, with its error."""
    import httpx

    def refused(request: Any) -> int:
        raise httpx.ConnectError("refused")

    install(public_only=True)

    async def work() -> None:
        async with async_rotator(refused, retries=3) as made:
            await made.get("http://127.0.0.1/")

    from proxywhirl.exceptions import ProxyConnectionError

    with events() as seen, pytest.raises(ProxyConnectionError):
        asyncio.run(work())
    assert seen.names() == ["proxy_selected", "attempt_failed"]
    told = seen.last("attempt_failed")
    assert (told["error"], told["funcName"]) == ("httpx.ConnectError: refused", "_make_request")
    assert set(told) >= {*ALL, "request_id"}


def test_a_mock_in_the_place_of_a_strategy_is_asked_through_the_rotator() -> None:
    """As tests do: a whole one, and one for the method alone; its selections are told of all the same."""
    from unittest.mock import Mock, patch

    pool = proxies()
    with rotator(fine, proxies=pool, strategy=Mock()) as made, events() as seen:
        made.strategy.select.return_value = pool[0]
        made.get("http://127.0.0.1/")
        made.strategy.select.assert_called_once()
        made.strategy.record_result.assert_called_once()
        made.set_strategy("random")
        with patch.object(made.strategy, "select", return_value=pool[1]):
            made.get("http://127.0.0.1/")
            made.strategy.select.assert_called_once()
        made.get("http://127.0.0.1/")
        assert "select" not in vars(vars(made)["strategy"])
    assert seen.names() == ["proxy_selected"] * 3
    assert [where["proxy_id"] for where in seen.contexts[:2]] == [str(each.id) for each in pool]
    assert {record.funcName for record in seen.records} == {"_select_proxy_with_circuit_breaker"}


def test_a_watch_can_be_referred_to_weakly() -> None:
    """What keeps strategies as weak keys raises nothing."""
    with rotator(fine) as made:
        watch = made.strategy
        assert weakref.ref(watch)() is watch
