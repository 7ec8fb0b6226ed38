"""OpenTelemetry: where a span is active, every record that is logged in it carries its ``trace_id`` and ``span_id``.

Nothing of OpenTelemetry is imported here. As long as nobody in the process has loaded its API there can be no span,
and a log call takes no step for it; once it is there (a worker is told at the end of that import), :func:`behind`
stands in front of the producer's ``emit`` and asks, in the thread and context of the call, which span is current. A
span that doesn't record counts too as long as its ids are valid: it is the parent that a remote caller has named.

A record's own ``trace_id`` wins over the span's, and the span's over that of the context
(:func:`logbus.producers.request.request_scope`), since it is nearer to the call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from logbus.errors import ConfigurationError
from logbus.producers.context import active
from logbus.producers.sanitise import FIELD_BYTES

if TYPE_CHECKING:
    from logbus.producers.producer import Emit

#: The fields of a record that say where in a trace it belongs: 32 and 16 hex digits.
TRACE_ID: Final = "trace_id"
SPAN_ID: Final = "span_id"

#: The module of the API that knows the current span, and its function for it.
API: Final = "opentelemetry.trace"
_CURRENT: Final = "get_current_span"
#: Bytes (estimated) that the two fields take.
_BYTES: Final = 2 * FIELD_BYTES + 32 + 16

#: Extra and nested fields of a record, and its size in bytes, before and after.
Fields = tuple["dict[str, Any] | None", "dict[str, Any] | None", int]


def load() -> None:
    """Imports OpenTelemetry's API. Raises ConfigurationError when it is not installed."""
    try:
        import_module(API)
    except ImportError as error:
        raise ConfigurationError(["opentelemetry=True: expected opentelemetry-api, which is not installed"]) from error


def is_loaded() -> bool:
    """Whether OpenTelemetry's API is in this process, imported to its end."""
    return _current() is not None


def span_ids() -> tuple[str, str] | None:
    """Trace and span id of the span that is current here and now; None where none is. Raises no Exception."""
    current = _current()
    if current is None:
        return None
    try:
        found = current().get_span_context()
        return (f"{found.trace_id:032x}", f"{found.span_id:016x}") if found.is_valid else None
    except Exception:  # whatever a provider does, the record goes its way
        return None


def with_span(extra: dict[str, Any] | None, nested: dict[str, Any] | None, size: int) -> Fields:
    """The fields of a record and those of the current span. No dict is changed."""
    ids = span_ids()
    if ids is None:
        return extra, nested, size
    if extra is None:
        return {TRACE_ID: ids[0], SPAN_ID: ids[1]}, nested, size + _BYTES
    if (TRACE_ID in extra or SPAN_ID in extra or nested) and _has_its_own(extra, nested):
        return extra, nested, size
    return {**extra, TRACE_ID: ids[0], SPAN_ID: ids[1]}, nested, size + _BYTES


def behind(put: Emit) -> Emit:
    """The same as ``put``, with the fields of the span in which it is called."""

    def emit(
        created: float,
        site: tuple[str, int, str, str, str, int],
        thread: str,
        message: str,
        extra: dict[str, Any] | None,
        nested: dict[str, Any] | None,
        exception: Any,
        size: int,
    ) -> None:
        extra, nested, size = with_span(extra, nested, size)
        put(created, site, thread, message, extra, nested, exception, size)

    return emit


def _current() -> Callable[[], Any] | None:
    found: Callable[[], Any] | None = getattr(sys.modules.get(API), _CURRENT, None)
    return found


def _has_its_own(extra: dict[str, Any], nested: dict[str, Any] | None) -> bool:
    """Whether the call itself has said where in a trace it belongs: what is not the context's is the record's."""
    if nested and (TRACE_ID in nested or SPAN_ID in nested):
        return True
    scope = active()
    outside = (scope[0] if scope is not None else None) or {}
    return any(key in extra and extra[key] != outside.get(key) for key in (TRACE_ID, SPAN_ID))
