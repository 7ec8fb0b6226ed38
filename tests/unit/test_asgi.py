"""The ASGI middleware with raw callables."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

from logbus.errors import ConfigurationError
from logbus.integrations.asgi import RequestContextMiddleware
from logbus.producers.context import active, context
from tests.kept import Kept
from tests.requested import events, listen, log, told


@pytest.fixture(autouse=True)
def listening(kept: Kept) -> None:
    """Everything that is logged."""
    listen(kept)


def run(app: Any, **scope: Any) -> list[Any]:
    """What a raw application sends for one connection."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"type": "http", "method": "GET", "path": "/p", "query_string": b"secret=1", "headers": []} | scope
    asyncio.run(app(given, receive, send))
    return sent


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """A raw application that answers in two pieces."""
    log.info("answering")
    await send({"type": "http.response.start", "status": 201})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})
    log.info("answered")


def test_requests_at_the_same_time_are_kept_apart(kept: Kept) -> None:
    """Forty interleaved requests, each with records of its own id only; afterwards nothing is active."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            log.info(scope["path"])
            await asyncio.sleep(0)
        await answer(scope, receive, send)

    async def main() -> None:
        async def send(_: Any) -> None:
            await asyncio.sleep(0)

        scopes = [
            {"type": "http", "path": f"/{n}", "method": "GET", "headers": [(b"x-request-id", b"%d" % n)]}
            for n in range(40)
        ]
        await asyncio.gather(*(middleware(scope, None, send) for scope in scopes))
        assert active() is None

    middleware: Any = RequestContextMiddleware(app)
    asyncio.run(main())
    found = [(message, extra["request_id"]) for message, extra in told(kept) if message.startswith("/")]
    assert sorted(found) == sorted((f"/{n}", str(n)) for n in range(40) for _ in range(3))
    assert {extra["request_id"] for message, extra in told(kept) if message == "answered"} == set(map(str, range(40)))


def test_the_server_keeps_what_is_its_own() -> None:
    """Headers of the request and messages that pass are unchanged; the application's own header in the answer stays."""
    headers = [(b"X-Request-ID", b"bad\xff"), (b"x-request-id", b"second"), (b"host", b"h")]
    scope = {"headers": headers, "state": {}}
    opening = {"type": "http.response.start", "status": 200, "headers": [(b"x-request-id", b"own")]}
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append({**scope})
        await send(opening)

    assert run(RequestContextMiddleware(app), **scope) == [opening]
    [inside] = seen
    assert inside["headers"] == [(b"host", b"h"), (b"x-request-id", b"second")]
    assert inside["state"] is scope["state"]
    assert len(headers) == 3
    [opened, *_] = run(RequestContextMiddleware(answer, header="X-Correlation"), headers=[(b"x-correlation", b"c")])
    assert opened["headers"] == [(b"x-correlation", b"c")]


@pytest.mark.parametrize("error", [None, KeyError])
def test_what_the_application_leaves_in_the_scope_is_there_outside(error: type[Exception] | None) -> None:
    """A middleware outside of ours finds the route, and the client's own headers; those that somebody else put stay."""
    headers = [(b"host", b"h")]
    scope: Any = {"type": "http", "method": "GET", "path": "/p", "headers": headers}
    others: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = "/{item}"
        if others:
            scope["headers"] = others
        if error is not None:
            raise error

    async def serve() -> None:
        with contextlib.suppress(KeyError):
            await RequestContextMiddleware(app)(scope, None, None)  # type: ignore[arg-type]

    asyncio.run(serve())
    assert scope["route"] == "/{item}"
    assert scope["headers"] is headers
    others.append((b"host", b"other"))
    asyncio.run(serve())
    assert scope["headers"] is others


def test_other_connections_are_none_of_ours() -> None:
    """Lifespan passes with the server's own scope, and without one of ours."""
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, active()))

    scope: Any = {"type": "lifespan"}
    asyncio.run(RequestContextMiddleware(app)(scope, None, None))  # type: ignore[arg-type]
    assert seen[0][0] is scope
    assert seen[0][1] is None


def test_access_records(kept: Kept) -> None:
    """The beginning, and the end with the last piece of the answer; the path without its query, the client's host."""
    run(RequestContextMiddleware(answer, log_requests=True), client=("10.0.0.1", 5))
    common = {"method": "GET", "path": "/p", "client": "10.0.0.1"}
    assert events(kept) == [
        {"event": "request_started", **common},
        {"event": "request_ended", **common, "status": 201},
    ]
    assert [entry.message.split(" in ")[0] for entry in kept.entries] == [
        "GET /p started",
        "answering",
        "GET /p 201",
        "answered",
    ]
    assert len({entry.extra["request_id"] for entry in kept.entries if entry.extra}) == 1
    run(RequestContextMiddleware(answer, log_requests=True, logger="shop.web"))
    assert len(events(kept, "shop.web")) == 2


def test_exceptions_pass_and_are_told(kept: Kept) -> None:
    """Before an answer as status 500, in the middle of one with the status that has gone out."""

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200})
        raise KeyError("secret")

    for path, status in (("/early", 500), ("/late", 200)):
        kept.entries.clear()
        with pytest.raises(KeyError):
            run(RequestContextMiddleware(fail, log_requests=True), path=path)
        assert events(kept)[1:] == [
            {"event": "request_ended", "method": "GET", "path": path, "status": status, "error": "KeyError"}
        ]


def test_what_the_server_logs_about_a_failure_is_of_the_request(kept: Kept) -> None:
    """It logs outside of the application, where no scope is open."""

    async def fail(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("secret")

    try:
        run(RequestContextMiddleware(fail), headers=[(b"x-request-id", b"r")])
    except KeyError:
        log.exception("failed")
    assert told(kept) == [("failed", {"request_id": "r", "operation": "http_request"})]


def test_clients_that_go_away(kept: Kept) -> None:
    """An answer that was given up, one that could not be sent, and a task that was cancelled."""

    async def give_up(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"

    async def cancelled(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        raise asyncio.CancelledError

    async def broken(_: Any) -> None:
        raise BrokenPipeError

    run(RequestContextMiddleware(give_up, log_requests=True))
    with pytest.raises(asyncio.CancelledError):
        run(RequestContextMiddleware(cancelled, log_requests=True))
    scope = {"type": "http", "method": "GET", "path": "/p", "headers": []}
    with pytest.raises(BrokenPipeError):
        asyncio.run(RequestContextMiddleware(answer, log_requests=True)(scope, None, broken))  # type: ignore[arg-type]
    common = {"event": "request_ended", "method": "GET", "path": "/p"}
    assert events(kept)[1::2] == [
        {**common, "error": "incomplete response"},
        {**common, "status": 200, "error": "asyncio.exceptions.CancelledError"},
        {**common, "status": 500, "error": "BrokenPipeError"},
    ]
    assert active() is None


def test_a_middleware_inside_another_one_is_of_the_same_request(kept: Kept) -> None:
    """The inner one finds the id of the outer one in the header, and adds nothing to the operation."""
    run(RequestContextMiddleware(RequestContextMiddleware(answer)), headers=[])
    ids = {extra["request_id"] for _, extra in told(kept)}
    assert len(ids) == 1
    assert all("operation_path" not in extra for _, extra in told(kept))


def test_nothing_of_the_server_is_inherited_but_other_fields(kept: Kept) -> None:
    """A server that was started inside a request serves requests of their own."""
    with context(request_id="of the start", service="shop"):
        run(RequestContextMiddleware(answer))
        run(RequestContextMiddleware(answer))
    ids = [extra["request_id"] for _, extra in told(kept)]
    assert len(set(ids) - {"of the start"}) == 2
    assert {extra["service"] for _, extra in told(kept)} == {"shop"}


@pytest.mark.parametrize(
    "break_it",
    [
        lambda scope: scope.pop("headers"),
        lambda scope: scope.update(headers=[(b"x-request-id", None)]),
        lambda scope: scope.update(headers=7),
    ],
)
def test_no_request_fails_for_anything_done_here(break_it: Callable[[Any], Any]) -> None:
    """A server that keeps to no specification: the application is called with what there is."""
    scope: Any = {"type": "http", "method": "GET", "path": "/p", "headers": []}
    break_it(scope)
    seen: list[Any] = []
    sent: list[Any] = []

    async def app(given: Any, receive: Any, send: Any) -> None:
        seen.append(given)
        await send({"type": "http.response.start", "status": 200, "headers": [("text", "text")]})

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(RequestContextMiddleware(app, log_requests=True)(scope, None, send))  # type: ignore[arg-type]
    assert seen == [scope]
    assert sent[0]["headers"] == [("text", "text")]


def test_what_access_records_need_is_needed_for_them_only(kept: Kept) -> None:
    """Without a path there are none, and the rest is as ever."""
    scope: Any = {"type": "http", "method": "GET", "headers": [(b"x-request-id", b"r")]}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(RequestContextMiddleware(answer, log_requests=True)(scope, None, send))  # type: ignore[arg-type]
    assert sent[0]["headers"] == [(b"x-request-id", b"r")]
    assert [extra["request_id"] for _, extra in told(kept)] == ["r", "r"]
    assert events(kept) == []


def test_a_failing_filter_of_the_application_breaks_no_request() -> None:
    """Logging may raise where the application has told it to."""

    def fail(_: logging.LogRecord) -> bool:
        raise ValueError

    logging.getLogger("requests").addFilter(fail)
    assert len(run(RequestContextMiddleware(answer, log_requests=True))) == 3


def test_a_header_that_is_none_is_refused_at_once() -> None:
    """With the name that was given."""
    with pytest.raises(ConfigurationError, match="'X Y'"):
        RequestContextMiddleware(answer, header="X Y")
