"""Sockets that lead to an address: names are looked up each time, since a server may have moved meanwhile."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from typing import Any, Final

from logbus.collectors.sinks.base import TryAgainError
from logbus.collectors.sinks.syslog.address import Address
from logbus.collectors.sinks.syslog.wait import Abort

#: Seconds for a connection, all addresses of a name together: below what makes a writer call a sink hung.
CONNECT_S: Final = 4.0
#: Addresses of a name that are tried.
MAX_ADDRESSES: Final = 8
#: A peer that is gone without a word, seconds: how long nothing comes before it is asked, how often then, and how
#: many times before the connection is over.
KEEP_IDLE_S: Final = 30
KEEP_INTERVAL_S: Final = 10
KEEP_COUNT: Final = 3

#: A socket's family and its address.
Place = tuple[socket.AddressFamily, Any]


class WrongKindError(TryAgainError):
    """Raised when a Unix socket is one for streams and not for datagrams."""


def places(address: Address) -> list[Place]:
    """The places that a host's name stands for, in the order of RFC 6724. Raises TryAgainError.

    The resolver takes as long as the system lets it.
    """
    kind = socket.SOCK_DGRAM if address.transport == "udp" else socket.SOCK_STREAM
    try:
        found = socket.getaddrinfo(address.host, address.port, type=kind)
    except (OSError, UnicodeError) as error:
        raise TryAgainError(f"{address}: the name is not found: {reason(error)}") from None
    different: dict[Place, None] = dict.fromkeys((family, where) for family, _, _, _, where in found)
    return list(different)[:MAX_ADDRESSES]


def datagrams(address: Address, turn: int = 0) -> socket.socket:
    """A connected socket for datagrams, not blocking; ``turn`` counts through the addresses that a name has.

    Raises WrongKindError for a Unix socket that takes streams, TryAgainError.
    """
    if address.local:
        return _local(address, socket.SOCK_DGRAM)
    found = places(address)
    family, where = found[turn % len(found)]
    return _connected(address, family, socket.SOCK_DGRAM, where)


def stream(address: Address, abort: Abort) -> socket.socket:
    """A connected stream, not blocking. Raises TryAgainError with what was wrong with each address."""
    if address.local:
        return _local(address, socket.SOCK_STREAM)
    until = time.monotonic() + CONNECT_S
    found = places(address)
    wrong = []
    for at, (family, where) in enumerate(found):
        now = time.monotonic()
        # One address that does not answer leaves time for the others.
        try:
            return _stream(address, family, where, abort, now + max(until - now, 0.0) / (len(found) - at))
        except OSError as error:
            wrong.append(f"{where[0]}: {reason(error)}" if len(found) > 1 else reason(error))
    raise TryAgainError(f"{address}: {'; '.join(wrong)}")


def peer_of(sock: socket.socket) -> str | None:
    """Who is at the other end of a connected socket, as it is written in an address; None when it is gone."""
    try:
        peer = sock.getpeername()
    except OSError:
        return None
    if not isinstance(peer, tuple):
        return str(peer)
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"


def reason(error: Exception) -> str:
    """An error in a few words."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _local(address: Address, kind: socket.SocketKind) -> socket.socket:
    return _connected(address, socket.AF_UNIX, kind, address.path)


def _connected(address: Address, family: socket.AddressFamily, kind: socket.SocketKind, where: Any) -> socket.socket:
    try:
        sock = socket.socket(family, kind)
        try:
            sock.setblocking(False)
            sock.connect(where)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        kinds = WrongKindError if error.errno == errno.EPROTOTYPE else TryAgainError
        raise kinds(f"{address}: {reason(error)}") from None
    return sock


def _stream(address: Address, family: socket.AddressFamily, where: Any, abort: Abort, until: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEP_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEP_INTERVAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEP_COUNT)
        code = sock.connect_ex(where)
        if code == errno.EINPROGRESS:
            if not abort.wait(sock, select.POLLOUT, until):
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock
