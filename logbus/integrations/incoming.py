"""What a web request brings with it: the id by which its client knows it, and the trace that it is a part of.

Used by the middleware (:mod:`logbus.integrations.asgi`, :mod:`logbus.integrations.wsgi`). A request begins here, so
unlike :func:`logbus.request_scope` nothing inherits an id: what is active around a server is that of another request,
or of its start, and would be the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from logbus.errors import ConfigurationError
from logbus.producers import tracing
from logbus.producers.request import RequestScope, client_request_id, new_request_id
from logbus.traceparent import Traceparent

#: The header in which clients and proxies send an id, and get it back.
HEADER: Final = "X-Request-ID"
#: The header of W3C Trace Context, as ASGI has it.
TRACEPARENT: Final = b"traceparent"

#: A token of RFC 9110 §5.6.2: what a header may be named.
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def header_name(name: object) -> str:
    """The name itself. Raises ConfigurationError when no header can have it."""
    if isinstance(name, str) and _TOKEN.fullmatch(name) is not None:
        return name
    raise ConfigurationError([f"header= {name!r}: expected the name of an HTTP header"])


def incoming_id(ids: Iterable[str | bytes], trace: Traceparent | None) -> str:
    """The id of a request: the first valid one that its client has sent, else that of its trace, else a new one."""
    for value in ids:
        if found := client_request_id(value):
            return found
    if trace is not None:
        return trace.trace_id
    span = tracing.span_ids()
    return new_request_id() if span is None else span[0]


def incoming_trace(headers: list[bytes] | list[str]) -> Traceparent | None:
    """The trace in the headers ``traceparent`` of a request; None without one, or with several (which to believe?)."""
    if len(headers) != 1:
        return None
    [header] = headers
    return Traceparent.parse(header.decode("latin-1") if isinstance(header, bytes) else header)


def incoming_scope(request_id: str, operation: str, trace: Traceparent | None) -> RequestScope:
    """The scope of a request.

    The operation is one of a few words and never the path, which has ids and secrets in it as often as not, and as many
    values as there are clients: it would be useless to group by. ``method`` and ``path`` are in the access records.
    """
    return RequestScope(request_id, operation, trace, {})
