"""What peers send to: processes that read, count records and bytes, and forget.

A server that does something with records would share the two cores with what is measured; without one the sender's
socket fills. So a reader does the least that tells records apart. It is told a number of records and answers when it
has read so many, or when nothing more comes: with the records and bytes that it has.

The program is ``python -m benchmarks.peers.readers KIND ADDRESS``; it prints where it listens.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import zmq

from benchmarks.peers.reader import KNOCK

#: Seconds without anything new after which what has not come is lost.
_QUIET_S: Final = 2
_READ_BYTES: Final = 1 << 18


class Source(ABC):
    """Where records come from: at ``address``. ``watched`` is what a poll looks at."""

    def __init__(self, address: str) -> None:
        self.records = 0
        self.bytes = 0
        self.watched: list[Any] = []
        self.address = address

    @abstractmethod
    def read(self, ready: Any) -> None:
        """Counts what one of the watched has."""


class Stream(Source):
    """Connections to a TCP port of loopback; each has a ``counter`` of its own: how many records end in these bytes."""

    def __init__(self, counter: Callable[[], Callable[[bytes], int]]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._counter = counter
        self._connections: dict[int, tuple[socket.socket, Callable[[bytes], int]]] = {}
        super().__init__(str(self._listener.getsockname()[1]))
        self.watched.append(self._listener.fileno())

    def read(self, ready: int) -> None:
        """Counts what a connection has; one that has ended is closed."""
        if ready == self._listener.fileno():
            connection, _ = self._listener.accept()
            self._connections[connection.fileno()] = connection, self._counter()
            self.watched.append(connection.fileno())
            return
        connection, count = self._connections[ready]
        data = connection.recv(_READ_BYTES)
        if data:
            self.bytes += len(data)
            self.records += count(data)
        else:
            self.watched.remove(ready)
            del self._connections[ready]
            connection.close()


class Lengths:
    """Counts records that stand behind their length in four bytes, as pickles of a SocketHandler do."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, data: bytes) -> int:
        """How many end in these bytes."""
        data = self._rest + data
        at = found = 0
        while len(data) - at >= 4 and (end := at + 4 + struct.unpack_from(">L", data, at)[0]) <= len(data):
            at = end
            found += 1
        self._rest = data[at:]
        return found


class Messages:
    """Counts messages of msgpack, one per record, as Fluent's forward protocol has them."""

    def __init__(self) -> None:
        import msgpack

        self._unpacker = msgpack.Unpacker()

    def __call__(self, data: bytes) -> int:
        """How many end in these bytes."""
        self._unpacker.feed(data)
        return sum(1 for _ in self._unpacker)


class Datagrams(Source):
    """A unix datagram socket; a record each."""

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self.watched.append(self._socket.fileno())

    def read(self, ready: int) -> None:
        """Counts one; there may be more."""
        self.bytes += len(self._socket.recv(_READ_BYTES))
        self.records += 1


class Published(Source):
    """What a PUB socket of ZeroMQ publishes at a URL; a record each, but :data:`KNOCK`, whose bytes alone count.

    Its high-water mark is lifted: the reader is never why something is lost.
    """

    def __init__(self, address: str) -> None:
        super().__init__(address)
        self._socket = zmq.Context().socket(zmq.SUB)
        self._socket.set(zmq.RCVHWM, 0)
        self._socket.set(zmq.SUBSCRIBE, b"")
        self._socket.connect(address)
        self.watched.append(self._socket)

    def read(self, ready: Any) -> None:
        """Counts all that have come."""
        try:
            while True:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
                self.records += parts != [KNOCK]
                self.bytes += sum(map(len, parts))
        except zmq.Again:
            pass


_KINDS: Final[dict[str, Callable[[str], Source]]] = {
    "lengths": lambda address: Stream(Lengths),
    "messages": lambda address: Stream(Messages),
    "datagrams": Datagrams,
    "published": Published,
}


def main(kind: str, address: str) -> None:
    """Reads until stdin is closed."""
    source = _KINDS[kind](address)
    print(json.dumps(source.address), flush=True)
    questions = sys.stdin.fileno()
    wanted: int | None = None
    watched: list[Any] = []
    poller = zmq.Poller()
    while True:
        for what in {*source.watched, questions}.difference(watched):
            poller.register(what, zmq.POLLIN)
        for what in set(watched).difference([*source.watched, questions]):
            poller.unregister(what)
        watched = [*source.watched, questions]
        ready = poller.poll(_QUIET_S * 1000)
        for what, _ in ready:
            if what != questions:
                source.read(what)
            elif line := os.read(questions, 64):
                wanted = int(line)
            else:
                return
        if wanted is not None and (source.records >= wanted or not ready):
            print(json.dumps([source.records, source.bytes]), flush=True)
            wanted = None


if __name__ == "__main__":
    main(*sys.argv[1:])
