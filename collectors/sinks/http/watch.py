"""Ends a call in time: one deadline over all that a request waits for, and the means to end it from another thread.

A timeout of a socket begins anew with every byte, so a server that drips one a second holds a request for ever. Here
each wait of a socket gets what is left of the whole. Another thread ends a wait by shutting the connection down,
through a descriptor of its own: the connection's may be closed, and its number given to somebody else, at any moment. A
shutdown also ends a connection attempt and a handshake (it wakes who waits in either), and it can't make TLS forget its
keys and go on in plain text, as closing the layer above would.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from typing import Any


class AbortedError(Exception):
    """Raised out of a wait that another thread has ended, or would have."""


class Watch:
    """The time that is left for a call, and who else may end it. Used by one thread; :meth:`abort` by any."""

    def __init__(self) -> None:
        self._ends_at = 0.0
        self._lock = threading.Lock()
        #: The connection, under a descriptor of our own.
        self._handle: socket.socket | None = None
        self._under_way = False
        self._aborted = False

    def begin(self) -> None:
        """A call begins: what another one was ended for is over."""
        with self._lock:
            self._under_way, self._aborted = True, False

    def end(self) -> None:
        """It is over: from now on there is nothing to abort."""
        with self._lock:
            self._under_way = False

    def allow(self, seconds: float) -> None:
        """What comes next of the call may take so long, all in all."""
        self._ends_at = time.monotonic() + seconds

    def shorten(self, seconds: float) -> None:
        """The rest may take so long at most."""
        self._ends_at = min(self._ends_at, time.monotonic() + seconds)

    def left(self) -> float:
        """Seconds that are left, more than 0. Raises TimeoutError, AbortedError."""
        if self._aborted:
            raise AbortedError
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    @property
    def aborted(self) -> bool:
        """Whether another thread has ended the call under way."""
        return self._aborted

    def hold(self, sock: socket.socket) -> None:
        """Has :meth:`abort` end what this connection waits for, its connecting too. Raises AbortedError, OSError."""
        handle = sock.dup()
        with self._lock:
            self._close_handle()
            self._handle = handle
            if self._aborted:
                raise AbortedError

    def let_go(self) -> None:
        """The connection is no more."""
        with self._lock:
            self._close_handle()

    def abort(self) -> None:
        """Ends what the call waits for, and would wait for yet; from any thread. Nothing without a call."""
        with self._lock:
            if self._under_way:
                self._aborted = True
                if self._handle is not None:
                    with contextlib.suppress(OSError):  # it is not connected, or not any more
                        self._handle.shutdown(socket.SHUT_RDWR)

    def _close_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class WatchedSocket(socket.socket):
    """A connection in plain text whose waits are those of a watch, which must be given before the first.

    ``gone`` grows with what has gone out, or may have.
    """

    watch: Watch
    gone = 0

    def recv_into(self, *arguments: Any) -> int:
        """As every socket's. Raises TimeoutError and AbortedError too, when the call's time is over."""
        self.settimeout(self.watch.left())
        return super().recv_into(*arguments)

    def sendall(self, data: Any, *arguments: Any) -> None:
        """As every socket's, within the time that is left."""
        with memoryview(data).cast("B") as view:
            at = 0
            while at < len(view):
                self.settimeout(self.watch.left())
                at += (sent := self.send(view[at:], *arguments))
                self.gone += sent


class WatchedTls(WatchedSocket, ssl.SSLSocket):
    """The same in TLS."""

    def send(self, data: Any, *arguments: Any) -> int:
        """As every socket's."""
        self.gone += 1  # ahead: of a write that does not come to its end nobody says how much has gone out
        return super().send(data, *arguments)
