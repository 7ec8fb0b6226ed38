"""Waiting for a socket so that another thread can end it: a drain, or a reload, must not wait for a dead server."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import Final

from logbus.collectors.sinks.base import TryAgainError

#: Seconds after which a wait looks whether it is to end.
SLICE_S: Final = 0.05


class AbortedError(TryAgainError):
    """Raised when somebody wants the call of a sink to end."""

    def __init__(self) -> None:
        super().__init__("interrupted, since the sink is to end")


class Abort:
    """A word to the call of a sink that is under way, or to the next one that waits if none is."""

    def __init__(self) -> None:
        self._wanted = threading.Event()

    def want(self) -> None:
        """Has the call end; from any thread."""
        self._wanted.set()

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """Around a call that it is for: those that come after it are not to end."""
        try:
            yield
        finally:
            self._wanted.clear()

    def check(self) -> None:
        """Raises AbortedError when the call is to end: once for each word."""
        if self._wanted.is_set():
            self._wanted.clear()
            raise AbortedError

    def pause(self, seconds: float) -> None:
        """Waits so long. Raises AbortedError."""
        self._wanted.wait(seconds)
        self.check()

    def wait(self, sock: socket.socket, events: int, until: float) -> int:
        """The poll events of the socket, 0 when there were none ``until`` then (monotonic seconds).

        Errors and hang-ups are among them unasked. Raises AbortedError.
        """
        poll = select.poll()
        poll.register(sock, events)
        while True:
            self.check()
            left = until - time.monotonic()
            if found := poll.poll(max(0.0, min(left, SLICE_S)) * 1000):
                return found[0][1]
            if left <= SLICE_S:
                return 0
