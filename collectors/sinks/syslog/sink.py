"""A sink that writes to a syslog server: over datagrams or a stream, as its address says or its Unix socket takes."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from logbus.collectors.sinks.base import Sent, TryAgainError
from logbus.collectors.sinks.remote import RemoteSink
from logbus.collectors.sinks.syslog.address import Address
from logbus.collectors.sinks.syslog.datagram import Datagrams
from logbus.collectors.sinks.syslog.dial import WrongKindError
from logbus.collectors.sinks.syslog.stream import Stream
from logbus.collectors.sinks.syslog.wait import Abort, AbortedError
from logbus.errors import LogbusError

if TYPE_CHECKING:
    import ssl

    from logbus.collectors.sinks.tls import TlsFiles


class SyslogSink(RemoteSink):
    """Lines, each a whole message of syslog, to an address. ``tls`` is for one of TLS."""

    type = "syslog"

    def __init__(self, name: str, address: Address, tls: TlsFiles | None = None) -> None:
        super().__init__(name)
        self._address = address
        self._tls = tls
        self._abort = Abort()
        self._stream = Stream(address, self._abort, secure=self._context if address.transport == "tls" else None)
        self._datagrams = Datagrams(address, self._abort)
        self._way: Stream | Datagrams = self._datagrams if address.transport in ("udp", "unix") else self._stream

    def open(self) -> None:
        """Reads the certificates; a server that is down when the collector starts is one that fails later.

        Raises SinkError, which names the key and the file.
        """
        if self._address.transport == "tls":
            self._context()

    def write(self, data: bytes) -> Sent | None:
        """Sends whole lines. Raises TryAgainError."""
        with self._abort.call():
            try:
                sent = self._connected().write(data)
            except TryAgainError as error:
                error.doubtful += self.resent()
                raise
            self.trouble = None
            return sent

    def look(self, first: int = 0) -> int:
        """Any number of bytes. Notices that nobody is there any more, and sends again what was lost by that.

        If that fails it is trouble: whether lines can be written the next write says. Raises AbortedError.
        """
        self._way.look()
        if not first and not self._way.owed:  # else the write that comes does it, or the next look: once it is booked
            self._repeat()
        return sys.maxsize

    def resent(self) -> int:
        """Records that were delivered, are sent again, and that no write has told of."""
        return self._stream.told() + self._datagrams.told()

    def abort(self) -> None:
        """Has the call under way end soon, with TryAgainError; from any thread."""
        self._abort.want()

    def document(self) -> Mapping[str, Any]:
        """Where the lines go, and who takes them at present."""
        way = self._way
        return {"address": str(self._address), "connected": way.connected, "peer": way.peer}

    def close(self) -> None:
        """Ends the connection in order, for two seconds at most, or as long as a connection takes for what was lost."""
        with self._abort.call():
            self._way.close()
        if lines := self._way.again.count(b"\n"):
            self._way.again = b""
            self.trouble = f"{lines} lines that were delivered may be lost: at the end nobody was there to take them"

    def _repeat(self) -> None:
        self.trouble = None
        if self._way.again:
            try:
                self._connected().repeat()
            except AbortedError:
                raise
            except LogbusError as error:
                lines = self._way.again.count(b"\n")
                self.trouble = f"{lines} lines that were delivered may be lost, and are to be sent again: {error}"

    def _connected(self) -> Stream | Datagrams:
        """The way that messages take: a Unix socket says itself whether it takes datagrams, as it is asked."""
        if self._address.local and not self._way.connected:
            try:
                self._datagrams.connect()
                self._take(self._datagrams)
            except WrongKindError:
                self._take(self._stream)
                self._stream.connect()
        return self._way

    def _take(self, way: Stream | Datagrams) -> None:
        """Takes this way from now on; what was lost on the other is sent again on it."""
        if way is not self._way:
            way.again, self._way.again = self._way.again, b""
            if way is self._stream:  # which counts what is to be sent again, and datagrams what was
                way.owed += way.again.count(b"\n")
            self._way = way

    def _context(self) -> ssl.SSLContext:
        from logbus.collectors.sinks.tls import TlsFiles, client_context

        return client_context(self._tls or TlsFiles(), self.name)
