"""Little syslog servers on real sockets, which read, stop, end and die as a test says."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.eventually import eventually

#: Seconds after which a thread looks whether the server is to end.
_SLICE_S = 0.02
#: Seconds for a thread to end.
_END_S = 5.0


class Server:
    """What all have: a thread that reads while it may, and the messages that came, for the length of a ``with``."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self._reading = threading.Event()
        self._reading.set()
        self._paused = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="syslog-server", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Ends it as a daemon ends that is told to."""
        self._ending.set()
        self._reading.set()
        self._thread.join(_END_S)
        assert not self._thread.is_alive()

    def pause(self) -> None:
        """Has it read nothing from now on."""
        self._paused.clear()
        self._reading.clear()
        assert self._paused.wait(_END_S)

    def stall(self) -> None:
        """Has it read nothing soon, whether it has anything to read or not."""
        self._reading.clear()

    def resume(self) -> None:
        """Has it read again."""
        self._reading.set()

    def wait(self, count: int) -> list[bytes]:
        """The messages, once there are so many at least."""
        eventually(lambda: len(self.messages) >= count, what=f"{count} messages")
        return list(self.messages)

    def _may_read(self) -> bool:
        if self._reading.wait(_SLICE_S):
            return True
        self._paused.set()
        return False

    def _serve(self) -> None:
        raise NotImplementedError


class DatagramServer(Server):
    """One for datagrams: over UDP at ``host``, or at a ``path``. Without ``port`` it takes a free one."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, path: Path | None = None) -> None:
        super().__init__()
        if path is None:
            self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
            self.socket.bind((host, port))
            self.port: int = self.socket.getsockname()[1]
        else:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            path.unlink(missing_ok=True)
            self.socket.bind(str(path))
        self.socket.settimeout(_SLICE_S)

    def _serve(self) -> None:
        with self.socket:
            while not self._ending.is_set():
                if self._may_read():
                    with contextlib.suppress(TimeoutError):
                        self.messages.append(self.socket.recv(1 << 17))


class StreamServer(Server):
    """One for streams: TCP at ``host``, with TLS if there is a ``context``, or at a ``path``.

    A connection that ends is noted with how: "end" in order, or an error. ``backlog`` connections wait to be accepted.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        path: Path | None = None,
        context: ssl.SSLContext | None = None,
        buffer: int | None = None,
    ) -> None:
        super().__init__()
        self.accepted = 0
        self.ends: list[str] = []
        self.wrong: list[bytes] = []
        self._context = context
        self._counted = path is None
        if path is None:
            self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if buffer is not None:
                self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
            self._listener.bind((host, port))
            self.port: int = self._listener.getsockname()[1]
        else:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            path.unlink(missing_ok=True)
            self._listener.bind(str(path))
        self._listener.listen(8)
        self._listener.settimeout(_SLICE_S)
        self._reset = False
        self._open: socket.socket | None = None

    def reset(self) -> None:
        """Dies with what its kernel holds: the connection is reset, and nobody listens any more."""
        self._reset = True
        self.end()

    def hang_up(self) -> None:
        """Ends the connection at hand in order, and goes on listening."""
        eventually(lambda: self._open)
        sock = self._open
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        with self._listener:
            while not self._ending.is_set():
                try:
                    sock, _ = self._listener.accept()
                except TimeoutError:
                    if not self._reading.is_set():
                        self._paused.set()
                    continue
                with sock:
                    self.accepted += 1
                    self._converse(sock)

    def _converse(self, sock: socket.socket) -> None:
        sock.settimeout(1.0)
        data = b""
        try:
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._open = sock
            sock.settimeout(_SLICE_S)
            while not self._ending.is_set():
                if not self._may_read():
                    continue
                try:
                    more = sock.recv(1 << 16)
                except TimeoutError:
                    continue
                if not more:
                    self.ends.append("end")
                    return
                data = self._parse(data + more)
        except OSError as error:
            self.ends.append(type(error).__name__)
        finally:
            self._open = None
            if data:
                self.wrong.append(data)
            if self._reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()

    def _parse(self, data: bytes) -> bytes:
        """Takes the messages that are whole; gives the rest."""
        while True:
            if self._counted:
                length, blank, rest = data.partition(b" ")
                if not blank or len(rest) < int(length):
                    return data
                self.messages.append(rest[: int(length)])
                data = rest[int(length) :]
            else:
                message, newline, rest = data.partition(b"\n")
                if not newline:
                    return data
                self.messages.append(message)
                data = rest


def lines_of(first: int, count: int, size: int = 0) -> bytes:
    """Lines with numbers, ``size`` bytes each at least."""
    return b"".join([b"%06d%b\n" % (number, b"x" * max(size - 7, 0)) for number in range(first, first + count)])


def numbers(messages: list[bytes]) -> list[int]:
    """The numbers of such lines."""
    return [int(message[:6]) for message in messages]


def duplicates(messages: list[Any]) -> int:
    """How many of them are there already."""
    return len(messages) - len(set(messages))
