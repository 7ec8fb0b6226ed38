"""WSGI middleware that opens a request scope: for Flask, Django, and any other WSGI application.

``app.wsgi_app = RequestContextMiddleware(app.wsgi_app)`` in Flask, ``application = RequestContextMiddleware(…)``
elsewhere, outermost.

An answer is not over when the application returns: a generator runs when the server asks for the next piece, and
``close()`` at last, maybe in another thread, maybe never. So the request's fields are made active for each of these
steps. The server's thread never is in the scope between them, and the next request can't find anything of this one,
whatever the server forgets. Other context variables are as without us: frameworks set them in one step and take them
back in another, which must be the same context then (Flask's test client does), and what is outside may look at them.

Answers that need no code of the application any more, lists and what ``wsgi.file_wrapper`` returns, go to the server
as they are: it takes a list's length and sends a file by itself.

Specification: PEP 3333.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Final

from logbus.integrations.access import INCOMPLETE, LOGGER, Access
from logbus.integrations.incoming import HEADER, header_name, incoming_id, incoming_scope, incoming_trace
from logbus.producers.context import State, active, here, switch
from logbus.producers.origin import note

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Any, Any], Iterable[bytes]]

#: The field ``operation``.
_OPERATION: Final = "http_request"
_TRACEPARENT: Final = "HTTP_TRACEPARENT"


class RequestContextMiddleware:
    """Opens a request scope around every request, from the call to the end of its answer.

    ``request_id`` is that of the client's header (printable ASCII, at most 128 characters), else the id of the trace in
    its ``traceparent``, else a new one. It stands in the request's headers for whoever is inside, and in those of the
    answer. The records carry ``operation`` ("http_request") and, with a trace, ``trace_id`` and ``span_id`` too.

    Args:
        app: the application.
        header: the name of the header with the id.
        log_requests: whether the start and the end of each request are logged, at INFO: ``event``
            ("request_started", "request_ended"), ``method``, ``path`` (never the query), ``client`` (its host), and
            at the end ``status``, ``duration_ms``, ``error``.
        logger: the logger of these two.

    Raises ConfigurationError when no header can have that name. A request never fails for anything done here.
    """

    def __init__(
        self, app: Application, *, header: str = HEADER, log_requests: bool = False, logger: str = LOGGER
    ) -> None:
        self.app = app
        self._header = header_name(header)
        self._log = logging.getLogger(logger) if log_requests else None

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answers one request."""
        exchange = None
        with contextlib.suppress(Exception):  # a server, or a test, that keeps to no specification
            exchange = _Exchange(environ, start_response, self._header, self._log)
        if exchange is None:
            return self.app(environ, start_response)
        return exchange.answer(self.app)


class _Exchange:
    """One request and its answer."""

    __slots__ = ("_access", "_environ", "_header", "_id", "_start", "_state")

    def __init__(self, environ: Environ, start: StartResponse, header: str, log: logging.Logger | None) -> None:
        variable = f"HTTP_{header.upper().replace('-', '_')}"
        trace = incoming_trace([environ[_TRACEPARENT]] if _TRACEPARENT in environ else [])
        self._id = incoming_id([environ[variable]] if variable in environ else [], trace)
        self._header, self._environ, self._start = header, environ, start
        self._access: Access | None = None
        if log is not None:
            self._access = Access(log, environ["REQUEST_METHOD"], _path(environ), environ.get("REMOTE_ADDR"))
        outside = here()
        incoming_scope(self._id, _OPERATION, trace).__enter__()
        self._state: State = switch(outside)
        environ[variable] = self._id  # last: until here nothing has happened

    def answer(self, app: Application) -> Iterable[bytes]:
        """Calls the application."""
        if self._access is not None:
            self.run(self._access.started)
        try:
            body: Iterable[bytes] = self.run(app, self._environ, self.start)
        except BaseException as error:
            self.failed(error)
            raise
        if type(body) in (list, tuple) or _is_file(body, self._environ.get("wsgi.file_wrapper")):
            self.ended(None)
            return body
        return _Body(body, self)

    def start(self, status: Any, headers: Any, *more: Any) -> Any:
        """``start_response`` for the application: the answer has our id, unless the application has set one itself."""
        with contextlib.suppress(Exception):  # headers that are none: the server will say so
            if all(name.lower() != self._header.lower() for name, _ in headers):
                headers = [*headers, (self._header, self._id)]
        if self._access is not None:
            with contextlib.suppress(ValueError, TypeError):
                self._access.status = int(status[:3])
        return self._start(status, headers, *more)

    def failed(self, error: BaseException) -> None:
        """The application has raised: whatever the server logs about it is of this request."""
        if error.__traceback__ is not None:
            self.run(_note, error.__traceback__, error)
        self.ended(error)

    def ended(self, error: BaseException | str | None) -> None:
        """The answer has come to its end, in some way."""
        if self._access is not None:
            self.run(self._access.ended, error)

    def run(self, call: Callable[..., Any], *args: Any) -> Any:
        """Calls with the fields of the request, and keeps what the call has bound. Raises what the call raises.

        A server may close what another thread still reads: both are inside, and who comes out last is kept.
        """
        outside = switch(self._state)
        try:
            return call(*args)
        finally:
            self._state = switch(outside)


class _Body:
    """The rest of an answer, piece by piece."""

    __slots__ = ("_body", "_exchange", "_pieces")

    def __init__(self, body: Iterable[bytes], exchange: _Exchange) -> None:
        self._body = body
        self._exchange = exchange
        self._pieces: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._pieces is None:
                self._pieces = self._exchange.run(iter, self._body)
            piece: bytes = self._exchange.run(next, self._pieces)
        except StopIteration:
            self._exchange.ended(None)
            raise
        except BaseException as error:
            self._exchange.failed(error)
            raise
        return piece

    def close(self) -> None:
        """What the server calls at last (PEP 3333), however far it has read."""
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                self._exchange.run(close)
        finally:
            self._exchange.ended(INCOMPLETE)


def _note(traceback: TracebackType, error: BaseException) -> None:
    note(traceback, active(), None, error)


def _path(environ: Environ) -> str:
    """The path as the client has meant it: PEP 3333 hands over its bytes as characters."""
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}" or "/"
    return path.encode("latin-1", "replace").decode("utf-8", "replace")


def _is_file(body: object, wrapper: object) -> bool:
    return isinstance(wrapper, type) and isinstance(body, wrapper)
