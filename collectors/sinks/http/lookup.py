"""Finds the addresses of a host. A name service that does not answer holds nobody.

getaddrinfo can't be interrupted and takes half a minute when the name server is away. So it runs on a thread of its
own, for which the call waits as long as it may; the next call takes up the same lookup if it is still under way, so
there is never more than one. A host that is an address needs neither thread nor name service.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Final

from logbus.collectors.sinks.http.watch import Watch

#: Seconds between looks at whether somebody has ended the call meanwhile.
LOOK_S: Final = 0.05

#: What getaddrinfo gives: family, type, protocol, canonical name, and the address as connect takes it.
Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


class Lookup:
    """The addresses of one host and port, found anew for each connection: they may change."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._query: _Query | None = None

    def addresses(self, watch: Watch) -> list[Address]:
        """One or more, in the order in which they should be tried. Raises OSError, TimeoutError, AbortedError."""
        with contextlib.suppress(socket.gaierror):  # no address: a name
            return _addresses(self._host, self._port, socket.AI_NUMERICHOST)
        query = self._query
        if query is None:
            query = _Query(self._host, self._port)
            threading.Thread(target=query.run, name=f"logbus-lookup-{self._host}", daemon=True).start()
            self._query = query  # where no thread can be started, the next call tries to
        while not query.done.wait(min(LOOK_S, watch.left())):
            pass
        self._query = None
        if query.error is not None:
            raise query.error
        return query.found


class _Query:
    """A lookup under way on a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self.found: list[Address] = []
        self.error: Exception | None = None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            self.found = _addresses(self._host, self._port, 0)
        except Exception as error:  # raised where it is waited for
            self.error = error
        self.done.set()


def _addresses(host: str, port: int, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, kind, protocol, name, tuple(address)) for family, kind, protocol, name, address in found]
