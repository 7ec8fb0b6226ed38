"""What the workers talk to, in one process: the target server, two open proxies, one with Basic authentication,
and two ports that refuse every connection.

``python -m scripts.demo.services --directory DIR`` serves until SIGTERM, SIGINT or the end of its parent.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from scripts.demo import leash
from scripts.demo.http import Handler, Server
from scripts.demo.layout import Layout
from scripts.demo.proxy import Proxy
from scripts.demo.scene import Scene
from scripts.demo.target import Target


@asynccontextmanager
async def serve(scene: Scene) -> AsyncIterator[Scene]:
    """The scene with the ports that are really listened on, while they are. Raises OSError for a taken port."""
    async with AsyncExitStack() as stack:

        async def listen(handler: Handler, port: int) -> int:
            server = Server(handler)
            stack.push_async_callback(server.stop)
            return await server.start(port)

        dead = tuple(_dead_port(stack, port) for port in scene.dead_ports)
        target = await listen(Target(scene.cookie), scene.target)
        opened = [await listen(Proxy(f"open-{n}"), port) for n, port in enumerate(scene.open_proxies, 1)]
        auth = await listen(Proxy("auth", (scene.user, scene.password)), scene.auth_proxy)
        yield replace(scene, target=target, open_proxies=tuple(opened), auth_proxy=auth, dead_ports=dead)


def _dead_port(stack: AsyncExitStack, port: int) -> int:
    # Bound and never listening: a connection is refused, and no other program can take the port meanwhile.
    held = stack.enter_context(socket.socket())
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", port))
    bound: int = held.getsockname()[1]
    return bound


async def _main(path: Path, found: Scene) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serve(found) as scene:
        scene.save(path)
        await stopped.wait()


def main() -> None:
    """Serves until it is told to stop."""
    parser = argparse.ArgumentParser(prog="scripts.demo.services", description=__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="the run directory (see scripts/demo/layout.py)")
    layout = Layout(parser.parse_args().directory)
    leash.hold(layout.alive, "services")
    asyncio.run(_main(layout.scene, Scene.load(layout.scene) if layout.scene.exists() else Scene()))


if __name__ == "__main__":
    main()
