"""Requests through the real proxywhirl, at a bounded rate: by two threads, or by four tasks of an event loop.

A worker makes its requests in rounds, each with a rotator of its own: its circuit breakers, once open, may stay open
for ever (those of the asynchronous rotator do), and a job in real life begins with a new pool as well.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any
from urllib.parse import quote

from loguru import logger
from proxywhirl import AsyncProxyWhirl, Proxy, ProxyChain, ProxyConfiguration, ProxyWhirl, RetryPolicy
from proxywhirl.exceptions import ProxyWhirlError
from pydantic import SecretStr

import logbus
from scripts.demo.scene import Scene

#: Requests of one round, before the rotator is made anew.
ROUND_REQUESTS = 60
#: Threads of a synchronous worker, tasks of an asynchronous one.
THREADS = 2
TASKS = 4
#: Seconds that one request may take, and that the first retry waits.
REQUEST_SECONDS = 5
RETRY_SECONDS = 0.05
#: Seconds that a client sleeps at most before it asks again, and so until it notices that it is to stop.
NAP_SECONDS = 0.2

#: For the console; failures are logged through loguru, as proxywhirl's own records are.
progress = logging.getLogger("progress")


@dataclass(frozen=True, slots=True)
class Errand:
    """One request to make; ``operation`` names it in the records."""

    operation: str
    url: str
    content: bytes | None = None


class Traffic:
    """The requests of one worker: which, when, through which proxies. ``requests`` and ``failed`` count them.

    ``rate`` is how many a second there are at most; they go on until :meth:`stop`.
    ``careless`` adds what careless applications do: credentials in a proxy's URL and in a target's, and a wrong
    password. proxywhirl logs some of that in clear.
    """

    def __init__(self, scene: Scene, rate: float, *, strategy: str, careless: bool) -> None:
        self._scene = scene
        self._strategy = strategy
        self._careless = careless
        self._interval = 1 / rate
        self._errands = cycle(self._plan())
        self._due = 0.0
        self._mutex = threading.Lock()
        self._stopped = False
        self.requests = 0
        self.failed = 0

    def run(self) -> None:
        """Makes requests with ProxyWhirl until it is stopped."""
        while not self._stopped:
            with ProxyWhirl(**self._settings()) as rotator:
                if self._careless:
                    rotator.add_chain(self._chain())
                for proxy in self._proxies():
                    rotator.add_proxy(proxy)
                names = [f"client-{number}" for number in range(1, THREADS + 1)]
                threads = [threading.Thread(target=self._client, args=(rotator,), name=name) for name in names]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            self._report()

    async def run_async(self) -> None:
        """Makes requests with AsyncProxyWhirl until it is stopped."""
        while not self._stopped:
            async with AsyncProxyWhirl(**self._settings()) as rotator:
                for proxy in self._proxies():
                    await rotator.add_proxy(proxy)
                await asyncio.gather(*(self._async_client(rotator) for _ in range(TASKS)))
            self._report()

    def stop(self) -> None:
        """Makes no new request; the run returns once those under way are done. Safe in a signal handler."""
        self._stopped = True

    def _client(self, rotator: ProxyWhirl) -> None:
        made = 0
        while made < ROUND_REQUESTS // THREADS:
            nap = self._turn()
            if nap is None:
                return
            if nap:
                time.sleep(nap)
                continue
            made += 1
            with self._errand() as errand:
                if errand.content is None:
                    rotator.get(errand.url)
                else:
                    rotator.post(errand.url, content=errand.content)

    async def _async_client(self, rotator: AsyncProxyWhirl) -> None:
        made = 0
        while made < ROUND_REQUESTS // TASKS:
            nap = self._turn()
            if nap is None:
                return
            if nap:
                await asyncio.sleep(nap)
                continue
            made += 1
            with self._errand() as errand:
                if errand.content is None:
                    await rotator.get(errand.url)
                else:
                    await rotator.post(errand.url, content=errand.content)

    @contextmanager
    def _errand(self) -> Iterator[Errand]:
        """The next errand, in a context that its records carry; a request that fails is logged, and no more."""
        with self._mutex:
            errand = next(self._errands)
        with logbus.context(request_id=uuid.uuid4().hex, operation=errand.operation, strategy=self._strategy):
            try:
                yield errand
            except ProxyWhirlError:
                with self._mutex:
                    self.failed += 1
                logger.opt(exception=True).error("gave up on {}", errand.operation)

    def _turn(self) -> float | None:
        """0 if a request may be made now, which then counts as made; else seconds to sleep before asking again.

        None when no request is to be made any more. At most one that was late is made up for.
        """
        with self._mutex:
            if self._stopped:
                return None
            now = time.monotonic()
            if now < self._due:
                return min(self._due - now, NAP_SECONDS)
            self._due = max(self._due + self._interval, now)
            self.requests += 1
            return 0.0

    def _report(self) -> None:
        progress.info("%d requests made, %d given up", self.requests, self.failed, extra={"strategy": self._strategy})

    def _plan(self) -> list[Errand]:
        base = f"http://127.0.0.1:{self._scene.target}"
        plan = [
            Errand("front_page", f"{base}/"),
            Errand("search", f"{base}/search?q=proxies&api_key={self._scene.api_key}"),
            Errand("slow_page", f"{base}/slow"),
            Errand("login", f"{base}/login"),
            Errand("busy_page", f"{base}/busy"),
            Errand("front_page", f"{base}/"),
            Errand("new_item", f"{base}/items", b'{"name": "a proxy"}'),
        ]
        if self._careless:
            userinfo = f"{self._scene.user}:{quote(self._scene.password, safe='')}"
            plan.append(Errand("private_page", f"http://{userinfo}@127.0.0.1:{self._scene.target}/"))
        return plan

    def _settings(self) -> dict[str, Any]:
        return {
            "strategy": self._strategy,
            "config": ProxyConfiguration(timeout=REQUEST_SECONDS),
            "retry_policy": RetryPolicy(max_attempts=3, base_delay=RETRY_SECONDS),
            "bootstrap": False,  # an empty pool must never go and fetch public proxy lists
        }

    def _proxies(self) -> list[Proxy]:
        scene = self._scene
        ports = (*scene.open_proxies, *scene.dead_ports)
        proxies = [Proxy(url=f"http://127.0.0.1:{port}", allow_local=True) for port in ports]
        # The same proxy under another name, since a pool takes one proxy per URL.
        accounts = {"127.0.0.1": scene.password} | ({"localhost": scene.wrong_password} if self._careless else {})
        for host, password in accounts.items():
            url, secret = f"http://{host}:{scene.auth_proxy}", SecretStr(password)
            proxies.append(Proxy(url=url, username=SecretStr(scene.user), password=secret, allow_local=True))
        return proxies

    def _chain(self) -> ProxyChain:
        scene = self._scene
        url = f"http://{scene.user}:{quote(scene.password, safe='')}@127.0.0.1:{scene.auth_proxy}"
        urls = (url, f"http://127.0.0.1:{scene.open_proxies[0]}")
        return ProxyChain(name="two-hops", proxies=[Proxy(url=url, allow_local=True) for url in urls])
