"""The server that the workers' requests are for: quick and slow paths, one that is often busy, one that sets a cookie.

=========== =======================================================================
``/``       200 at once
``/slow``   200 after 30 to 120 ms
``/busy``   503, and 200 on every second call: a retry helps
``/login``  200 with a ``Set-Cookie`` that holds a secret
``/search`` 200; called with a secret ``api_key`` in its query
``/items``  201 to a POST
=========== =======================================================================
"""

from __future__ import annotations

import asyncio
import random
from http import HTTPStatus
from itertools import count
from urllib.parse import urlsplit

from scripts.demo.http import Request, Response, text

#: Seconds that ``/slow`` takes, from and to.
SLOW_SECONDS = (0.03, 0.12)


class Target:
    """The handler of the target server; ``cookie`` is the secret that ``/login`` hands out."""

    def __init__(self, cookie: str) -> None:
        self._cookie = cookie
        self._busy = count()

    async def __call__(self, request: Request) -> Response:
        """The response to one request."""
        path = urlsplit(request.target).path
        if path in ("/", "/search"):
            return text(HTTPStatus.OK, "ok\n")
        if path == "/slow":
            await asyncio.sleep(random.uniform(*SLOW_SECONDS))
            return text(HTTPStatus.OK, "ok, at last\n")
        if path == "/busy":
            busy = next(self._busy) % 2 == 0
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "busy\n") if busy else text(HTTPStatus.OK, "ok\n")
        if path == "/login":
            return text(HTTPStatus.OK, "welcome\n", [("Set-Cookie", f"session={self._cookie}; HttpOnly; Path=/")])
        if path == "/items" and request.method == "POST":
            return text(HTTPStatus.CREATED, f"{len(request.body)} bytes\n")
        return text(HTTPStatus.NOT_FOUND, "no such path\n")
