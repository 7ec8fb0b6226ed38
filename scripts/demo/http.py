"""HTTP/1.1 for the demo's servers: requests and responses with a Content-Length, nothing else, over asyncio streams.

Enough for httpx as a client, and strict: what is too big, chunked or malformed is refused, and every read has a
deadline, so that a server of the demo can't be held by one connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

#: Bytes of a head (start line and headers), and of a body, that are read at most.
MAX_HEAD_BYTES = 32 * 1024
MAX_BODY_BYTES = 256 * 1024
#: Seconds that one message may take to arrive, and that an idle connection is kept.
READ_SECONDS = 10.0
IDLE_SECONDS = 60.0
#: Connections that one server holds at a time; the next one is closed at once.
MAX_CONNECTIONS = 256

Headers = list[tuple[str, str]]


class HttpError(Exception):
    """Raised when bytes are not a message that is read here; ``status`` is what a server answers."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One request; ``target`` as it stood on the start line (a path, or a whole URL to a proxy)."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first value of a header, by any case, or None."""
        return _first(self.headers, name)

    def pack(self) -> bytes:
        """The request as bytes, with its Content-Length."""
        return _pack(f"{self.method} {self.target} HTTP/1.1", self.headers, self.body)


@dataclass(frozen=True, slots=True)
class Response:
    """One response; Content-Length is added by :meth:`pack`."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""

    def pack(self) -> bytes:
        """The response as bytes, with its Content-Length."""
        phrase = HTTPStatus(self.status).phrase if self.status in HTTPStatus._value2member_map_ else "Status"
        return _pack(f"HTTP/1.1 {self.status} {phrase}", self.headers, self.body)


Handler = Callable[[Request], Awaitable[Response]]


def text(status: HTTPStatus, body: str, headers: Headers | None = None) -> Response:
    """A response of plain text."""
    return Response(status, [("Content-Type", "text/plain; charset=utf-8"), *(headers or [])], body.encode())


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection, or None at its end. Raises HttpError, TimeoutError."""
    head = await _head(reader, IDLE_SECONDS)
    if head is None:
        return None
    start, headers = head
    parts = start.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise HttpError(HTTPStatus.BAD_REQUEST, f"expected METHOD TARGET HTTP/1.1, found {start!r}")
    return Request(parts[0], parts[1], headers, await _body(reader, headers))


async def read_response(reader: asyncio.StreamReader) -> Response:
    """The next response of a connection. Raises HttpError, TimeoutError, ConnectionError."""
    head = await _head(reader, READ_SECONDS)
    if head is None:
        raise ConnectionResetError("the server closed the connection before its response")
    start, headers = head
    parts = start.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
        raise HttpError(HTTPStatus.BAD_GATEWAY, f"expected HTTP/1.1 STATUS, found {start!r}")
    return Response(int(parts[1]), headers, await _body(reader, headers))


class Server:
    """A server on one port of 127.0.0.1, which answers each request with what ``handler`` returns."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listens on the port (0: any free one); the port that it is. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=MAX_HEAD_BYTES)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Closes the port and every connection."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A plain function, not a coroutine: the task is ours, so that stop() can wait for it.
        if len(self._connections) >= MAX_CONNECTIONS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_request(reader)) is not None:
                writer.write((await self._handler(request)).pack())
                await writer.drain()
        except HttpError as error:
            writer.write(text(error.status, f"{error}\n", [("Connection", "close")]).pack())
            with suppress(ConnectionError):
                await writer.drain()
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            pass  # the client has gone, or was too slow: nobody is left to answer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _head(reader: asyncio.StreamReader, seconds: float) -> tuple[str, Headers] | None:
    try:
        async with asyncio.timeout(seconds):
            raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    except asyncio.LimitOverrunError as error:
        message = f"the head has more than {MAX_HEAD_BYTES} bytes"
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, message) from error
    start, *lines = raw[:-4].decode("latin-1").split("\r\n")
    headers: Headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip() or not name:
            raise HttpError(HTTPStatus.BAD_REQUEST, f"expected NAME: VALUE, found {len(line)} characters without")
        headers.append((name, value.strip()))
    return start, headers


async def _body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    if _first(headers, "transfer-encoding"):
        raise HttpError(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length, found a Transfer-Encoding")
    length = _first(headers, "content-length") or "0"
    if not (length.isascii() and length.isdigit()):
        raise HttpError(HTTPStatus.BAD_REQUEST, f"expected a Content-Length in digits, found {length!r}")
    if int(length) > MAX_BODY_BYTES:
        message = f"expected a body of at most {MAX_BODY_BYTES} bytes, found {length}"
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    async with asyncio.timeout(READ_SECONDS):
        return await reader.readexactly(int(length))


def _first(headers: Headers, name: str) -> str | None:
    return next((value for key, value in headers if key.lower() == name), None)


def _pack(start: str, headers: Headers, body: bytes) -> bytes:
    kept = [f"{key}: {value}" for key, value in headers if key.lower() != "content-length"]
    return "\r\n".join([start, *kept, f"Content-Length: {len(body)}", "", ""]).encode("latin-1") + body
