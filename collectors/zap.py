"""The doorkeeper: ZAP (RFC 27) answers for every connection to this collector's sockets.

Without a ZAP domain raw TCP junk reaches the application as messages. On ipc the kernel vouches for the peer: its
address arrives as ``localhost:uid:gid:pid``, and only our own user gets in. On tcp (loopback only) there is no such
word, so the address has to do. https://rfc.zeromq.org/spec/27/
"""

from __future__ import annotations

import os
from typing import Final

import zmq

ENDPOINT: Final = "inproc://zeromq.zap.01"
#: Requests answered in one turn of the loop: whoever connects in a flood does not keep it from its records.
TURN_REQUESTS: Final = 64
_VERSION: Final = b"1.0"
_LOOPBACK: Final = frozenset({"127.0.0.1", "::ffff:127.0.0.1", "::1"})


class Doorkeeper:
    """Answers ZAP requests on the thread that polls ``socket``. Bind it before any other socket of the context."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.socket = context.socket(zmq.ROUTER)
        self.socket.set(zmq.LINGER, 0)
        self.socket.bind(ENDPOINT)
        #: Connections refused, for the status.
        self.refused = 0

    def answer(self) -> None:
        """Answers the requests that wait, up to a turn's worth."""
        for _ in range(TURN_REQUESTS):
            try:
                parts = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            if len(parts) < 8:
                continue
            route, (version, request_id, _domain, address, *_rest) = parts[:2], parts[2:]
            admitted = version == _VERSION and admits(address.decode("utf-8", "replace"))
            if not admitted:
                self.refused += 1
            code, text = (b"200", b"OK") if admitted else (b"400", b"only the collector's own user is admitted")
            self.socket.send_multipart([*route, _VERSION, request_id, code, text, b"", b""])

    def close(self) -> None:
        """Closes the socket."""
        self.socket.close(0)


def admits(address: str) -> bool:
    """Whether a peer address is our own user's (ipc), or loopback (tcp)."""
    if address in _LOOPBACK:
        return True
    parts = address.split(":")
    return len(parts) == 4 and parts[1] == str(os.geteuid())
