"""Health: changes of a proxy's status wherever they are made, and the results of checks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.integrations.proxywhirl import health, install, uninstall
from logbus.producers.context import context
from tests.real_proxywhirl import Events, events, needs_proxywhirl, proxies

pytestmark = needs_proxywhirl


@pytest.fixture(autouse=True)
def instrumented() -> Iterator[None]:
    """The package is instrumented, and given back."""
    install()
    yield
    uninstall()


@pytest.fixture
def seen() -> Iterator[Events]:
    """The events of the component."""
    with events("health") as kept:
        yield kept


def changes(seen: Events) -> list[tuple[str, str, str]]:
    """What was told of changes: before, after, and the level."""
    return [
        (record.__dict__["before"], record.__dict__["after"], record.levelname)
        for record in seen.records
        if record.__dict__["event"] == "health_changed"
    ]


def proxy(url: str = "http://user:secret@127.0.0.1:8001") -> Any:
    """One proxy."""
    return proxies(url)[0]


def test_a_proxy_s_way_down_and_up_is_told(seen: Events) -> None:
    """Each change once, louder the worse it is, by upstream's own rules; what stays as it is is no event."""
    found = proxy()
    found.record_success(3.0)
    found.record_success(3.0)
    for _ in range(6):
        found.record_failure("no")
    assert changes(seen) == [
        ("unknown", "healthy", "INFO"),
        ("healthy", "degraded", "WARNING"),
        ("degraded", "unhealthy", "WARNING"),
        ("unhealthy", "dead", "ERROR"),
    ]
    told = seen.last("health_changed")
    assert told["proxy_id"] == str(found.id)
    assert told["proxy_url"] == "http://***:***@127.0.0.1:8001"
    assert told["source"] == found.source.value
    assert (told["module"], told["funcName"]) == ("core", "record_failure")
    assert "secret" not in "".join(record.getMessage() for record in seen.records)


def test_whoever_sets_it_is_seen(seen: Events) -> None:
    """An assignment, setattr, a plain word: only what is another status now is a change."""
    from proxywhirl.models import HealthStatus

    found = proxy()
    found.health_status = HealthStatus.UNKNOWN
    found.health_status = HealthStatus.HEALTHY
    setattr(found, "health_status", HealthStatus.DEGRADED)  # noqa: B010
    found.health_status = "degraded"
    found.total_requests = 7
    assert [change[:2] for change in changes(seen)] == [("unknown", "healthy"), ("healthy", "degraded")]
    assert found.total_requests == 7


def test_making_a_proxy_is_no_change(seen: Events) -> None:
    """With a status from the start, validated or not, copied or read again."""
    from proxywhirl import Proxy
    from proxywhirl.models import HealthStatus

    found = Proxy(url="http://127.0.0.1:1", allow_local=True, health_status=HealthStatus.DEAD)
    found.model_copy(update={"health_status": HealthStatus.HEALTHY})
    Proxy.model_validate(found.model_dump())
    Proxy.model_construct(url="http://127.0.0.1:1", health_status=HealthStatus.DEAD)
    assert seen.names() == []


def test_a_refused_assignment_raises_as_ever(seen: Events) -> None:
    """What pydantic says is what the application gets, and there is no event."""
    found = proxy()
    with pytest.raises(ValueError, match="no_such_field"):
        found.no_such_field = 1
    assert seen.names() == []


def test_the_event_is_about_its_own_proxy(seen: Events) -> None:
    """In a request through another proxy, too."""
    found = proxy()
    with context(request_id="r", proxy_id="other", proxy_url="http://other:1", source="fetched"):
        found.record_success(1.0)
    told = seen.last("health_changed")
    assert (told["request_id"], told["proxy_id"], told["proxy_url"]) == (
        "r",
        str(found.id),
        "http://***:***@127.0.0.1:8001",
    )
    assert told["source"] == found.source.value


def test_a_handler_that_raises_does_not_reach_the_request(seen: Events) -> None:
    """The status is set, whatever the application's logging does."""

    class Broken(logging.Handler):
        """Raises, and does not let logging handle it."""

        def handle(self, record: logging.LogRecord) -> bool:
            """Raises."""
            raise RuntimeError("a handler of the application")

    broken = Broken()
    logging.getLogger("proxywhirl.health").addHandler(broken)
    try:
        found = proxy()
        found.record_success(1.0)
    finally:
        logging.getLogger("proxywhirl.health").removeHandler(broken)
    assert found.health_status.value == "healthy"


def test_below_the_level_nothing_is_told() -> None:
    """A dead proxy is told of at ERROR, a healthy one is not."""
    with events("health", level=logging.ERROR) as kept:
        found = proxy()
        found.record_success(1.0)
        for _ in range(5):
            found.record_failure()
    assert changes(kept) == [("unhealthy", "dead", "ERROR")]


def check(found: Any, url: str) -> Any:
    """What the API's own check says of a proxy."""
    from proxywhirl.api import core

    return asyncio.run(core._check_proxy_health(found, url, timeout=5.0))


def test_a_check_of_the_api_is_told_with_its_result(seen: Events, caplog: pytest.LogCaptureFixture) -> None:
    """A proxy that does not answer has failed, with the error; it is an operation of its own, or part of a request."""
    found = proxy("http://user:secret@127.0.0.1:1")
    assert check(found, "http://127.0.0.1:1/").status == "failed"
    told = seen.last("health_check")
    assert (told["levelname"], told["result"], told["operation"]) == ("WARNING", "failed", "health_check")
    assert told["error"]
    assert told["latency_ms"] >= 0
    assert told["proxy_url"] == "http://***:***@127.0.0.1:1"
    assert len(told["request_id"]) == 32
    with context(request_id="r", operation="api_request"):
        check(found, "http://127.0.0.1:1/")
    told = seen.last("health_check")
    assert (told["request_id"], told["operation_path"]) == ("r", "api_request/health_check")
    assert "secret" not in str([record.__dict__ for record in seen.records])


def test_a_check_of_the_validator_is_told(seen: Events) -> None:
    """Alone and in a batch, by the URL of which the password is masked; what has no URL has failed, too."""
    from proxywhirl.fetchers import ProxyValidator

    async def validate() -> list[Any]:
        async with ProxyValidator(timeout=1.0, test_url="http://127.0.0.1:1/") as validator:
            result = await validator.validate({"url": "http://user:secret@127.0.0.1:1"})
            await validator.validate_batch([{"url": "http://127.0.0.1:1"}, {"url": None}])
            return [result]

    (result,) = asyncio.run(validate())
    assert not result.is_valid
    assert sorted(str(record.__dict__["proxy_url"]) for record in seen.records) == [
        "***",
        "http://***:***@127.0.0.1:1",
        "http://127.0.0.1:1",
    ]
    assert {record.levelname for record in seen.records} == {"WARNING"}
    assert len({where["request_id"] for where in seen.contexts}) == 3


def test_public_only_leaves_private_checks_alone(seen: Events) -> None:
    """Changes and the validator are public; the API's check and the command line's are not."""
    assert [hook.name for hook in health.hooks(public_only=True)] == ["health changes", "validator's checks"]
    assert not any(hook.private for hook in health.hooks(public_only=True))
    install(public_only=True)
    found = proxy("http://127.0.0.1:1")
    found.record_success(1.0)
    check(found, "http://127.0.0.1:1/")
    assert seen.names() == ["health_changed"]


def test_uninstalled_it_tells_nothing_and_gives_all_back(seen: Events) -> None:
    """The class has no method of its own for setting attributes, as before."""
    from proxywhirl import Proxy
    from proxywhirl.models.core import ProxyStatus

    uninstall()
    proxy().record_success(1.0)
    assert seen.names() == []
    assert "__setattr__" not in vars(Proxy)
    assert "__init__" not in vars(ProxyStatus)


def test_a_wrapper_on_top_keeps_ours_silent_once_uninstalled(seen: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's wrapper leads through ours, which does nothing any more; installed anew, nothing comes twice."""
    from proxywhirl import Proxy

    ours = Proxy.__setattr__

    def theirs(self: Any, name: str, value: Any) -> None:
        ours(self, name, value)

    with monkeypatch.context() as patch:
        patch.setattr(Proxy, "__setattr__", theirs)
        uninstall()
        proxy().record_success(1.0)
        assert seen.names() == []
        install()
        proxy().record_success(1.0)
        assert seen.names() == ["health_changed"]
        uninstall()
