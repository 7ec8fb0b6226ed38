"""The scope of a request: one id on every record, from where the request comes in to the last one that it causes.

An id is inherited where one is active, so that a library which opens a scope of its own joins the request of its
caller. Where there is none, a trace that is known gives it: its id has the form of ours, 32 hex digits.
"""

from __future__ import annotations

import os
from typing import Any, Final

from logbus.producers import tracing
from logbus.producers.context import OPERATION, REQUEST_ID, Scope, active, join
from logbus.producers.tracing import SPAN_ID, TRACE_ID
from logbus.traceparent import Traceparent

#: Characters of an id that a client may choose.
MAX_CLIENT_ID_CHARS: Final = 128
#: Ids that are made at a time: a system call for each costs as much as all the rest of a scope.
_IDS_MADE: Final = 64
#: Ids that nobody has had yet. A forked child makes its own.
_IDS: Final[list[str]] = []
os.register_at_fork(after_in_child=_IDS.clear)


def new_request_id() -> str:
    """A random id of 32 hex digits: the form of a W3C trace id."""
    try:
        return _IDS.pop()  # one step: no other thread gets it
    except IndexError:
        digits = os.urandom(16 * _IDS_MADE).hex()
        _IDS.extend([digits[at : at + 32] for at in range(32, len(digits), 32)])
        return digits[:32]


def request_scope(
    request_id: str | None = None,
    *,
    operation: str | None = None,
    traceparent: str | bytes | Traceparent | None = None,
    **fields: Any,
) -> RequestScope:
    """A scope in which every record carries a ``request_id``: for ``with``, or as the decorator of a function.

    Whatever is not given is found out when the scope is entered, so that each call of a decorated function is a
    request of its own, or a part of its caller's. ``logbus.current_context()["request_id"]`` says the id.

    Args:
        request_id: the id; without one (None or empty) that of the scope outside, else the trace's, else a new one.
        operation: what is done; inside of another operation every record carries ``operation_path``, too.
        traceparent: the header of the request (W3C Trace Context), as text or bytes: its ids become ``trace_id`` and
            ``span_id``. One that is not valid is ignored, as the specification asks.
        fields: as for :func:`logbus.context`; they win over what is found.

    Raises no Exception but TypeError, when a generator function is decorated.
    """
    return RequestScope(request_id, operation, traceparent, fields)


class RequestScope(Scope):
    """What :func:`request_scope` returns; as every scope it may be entered many times."""

    __slots__ = ("_request_id",)

    def __init__(
        self,
        request_id: str | None,
        operation: str | None,
        traceparent: str | bytes | Traceparent | None,
        fields: dict[str, Any],
    ) -> None:
        if isinstance(traceparent, bytes):  # as ASGI has it
            traceparent = traceparent.decode("latin-1")
        trace = Traceparent.parse(traceparent) if isinstance(traceparent, str) else traceparent
        known: dict[str, Any] = {}
        if isinstance(trace, Traceparent):
            known = {TRACE_ID: trace.trace_id, SPAN_ID: trace.span_id}
        if operation is not None:
            known[OPERATION] = operation
        super().__init__({**known, **fields})
        self._request_id: Any = request_id

    def __enter__(self) -> RequestScope:
        before = active()
        outside = (before[0] if before is not None else None) or {}
        chosen = self._request_id
        if _is_none(chosen):
            chosen = outside.get(REQUEST_ID)
        if _is_none(chosen):
            chosen = self._trace_id(outside)
        if _is_none(chosen):
            chosen = new_request_id()
        self._begin(before, join(before, {REQUEST_ID: chosen, **self._fields}))
        return self

    def _trace_id(self, outside: dict[str, Any]) -> Any:
        given = self._fields.get(TRACE_ID)
        if not _is_none(given):
            return given
        span = tracing.span_ids()
        return outside.get(TRACE_ID) if span is None else span[0]


def _is_none(value: Any) -> bool:
    # Not its truth: 0 is an id, and an object may raise when it is asked.
    return value is None or (isinstance(value, str) and not value)


def client_request_id(value: str | bytes) -> str | None:
    """The id in a header that a client has sent: 1 to 128 printable ASCII characters without the blanks around them.

    None for anything else: an id goes into every record and back into a header, so a client is not taken at its word.
    """
    text = (value.decode("latin-1") if isinstance(value, bytes) else value).strip(" \t")
    return text if 0 < len(text) <= MAX_CLIENT_ID_CHARS and text.isascii() and text.isprintable() else None
