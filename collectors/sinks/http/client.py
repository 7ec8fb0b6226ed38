"""One connection to one server, and requests on it, one at a time (urllib3).

What a failure means for the records depends on how far the request came: before the first byte of its body nothing of
it can have arrived; from there on nobody knows, whatever the error. That is why the connection is ours and no pool's,
which would hide it: a pool opens connections and drops them where it sees fit.

A kept connection is looked at before it is used: one that the server has closed, or that says something unasked, is
replaced, and that costs nothing. One that is closed in the moment after is a request without an answer like any other:
that the connection is an old one proves nothing (RFC 9110 §9.2.2 and RFC 9112 §9.3.1 let nobody repeat a POST on that
ground alone). So as to meet that moment seldom, a connection is not used again after :data:`IDLE_S`, or a second before
the end that the server itself has named (``Keep-Alive: timeout=5``).

A server that refuses a request may say so before it has read it, and close: an answer that stands there when a send
fails counts, unless it is a 2xx. Proxies named by the environment are not used.
"""

from __future__ import annotations

import http.client
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError
from urllib3.response import HTTPResponse

from logbus.collectors.sinks.http.answer import Answer
from logbus.collectors.sinks.http.failure import NoAnswerError, aborted, tells, unanswered, unreachable
from logbus.collectors.sinks.http.lookup import Lookup
from logbus.collectors.sinks.http.options import HttpOptions
from logbus.collectors.sinks.http.watch import AbortedError, Watch, WatchedSocket, WatchedTls
from logbus.collectors.sinks.tls import client_context

#: Bytes of an answer's body that are read; a connection with more to come is closed.
ANSWER_BYTES: Final = 64 * 1024
#: Seconds for the body of an answer whose code is known.
ANSWER_S: Final = 5.0
#: Seconds for an answer of which nothing is known when a send has failed: it is there already, or won't come.
LATE_S: Final = 0.5
#: Seconds after which an idle connection is not used again: less than most servers keep one.
IDLE_S: Final = 30.0

# urllib3 logs headers that it can't read, with the address and whatever stands there. That is nobody's to see, should
# somebody's plug-in have set up logging here.
logging.getLogger("urllib3.connection").setLevel(logging.CRITICAL + 1)

_KEPT = re.compile(r"timeout\s*=\s*([0-9]{1,6})")


class Client:
    """Requests to the target of ``options``; ``sink`` is the name that errors give. Used by one thread."""

    def __init__(self, options: HttpOptions, sink: str, watch: Watch) -> None:
        self._options = options
        self._sink = sink
        self._watch = watch
        self._lookup = Lookup(options.target.host, options.target.port)
        self._context: ssl.SSLContext | None = None
        self._connection: _Connection | None = None
        #: In monotonic seconds: from then on the connection is not used again.
        self._stale_at = 0.0
        #: Connections made, for the status.
        self.connections = 0

    def load(self) -> None:
        """Reads the files of TLS, for connections from now on. Raises SinkError, and keeps what it had."""
        if self._options.target.tls:
            context = client_context(self._options.tls, self._sink)
            context.sslsocket_class = WatchedTls
            self._context = context

    def send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """The answer to a request, which has the options' time for all of it. Raises NoAnswerError, AbortedError."""
        self._watch.allow(self._options.timeout_s)
        connection = self._connected()
        try:
            return self._exchange(connection, body, headers)
        except BaseException:
            self.drop()
            raise

    def drop(self) -> None:
        """Closes the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._watch.let_go()

    def _connected(self) -> _Connection:
        connection = self._connection
        if connection is not None and time.monotonic() < self._stale_at and connection.is_connected:
            return connection
        self.drop()
        target = self._options.target
        try:
            sock = self._dial()
        except Exception as error:
            self._watch.let_go()
            if self._watch.aborted:
                raise AbortedError from None
            raise unreachable(error, target.host, self._options.timeout_s) from None
        self.connections += 1
        kind = _TlsConnection if target.tls else _Connection
        self._connection = kind(target.host, target.port, sock)
        return self._connection

    def _dial(self) -> WatchedSocket:
        """A connection. An address that swallows everything gets a share of the time, so that the next has one too."""
        addresses = self._lookup.addresses(self._watch)
        failed: OSError | None = None
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            try:
                sock = WatchedSocket(family, kind, protocol)
            except OSError as error:  # a machine without IPv6 whose hosts have such addresses
                failed = error
                continue
            try:
                self._watch.hold(sock)
                sock.settimeout(self._watch.left() / (len(addresses) - at))
                sock.connect(address)
                if sock.getsockname() == sock.getpeername():  # nobody listens, and the kernel has joined it to itself
                    raise ConnectionRefusedError("Connection refused")
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.watch = self._watch
                return self._secured(sock)
            except ssl.SSLError:  # that is an answer: another address would be another chance for whoever it is
                sock.close()
                raise
            except OSError as error:
                sock.close()
                failed = error
                self._watch.left()
            except BaseException:
                sock.close()
                raise
        raise failed or OSError("no address")

    def _secured(self, sock: WatchedSocket) -> WatchedSocket:
        """The connection in TLS if it is to be."""
        target = self._options.target
        if not target.tls:
            return sock
        if self._context is None:
            self.load()
        assert self._context is not None
        secure = self._context.wrap_socket(sock, server_hostname=target.host, do_handshake_on_connect=False)
        assert isinstance(secure, WatchedTls)
        try:
            secure.watch = self._watch
            secure.settimeout(self._watch.left())  # of the whole handshake
            secure.do_handshake()
        except BaseException:
            secure.close()
            raise
        return secure

    def _exchange(self, connection: _Connection, body: bytes, headers: Mapping[str, str]) -> Answer:
        sock = connection.stream
        before = -1  # bytes that had gone out when the body's turn came

        def parts() -> Iterator[bytes]:
            nonlocal before
            before = sock.gone
            yield body

        options = self._options
        failed: Exception | None = None
        try:
            connection.request(
                options.method,
                options.target.path,
                body=parts(),
                headers={**headers, "Content-Length": str(len(body))},
                preload_content=False,
                decode_content=False,
            )
        except AbortedError:
            raise aborted(begun=0 <= before < sock.gone) from None
        except OSError as error:
            failed = error
            self._watch.allow(LATE_S)
        begun = 0 <= before < sock.gone
        try:
            response = connection.getresponse()
        except AbortedError:
            raise aborted(begun=begun) from None
        except (OSError, http.client.HTTPException, HTTPError, ValueError) as error:
            if self._watch.aborted:
                raise aborted(begun=begun) from None
            why = error if failed is None or tells(error) else failed
            raise unanswered(why, options.target.host, options.timeout_s, begun=begun) from None
        if response.status < 200 or (failed is not None and response.status < 300):
            text = "which ends no request" if response.status < 200 else "before it had read the request"
            raise NoAnswerError(f"answered {response.status}, {text}", begun=begun)
        return self._read(connection, response, whole=failed is None)

    def _read(self, connection: _Connection, response: HTTPResponse, *, whole: bool) -> Answer:
        """The answer with its body; the connection stays open if it is fit for another request."""
        self._watch.shorten(ANSWER_S)
        body = b""
        try:
            body = response.read(ANSWER_BYTES, decode_content=False)
            # Where all has been read the response has let go of the connection.
            fit = whole and response.closed and not connection.is_closed
        except (OSError, http.client.HTTPException, HTTPError, ValueError, AbortedError):
            fit = False  # the code is known, and what it means; the words are not
        if fit:
            kept = _KEPT.search(response.headers.get("Keep-Alive", ""))
            self._stale_at = time.monotonic() + min(IDLE_S, max(0.0, float(kept[1]) - 1.0) if kept else IDLE_S)
        else:
            response.close()
            self.drop()
        encoded = response.headers.get("Content-Encoding", "identity").strip().lower() != "identity"
        header = response.headers.get
        return Answer(
            response.status,
            header("Retry-After", ""),
            header("Date", ""),
            header("Location", ""),
            b"" if encoded else body,
        )


class _Response(http.client.HTTPResponse):
    """The standard library's, past all that comes before the answer proper: it knows 100 and no other of them."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            # RFC 9110 §15.2: any number of them may come, unasked, and a client must get past them.
            if not HTTPStatus.SWITCHING_PROTOCOLS < status < HTTPStatus.OK:
                return version, status, reason
            http.client.parse_headers(self.fp)

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:  # "-1" is a number to int(), and would have everything read that ever comes
            raise ValueError("a chunk of negative size")
        return size


class _Connection(HTTPConnection):
    """urllib3's, over a connection that is there already."""

    response_class = _Response

    def __init__(self, host: str, port: int, sock: WatchedSocket) -> None:
        super().__init__(host, port)
        self.stream = sock
        self.sock = sock
        self.auto_open = 0  # where it is closed, a request fails


class _TlsConnection(_Connection):
    """The same where the connection is one in TLS."""

    default_port = 443  # type: ignore[misc]  # urllib3 says the same; the Host header leaves this port out
