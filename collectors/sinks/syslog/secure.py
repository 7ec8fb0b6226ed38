"""TLS between a stream and its socket (RFC 5425): what goes in comes out as records, and nobody waits here.

The socket's bytes pass through memory, so that all waiting, and all counting of what the other side's kernel has
acknowledged, is the connection's, with TLS and without.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import Final

from logbus.collectors.sinks.base import TryAgainError
from logbus.collectors.sinks.syslog.address import Address
from logbus.collectors.sinks.syslog.dial import reason
from logbus.collectors.sinks.syslog.wait import Abort
from logbus.collectors.sinks.tls import wrong_with

#: Seconds for a handshake.
HANDSHAKE_S: Final = 4.0
#: Bytes that are read at once.
READ: Final = 16 * 1024


class Secure:
    """One side of a TLS connection whose handshake is done."""

    def __init__(self, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, host: str) -> None:
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._host = host

    def wrap(self, data: bytes) -> bytes:
        """The records for these bytes, and whatever else has to go out. Raises ssl.SSLError."""
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        return self._outgoing.read()

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """What has to go out after these bytes came in, and whether the other side has said that it sends no more.

        Raises ssl.SSLError, for an alert too.
        """
        self._incoming.write(data)
        over = False
        try:
            while self._tls.read(READ):  # syslog servers say nothing
                pass
            over = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            over = True
        return self._outgoing.read(), over

    def farewell(self) -> bytes:
        """The record that says that nothing more comes."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # the other side's farewell has not come yet
            pass
        return self._outgoing.read()

    def wrong(self, error: ssl.SSLError) -> str:
        """What is wrong, in words."""
        return wrong_with(error, self._host)


def secured(sock: socket.socket, context: ssl.SSLContext, address: Address, abort: Abort) -> Secure:
    """Shakes hands over a connected socket, with the certificate and the name of the server checked.

    Raises TryAgainError with what an operator can mend.
    """
    until = time.monotonic() + HANDSHAKE_S
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=address.host)
    rest = b""
    try:
        while True:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            rest = _send(sock, rest + outgoing.read())
            if done and not rest:
                return Secure(tls, incoming, outgoing, address.host)
            events = (0 if done else select.POLLIN) | (select.POLLOUT if rest else 0)
            if not abort.wait(sock, events, until):
                raise TryAgainError(f"{address}: no TLS handshake within {HANDSHAKE_S:g} s")
            if not done:
                _receive(sock, incoming)
    except ssl.SSLError as error:
        _last_words(sock, outgoing)
        raise TryAgainError(f"{address}: {wrong_with(error, address.host)}") from None
    except OSError as error:
        raise TryAgainError(f"{address}: ended during the TLS handshake: {reason(error)}") from None


def _send(sock: socket.socket, data: bytes) -> bytes:
    """Sends what the kernel takes; gives the rest."""
    try:
        return data[sock.send(data) :] if data else b""
    except BlockingIOError:
        return data


def _receive(sock: socket.socket, incoming: ssl.MemoryBIO) -> None:
    try:
        data = sock.recv(READ)
    except BlockingIOError:
        return
    if data:
        incoming.write(data)
    else:
        raise ConnectionResetError("the server has closed the connection")


def _last_words(sock: socket.socket, outgoing: ssl.MemoryBIO) -> None:
    """Tells the server why, so that its log says so too."""
    try:
        _send(sock, outgoing.read())
    except OSError:
        pass
