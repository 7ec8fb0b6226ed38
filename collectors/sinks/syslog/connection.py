"""One stream to a server, from its first byte to its end: what was sent, how much of it has arrived, and how it ended.

A write to a stream is no delivery: the kernel has taken it, and nobody else. How many bytes are still on their way the
kernel knows (``SIOCOUTQ``). Over TCP these are bytes that the other machine's kernel has not acknowledged; on a Unix
stream the memory of what its reader has not read, which says nothing but whether there is any.

How a stream ends says little of what became of the rest. Linux resets a connection that is closed with bytes unread,
but a server may say before that, in order, that nothing more comes (FIN): syslog-ng does when SIGTERM ends it, and a
hundred or two messages that its kernel had acknowledged are gone (measured, 3.38). Only the end that answers ours is
one of a server that went on until it had read everything.

Whoever sends marks what it sends with numbers that ascend, and reads off how far it has come.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from logbus.collectors.sinks.syslog.dial import reason
from logbus.collectors.sinks.syslog.outgoing import unread
from logbus.collectors.sinks.syslog.wait import Abort

if TYPE_CHECKING:
    from logbus.collectors.sinks.syslog.secure import Secure

#: Seconds without any progress after which a server counts as one that reads nothing: below what makes a writer call a
#: sink hung.
STALL_S: Final = 4.0
#: Seconds between looks at what has arrived, which nothing announces: at first, and at most.
FIRST_PAUSE_S: Final = 0.0005
LAST_PAUSE_S: Final = 0.02
#: Bytes that are read at once.
READ: Final = 16 * 1024
#: Reads in one look at most: a server has nothing to say, and one that talks without an end is not listened to.
READS: Final = 64

#: The beginning of ``struct tcp_info``, up to ``tcpi_last_ack_recv``, in milliseconds.
_INFO: Final = struct.Struct("=8B13I")


class EndedError(Exception):
    """Raised when the stream is over; ``orderly`` if the other side has read all, and then answered our end of it.

    ``closed`` if it has ended it with all read, as far as its kernel knows, and not by a reset.
    """

    def __init__(self, message: str, *, orderly: bool = False, closed: bool = False) -> None:
        super().__init__(message)
        self.orderly = orderly
        self.closed = closed


class StalledError(Exception):
    """Raised when the other side has read nothing for :data:`STALL_S`."""


class Connection:
    """A connected stream, which does not block. ``local`` is for one of a Unix socket."""

    def __init__(self, sock: socket.socket, abort: Abort, *, secure: Secure | None = None, local: bool = False) -> None:
        self._sock = sock
        self._abort = abort
        self._secure = secure
        self._local = local
        #: Bytes of the stream that wait for the kernel to take them, and how many it has taken, and was meant to take.
        self._rest = b""
        self._taken = 0
        self._meant = 0
        #: Whether we have said that nothing more comes.
        self._finishing = False
        #: Ends of what was sent, in bytes of the stream, and their marks, up to which nothing is known yet.
        self._marks: deque[tuple[int, int]] = deque()
        #: Up to where all has arrived, in bytes of the stream, and the mark of that.
        self._landed = 0
        self.arrived = -1
        #: When something was last taken or arrived, or began to wait for that, in monotonic seconds.
        self.progress_at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """Seconds since the other side's kernel has last said something; 0 on this machine: a death is noticed."""
        if self._local:
            return 0.0
        info = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        return float(_INFO.unpack(info)[-1] / 1000)

    @property
    def waits(self) -> bool:
        """Whether something that was pushed has not arrived."""
        return bool(self._marks)

    @property
    def taken(self) -> int:
        """The mark up to which something may have arrived."""
        mark, begin = self.arrived, self._landed
        for end, next_mark in self._marks:
            if begin >= self._taken:
                break
            mark, begin = next_mark, end
        return mark

    def push(self, data: bytes, mark: int) -> None:
        """Has these bytes sent, by what comes next. Raises EndedError."""
        if self._secure is not None:
            data = self._wrapped(self._secure, data)
        if not self._marks:
            self.progress_at = time.monotonic()
        self._rest += data
        self._meant += len(data)
        self._marks.append((self._meant, mark))

    def settle(self) -> None:
        """Sends all that was pushed, until all of it has arrived. Raises EndedError, StalledError, AbortedError."""
        stalled_at = time.monotonic() + STALL_S
        pause = FIRST_PAUSE_S
        while True:
            moved = self._send() | self._look()
            if not self._marks:
                self.notice()
                return
            now = time.monotonic()
            if moved:
                self.progress_at, stalled_at, pause = now, now + STALL_S, FIRST_PAUSE_S
            elif now >= stalled_at:
                raise StalledError(f"the server has read nothing for {STALL_S:g} s")
            events = select.POLLIN | (select.POLLOUT if self._rest else 0)
            found = self._abort.wait(self._sock, events, now + pause)
            if found & ~select.POLLOUT:
                self._read()
            pause = min(pause * 2, LAST_PAUSE_S)

    def notice(self) -> None:
        """Looks whether the other side has ended the stream. Raises EndedError."""
        for _ in range(READS):
            if not self._ready():
                return
            self._read()

    def quiet(self, until: float) -> None:
        """Waits ``until`` then (monotonic seconds) for the stream not to end. Raises EndedError, AbortedError."""
        while self._abort.wait(self._sock, select.POLLIN, until):
            self._read()
            if time.monotonic() >= until:  # of one that talks on and on
                return

    def finish(self, until: float) -> None:
        """Says that nothing more comes, and waits ``until`` then for the other side to have read everything.

        Raises EndedError, ``orderly`` if it has; AbortedError, TimeoutError.
        """
        if self._secure is not None:
            self._rest += self._secure.farewell()
        while self._rest:
            if not self._send() and not self._abort.wait(self._sock, select.POLLOUT, until):
                raise TimeoutError
        try:
            self._sock.shutdown(socket.SHUT_WR)
            self._finishing = True
        except OSError as error:
            raise EndedError(reason(error)) from None
        self.quiet(until)
        raise TimeoutError

    def close(self) -> None:
        """Lets the socket go; what the kernel has taken it goes on to deliver."""
        self._sock.close()

    def _wrapped(self, secure: Secure, data: bytes) -> bytes:
        import ssl

        try:
            return secure.wrap(data)
        except ssl.SSLError as error:
            raise EndedError(secure.wrong(error)) from None

    def _send(self) -> bool:
        """Gives the kernel what it takes; whether it took any."""
        if not self._rest:
            return False
        before = self._taken
        view = memoryview(self._rest)
        try:
            while view:
                count = self._sock.send(view)
                self._taken += count
                view = view[count:]
        except BlockingIOError:
            pass
        except OSError as error:
            self.notice()  # an alert of TLS that came before says more than a broken pipe
            raise EndedError(reason(error)) from None
        finally:
            self._rest = bytes(view) if view else b""
        return self._taken > before

    def _look(self) -> bool:
        """Learns how far the bytes have come; whether farther than before."""
        left = unread(self._sock)
        if self._local:
            if left:
                return False
            # A reader that closes with something unread leaves an error before it frees what was unread.
            if code := self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise EndedError(errno.errorcode.get(code, str(code)))
        moved = False
        while self._marks and self._marks[0][0] <= self._taken - left:
            self._landed, self.arrived = self._marks.popleft()
            moved = True
        return moved

    def _ready(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))

    def _read(self) -> None:
        try:
            data = self._sock.recv(READ)
        except BlockingIOError:
            return
        except OSError as error:
            raise EndedError(reason(error)) from None
        if not data:
            raise EndedError("the server has closed the connection", orderly=self._finishing, closed=True)
        if self._secure is not None:
            self._take(self._secure, data)

    def _take(self, secure: Secure, data: bytes) -> None:
        import ssl

        try:
            answer, over = secure.take(data)
        except ssl.SSLError as error:
            raise EndedError(secure.wrong(error)) from None
        if over:
            raise EndedError("the server has closed the connection", orderly=self._finishing, closed=True)
        self._rest += answer
        self._meant += len(answer)
