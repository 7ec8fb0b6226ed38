"""A worker that drives the real proxywhirl through what it never logs: breakers, health, checks.

Its servers run in a thread of its own process: a target, and one proxy that goes down and comes up again on its port.
Time is not waited for: an open breaker is told that its time has come. Every part runs in a scope that names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from typing import Any

from proxywhirl import AsyncProxyWhirl, Proxy, ProxyWhirl, RetryPolicy
from proxywhirl.api import core
from proxywhirl.cli import app as command_line
from proxywhirl.exceptions import ProxyWhirlError
from proxywhirl.fetchers import ProxyValidator

import logbus
from logbus.integrations.proxywhirl import install, uninstall
from scripts.demo import proxy as forward
from scripts.demo.http import Server
from scripts.demo.target import Target

#: Never in a record.
SECRET = "s3cret-of-the-proxy"


def main(public_only: bool, configuration: str) -> None:
    """Drives all parts; ``configuration`` is that of the command line."""
    logbus.configure(level="INFO")
    done = install(public_only=public_only)
    with Backstage() as stage:
        said = {
            "sync": _part("sync", _breaker, stage),
            "async": _part("async", _stuck, stage),
            "health": _part("health", _way_down, stage),
            "checks": _part("checks", _checks, stage),
            "command line": _part("command line", _command_line, configuration),
        }
    said["unhooked"] = done.unhooked
    uninstall()
    logbus.shutdown()
    print(json.dumps(said))


class Backstage:
    """The servers, and the thread that they run in."""

    def __enter__(self) -> Backstage:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._target = Server(Target("none"))
        self.target = f"http://127.0.0.1:{self._do(self._target.start(0))}/"
        self._port = 0
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        self._do(self._target.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def up(self) -> None:
        """The proxy listens, on the port that it had."""
        self._proxy = Server(forward.Proxy("one"))
        self._port = self._do(self._proxy.start(self._port))

    def down(self) -> None:
        """Nobody listens there."""
        self._do(self._proxy.stop())

    def proxies(self) -> list[Any]:
        """The proxy, as a rotator takes it."""
        return [Proxy(url=f"http://scout:{SECRET}@127.0.0.1:{self._port}", allow_local=True)]

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


def _part(name: str, act: Any, given: Any) -> Any:
    with logbus.context(part=name):
        return act(given)


def _breaker(stage: Backstage) -> list[bool]:
    """A breaker opens, lets one try, and closes."""
    with _rotator(ProxyWhirl, stage) as rotator:
        breaker = _only(rotator)
        breaker.failure_threshold = 2
        stage.down()
        answers = [_ask(rotator, stage) for _ in range(3)]
        stage.up()
        breaker.next_test_time = 1.0
        return [*answers, _ask(rotator, stage), _ask(rotator, stage)]


def _stuck(stage: Backstage) -> list[bool]:
    """The async rotator asks its breaker twice for one request: it never closes again, though the proxy is there."""

    async def requests() -> list[bool]:
        answers = []
        async with _rotator(AsyncProxyWhirl, stage) as rotator:
            breaker = _only(rotator)
            breaker.failure_threshold = 2
            stage.down()
            for number in range(5):
                if number == 2:
                    stage.up()
                    breaker.next_test_time = 1.0
                try:
                    await rotator.get(stage.target)
                except ProxyWhirlError:
                    answers.append(False)
                else:
                    answers.append(True)
        return answers

    return asyncio.run(requests())


def _way_down(stage: Backstage) -> list[bool]:
    """A proxy answers once, and then no more: requests at the same time, since an unhealthy one is not selected."""

    async def requests() -> list[bool]:
        async with _rotator(AsyncProxyWhirl, stage) as rotator:
            _only(rotator).failure_threshold = 100
            first = await rotator.get(stage.target)
            stage.down()
            answers = await asyncio.gather(*(rotator.get(stage.target) for _ in range(6)), return_exceptions=True)
            stage.up()
            return [first.status_code == 200, *(not isinstance(answer, ProxyWhirlError) for answer in answers)]

    return asyncio.run(requests())


def _checks(stage: Backstage) -> list[str]:
    """The API's check and the validator's, of a proxy that is there and of one that is not."""

    async def check() -> list[str]:
        found: list[str] = []
        (proxy,) = stage.proxies()
        for there in (True, False):
            if not there:
                stage.down()
            found.append((await core._check_proxy_health(proxy, stage.target, timeout=5.0)).status)
            async with ProxyValidator(timeout=5.0, test_url=stage.target) as validator:
                found.append(str((await validator.validate({"url": proxy.url})).is_valid))
        stage.up()
        return found

    return asyncio.run(check())


def _command_line(configuration: str) -> None:
    with contextlib.redirect_stdout(None), contextlib.suppress(SystemExit):
        command_line(["--config", configuration, "health"])


def _rotator(kind: Any, stage: Backstage) -> Any:
    return kind(proxies=stage.proxies(), retry_policy=RetryPolicy(max_attempts=1, base_delay=0.01), bootstrap=False)


def _only(rotator: Any) -> Any:
    (breaker,) = rotator.circuit_breakers.values()
    return breaker


def _ask(rotator: Any, stage: Backstage) -> bool:
    try:
        rotator.get(stage.target)
    except ProxyWhirlError:
        return False
    return True
