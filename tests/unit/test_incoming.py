"""What a web request brings with it, told apart from what it must not bring."""

from __future__ import annotations

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, use_span

from logbus.errors import ConfigurationError
from logbus.integrations.incoming import header_name, incoming_id, incoming_scope, incoming_trace
from logbus.producers.context import context, current_context
from logbus.traceparent import Traceparent

TRACE = Traceparent("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
HEADER = f"00-{TRACE.trace_id}-{TRACE.span_id}-01"


def test_the_first_valid_id_counts() -> None:
    """Then the trace's, then the span's around the server's call, then a new one; nothing is inherited."""
    assert incoming_id([b"\xff", "", b" a ", b"b"], TRACE) == "a"
    assert incoming_id([b"\xff"], TRACE) == TRACE.trace_id
    with use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=True))):
        assert incoming_id([], None) == f"{1:032x}"
    with context(request_id="of the start"):
        assert len({incoming_id([], None) for _ in range(10)} - {"of the start"}) == 10


def test_one_traceparent_is_believed() -> None:
    """Several contradict each other, as a request that was put together by an attacker may."""
    assert incoming_trace([HEADER.encode()]) == incoming_trace([HEADER]) == TRACE
    assert incoming_trace([b"\xff\xfe"]) is None
    assert incoming_trace([]) is incoming_trace([HEADER, HEADER]) is None


def test_the_scope_of_a_request() -> None:
    """Its id, what is done, and the trace; what is active outside stays."""
    with context(request_id="outer", service="shop"), incoming_scope("r", "http_request", TRACE):
        assert current_context() == {
            "request_id": "r",
            "operation": "http_request",
            "service": "shop",
            "trace_id": TRACE.trace_id,
            "span_id": TRACE.span_id,
        }


@pytest.mark.parametrize("name", ["", "X Request", "X:Y", "X-Ä", "X\r\nY", None, b"X"])
def test_no_header_has_such_a_name(name: object) -> None:
    """It is refused when the middleware is made, and not with the first request."""
    with pytest.raises(ConfigurationError, match="expected the name of an HTTP header"):
        header_name(name)
