"""A real HTTP/1.1 server in a process of its own, whose faults a test programs. Standard library only.

``FaultyHttp.start(directory)`` runs it; the fixture ``start_http`` also ends it. What it has accepted it appends to a
file, as the bodies were (:attr:`FaultyHttp.kept`); :meth:`FaultyHttp.report` counts. What it does with requests is a
list of programs, :meth:`FaultyHttp.next` for one request each and :meth:`FaultyHttp.always` for those after. A program
is a table:

- ``status`` (200), ``headers``, ``body`` (text): the answer. ``keep``: whether the request's body is kept; it is with a
  2xx. ``close``: the connection is closed after the answer, without a word about it in the headers.
- ``when``: the program is for requests of which this is true, others get a 200: ``{"marked": "poison"}`` (the body
  holds that), ``{"over": 10000}`` (the body has more bytes), ``{"records": 2}`` (it has so many lines or more).
- ``do``: what goes wrong instead: ``hang`` (nothing is read of the body, nothing answered), ``mute`` (all is read and
  nothing answered), ``drip`` (the answer comes a byte every ``every`` seconds), ``drip_body`` (only its body does),
  ``flood`` (an answer of ``size`` bytes), ``reset`` (after ``after`` bytes of the body), ``close`` (all is read, and
  the connection closed), ``garbage`` (bytes that are no HTTP), ``continue`` (``count`` times ``code`` 100 first),
  ``early`` (the answer comes before the body is read, and the connection is closed), ``cut`` (the answer's body is half
  of what it says).

``down()`` closes the port and all connections, ``up()`` opens the same port again.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from tests.collector_command import ROOT, child_environment

if TYPE_CHECKING:
    from tests.servers.certificates import Identity

#: Seconds for an answer of the process to the test.
PATIENCE = 20.0

Program = dict[str, Any]


class FaultyHttp:
    """The test's side of it. ``url`` ends without a slash; nobody should visit ``trap_url``."""

    def __init__(self, process: subprocess.Popen[str], directory: Path, tls: bool) -> None:
        self._process = process
        #: The bodies of accepted requests, one after the other, decompressed.
        self.kept = directory / "kept"
        ready = self._hear()
        self.port: int = ready["port"]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.trap_url = f"http://127.0.0.1:{ready['trap']}"

    @classmethod
    def start(
        cls, directory: Path, *, identity: Identity | None = None, client_ca: Path | None = None, port: int = 0
    ) -> FaultyHttp:
        """A server that listens. With ``identity`` it speaks TLS; ``client_ca`` signs who may be its client."""
        directory.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.servers.faulty_http", str(directory), str(port)]
        command += [str(identity.certificate), str(identity.key), str(client_ca or "")] if identity else []
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=child_environment()
        )
        return cls(process, directory, identity is not None)

    def next(self, *programs: Program) -> None:
        """What the next requests get, one each; and later ones what :meth:`always` has said."""
        self._say({"next": programs})

    def always(self, **program: Any) -> None:
        """What requests get; without arguments all is well again. What was left of :meth:`next` is forgotten."""
        self._say({"always": program})

    def forget(self) -> None:
        """As at the start: all is well, nothing is kept, and nothing counted."""
        self._say({"always": {}, "forget": True, "down": False})

    def down(self) -> None:
        """Nobody listens at the port, and all connections are closed."""
        self._say({"down": True})

    def up(self) -> None:
        """The same port is served again."""
        self._say({"down": False})

    def report(self) -> dict[str, Any]:
        """Counts: ``requests`` that were read, ``accepted``, ``records`` (lines) of these, ``muted`` (requests
        that were read and get no answer), ``connections``, ``trapped``. ``open``: whether the connection of the last
        request still is.

        ``statuses`` says how many answers had which code, ``sizes`` the lines of each request, and ``last`` is the head
        of the last one: ``method``, ``path``, ``headers`` with names in lower case.
        """
        return self._say({})

    @property
    def lines(self) -> list[bytes]:
        """The lines of all accepted bodies."""
        return self.kept.read_bytes().splitlines() if self.kept.exists() else []

    def end(self) -> None:
        """Ends the process; idempotent."""
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        self._process.kill()
        self._process.wait(PATIENCE)

    def _say(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server has died"
        heard: dict[str, Any] = json.loads(line)
        return heard


class _Server:
    """The process's side."""

    def __init__(self, directory: Path, port: int, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.lock = threading.Lock()
        self.kept = (directory / "kept").open("ab", buffering=0)
        self.programs: list[Program] = []
        self.program: Program = {}
        self.counts: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.sizes: list[int] = []
        self.last: dict[str, Any] = {}
        self.connections: set[socket.socket] = set()
        self.latest: socket.socket | None = None
        self.over = threading.Event()
        self.port = port
        self.listener: socket.socket | None = None
        self.trap = _listen(0)
        threading.Thread(target=self._spring, daemon=True).start()
        self.up()

    def up(self) -> None:
        if self.listener is None:
            self.listener = _listen(self.port)
            self.port = self.listener.getsockname()[1]
            threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def down(self) -> None:
        if self.listener is not None:
            with contextlib.suppress(OSError):
                self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def report(self) -> dict[str, Any]:
        with self.lock:
            names = ("requests", "accepted", "records", "muted", "connections", "trapped")
            counts = {name: self.counts[name] for name in names} | {"open": self.latest in self.connections}
            return {**counts, "statuses": dict(self.statuses), "sizes": list(self.sizes), "last": self.last}

    def order(self, order: dict[str, Any]) -> None:
        with self.lock:
            if "next" in order:
                self.programs = list(order["next"])
            if "always" in order:
                self.programs, self.program = [], order["always"]
            if "forget" in order:
                self.kept.truncate(0)
                self.counts.clear()
                self.statuses.clear()
                self.sizes.clear()
        if "down" in order:
            self.down() if order["down"] else self.up()

    def _spring(self) -> None:
        while True:
            connection, _ = self.trap.accept()
            connection.close()
            with self.lock:
                self.counts["trapped"] += 1

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with self.lock:
            self.connections.add(connection)
            self.counts["connections"] += 1
        plain = connection
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
                with self.lock:
                    self.connections.discard(plain)
                    self.connections.add(connection)
            with connection, connection.makefile("rb") as stream:
                while self._request(connection, stream):
                    pass
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.connections -= {plain, connection}
            connection.close()

    def _request(self, connection: socket.socket, stream: IO[bytes]) -> bool:
        """One request and its answer; False when the connection is over."""
        first = stream.readline().decode("latin-1").split()
        if len(first) != 3 or not first[2].startswith("HTTP/"):  # what begins TLS has line ends too
            if first:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return False
        headers: dict[str, str] = {}
        while (line := stream.readline().decode("latin-1").strip()) and ":" in line:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        with self.lock:
            self.last = {"method": first[0], "path": first[1], "headers": headers}
            self.latest = connection
            program = self.programs.pop(0) if self.programs else self.program
        do = program.get("do")
        if do == "hang":
            self.over.wait()
        if do == "reset":
            stream.read(min(length, program.get("after", length // 2)))
            return self._reset(connection)
        if do == "early":
            self._answer(connection, program)
            return False
        body = stream.read(length)
        if len(body) < length:
            return False
        body = _plain(body, headers.get("content-encoding", ""))
        with self.lock:
            self.counts["requests"] += 1
            self.sizes.append(body.count(b"\n"))
        if not _meant(program.get("when", {}), body, length):
            program, do = {}, None
        if program.get("keep", program.get("status", 200) < 300 and do not in {"mute", "close", "garbage"}):
            with self.lock:
                self.kept.write(body)
                self.counts["accepted"] += 1
                self.counts["records"] += body.count(b"\n")
        if do == "mute":
            with self.lock:
                self.counts["muted"] += 1
            self.over.wait()
        elif do == "close":
            return False
        elif do == "garbage":
            connection.sendall(program.get("body", "\x00\x01 what is this\r\n\r\n").encode("latin-1"))
            return False
        else:
            self._answer(connection, program)
            return not program.get("close") and do not in {"cut", "flood", "drip", "drip_body"}
        return False

    def _answer(self, connection: socket.socket, program: Program) -> None:
        status = program.get("status", 200)
        with self.lock:
            self.statuses[str(status)] += 1
        do = program.get("do")
        body = b"x" * program["size"] if do == "flood" else program.get("body", "").encode()
        headers = {} if status == 204 else {"Content-Length": str(len(body) * (2 if do == "cut" else 1))}
        headers |= program.get("headers", {})
        head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        if do == "continue":
            connection.sendall(b"HTTP/1.1 %d Wait\r\nA: b\r\n\r\n" % program.get("code", 100) * program.get("count", 1))
        data = f"{head}\r\n".encode("latin-1")
        if do == "drip_body":
            connection.sendall(data)
            data = b""
        if do in {"drip", "drip_body"}:
            for byte in data + body:
                connection.sendall(bytes([byte]))
                if self.over.wait(program.get("every", 0.05)):
                    return
        else:
            connection.sendall(data + body)

    def _reset(self, connection: socket.socket) -> bool:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.close(connection)
        return False


def _meant(when: Program, body: bytes, length: int) -> bool:
    """Whether a program is for this request."""
    return (
        when.get("marked", "").encode() in body
        and length > when.get("over", -1)
        and body.count(b"\n") >= when.get("records", 0)
    )


def _plain(body: bytes, encoding: str) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(body)
    if encoding == "zstd":
        return zstd.decompress(body)
    return body


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return listener


def _main(directory: str, port: str, certificate: str = "", key: str = "", client_ca: str = "") -> None:
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        if client_ca:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
    server = _Server(Path(directory), int(port), context)
    print(json.dumps({"port": server.port, "trap": server.trap.getsockname()[1]}), flush=True)
    for line in sys.stdin:
        server.order(json.loads(line))
        print(json.dumps(server.report()), flush=True)
    os._exit(0)  # threads that hang by order


if __name__ == "__main__":
    _main(*sys.argv[1:])
