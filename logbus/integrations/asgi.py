"""ASGI middleware that opens a request scope: for FastAPI, Starlette, Django, and any other ASGI application.

``app.add_middleware(RequestContextMiddleware)``, or ``app = RequestContextMiddleware(app)`` for one that has no such
method. The outermost place is the right one: what is logged outside of it has no id.

The scope covers all that runs in the task of the request, or begins there: background tasks, tasks, and functions in
the thread pool of Starlette, to which anyio copies the context. The application gets the very scope that the server, or
the middleware outside, has handed over, with other headers while it runs: what a router or a login leaves in it (the
route, the user) is there for whoever looks outside afterwards, as it is without us. A copy, which the specification
advises, would keep it from them. Messages that are changed are copies.

Specification: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, ClassVar, Final

from logbus.integrations.access import INCOMPLETE, LOGGER, Access
from logbus.integrations.incoming import (
    HEADER,
    TRACEPARENT,
    header_name,
    incoming_id,
    incoming_scope,
    incoming_trace,
)

#: What a server hands over, and what goes to and fro.
Connection = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[Any]]

#: The messages with which an answer begins, which have headers.
_OPENING: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})
#: The messages that may be the last of an answer, unless they say ``more_body``.
_CLOSING: Final = frozenset({"http.response.body", "http.response.pathsend", "websocket.http.response.body"})
#: What a handshake is answered with: accepted, and closed before that (the server sends it by itself).
_SWITCHING: Final = 101
_REFUSED: Final = 403


class RequestContextMiddleware:
    """Opens a request scope around every HTTP request and WebSocket connection.

    ``request_id`` is that of the client's header (printable ASCII, at most 128 characters), else the id of the trace in
    its ``traceparent``, else a new one. It stands in the request's headers for whoever is inside, and in those of the
    answer. The records carry ``operation`` ("http_request" or "websocket") and, with a trace, ``trace_id`` and
    ``span_id`` too.

    Args:
        app: the application.
        header: the name of the header with the id.
        log_requests: whether the start and the end of each request are logged, at INFO: ``event``
            ("request_started", "request_ended"), ``method``, ``path`` (never the query), ``client`` (its host), and
            at the end ``status``, ``duration_ms``, ``error``.
        logger: the logger of these two.

    Raises ConfigurationError when no header can have that name. A request never fails for anything done here.
    """

    #: The field ``operation``, by the kind of a connection. Others ("lifespan") are none of ours.
    operations: ClassVar[Mapping[str, str]] = {"http": "http_request", "websocket": "websocket"}
    #: What the names of both events begin with.
    events: ClassVar[str] = "request"

    def __init__(
        self, app: Application, *, header: str = HEADER, log_requests: bool = False, logger: str = LOGGER
    ) -> None:
        self.app = app
        self._header = header_name(header).lower().encode("ascii")
        self._log = logging.getLogger(logger) if log_requests else None

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Serves one connection."""
        exchange = None
        if scope["type"] in self.operations:
            with contextlib.suppress(Exception):  # a server, or a test, that keeps to no specification
                made = _Exchange(scope, send, self._header, self.operations[scope["type"]])
                made.begin()  # until here nothing has happened
                exchange = made
                if self._log is not None:
                    made.tell(self._log, self.events)
        if exchange is None:
            await self.app(scope, receive, send)
            return
        with exchange.context:
            exchange.started()
            try:
                await self.app(scope, receive, exchange.send)
            except BaseException as error:
                exchange.ended(error)
                raise
            finally:
                exchange.give_back()
            exchange.ended(None)


class _Exchange:
    """One request and its answer."""

    __slots__ = ("_access", "_given", "_header", "_headers", "_id", "_send", "context", "scope")

    def __init__(self, scope: Connection, send: Send, header: bytes, operation: str) -> None:
        self._given = scope["headers"]
        headers = list(self._given)
        trace = incoming_trace([value for name, value in headers if name.lower() == TRACEPARENT])
        request_id = incoming_id((value for name, value in headers if name.lower() == header), trace)
        self._header, self._id, self._send = header, request_id.encode("ascii"), send
        others = [pair for pair in headers if pair[0].lower() != header]
        self.scope, self._headers = scope, [*others, (header, self._id)]
        self.context = incoming_scope(request_id, operation, trace)
        self._access: Access | None = None

    def begin(self) -> None:
        """From now on the id stands in the request's headers."""
        self.scope["headers"] = self._headers

    def give_back(self) -> None:
        """The request's headers are those of the client again, unless the application has put others there."""
        if self.scope.get("headers") is self._headers:
            self.scope["headers"] = self._given

    def tell(self, log: logging.Logger, events: str) -> None:
        """Start and end are to be logged."""
        scope = self.scope
        client = scope.get("client")
        method = scope["method"] if scope["type"] == "http" else "WEBSOCKET"
        self._access = Access(log, method, scope["path"], client[0] if client else None, events)

    def started(self) -> None:
        if self._access is not None:
            self._access.started()

    def ended(self, error: BaseException | None) -> None:
        """The application has come to its end, if the answer hadn't before."""
        if self._access is not None:
            self._access.ended(INCOMPLETE if error is None and self.scope["type"] == "http" else error)

    async def send(self, message: Message) -> None:
        """What the application sends: an answer begins with our id, unless the application has set one itself."""
        if message["type"] in _OPENING:
            with contextlib.suppress(Exception):  # headers that are none: the server will say so
                headers = list(message.get("headers") or ())
                if all(bytes(name).lower() != self._header for name, _ in headers):
                    message = {**message, "headers": [*headers, (self._header, self._id)]}
        await self._send(message)
        if self._access is not None:
            self._follow(message, self._access)

    def _follow(self, message: Message, access: Access) -> None:
        """What has been sent, as far as the access records tell of it."""
        kind = message["type"]
        if kind in _OPENING:
            access.status = _SWITCHING if kind == "websocket.accept" else message.get("status")
        elif kind in _CLOSING and not message.get("more_body"):
            access.ended()
        elif kind == "websocket.close":
            if access.status is None:
                access.status = _REFUSED
            access.ended()
