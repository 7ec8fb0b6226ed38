"""The demo's servers: the proxies let no credentials and no upstream through that they shouldn't."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from scripts.demo.http import Headers, Request, Response, Server, read_response
from scripts.demo.proxy import Proxy, basic, is_loopback
from scripts.demo.scene import Scene
from scripts.demo.services import serve
from scripts.demo.target import Target

CREDENTIALS = ("scout", "p@ss/word")


async def _ask(port: int, raw: bytes) -> Response:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        return await read_response(reader)
    finally:
        writer.close()
        await writer.wait_closed()


def _through(
    target: str, *, method: str = "GET", headers: Headers | None = None, credentials: tuple[str, str] | None = None
) -> Response:
    """The response to one request through a proxy in front of a target; ``TARGET`` stands for its address."""

    async def ask() -> Response:
        async with AsyncExitStack() as stack:
            upstream, proxy = Server(Target("a-cookie")), Server(Proxy("test", credentials))
            stack.push_async_callback(upstream.stop)
            stack.push_async_callback(proxy.stop)
            address = f"127.0.0.1:{await upstream.start()}"
            request = Request(method, target.replace("TARGET", address), [("Host", address), *(headers or [])], b"")
            return await _ask(await proxy.start(), request.pack())

    return asyncio.run(ask())


def test_open_proxy_forwards_to_the_target() -> None:
    """An open proxy gives the target's response and says in Via that it was there."""
    response = _through("http://TARGET/login")
    assert response.status == 200
    assert response.body == b"welcome\n"
    assert ("Via", "1.1 test") in response.headers
    assert ("Set-Cookie", "session=a-cookie; HttpOnly; Path=/") in response.headers


@pytest.mark.parametrize("given", [None, basic("scout", "wrong"), basic("someone", "p@ss/word"), "Basic", "Basic ~é"])
def test_auth_proxy_answers_407_without_the_right_credentials(given: str | None) -> None:
    """A proxy with credentials answers 407 with a challenge to whoever gives none or others."""
    headers = [] if given is None else [("Proxy-Authorization", given)]
    response = _through("http://TARGET/", headers=headers, credentials=CREDENTIALS)
    assert response.status == 407
    assert ("Proxy-Authenticate", 'Basic realm="test"') in response.headers


def test_auth_proxy_forwards_with_the_right_credentials() -> None:
    """A proxy with credentials forwards for whoever has them."""
    headers = [("Proxy-Authorization", basic(*CREDENTIALS))]
    assert _through("http://TARGET/", headers=headers, credentials=CREDENTIALS).status == 200


@pytest.mark.parametrize(
    "host", ["example.com", "192.0.2.1", "10.0.0.1", "[2001:db8::1]", "127.0.0.1.example.com", "0.0.0.0"]
)
def test_proxy_refuses_every_upstream_beyond_loopback(host: str) -> None:
    """A proxy answers 403 for any host that is not loopback, and resolves no name for it."""
    assert _through(f"http://{host}/").status == 403


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("CONNECT", "127.0.0.1:443", 405),
        ("GET", "/", 400),
        ("GET", "https://127.0.0.1/", 400),
        ("GET", "http:///", 400),
    ],
)
def test_proxy_refuses_what_is_not_plain_http(method: str, target: str, status: int) -> None:
    """A proxy refuses tunnels, paths without a host, and other schemes."""
    assert _through(target, method=method).status == status


def test_loopback_is_a_literal_address_or_localhost() -> None:
    """Only localhost and literal loopback addresses count as loopback."""
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.8.9.10", "::1"]))
    assert not any(map(is_loopback, ["", "localhost.example.com", "0.0.0.0", "::", "8.8.8.8"]))


def test_upstream_that_refuses_is_a_502() -> None:
    """A proxy answers 502 when nothing listens at the upstream, and the scene's dead ports refuse."""

    async def ask() -> Response:
        async with serve(Scene()) as scene:
            dead = f"http://127.0.0.1:{scene.dead_ports[0]}/"
            return await _ask(scene.open_proxies[0], Request("GET", dead, []).pack())

    assert asyncio.run(ask()).status == 502


def test_services_that_restart_take_the_ports_they_had() -> None:
    """Services that begin with the scene of their earlier life listen on the same ports, with the same secrets."""

    async def restart() -> tuple[Scene, Scene]:
        async with serve(Scene()) as first:
            pass
        async with serve(first) as second:
            return first, second

    first, second = asyncio.run(restart())
    assert first == second
    assert first.target not in (0, *first.open_proxies, first.auth_proxy, *first.dead_ports)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbroken line\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_malformed_requests_are_refused_and_the_server_goes_on(raw: bytes, status: int) -> None:
    """A server answers what it can't read with the fitting status, and serves the next connection."""

    async def ask() -> tuple[int, int]:
        async with AsyncExitStack() as stack:
            server = Server(Target("a-cookie"))
            stack.push_async_callback(server.stop)
            port = await server.start()
            refused = await _ask(port, raw)
            return refused.status, (await _ask(port, Request("GET", "/", []).pack())).status

    assert asyncio.run(ask()) == (status, 200)
