"""The other end of what is delivered: a server that reads, counts records and forgets them.

It is a process of its own, so that its CPU is in nobody's figure, and all who are compared send to the same one: HTTP,
syslog over TCP, UDP and a Unix datagram socket. A record counts when all of it has been read: each reference record has
:data:`MARK` in it once, in every form that is compared here. Counts stand in a mapped file, so that to look costs
nobody anything. A request goes to ``/SLOT/STATUS/…``: which count it is for, and how it is answered.

The program is ``python -m benchmarks.endpoint DIRECTORY``: it prints its ports, and reads orders from its stdin.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import mmap
import os
import socket
import socketserver
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.child import Child
from benchmarks.service import PATIENCE_S

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: What each reference record has once: the name of one of its fields.
MARK: Final = b"request_id"
#: Counts that there are; the last ones are those of syslog.
SLOTS: Final = 64
TCP, UDP, UNIX = SLOTS - 3, SLOTS - 2, SLOTS - 1

_WORD: Final = 8
_LOOK_S: Final = 0.002


class Endpoint(Child):
    """The server's process, and its counts; it ends with the block."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        (directory / "counts").write_bytes(bytes(SLOTS * _WORD))
        with (directory / "counts").open("r+b") as file:
            self._counts = memoryview(mmap.mmap(file.fileno(), SLOTS * _WORD)).cast("Q")
        super().__init__("benchmarks.endpoint", str(directory), directory=directory)
        ports = json.loads(self.hear())
        #: The ports; ``away`` is one of HTTP that :meth:`listen` opens and closes.
        self.http, self.away, self.tcp, self.udp = (int(ports[name]) for name in ("http", "away", "tcp", "udp"))
        self.unix = directory / "log"

    def listen(self, *, away: bool) -> None:
        """Has nobody listen at the port ``away``, or somebody."""
        self.tell("down\n" if away else "up\n")
        self.hear()

    def count(self, slot: int) -> int:
        """Records that have come for a slot."""
        return self._counts[slot]

    def wait(self, slot: int, records: int) -> int:
        """Waits until so many records have come in all; how many are still missing when that takes too long."""
        deadline = time.monotonic() + PATIENCE_S
        while self.count(slot) < records and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return records - self.count(slot)


class _Http(socketserver.StreamRequestHandler):
    """Requests over one connection, until it ends."""

    counts: memoryview[int]
    lock: threading.Lock

    def handle(self) -> None:
        """Reads, counts and answers."""
        try:
            while self._request():
                pass
        except (ConnectionError, ValueError):
            pass

    def _request(self) -> bool:
        _, _, target = self.rfile.readline().partition(b" /")
        if not target:
            return False
        slot, status, *_ = target.replace(b" ", b"/").split(b"/")
        length, encoding = 0, b""
        while (line := self.rfile.readline().strip().lower()) != b"":
            name, _, value = line.partition(b":")
            if name == b"content-length":
                length = int(value)
            elif name == b"content-encoding":
                encoding = value.strip()
        body = self.rfile.read(length)
        if len(body) == length:
            if encoding:
                body = gzip.decompress(body) if encoding == b"gzip" else zstd.decompress(body)
            with self.lock:
                self.counts[int(slot)] += body.count(MARK)
            self.wfile.write(b"HTTP/1.1 %b Read\r\n" % status + (b"\r\n" if status == b"204" else _EMPTY))
        return len(body) == length


_EMPTY: Final = b"Content-Length: 0\r\n\r\n"


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Http)
        self._connections: set[socket.socket] = set()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection, and remembers it."""
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """A connection has ended."""
        self._connections.discard(request)
        super().shutdown_request(request)

    def go(self) -> None:
        """Closes the port and every connection."""
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _stream(listener: socket.socket, counts: memoryview[int]) -> None:
    while True:
        connection, _ = listener.accept()
        rest = b""
        while data := connection.recv(1 << 18):
            data = rest + data
            counts[TCP] += data.count(MARK)
            rest = data[-len(MARK) + 1 :]  # not enough for one that was counted
        connection.close()


def _datagrams(sock: socket.socket, slot: int, counts: memoryview[int]) -> None:
    while True:
        counts[slot] += sock.recv(1 << 16).count(MARK)


def _main(directory: Path) -> None:
    with (directory / "counts").open("r+b") as file:
        counts = memoryview(mmap.mmap(file.fileno(), SLOTS * _WORD)).cast("Q")
    _Http.counts, _Http.lock = counts, threading.Lock()
    http, away = _Server(0), _Server(0)
    stream = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(type=socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 25)  # as far as the system allows
    udp.bind(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    unix.bind(str(directory / "log"))
    for work in ((_stream, stream, counts), (_datagrams, udp, UDP, counts), (_datagrams, unix, UNIX, counts)):
        threading.Thread(target=work[0], args=work[1:], daemon=True).start()
    port = away.server_address[1]
    ports = {"http": http.server_address[1], "away": port, "tcp": stream.getsockname()[1], "udp": udp.getsockname()[1]}
    print(json.dumps(ports), flush=True)
    for order in sys.stdin:
        if order == "down\n":
            away.go()
        else:
            away = _Server(int(port))
        print("done", flush=True)
    os._exit(0)  # threads that read for ever


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
