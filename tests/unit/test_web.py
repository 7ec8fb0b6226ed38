"""The two pages over HTTP: what is answered, and what a rude client can't do."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest

from logbus.collectors import web
from logbus.collectors.web import MAX_CONNECTIONS, MAX_REQUEST_BYTES, Answer, WebServer, text
from logbus.errors import ConfigurationError, OwnedError
from tests.eventually import eventually

BIG = 4 * 1024 * 1024


def _broken() -> Answer:
    raise RuntimeError("secret")


@pytest.fixture
def server() -> Iterator[WebServer]:
    """A server with four pages."""
    pages = {
        "/metrics": lambda: text(HTTPStatus.OK, "metrics"),
        "/healthz": lambda: text(HTTPStatus.SERVICE_UNAVAILABLE, "unable"),
        "/big": lambda: text(HTTPStatus.OK, "x" * BIG),
        "/broken": _broken,
    }
    with closing(WebServer("127.0.0.1:0", pages)) as server:
        yield server


def connect(server: WebServer) -> socket.socket:
    """A connection to a server."""
    parts = urlsplit(server.url)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def ask(server: WebServer, method: str, path: str, body: bytes | None = None) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of an answer."""
    parts = urlsplit(server.url)
    assert parts.hostname is not None
    with closing(http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)) as client:
        client.request(method, path, body)
        answer = client.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())


def said(server: WebServer, request: bytes) -> bytes:
    """All that comes after some bytes."""
    with connect(server) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/metrics", 200, "metrics\n"),
        ("GET", "/metrics?x=1", 200, "metrics\n"),
        ("HEAD", "/metrics", 200, ""),
        ("GET", "/healthz", 503, "unable\n"),
        ("HEAD", "/healthz", 503, ""),
        ("GET", "/", 404, "Not Found\n"),
        ("GET", "/metrics/../etc", 404, "Not Found\n"),
        ("HEAD", "/nothing", 404, ""),
        ("POST", "/metrics", 405, "Method Not Allowed\n"),
        ("OPTIONS", "/healthz", 405, "Method Not Allowed\n"),
        ("GET", "/broken", 500, "RuntimeError\n"),
    ],
)
def test_what_is_answered(server: WebServer, method: str, path: str, status: int, body: str) -> None:
    """Two methods and the pages that there are; each answer says its length and ends its connection."""
    answer = ask(server, method, path, b"body" if method == "POST" else None)
    assert answer[:2] == (status, body)
    assert answer[2]["Connection"] == "close"
    assert int(answer[2]["Content-Length"]) >= len(body)
    if status == 405:
        assert answer[2]["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /metrics HTTP/1.0\r\n\r\n", b"200"),
        (b"GET /metrics HTTP/1.1\nHost: x\n\n", b"200"),
        (b"GET /metrics HTTP/2.0\r\n\r\n", b"400"),
        (b"GET /metrics\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x00\xff\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MAX_REQUEST_BYTES, b"431"),
    ],
)
def test_what_is_no_request_is_refused(server: WebServer, request_: bytes, status: bytes) -> None:
    """By a status, whatever came; and the server goes on."""
    assert said(server, request_).startswith(b"HTTP/1.1 " + status)
    assert ask(server, "GET", "/metrics")[0] == 200


def test_a_long_answer_comes_whole(server: WebServer) -> None:
    """Also to who reads slowly: nobody else waits meanwhile."""
    with connect(server) as slow:
        slow.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        assert slow.recv(10)
        assert ask(server, "GET", "/metrics")[0] == 200
        rest = b"".join(iter(lambda: slow.recv(65536), b""))
    assert rest.endswith(b"\r\n\r\n" + b"x" * BIG + b"\n")


def test_idle_connections_keep_nobody_out(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all places are taken the oldest makes room, long before its deadline; no thread is made for any."""
    monkeypatch.setattr(web, "DEADLINE_S", 600.0)
    threads = threading.active_count()
    idle = []
    for _ in range(2 * MAX_CONNECTIONS):
        client = connect(server)
        client.sendall(b"GET /metrics HT")
        idle.append(client)
    assert ask(server, "GET", "/metrics")[:2] == (200, "metrics\n")
    assert idle[0].recv(1) == b""
    assert threading.active_count() == threads
    for client in idle:
        client.close()


def test_a_connection_has_a_deadline(server: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a whole: a byte now and then does not move it."""
    monkeypatch.setattr(web, "DEADLINE_S", 0.2)
    with connect(server) as slow:

        def ended() -> bool:
            try:
                slow.sendall(b"x")
                slow.settimeout(0.05)
                return slow.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        eventually(ended)


def test_who_goes_away_leaves_nothing(server: WebServer) -> None:
    """In the middle of a request or of an answer."""
    for _ in range(2 * MAX_CONNECTIONS):
        with connect(server) as client:
            client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
        with connect(server) as client:
            client.sendall(b"GET")
    assert ask(server, "GET", "/metrics")[0] == 200
    eventually(lambda: not server._connections)


def test_an_end_ends_connections(server: WebServer) -> None:
    """A client that waits learns it; the address is free again."""
    with connect(server) as client:
        eventually(lambda: server._connections)
        server.close()
        assert client.recv(1) == b""
    with closing(WebServer(urlsplit(server.url).netloc, {})) as successor:
        assert successor.url == server.url


@pytest.mark.parametrize(
    ("address", "exposed"), [("127.0.0.1:0", False), ("localhost:0", False), ("[::1]:0", False), ("0.0.0.0:0", True)]
)
def test_who_can_reach_it(address: str, exposed: bool) -> None:
    """Loopback is this machine; anything else is said to be exposed."""
    try:
        server = WebServer(address, {"/": lambda: text(HTTPStatus.OK, "here")})
    except ConfigurationError:
        if "::" in address:
            pytest.skip("no IPv6 here")
        raise
    with closing(server):
        assert server.exposed is exposed
        assert ask(server, "GET", "/")[0] == 200


def test_an_address_in_use_has_an_owner(server: WebServer) -> None:
    """As an endpoint has; the error names it."""
    address = urlsplit(server.url).netloc
    with pytest.raises(OwnedError, match=f"metrics address {address} is owned by another process"):
        WebServer(address, {})


@pytest.mark.parametrize("address", ["nohost.invalid:1", "192.0.2.1:0", "host", ":80", "127.0.0.1:99999"])
def test_an_address_that_can_not_be_had_is_named(address: str) -> None:
    """With the setting, and what the system says."""
    with pytest.raises(ConfigurationError, match=r"metrics\.address: ") as refused:
        WebServer(address, {})
    assert address in str(refused.value)
