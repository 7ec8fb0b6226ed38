"""A worker that makes requests through the real proxywhirl, instrumented, in threads and in tasks; one number each.

Its servers run in a thread of its own process: a target that answers ``/n/NUMBER``, two open proxies, one with
credentials, and a port on which nobody listens. The number stands in the path, and, as a witness that knows nothing of
logbus, in a context variable that every record of either library is stamped with. The rotators are made before
``install()``. At its end it says what it has made of what.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from loguru import logger
from proxywhirl import AsyncProxyWhirl, Proxy, ProxyConfiguration, ProxyWhirl, RetryPolicy
from proxywhirl.exceptions import ProxyWhirlError
from pydantic import SecretStr

import logbus
from logbus.integrations.proxywhirl import install, installed, uninstall
from scripts.demo import services
from scripts.demo.http import Request, Response, text
from scripts.demo.scene import Scene

#: The number of the request that this thread or task is making.
WITNESS: ContextVar[int | None] = ContextVar("witness", default=None)

STRATEGIES = ("round-robin", "random")


def main(tasks: int, threads: int, each: int, source: Any, public_only: bool) -> None:
    """Makes ``each`` requests in each of so many threads, and then in each of so many tasks."""
    classes = (ProxyWhirl, AsyncProxyWhirl)
    before = {kind: dict(vars(kind)) for kind in classes}
    _stamp()
    scene, close = _services()
    logbus.configure(level="DEBUG", source=source)
    # Several: breakers that have opened stay so for half a minute.
    rotators = [_rotator(ProxyWhirl, scene, strategy) for _ in range(1 + each // 3) for strategy in STRATEGIES]
    done = install(public_only=public_only)
    numbers = itertools.count(1)
    with ThreadPoolExecutor(threads, thread_name_prefix="client") as pool:
        for future in [pool.submit(_thread, rotators, scene, numbers, each) for _ in range(threads)]:
            future.result()
    asyncio.run(_tasks(scene, numbers, tasks, each))
    logging.getLogger("told").info("all made")
    hooked, unhooked = done.hooked, done.unhooked
    uninstall()
    assert installed() is None
    with _witnessed(0), _given_up():
        rotators[0].get(f"http://127.0.0.1:{scene.target}/n/0")
    close()
    logbus.shutdown()
    print(
        json.dumps(
            {
                "requests": next(numbers) - 1,
                "hooked": hooked,
                "unhooked": unhooked,
                "same": [dict(vars(kind)) == before[kind] for kind in classes],
                "secrets": [*scene.secrets(), *(quote(secret, safe="") for secret in scene.secrets())],
            }
        )
    )


def _thread(rotators: list[Any], scene: Scene, numbers: Iterator[int], each: int) -> None:
    for _ in range(each):
        number = next(numbers)
        with _witnessed(number), _given_up():
            rotators[number % len(rotators)].get(_url(scene, number))


async def _tasks(scene: Scene, numbers: Iterator[int], tasks: int, each: int) -> None:
    async with _rotator(AsyncProxyWhirl, scene, "weighted") as rotator:

        async def one() -> None:
            for _ in range(each):
                number = next(numbers)
                with _witnessed(number), _given_up():
                    if number % 5:
                        await rotator.get(_url(scene, number))
                    else:
                        await rotator.post(_url(scene, number), content=b"{}")

        await asyncio.gather(*(one() for _ in range(tasks)))


def _url(scene: Scene, number: int) -> str:
    user = f"{scene.user}:{quote(scene.password, safe='')}@" if number % 7 == 0 else ""
    return f"http://{user}127.0.0.1:{scene.target}/n/{number}"


def _rotator(kind: Callable[..., Any], scene: Scene, strategy: str) -> Any:
    proxies = [Proxy(url=f"http://127.0.0.1:{port}", allow_local=True) for port in scene.open_proxies]
    proxies.append(Proxy(url=f"http://127.0.0.1:{scene.dead_ports[0]}", allow_local=True))
    password = quote(scene.password, safe="")
    proxies.append(Proxy(url=f"http://{scene.user}:{password}@127.0.0.1:{scene.auth_proxy}", allow_local=True))
    wrong = SecretStr(scene.wrong_password)
    user = SecretStr(scene.user)
    proxies.append(Proxy(url=f"http://localhost:{scene.auth_proxy}", username=user, password=wrong, allow_local=True))
    return kind(
        proxies=proxies,
        strategy=strategy,
        config=ProxyConfiguration(timeout=30),
        retry_policy=RetryPolicy(max_attempts=3, base_delay=0.01),
        bootstrap=False,
    )


@contextmanager
def _witnessed(number: int) -> Iterator[None]:
    token = WITNESS.set(number)
    try:
        yield
    finally:
        WITNESS.reset(token)


@contextmanager
def _given_up() -> Iterator[None]:
    try:
        yield
    except ProxyWhirlError:
        pass


def _stamp() -> None:
    """Stamps the witness on every record of the standard library and of loguru."""
    make = logging.getLogRecordFactory()

    def stamped(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if (number := WITNESS.get()) is not None:
            record.witness = number
        return record

    logging.setLogRecordFactory(stamped)

    def patch(record: Any) -> None:
        if (number := WITNESS.get()) is not None:
            record["extra"]["witness"] = number

    logger.configure(patcher=patch)


class _Target:
    """``/n/NUMBER``: 503 on the first try of every third number, 200 otherwise."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    async def __call__(self, request: Request) -> Response:
        path = urlsplit(request.target).path
        number = int(path.rpartition("/")[2])
        if number % 3 == 0 and path not in self._seen:
            self._seen.add(path)
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "busy\n")
        return text(HTTPStatus.OK, "ok\n")


def _services() -> tuple[Scene, Callable[[], None]]:
    """The servers in a thread with a loop of its own, and what ends them."""
    ours: Any = services
    ours.Target = lambda _cookie: _Target()
    ready: list[Scene] = []
    loop = asyncio.new_event_loop()
    up, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        async with services.serve(Scene()) as scene:
            ready.append(scene)
            up.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), name="servers")
    thread.start()
    up.wait()

    def close() -> None:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()

    return ready[0], close
