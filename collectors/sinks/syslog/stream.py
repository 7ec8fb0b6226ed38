"""Messages over streams: TCP, TLS and Unix streams. A message is delivered when it has arrived.

Over TCP and TLS that is when the server's kernel has acknowledged it. A server that ends the connection, however it
does that, may have forgotten what it had (:mod:`logbus.collectors.sinks.syslog.connection`): then what was sent last is
sent again, :data:`TAIL_BYTES` and :data:`TAIL_S` of it at most, and counted as possibly there twice. On a Unix stream a
message is delivered when it has been read, and nothing is ever sent again that was delivered.

A connection has to prove itself: what the first write on it has sent counts only when it has lived for
:data:`PROOF_S` more. Behind a proxy without a server, or with a client's certificate that the server only looks at
after the handshake (TLS 1.3), everything is acknowledged and nothing read.

A server that reads nothing for a while keeps its connection, so that what is on its way does not arrive twice: the next
write goes on where the last one stood.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from logbus.collectors.sinks.base import Sent, TryAgainError
from logbus.collectors.sinks.syslog import dial
from logbus.collectors.sinks.syslog.address import Address
from logbus.collectors.sinks.syslog.connection import Connection, EndedError, StalledError
from logbus.collectors.sinks.syslog.framing import octet_counted, pieces
from logbus.collectors.sinks.syslog.tail import Tail
from logbus.collectors.sinks.syslog.wait import Abort, AbortedError

if TYPE_CHECKING:
    import ssl

#: Bytes and seconds of what was sent last that are sent again when the server ends the connection.
TAIL_BYTES: Final = 1024 * 1024
TAIL_S: Final = 5.0
#: How often a message that was delivered is sent again at most because a server has closed the connection: one that
#: closes each of them soon, such as a proxy with a short patience, would have the same ones come for ever. A reset does
#: not count: by it a kernel says that not everything was read.
REPEATS: Final = 3
#: Seconds for which a new connection has to live after its first write: longer than the way there and back.
PROOF_S: Final = 0.25
#: Seconds without a word from the other machine's kernel after which a connection is given up. One that is alive
#: answers, when its reader reads nothing, each 120 s at least (``TCP_RTO_MAX``); to connect anew would double what it
#: holds.
ABANDON_S: Final = 150.0
#: Seconds for the end of a connection.
CLOSE_S: Final = 2.0


class Stream:
    """Messages to one address, over one connection after the other; used by one thread.

    ``secure`` makes the context of TLS, where there is any. What is between two writes is kept here: which lines of a
    write that has not ended are on their way on the connection at hand, and which lines are to be sent again first.
    """

    def __init__(self, address: Address, abort: Abort, *, secure: Callable[[], ssl.SSLContext] | None = None) -> None:
        self._address = address
        self._abort = abort
        self._secure = secure
        self._connection: Connection | None = None
        #: Who is at the other end; None without a connection.
        self.peer: str | None = None
        #: Lines that went out over this connection and have not ended; which byte of all lines of the writer's that
        #: did the first of them begins with; and up to which byte they were counted as possibly there twice.
        self._own = b""
        self._base = 0
        self._counted = 0
        #: When the connection will have proved itself, once that is known; and whether it has.
        self._proof_at: float | None = None
        self._proved = False
        #: What a server has read for certain needs no tail: a Unix stream says so.
        self._tail = Tail(max_records=0) if address.local else Tail(max_bytes=TAIL_BYTES, max_s=TAIL_S, clock=self._now)
        #: Lines that were delivered and are to be sent again, with how many connections were closed since, and records
        #: that are, not told to the writer yet.
        self._parcels: list[tuple[bytes, int]] = []
        self.owed = 0

    @property
    def again(self) -> bytes:
        """Lines that were delivered and are to be sent again."""
        return b"".join([lines for lines, _ in self._parcels])

    @again.setter
    def again(self, lines: bytes) -> None:
        self._parcels = [(lines, 0)] if lines else []

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as one knows."""
        return self._connection is not None

    def connect(self) -> None:
        """Connects, and begins with what has to be sent again. Raises TryAgainError."""
        sock = dial.stream(self._address, self._abort)
        peer = dial.peer_of(sock)
        try:
            if self._secure is None:
                connection = Connection(sock, self._abort, local=self._address.local)
            else:
                from logbus.collectors.sinks.syslog.secure import secured

                secure = secured(sock, self._secure(), self._address, self._abort)
                connection = Connection(sock, self._abort, secure=secure)
            for piece in pieces(self.again):
                connection.push(self._framed(piece), 0)
        except EndedError as error:
            sock.close()
            raise TryAgainError(f"{self._address}: {error}") from None
        except BaseException:
            sock.close()
            raise
        self._connection, self.peer = connection, peer
        self._own, self._base, self._counted = b"", 0, 0
        self._proof_at, self._proved = None, self._address.local

    def write(self, data: bytes) -> Sent | None:
        """Sends whole lines, and waits until they have arrived. Raises TryAgainError."""
        self.look()
        if self._connection is None:
            self.connect()
        connection = self._connection
        assert connection is not None
        try:
            news = self._news(data)
            mark = self._base + len(self._own)
            self._own += news
            for piece in pieces(news):
                mark += len(piece)
                connection.push(self._framed(piece), mark)
            self._settle(connection)
        except EndedError as error:
            return self._ended(connection, error, data)
        except (StalledError, AbortedError) as error:
            return self._interrupted(connection, error, data)
        self._arrived(data, len(data))
        return self._answer(data, len(data))

    def look(self) -> None:
        """Notices that the other side has ended the connection."""
        if self._connection is not None:
            try:
                self._connection.notice()
            except EndedError as error:
                self._lose(self._connection, error)

    def repeat(self) -> None:
        """Sends again what has to be, if anything. Raises TryAgainError."""
        if not self.again:
            return
        if self._connection is None:
            self.connect()
        connection = self._connection
        assert connection is not None
        try:
            self._settle(connection)
        except EndedError as error:
            self._lose(connection, error)
            raise TryAgainError(f"{self._address}: {error}") from None
        except StalledError as error:
            raise TryAgainError(f"{self._address}: {error}") from None

    def told(self) -> int:
        """Records that may be there twice and that no answer has told of; then there are none."""
        owed, self.owed = self.owed, 0
        return owed

    def close(self) -> None:
        """Ends the connection in order, and waits a while for the other side to have read everything.

        One on which lines are that have not ended is closed at once: the writer has them, and whoever comes next will
        send them.
        """
        until = time.monotonic() + CLOSE_S
        while (self._connection is not None and not self._own) or (self._connection is None and self.again):
            connection = self._connection
            try:
                if connection is None:
                    self.connect()
                    continue
                if self.again:
                    self._settle(connection)
                connection.finish(until)
            except EndedError as error:
                assert connection is not None
                self._lose(connection, error)
            except (StalledError, TryAgainError, TimeoutError):
                until = 0.0
            if time.monotonic() >= until:
                break
        self._drop()

    def _framed(self, lines: bytes) -> bytes:
        return lines if self._address.local else octet_counted(lines)

    def _news(self, data: bytes) -> bytes:
        """The lines of a write that are not on their way yet."""
        own = self._own
        if data.startswith(own):
            return data[len(own) :]
        if own.startswith(data):  # fewer than before: a probe
            return b""
        # Other lines come first: those that are on their way are no longer anybody's.
        self._base += len(own)
        self._own = b""
        return data

    def _settle(self, connection: Connection) -> None:
        """Waits until all that was sent has arrived, on a connection that has proved itself."""
        connection.settle()
        if not self._proved:
            if self._proof_at is None:
                self._proof_at = time.monotonic() + PROOF_S
            connection.quiet(self._proof_at)
            self._proved = True
        for lines, closed in self._parcels:
            self._tail.add(lines, closed)
        self._parcels = []

    def _arrived(self, data: bytes, size: int) -> None:
        """The first ``size`` bytes of a write have ended, and the connection goes on."""
        self._tail.add(data[:size])
        self._own = self._own[size:]
        self._base += size

    def _interrupted(self, connection: Connection, error: Exception, data: bytes) -> Sent | None:
        """What has arrived has ended. The rest is on its way, and the connection stays for it to arrive once."""
        size = min(max(connection.arrived - self._base, 0), len(data)) if self._proved else 0
        doubtful = self._doubtful(connection, size)
        self._arrived(data, size)
        if isinstance(error, StalledError) and connection.silent_s >= ABANDON_S:
            self._lose(connection, EndedError(str(error)))
        return self._answer(data, size, doubtful, error)

    def _ended(self, connection: Connection, error: EndedError, data: bytes) -> Sent | None:
        """What has been read for certain has ended. The rest comes again, on another connection."""
        size = 0
        if self._address.local:
            size = min(max(connection.arrived - self._base, 0), len(data))
        doubtful = self._doubtful(connection, size)
        self._lose(connection, error)
        return self._answer(data, size, doubtful, error)

    def _answer(self, data: bytes, size: int, doubtful: int = 0, error: Exception | None = None) -> Sent | None:
        """What a write says of which the first ``size`` bytes have ended. Raises TryAgainError if nothing has."""
        if not size:
            raise TryAgainError(f"{self._address}: {error}", doubtful=doubtful) from None
        resent = doubtful + self.told()
        return None if size == len(data) and not resent else Sent(data.count(b"\n", 0, size), resent=resent)

    def _doubtful(self, connection: Connection, size: int) -> int:
        """Records behind the first ``size`` bytes that may have arrived and come again, once for each connection."""
        begin = max(self._counted, self._base + size)
        self._counted = max(connection.taken, begin)
        return self._own.count(b"\n", begin - self._base, self._counted - self._base)

    def _lose(self, connection: Connection, error: EndedError) -> None:
        """A connection is over: what it may not have brought that was delivered is to be sent again."""
        if error.orderly:
            self._parcels = self._parcels if connection.arrived < 0 else []
            self._tail.clear()
        # While something waits to be sent again nothing is delivered, and the tail holds nothing.
        found = [(lines, closed + error.closed) for lines, closed in self._tail.parcels()]
        self._parcels += [(lines, closed) for lines, closed in found if closed <= REPEATS]
        # Booked before it is sent, so that a crash in between leaves no more there than was said.
        self.owed += self.again.count(b"\n")
        self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self.peer = None
        self._own, self._base, self._counted = b"", 0, 0

    def _now(self) -> float:
        """The time by which the tail ages: it stands still while the server does not read."""
        connection = self._connection
        return connection.progress_at if connection is not None and connection.waits else time.monotonic()
