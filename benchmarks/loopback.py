"""What the proxied requests of a benchmark go to: a target and forward proxies, small, on loopback, kept alive.

A server that is slow would hide what a client's logging costs, and one that shares the client's process would be part
of it. So target and proxies are a process each, with a thread for each connection and nothing parsed that a request of
the benchmark doesn't have: requests without a body, answers whose length is known. Each client's connection to a proxy
has one of the proxy to the target. A proxy that is told to waits before it answers, as one on another continent does.

The program is ``python -m benchmarks.loopback target`` or ``… proxy SECONDS…``, with a proxy for each of the times: it
prints its ports.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from benchmarks.child import Child

_END: Final = b"\r\n\r\n"
_BODY: Final = b"ok\n"
_ANSWER: Final = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)

Serve = Callable[[socket.socket], None]


class Loopback(Child):
    """One of the two processes, for the length of the block; ``ports`` are where it listens."""

    def __init__(self, directory: Path, kind: str, *waits: float) -> None:
        super().__init__("benchmarks.loopback", kind, *map(str, waits), directory=directory)
        self.ports: list[int] = json.loads(self.hear())


def answer(client: socket.socket) -> None:
    """The target's side of one connection."""
    while _read(client, _END):
        client.sendall(_ANSWER)


def forward(client: socket.socket, wait: float) -> None:
    """A proxy's side of one connection; it goes to one target only, that of the first request."""
    upstream: socket.socket | None = None
    while head := _read(client, _END):
        start, _, rest = head.partition(b"\r\n")
        method, url, version = start.split(b" ")
        to = urlsplit(url.decode())
        if upstream is None:
            upstream = socket.create_connection(("127.0.0.1", to.port or 80))
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upstream.sendall(b"%b %b %b\r\n%b" % (method, to.path.encode(), version, rest))
        response = _read(upstream, _END + _BODY)
        if wait:
            time.sleep(wait)
        client.sendall(response)


def _read(connection: socket.socket, end: bytes) -> bytes:
    """What comes until these bytes; nothing once the connection has ended."""
    data = b""
    while not data.endswith(end):
        more = connection.recv(1 << 16)
        if not more:
            return b""
        data += more
    return data


def _listen(serve: Serve) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _proxy(wait: float) -> Serve:
    return lambda client: forward(client, wait)


if __name__ == "__main__":
    kind, *waits = sys.argv[1:]
    serves = [answer] if kind == "target" else [_proxy(float(wait)) for wait in waits]
    print(json.dumps([_listen(serve) for serve in serves]), flush=True)
    sys.stdin.read()  # until the parent has gone
