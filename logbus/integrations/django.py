"""Django: one id on every record of a request, who made it, and what ``LOGGING`` needs.

In the settings::

    LOGGING = logging_config()
    MIDDLEWARE = ["logbus.integrations.django.RequestContextMiddleware", …]  # first

The middleware opens the scope of a request as those for WSGI and ASGI do, and works in both worlds. Being Django's own
it knows more than they do: who is logged in. Nobody is asked for that: ``request.user`` is lazy, and reading it may be
a query. The middleware waits until the application reads it, and binds ``user_id`` in that moment.

Two things happen outside of every middleware. Django logs a 404 when they have all returned, so the records of
``django.request`` get the id from the request itself, and ``method`` and ``path`` instead of the request as an object.
And a streaming response is read by the server: its generator is in no scope. Put the middleware for WSGI or ASGI around
the application for that; both together have the same id.
"""

from __future__ import annotations

import contextlib
import copy
import logging
from collections.abc import Callable
from typing import Any, Final

from logbus.integrations.incoming import HEADER, header_name, incoming_id, incoming_scope, incoming_trace
from logbus.producers.context import bind
from logbus.producers.request import RequestScope
from logbus.producers.take import CLEANERS

#: The field ``operation``.
_OPERATION: Final = "http_request"
#: The attribute of a request with its id.
ATTRIBUTE: Final = "request_id"
#: The field with the primary key of who is logged in.
USER_ID: Final = "user_id"
#: Loggers whose records have the request as an object.
_LOGGERS: Final = (
    "django.request",
    "django.server",
    *(
        f"django.security.{name}"
        for name in (
            "csrf",
            "DisallowedHost",
            "DisallowedRedirect",
            "InvalidSessionKey",
            "RequestDataTooBig",
            "SuspiciousFileOperation",
            "SuspiciousMultipartForm",
            "SuspiciousOperation",
            "SuspiciousSession",
            "TooManyFieldsSent",
            "TooManyFilesSent",
        )
    ),
)


def logging_config(*, level: int | str = "INFO", **options: Any) -> dict[str, Any]:
    """A dictionary for the setting ``LOGGING``: what Django shows is shown as ever, and every record is collected.

    Args:
        level: of the root logger.
        options: those of :class:`logbus.LogbusHandler`; what is not given comes from the environment or a file.
    """
    install()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "django.server": {
                "()": "django.utils.log.ServerFormatter",
                "format": "[{server_time}] {message}",
                "style": "{",
            },
        },
        "handlers": {
            "logbus": {"class": "logbus.LogbusHandler", **options},
            "django.server": {"class": "logging.StreamHandler", "level": "INFO", "formatter": "django.server"},
        },
        # runserver's own, which does not propagate: as Django's default has it, and ours beside it.
        "loggers": {"django.server": {"handlers": ["django.server", "logbus"], "level": "INFO", "propagate": False}},
        "root": {"handlers": ["logbus"], "level": level},
    }


class RequestContextMiddleware:
    """Opens a request scope around every request, for sync and async Django alike.

    ``request_id`` is that of the client's header ``X-Request-ID`` (or what the setting ``LOGBUS_REQUEST_ID_HEADER``
    names), else the id of the trace in its ``traceparent``, else a new one. It stands in ``request.headers``, in
    ``request.request_id`` and in the headers of the response. The records carry ``operation`` ("http_request"), and
    ``user_id`` from when on the application has looked who is logged in.

    Raises ConfigurationError when no header can have that name.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        from asgiref.sync import iscoroutinefunction, markcoroutinefunction
        from django.conf import settings

        install()
        self._get_response = get_response
        self._header = header_name(getattr(settings, "LOGBUS_REQUEST_ID_HEADER", HEADER))
        self._variable = f"HTTP_{self._header.upper().replace('-', '_')}"
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)
            self.process_view: Any = self._process_view_async  # a sync one would be run in a thread, for each request
        else:
            self.process_view = self._process_view

    def __call__(self, request: Any) -> Any:
        """The response; in async Django, what it is awaited from."""
        if self._is_async:
            return self._answer_async(request)
        with self._scope(request):
            return self._answered(request, self._get_response(request))

    async def _answer_async(self, request: Any) -> Any:
        with self._scope(request):
            return self._answered(request, await self._get_response(request))

    def _scope(self, request: Any) -> RequestScope:
        trace = incoming_trace([value] if (value := request.META.get("HTTP_TRACEPARENT")) else [])
        request_id = incoming_id([value] if (value := request.META.get(self._variable)) else [], trace)
        request.META[self._variable] = request_id
        request.__dict__.pop("headers", None)  # somebody has read them already, and they are kept
        setattr(request, ATTRIBUTE, request_id)
        return incoming_scope(request_id, _OPERATION, trace)

    def _answered(self, request: Any, response: Any) -> Any:
        with contextlib.suppress(Exception):  # no response: Django says so itself
            response.headers.setdefault(self._header, getattr(request, ATTRIBUTE))
        return response

    def _process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> None:
        """After every middleware, and so after that which knows the user."""
        with contextlib.suppress(Exception):  # a user of the application's own making: the view runs all the same
            _wait_for_user(request)

    async def _process_view_async(self, request: Any, view: Any, args: Any, kwargs: Any) -> None:
        self._process_view(request, view, args, kwargs)


def install() -> None:
    """Has Django's records about a request carry its fields, and not the request as an object. Idempotent."""
    for name in _LOGGERS:
        CLEANERS[name] = _clean


def _clean(record: logging.LogRecord) -> logging.LogRecord:
    request: Any = record.__dict__.get("request")
    if request is None:
        return record
    record = copy.copy(record)
    del record.__dict__["request"]
    for name in ("method", "path", ATTRIBUTE):
        value = getattr(request, name, None)
        if isinstance(value, str):
            record.__dict__.setdefault(name, value)
    return record


def _wait_for_user(request: Any) -> None:
    """Binds the user's id as soon as somebody asks the request for its user."""
    from django.utils.functional import SimpleLazyObject, empty

    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject) and user.__dict__.get("_wrapped", empty) is empty:
        request.user = SimpleLazyObject(lambda: _known(user))
    elif user is not None:  # another middleware has looked
        _known(user)
    ask = request.__dict__.get("auser")
    if ask is not None:

        async def auser() -> Any:
            return _known(await ask())

        request.auser = auser


def _known(user: Any) -> Any:
    """The user, whose id is bound now; nobody's where nobody is logged in."""
    _ = user.__class__  # reads it; what that raises is for who has asked
    with contextlib.suppress(Exception):  # a user of the application's own making
        if user.is_authenticated:
            bind(**{USER_ID: user.pk})
    return user
