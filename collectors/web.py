"""The two pages of a collector, ``/metrics`` and ``/healthz``, over HTTP.

One thread serves every connection, without waiting for any: a client that sends its request byte by byte, or reads
its answer so, holds a place and nothing else. A connection has a deadline as a whole, and when all places are taken
the oldest one makes room, so that nobody can keep a scrape out. A request is its first line; headers are read and
not looked at, a body is not read, and every answer ends its connection.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from logbus.errors import ConfigurationError, OwnedError

#: Connections at a time.
MAX_CONNECTIONS: Final = 16
#: Connections that the system keeps until they are accepted; beyond them a client tries again after a second.
BACKLOG: Final = 128
#: Bytes of a request up to the end of its headers.
MAX_REQUEST_BYTES: Final = 8 * 1024
#: Seconds from the beginning of a connection to its end.
DEADLINE_S: Final = 5.0
#: Seconds before the next try where the system refuses a connection, as it does when descriptors are short.
PAUSE_S: Final = 0.1

#: The status, the type and the text of a page.
Answer = tuple[HTTPStatus, str, bytes]
_TEXT: Final = "text/plain; charset=utf-8"


@dataclass(slots=True, eq=False)
class _Connection:
    socket: socket.socket
    deadline: float
    request: bytearray = field(default_factory=bytearray)
    #: What is still to be sent; None while the request is read.
    answer: memoryview | None = None


class WebServer:
    """Serves ``pages``, by path, on an ``address`` (HOST:PORT) until it is closed; ``url`` is where.

    A page is asked for on the server's thread. Raises OwnedError when somebody has the address, ConfigurationError
    when it can't be had.
    """

    def __init__(self, address: str, pages: dict[str, Callable[[], Answer]]) -> None:
        self._pages = pages
        self._listener = _listener(address)
        host, port = self._listener.getsockname()[:2]
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        #: Whether others than this machine can reach it.
        self.exposed = not ipaddress.ip_address(host.partition("%")[0]).is_loopback
        self._wake, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake, selectors.EVENT_READ)
        #: The oldest first.
        self._connections: list[_Connection] = []
        self._thread = threading.Thread(target=self._run, name="logbus-metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends every connection and gives the address up."""
        self._waker.close()
        self._thread.join()
        for connection in list(self._connections):
            self._end(connection)
        self._selector.close()
        self._listener.close()
        self._wake.close()

    def _run(self) -> None:
        while True:
            left = self._connections[0].deadline - time.monotonic() if self._connections else None
            for key, _ in self._selector.select(None if left is None else max(0.0, left)):
                if key.fileobj is self._wake:
                    return
                if key.fileobj is self._listener:
                    self._accept()
                elif key.data in self._connections:  # unless it has just made room
                    self._go_on(key.data)
            now = time.monotonic()
            while self._connections and self._connections[0].deadline <= now:
                self._end(self._connections[0])

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:
            time.sleep(PAUSE_S)
            return
        accepted.setblocking(False)
        if len(self._connections) >= MAX_CONNECTIONS:
            self._end(self._connections[0])
        connection = _Connection(accepted, time.monotonic() + DEADLINE_S)
        self._connections.append(connection)
        self._selector.register(accepted, selectors.EVENT_READ, connection)

    def _go_on(self, connection: _Connection) -> None:
        """Reads or writes as much as goes at once."""
        try:
            if connection.answer is None:
                self._read(connection)
            else:
                connection.answer = connection.answer[connection.socket.send(connection.answer) :]
                if not connection.answer:
                    connection.socket.shutdown(socket.SHUT_WR)
                    self._end(connection)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # who asked has gone
            self._end(connection)

    def _read(self, connection: _Connection) -> None:
        read = connection.socket.recv(MAX_REQUEST_BYTES)
        connection.request += read
        request = bytes(connection.request)
        if b"\r\n\r\n" in request or b"\n\n" in request:
            answer = self._answer(request)
        elif len(request) > MAX_REQUEST_BYTES:
            answer = _packed(_words(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        elif not read:
            self._end(connection)
            return
        else:
            return
        connection.answer = memoryview(answer)
        self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)

    def _answer(self, request: bytes) -> bytes:
        words = request.split(b"\n", 1)[0].decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _packed(_words(HTTPStatus.BAD_REQUEST))
        method, path = words[0], words[1].partition("?")[0]
        page = self._pages.get(path)
        if page is None:
            return _packed(_words(HTTPStatus.NOT_FOUND), body=method != "HEAD")
        if method not in ("GET", "HEAD"):
            return _packed(_words(HTTPStatus.METHOD_NOT_ALLOWED), more="Allow: GET, HEAD\r\n")
        try:
            answer = page()
        except Exception as error:  # a defect of ours: the next scrape may find it gone, the server stays
            answer = (HTTPStatus.INTERNAL_SERVER_ERROR, _TEXT, f"{type(error).__name__}\n".encode())
        return _packed(answer, body=method == "GET")

    def _end(self, connection: _Connection) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection.socket)
        connection.socket.close()


def text(status: HTTPStatus, line: str) -> Answer:
    """A page of one line of text."""
    return status, _TEXT, f"{line}\n".encode("utf-8", "backslashreplace")


def _words(status: HTTPStatus) -> Answer:
    return text(status, status.phrase)


def _packed(answer: Answer, *, body: bool = True, more: str = "") -> bytes:
    status, kind, content = answer
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
        f"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode() + (content if body else b"")


def _listener(address: str) -> socket.socket:
    where = f"metrics.address: {address!r}"
    try:
        parts = urlsplit(f"//{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if host is None or port is None:
        raise ConfigurationError([f"{where}: expected HOST:PORT"])
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        # A port of a collector that has just ended is free; one that somebody listens on is not, this or not.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(BACKLOG)
    except OSError as error:
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.close()
        if error.errno == errno.EADDRINUSE:
            raise OwnedError(f"metrics address {address}", name=None, pid=None) from error
        reason = error.strerror or os.strerror(error.errno or 0)
        raise ConfigurationError([f"{where}: can't be bound: {reason}"]) from error
    listener.setblocking(False)
    return listener
