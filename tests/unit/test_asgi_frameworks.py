"""The ASGI middleware in real applications of FastAPI and Starlette: their threads, tasks, streams and WebSockets.

Both come with the demo's packages (requirements/demo.lock). Without them these tests are skipped on a laptop, and fail
in CI.
"""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Any

import pytest

from logbus.integrations.asgi import RequestContextMiddleware
from logbus.producers.context import current_context
from tests.kept import Kept
from tests.requested import events, listen, log, told

HERE = find_spec("fastapi") is not None or "CI" in os.environ
if HERE:
    from fastapi import FastAPI
    from starlette.applications import Starlette
    from starlette.background import BackgroundTask
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket, WebSocketDisconnect

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have the successor of httpx
        from starlette.testclient import TestClient

pytestmark = pytest.mark.skipif(not HERE, reason="not installed: fastapi")

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(autouse=True)
def listening(kept: Kept) -> None:
    """Everything that is logged."""
    listen(kept)


def test_one_id_from_the_header_to_the_answer(kept: Kept) -> None:
    """On every record of the request, for whoever is inside, and back to the client."""
    app = FastAPI()

    @app.get("/sync")
    def in_the_thread_pool(request: Request) -> str:
        log.info("in a thread")
        return str(request.headers["x-request-id"])

    @app.get("/async")
    async def in_the_loop(request: Request) -> str:
        await asyncio.gather(asyncio.create_task(asyncio.sleep(0)), tell())
        return str(request.headers["x-request-id"])

    async def tell() -> None:
        log.info("in a task")

    app.add_middleware(RequestContextMiddleware)
    with TestClient(app) as client:
        for path in ("/sync", "/async"):
            answered = client.get(path, headers={"X-Request-ID": "from-client"})
            assert (answered.json(), answered.headers["x-request-id"]) == ("from-client", "from-client")
        new = client.get("/sync", headers={"traceparent": f"00-{TRACE}-{SPAN}-01"}).headers["x-request-id"]
    expected = {"request_id": "from-client", "operation": "http_request"}
    traced = {"request_id": TRACE, "operation": "http_request", "trace_id": TRACE, "span_id": SPAN}
    assert told(kept) == [("in a thread", expected), ("in a task", expected), ("in a thread", traced)]
    assert new == TRACE
    assert events(kept) == []


def test_streams_and_background_tasks_are_inside(kept: Kept) -> None:
    """What a generator logs, and what runs after the answer, carry the id; the end is that of the answer."""

    async def pieces() -> AsyncIterator[str]:
        for n in range(2):
            log.info("piece %d", n)
            yield str(n)

    def stream(_: Request) -> StreamingResponse:
        return StreamingResponse(pieces(), background=BackgroundTask(lambda: log.info("background")))

    app = Starlette(routes=[Route("/", stream)])
    with TestClient(RequestContextMiddleware(app, log_requests=True)) as client:
        assert client.get("/", headers={"x-request-id": "r"}).text == "01"
    order = [(entry.extra or {}).get("event", entry.message) for entry in kept.entries if entry.site[0] != "httpx"]
    assert order == ["request_started", "piece 0", "piece 1", "request_ended", "background"]
    assert {(entry.extra or {})["request_id"] for entry in kept.entries if entry.site[0] != "httpx"} == {"r"}


def test_websockets(kept: Kept) -> None:
    """A connection is one request from the handshake to its end, whoever closes; a refusal is told as one."""

    async def talk(socket: WebSocket) -> None:
        if socket.url.path == "/refused":
            await socket.close()
            return
        await socket.accept()
        log.info("heard %s", await socket.receive_text())
        if socket.url.path == "/closed":
            await socket.close()

    app: Any = Starlette(routes=[WebSocketRoute(f"/{path}", talk) for path in ("closed", "left", "refused")])
    client = TestClient(RequestContextMiddleware(app, log_requests=True))
    for path in ("/closed", "/left"):
        with client.websocket_connect(path, headers={"x-request-id": path}) as socket:
            answered: Any = socket.extra_headers
            assert answered == [(b"x-request-id", path.encode())]
            socket.send_text("hello")
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/refused"):
        pass
    assert [(message, extra["request_id"], extra["operation"]) for message, extra in told(kept)] == [
        ("heard hello", path, "websocket") for path in ("/closed", "/left")
    ]
    assert [(event["path"], event.get("status"), event.get("error")) for event in events(kept)] == [
        ("/closed", None, None),
        ("/closed", 101, None),
        ("/left", None, None),
        ("/left", 101, None),
        ("/refused", None, None),
        ("/refused", 403, None),
    ]


def test_responses_of_a_framework_have_the_header_too() -> None:
    """Those for errors and missing pages are no exception."""

    async def fail(_: Request) -> PlainTextResponse:
        raise KeyError

    app = RequestContextMiddleware(Starlette(routes=[Route("/fail", fail)]))
    client = TestClient(app, raise_server_exceptions=False)
    for path, status in (("/none", 404), ("/fail", 500)):
        answered = client.get(path, headers={"x-request-id": "r"})
        assert (answered.status_code, answered.headers["x-request-id"]) == (status, "r")
    assert current_context() == {}
