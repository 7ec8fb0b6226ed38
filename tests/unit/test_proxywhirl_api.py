"""proxywhirl's REST application: the outermost layer opens the scope, whenever the application was made."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from logbus.integrations.proxywhirl import install, uninstall
from logbus.producers.context import current_context
from logbus.producers.loguru import loguru_handler
from tests.kept import Kept
from tests.real_proxywhirl import Events, events, needs_proxywhirl, rotator

pytestmark = needs_proxywhirl


@pytest.fixture(autouse=True)
def instrumented() -> Iterator[None]:
    """The package is instrumented, and given back."""
    install()
    yield
    uninstall()


@pytest.fixture
def seen() -> Iterator[Events]:
    """The events of the API."""
    with events("api") as kept:
        yield kept


@pytest.fixture
def app() -> Iterator[Any]:
    """The application of the package, on a rotator without a network."""
    from proxywhirl.api import core

    with rotator(lambda request: 200) as made:
        core.app.dependency_overrides[core.get_rotator] = lambda: made
        yield core.app
    core.app.dependency_overrides.clear()


def ask(app: Any, method: str = "GET", path: str = "/api/v1/proxies", **options: Any) -> Any:
    """The answer of an application to one request, as a server would ask it."""
    import httpx

    async def request() -> Any:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.request(method, path, **options)

    return asyncio.run(request())


def test_start_and_end_are_told_with_the_client_s_id(app: Any, seen: Events) -> None:
    """Method, path without its query, status and duration; the answer has the id, too."""
    answer = ask(app, path="/api/v1/proxies?page=1&api_key=secret", headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.headers.get_list("x-request-id")) == (200, ["mine"])
    assert seen.names() == ["api_request_started", "api_request_ended"]
    for told in (seen.last("api_request_started"), seen.last("api_request_ended")):
        assert (told["method"], told["path"], told["name"]) == ("GET", "/api/v1/proxies", "proxywhirl.api")
        assert (told["request_id"], told["operation"]) == ("mine", "api_request")
        assert "secret" not in str(told)
    ended = seen.last("api_request_ended")
    assert ended["status"] == 200
    assert ended["duration_ms"] > 0
    assert current_context() == {}


@pytest.mark.parametrize("given", [{}, {"X-Request-ID": "x" * 129}, {"X-Request-ID": "a\tb"}], ids=["", "long", "tab"])
def test_without_a_usable_id_it_makes_one(app: Any, seen: Events, given: dict[str, str]) -> None:
    """One id for inside and outside, in the form of a trace id."""
    answer = ask(app, headers=given)
    identity = answer.headers["x-request-id"]
    assert (len(identity), int(identity, 16) > 0) == (32, True)
    assert {where["request_id"] for where in seen.contexts} == {identity}


def test_audit_lines_and_all_others_have_the_one_id(app: Any, seen: Events, kept: Kept) -> None:
    """Upstream's outermost middleware says "unknown" by itself where the client gives no id."""
    identity = logger.add(**loguru_handler(producer=kept.producer))
    try:
        answer = ask(app, "POST", json={"url": "http://proxy.example.com:3128"})
    finally:
        logger.remove(identity)
    audit = [entry for entry in kept.entries if entry.message.startswith("AUDIT")]
    assert len(audit) == 2
    ids = {(entry.extra or {}).get("request_id") for entry in kept.entries}
    assert ids == {answer.headers["x-request-id"]}


def test_an_internal_error_keeps_its_id(app: Any, seen: Events, kept: Kept) -> None:
    """The handler that logs it runs outside of all middleware, and inside of ours; the answer says the id."""
    from proxywhirl.api import core

    def broken() -> Any:
        raise RuntimeError("no rotator")

    core.app.dependency_overrides[core.get_rotator] = broken
    identity = logger.add(**loguru_handler(producer=kept.producer))
    try:
        answer = ask(app, headers={"X-Request-ID": "mine"})
    finally:
        logger.remove(identity)
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
    (entry,) = (entry for entry in kept.entries if entry.message.startswith("Internal server error"))
    assert entry.extra is not None
    assert entry.extra["request_id"] == "mine"
    assert seen.last("api_request_ended")["status"] == 500


def test_a_selection_is_bound_into_the_request(app: Any, seen: Events) -> None:
    """What comes after it has the proxy, and the strategy; the operation of the whole stays the API's."""
    from proxywhirl.api import core
    from proxywhirl.api.models import ProxiedRequest

    def allow(request_data: Any) -> Any:
        return request_data

    allow.__annotations__["request_data"] = ProxiedRequest
    core.app.dependency_overrides[core.validate_proxied_request_url] = allow
    with events("strategies") as selections:
        ask(app, "POST", "/api/v1/request", json={"url": "http://127.0.0.1:1/"}, headers={"X-Request-ID": "mine"})
    assert selections.names() == ["proxy_selected"] * 3
    told = selections.last("proxy_selected")
    assert (told["request_id"], told["operation"], told["strategy"]) == ("mine", "api_request", "round-robin")
    assert told["proxy_url"].startswith("http://127.0.0.1:")


def test_it_is_called_as_before(app: Any) -> None:
    """Servers look at how an application can be called: with nothing it raises at once, and is no factory."""
    with pytest.raises(TypeError, match="scope"):
        app()


def test_other_applications_are_left_alone(seen: Events) -> None:
    """Another FastAPI in the process gets no scope, no header and no events."""
    from fastapi import FastAPI

    other = FastAPI()
    found: list[Any] = []

    @other.get("/")
    def root() -> str:
        found.append(current_context())
        return "ok"

    answer = ask(other, path="/")
    assert (answer.status_code, found, seen.names()) == (200, [{}], [])
    assert "x-request-id" not in answer.headers


def test_an_application_that_already_serves_is_covered_and_given_back(app: Any, seen: Events) -> None:
    """Its layers were built before; installed, uninstalled and installed again, it follows at once."""
    from fastapi import FastAPI

    uninstall()
    original = FastAPI.__call__
    ask(app)
    assert seen.names() == []
    install(public_only=True)
    assert ask(app, headers={"X-Request-ID": "mine"}).status_code == 200
    assert seen.names() == ["api_request_started", "api_request_ended"]
    uninstall()
    ask(app)
    assert len(seen.records) == 2
    assert FastAPI.__call__ is original


def test_a_test_client_with_its_lifespan_works(app: Any, seen: Events) -> None:
    """Start and end of the server are no requests."""
    with warnings.catch_warnings():  # it would rather have another client
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient

    with TestClient(app) as client:
        assert client.get("/api/v1/proxies", headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"
    assert seen.names() == ["api_request_started", "api_request_ended"]
