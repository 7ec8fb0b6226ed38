"""The connection of ``logbus tail``: which end of a connection is its end."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import zmq

from logbus.bus import Endpoint
from logbus.cli.following import Following, LostError
from logbus.control import pack_message

#: Seconds within which each side must have done its part.
PATIENCE_S = 20.0


def test_a_connection_that_never_was_is_no_end(directories: Path) -> None:
    """A collector that dies as it is asked closes a connection on which nothing was said; the answer of its successor
    begins the one that counts, and its end is told.
    """
    control = Endpoint.parse(f"ipc://{directories / 'control'}")
    dying = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dying.settimeout(PATIENCE_S)
    dying.bind(str(control.path))
    dying.listen()
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.set(zmq.LINGER, 0)

    def die_and_succeed() -> None:
        for _ in range(2):  # the look whether somebody listens, and ZeroMQ's own first try
            dying.accept()[0].close()
        dying.close()
        Path(str(control.path)).unlink()
        router.bind(control.url)
        asker, _ = router.recv_multipart()
        router.send_multipart([asker, pack_message({"ok": True, "name": "default", "pid": 1})])

    successor = threading.Thread(target=die_and_succeed, name="successor")
    successor.start()
    try:
        following = Following(control, {"command": "tail"}, name="default", timeout=PATIENCE_S)
        successor.join()
        assert following.pid == 1
        with Path("/dev/null").open("wb") as output:
            assert list(following.messages(0.05, output=output.fileno())) == []
            router.close(0)
            with pytest.raises(LostError, match="the connection has ended"):
                list(following.messages(PATIENCE_S, output=output.fileno()))
        following.close()
    finally:
        successor.join()
        router.close(0)
        context.term()
