"""proxywhirl's REST application under uvicorn, instrumented, with a loopback target and loopback proxies.

The proxies and the target run in a thread of the same process. The application's own guard against such targets is
overridden in FastAPI's way, and so is its rotator, which would refuse such proxies.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from typing import Any
from urllib.parse import quote

import uvicorn
from proxywhirl import Proxy, ProxyWhirl, RoundRobinStrategy
from proxywhirl.api import core
from proxywhirl.api.models import ProxiedRequest

import logbus
from logbus.integrations.proxywhirl import install
from scripts.demo import services
from scripts.demo.scene import Scene


def main(public_only: bool) -> None:
    """Serves until SIGTERM; says first where, and what must never be seen."""
    logbus.configure(level="DEBUG")
    install(public_only=public_only)
    scene = _scene()
    rotator = ProxyWhirl(proxies=_proxies(scene), strategy=Merciful(scene.dead_ports[0]), bootstrap=False)
    core.app.dependency_overrides[core.get_rotator] = lambda: rotator
    core.app.dependency_overrides[core.validate_proxied_request_url] = _allow
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)  # from here on nobody is refused
        said = {"port": listening.getsockname()[1], "target": scene.target, "secrets": scene.secrets()}
        os.write(1, json.dumps(said).encode() + b"\n")
        uvicorn.Server(uvicorn.Config(core.app, log_config=None)).run(sockets=[listening])


class Merciful(RoundRobinStrategy):
    """All in turn, but the dead one twice at most: of requests that run at once one might meet it at every attempt."""

    def __init__(self, dead: int) -> None:
        super().__init__()
        self._dead, self._left = f":{dead}", 2

    def select(self, pool: Any, context: Any = None) -> Any:
        """The next one."""
        while True:
            proxy = super().select(pool, context)
            if not str(proxy.url).endswith(self._dead):
                return proxy
            if self._left:
                self._left -= 1
                return proxy


def _allow(request_data: ProxiedRequest) -> ProxiedRequest:
    return request_data


# FastAPI reads what a parameter is from here, and finds no text: the annotations of this module are texts.
_allow.__annotations__["request_data"] = ProxiedRequest


def _proxies(scene: Scene) -> list[Any]:
    ports = (*scene.open_proxies, scene.dead_ports[0])
    auth = f"http://{scene.user}:{quote(scene.password, safe='')}@127.0.0.1:{scene.auth_proxy}"
    return [Proxy(url=url, allow_local=True) for url in (*(f"http://127.0.0.1:{port}" for port in ports), auth)]


def _scene() -> Scene:
    """The servers, for the life of the process."""
    found: list[Scene] = []
    ready = threading.Event()

    async def serve() -> None:
        async with services.serve(Scene()) as scene:
            found.append(scene)
            ready.set()
            await asyncio.Event().wait()

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
    assert ready.wait(30)
    return found[0]
