"""A web application under test, for WSGI and for ASGI: each request logs some records and says who has served it.

``/25`` logs 25 records through the witness, and one at level DEBUG, and answers ``{"pid": …, "detail": …}``, the latter
being the message of that. With ``SERVICE_CONFIGURE`` set the application calls logbus.configure(), else it configures
nothing: what it logs reaches logbus by the way in which it was started.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from tests.programs.witness import LANE

if os.environ.get("SERVICE_CONFIGURE"):
    import logbus

    logbus.configure()

log = logging.getLogger("shop.till")
details = logging.getLogger("shop.details")
_numbers = itertools.count()


def serve(path: str) -> bytes:
    """Logs as the path says; the body of the answer."""
    for _ in range(int(path.strip("/"))):
        LANE.log(log)
    pid = os.getpid()
    detail = f"detail {next(_numbers)} of {pid}"
    details.debug(detail)
    return json.dumps({"pid": pid, "detail": detail}).encode()


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
    """The application for gunicorn."""
    body = serve(environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


async def asgi(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The application for uvicorn."""
    if scope["type"] != "http":
        return
    body = serve(scope["path"])
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
