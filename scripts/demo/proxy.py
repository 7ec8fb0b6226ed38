"""A forward proxy for plain HTTP on loopback: open, or with Basic authentication.

It forwards to loopback addresses only, and resolves no name: whatever a worker asks for, no packet leaves the
machine.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import ipaddress
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import SplitResult, urlsplit

from scripts.demo.http import Headers, HttpError, Request, Response, read_response, text

#: Seconds that the connection to the upstream may take.
CONNECT_SECONDS = 5.0

#: Headers that concern one connection only, and end here.
_HOP_BY_HOP = frozenset(
    {"connection", "proxy-connection", "keep-alive", "proxy-authorization", "proxy-authenticate", "te", "upgrade"}
)


class Proxy:
    """The handler of a proxy server. With ``credentials`` (user, password) it answers 407 to whoever lacks them."""

    def __init__(self, name: str, credentials: tuple[str, str] | None = None) -> None:
        self._name = name
        self._expected = None if credentials is None else basic(*credentials)

    async def __call__(self, request: Request) -> Response:
        """The upstream's response, or the proxy's own refusal: 400, 403, 405, 407, 502 or 504."""
        if self._expected is not None and not self._authorised(request):
            challenge = [("Proxy-Authenticate", f'Basic realm="{self._name}"')]
            return text(HTTPStatus.PROXY_AUTHENTICATION_REQUIRED, "credentials, please\n", challenge)
        if request.method == "CONNECT":
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "this proxy forwards plain HTTP only\n")
        upstream = urlsplit(request.target)
        if upstream.scheme != "http" or not upstream.hostname:
            return text(HTTPStatus.BAD_REQUEST, "expected METHOD http://HOST:PORT/PATH\n")
        if not is_loopback(upstream.hostname):
            return text(HTTPStatus.FORBIDDEN, "this proxy forwards to loopback addresses only\n")
        try:
            return await self._forward(request, upstream)
        except TimeoutError:
            return text(HTTPStatus.GATEWAY_TIMEOUT, "the upstream did not answer in time\n")
        except (OSError, HttpError, asyncio.IncompleteReadError, ValueError) as error:
            return text(HTTPStatus.BAD_GATEWAY, f"the upstream failed: {error}\n")

    def _authorised(self, request: Request) -> bool:
        given = request.header("proxy-authorization") or ""
        return hmac.compare_digest(given.encode("latin-1"), (self._expected or "").encode())

    async def _forward(self, request: Request, upstream: SplitResult) -> Response:
        async with asyncio.timeout(CONNECT_SECONDS):
            host = "127.0.0.1" if upstream.hostname == "localhost" else upstream.hostname
            reader, writer = await asyncio.open_connection(host, upstream.port or 80)
        try:
            path = (upstream.path or "/") + (f"?{upstream.query}" if upstream.query else "")
            headers = [*_end_to_end(request.headers), ("Via", f"1.1 {self._name}"), ("Connection", "close")]
            writer.write(replace(request, target=path, headers=headers).pack())
            await writer.drain()
            response = await read_response(reader)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
        return replace(response, headers=[*_end_to_end(response.headers), ("Via", f"1.1 {self._name}")])


def basic(user: str, password: str) -> str:
    """The value of an Authorization or Proxy-Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def is_loopback(host: str) -> bool:
    """Whether a host is ``localhost`` or a literal loopback address; every other name is not, without a look-up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _end_to_end(headers: Headers) -> Headers:
    return [(key, value) for key, value in headers if key.lower() not in _HOP_BY_HOP]
