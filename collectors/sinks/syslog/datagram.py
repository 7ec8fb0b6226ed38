"""Messages as datagrams: UDP (RFC 5426) and Unix sockets. One is delivered when the kernel has taken it.

Nobody acknowledges a datagram. What tells that nobody listens is a refusal: over UDP the other machine says so after
the fact (ICMP), on a Unix socket the kernel at once. Then what may have gone nowhere is sent again: over UDP what was
sent in the last :data:`TAIL_S` seconds, :data:`TAIL_BYTES` at most; on a Unix socket the last messages that a reader's
queue holds (``net.unix.max_dgram_qlen``), so that none is lost there. All else that gets lost on the way over UDP
nobody can count.

Whether the reader of a Unix socket has read everything is seen between writes: the kernel knows how much is unread
(``SIOCOUTQ``), but says 0 for a reader that has died, too. So it is asked first, and then whether the reader that was
sent to is there still, which it is if the socket's file is the same and takes a connection.

On a new UDP socket, so after a refusal too, the first message goes alone, and the others wait :data:`PROOF_S` for an
answer.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import sys
import time
from math import inf
from pathlib import Path
from typing import Final

from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.sinks.syslog import dial
from logbus.collectors.sinks.syslog.address import Address
from logbus.collectors.sinks.syslog.outgoing import unread
from logbus.collectors.sinks.syslog.tail import Tail
from logbus.collectors.sinks.syslog.wait import SLICE_S, Abort, AbortedError

#: Bytes and seconds of what was sent last over UDP that are sent again after a refusal.
TAIL_BYTES: Final = 256 * 1024
TAIL_S: Final = 2.0
#: Seconds for which a refusal of the first message is waited for.
PROOF_S: Final = 0.1
#: Seconds for which a reader may take nothing: below what makes a writer call a sink hung.
STALL_S: Final = 4.0
#: Seconds for which a reader may take to read what it has as the sink is closed, and between looks at that.
CLOSE_S: Final = 2.0
PAUSE_S: Final = 0.005

#: Datagrams that wait for the reader of a Unix socket, and what the kernel's default has been in the last years.
_QUEUE: Final = Path("/proc/sys/net/unix/max_dgram_qlen")
_DEFAULT_QUEUE: Final = 512
#: What says that nobody is there.
_GONE: Final = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ENOTCONN, errno.EPIPE, errno.EHOSTUNREACH, errno.ENETUNREACH}
)


#: Device, number and time of a file.
_File = tuple[int, int, int]


class Datagrams:
    """Messages to one address, each in a datagram; used by one thread."""

    def __init__(self, address: Address, abort: Abort) -> None:
        self._address = address
        self._abort = abort
        self._socket: socket.socket | None = None
        #: Where the datagrams go; None while nobody takes them.
        self.peer: str | None = None
        #: The file of the reader that the socket leads to, where it is a Unix socket's.
        self._reader: _File | None = None
        #: Counts through the addresses of a name: one that refuses is not the one that is tried next.
        self._turn = 0
        self._proved = False
        #: How many of the messages sent last may be unread when nobody is there any more.
        self._unread = _queue() + 1 if address.local else sys.maxsize
        if address.local:
            self._tail = Tail(max_records=self._unread)
        else:
            self._tail = Tail(max_bytes=TAIL_BYTES, max_s=TAIL_S)
        #: Lines that were delivered and are to be sent again, and records that were, not told to the writer yet.
        self.again = b""
        self.owed = 0

    @property
    def connected(self) -> bool:
        """Whether there is a socket that leads to the address."""
        return self._socket is not None

    def connect(self) -> None:
        """Makes a socket. Raises WrongKindError where the address takes streams, TryAgainError."""
        reader = self._file()
        self._socket = dial.datagrams(self._address, self._turn)
        # Replaced meanwhile: nobody knows which it is.
        self._reader = reader if reader == self._file() else None
        self.peer = dial.peer_of(self._socket)
        self._proved = self._address.local

    def write(self, data: bytes) -> Sent | None:
        """Sends whole lines, one datagram each. Raises TryAgainError."""
        self.repeat()
        if self._socket is None:
            self.connect()
        lines = data[:-1].split(b"\n")
        sent, refused, error = self._send(lines)
        doubtful = 0
        if _is_gone(error):
            ended = max(sent - self._unread, 0)
            doubtful = self._doubtful(sent - ended)
            self._lose(self._unread - (sent - ended))
            sent = ended
        elif error is None:
            self._tail.add(data)
        else:
            self._tail.add(_joined(lines[:sent]))
        refusals = tuple(refusal for at, refusal in refused if at < sent)
        if error is not None and not sent:
            raise self._failure(error, doubtful)
        resent = doubtful + self.told()
        return Sent(sent, refusals, resent) if error is not None or refusals or resent else None

    def look(self) -> None:
        """Notices that what was sent last was refused, or that it has been read."""
        if self._socket is None:
            return
        if not self._address.local:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code in _GONE:
                self._lose(self._unread)
        elif self._tail and not unread(self._socket):
            if self._lives():
                self._tail.clear()
            else:
                self._lose(self._unread)

    def repeat(self) -> None:
        """Sends again what has to be, if anything. Raises TryAgainError."""
        if not self.again:
            return
        if self._socket is None:
            self.connect()
        lines = self.again[:-1].split(b"\n")
        sent, _, error = self._send(lines)
        if error is None:
            self.owed += sent
            self._tail.add(self.again)
            self.again = b""
            return
        if _is_gone(error):
            self.owed += self._doubtful(sent)
            self._lose(max(self._unread - sent, 0))
        else:
            self.owed += sent
            self._tail.add(_joined(lines[:sent]))
            self.again = _joined(lines[sent:])
        raise self._failure(error, 0)

    def told(self) -> int:
        """Records that may be there twice and that no answer has told of; then there are none."""
        owed, self.owed = self.owed, 0
        return owed

    def close(self) -> None:
        """Waits a while for the reader of a Unix socket, sends again what has to be, and closes the socket."""
        until = time.monotonic() + CLOSE_S
        try:
            while self._address.local and self._socket is not None and unread(self._socket):
                if time.monotonic() >= until:
                    break
                self._abort.pause(PAUSE_S)
            self.look()
            self.repeat()
        except TryAgainError:
            pass
        self._drop()

    def _send(self, lines: list[bytes]) -> tuple[int, list[tuple[int, Refusal]], Exception | None]:
        """How many lines have ended, those of them that can't be sent by their numbers, and what ended it all."""
        sock = self._socket
        assert sock is not None
        refused: list[tuple[int, Refusal]] = []
        at = 0
        stalled_at = inf
        try:
            while at < len(lines):
                try:
                    sock.send(lines[at])
                except BlockingIOError:
                    stalled_at = min(stalled_at, time.monotonic() + STALL_S)
                    self._wait(sock, stalled_at)
                    continue
                except OSError as error:
                    if error.errno != errno.EMSGSIZE:
                        raise
                    text = f"a message of {len(lines[at])} bytes has no room in a datagram: see max_message"
                    refused.append((at, Refusal(lines[at] + b"\n", 1, text)))
                at += 1
                stalled_at = inf
                if not self._proved:
                    self._prove(sock)
        except (OSError, AbortedError) as error:
            return at, refused, error
        return at, refused, None

    def _wait(self, sock: socket.socket, stalled_at: float) -> None:
        """Waits a moment for the reader to make room. Raises TimeoutError, AbortedError."""
        now = time.monotonic()
        if now >= stalled_at:
            raise TimeoutError(errno.ETIMEDOUT, f"the reader has taken nothing for {STALL_S:g} s")
        self._abort.wait(sock, select.POLLOUT, now + SLICE_S)

    def _prove(self, sock: socket.socket) -> None:
        """Waits a moment for a refusal of what was sent. Raises it, AbortedError."""
        if self._abort.wait(sock, 0, time.monotonic() + PROOF_S):
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
        self._proved = True

    def _doubtful(self, sent: int) -> int:
        """How many of the messages sent before a refusal may have arrived: over UDP one is what was refused."""
        return sent if self._address.local else max(sent - 1, 0)

    def _lose(self, records: int) -> None:
        """Nobody is there: the last lines that were delivered, so many at most, are to be sent again."""
        self.again = self._tail.take(records) + self.again  # what waits to be sent again is newer
        self._turn += 1
        self._drop()

    def _drop(self) -> None:
        sock, self._socket, self.peer = self._socket, None, None
        if sock is not None:
            sock.close()

    def _lives(self) -> bool:
        """Whether the reader of a Unix socket is the one to which the socket leads, and there."""
        try:
            dial.datagrams(self._address).close()
        except TryAgainError:
            return False
        return self._reader is not None and self._file() == self._reader

    def _file(self) -> _File | None:
        """What makes the file of a Unix socket the one that it is; a number alone is soon given to another."""
        try:
            found = os.stat(self._address.path) if self._address.local else None
        except OSError:
            return None
        return None if found is None else (found.st_dev, found.st_ino, found.st_mtime_ns)

    def _failure(self, error: Exception, doubtful: int) -> TryAgainError:
        return TryAgainError(f"{self._address}: {dial.reason(error)}", doubtful=doubtful)


def _joined(lines: list[bytes]) -> bytes:
    return b"".join([line + b"\n" for line in lines])


def _is_gone(error: Exception | None) -> bool:
    return isinstance(error, OSError) and error.errno in _GONE


def _queue() -> int:
    try:
        return int(_QUEUE.read_text())
    except (OSError, ValueError):  # another system, or no /proc
        return _DEFAULT_QUEUE
