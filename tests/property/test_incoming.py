"""Headers of any kind through the real middleware: what the application sees, what goes back, what the context says."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from hypothesis import given, strategies as st

from logbus.integrations import asgi, wsgi
from logbus.producers.context import active, current_context

NAMES = st.sampled_from([b"x-request-id", b"X-Request-Id", b"traceparent", b"host", b"x-other"])
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=140)
VALUES = st.one_of(
    PRINTABLE.map(str.encode),
    st.binary(max_size=20),
    st.just(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=5)


def expected(headers: list[tuple[bytes, bytes]]) -> str | None:
    """The id by the documented rule; None where a new one has to be made."""
    for name, value in headers:
        text = value.strip(b" \t")
        if name.lower() == b"x-request-id" and 1 <= len(text) <= 128 and all(0x20 <= byte <= 0x7E for byte in text):
            return text.decode()
    traces = [value.strip(b" \t") for name, value in headers if name == b"traceparent"]
    return (
        "4bf92f3577b34da6a3ce929d0e0e4736" if len(traces) == 1 and traces[0].endswith(b"-00f067aa0ba902b7-01") else None
    )


def check(found: str, wanted: str | None) -> None:
    """The id is the client's, or a new one."""
    assert found == wanted if wanted is not None else len(found) == 32 and found.isalnum()


@given(HEADERS, HEADERS)
def test_asgi(sent: list[tuple[bytes, bytes]], answered: list[tuple[bytes, bytes]]) -> None:
    """One valid id inside, the same in the context and in the answer (but for the application's own); nothing else."""
    seen: list[Any] = []
    messages: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["headers"], current_context()["request_id"]))
        await send({"type": "http.response.start", "status": 200, "headers": answered})

    async def receive() -> Any:
        raise AssertionError

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": sent}
    before = (list(sent), list(answered))
    asyncio.run(asgi.RequestContextMiddleware(app)(scope, receive, send))
    [(headers, request_id)] = seen
    check(request_id, expected(sent))
    pair = (b"x-request-id", request_id.encode())
    assert headers == [*((name, value) for name, value in sent if name.lower() != b"x-request-id"), pair]
    own = any(name.lower() == b"x-request-id" for name, _ in answered)
    assert messages[0]["headers"] == (answered if own else [*answered, pair])
    assert ((sent, answered), scope["headers"]) == (before, sent)
    assert active() is None


@given(HEADERS)
def test_wsgi(sent: list[tuple[bytes, bytes]]) -> None:
    """The same, with headers as PEP 3333 hands them over: one of each name, bytes as characters."""
    by_name = {name.lower(): value for name, value in sent}
    environ: dict[str, Any] = {"REQUEST_METHOD": "GET"}
    environ |= {f"HTTP_{n.decode().upper().replace('-', '_')}": v.decode("latin-1") for n, v in by_name.items()}
    seen: list[Any] = []
    answers: list[Any] = []

    def app(environ: Any, start_response: Any) -> Any:
        seen.append((environ["HTTP_X_REQUEST_ID"], current_context()["request_id"]))
        start_response("200 OK", [])
        return []

    def start_response(*answer: Any) -> None:
        answers.append(answer)

    assert contextvars.Context().run(wsgi.RequestContextMiddleware(app), environ, start_response) == []
    [(header, request_id)] = seen
    check(request_id, expected(list(by_name.items())))
    assert header == request_id
    assert answers == [("200 OK", [("X-Request-ID", request_id)])]
