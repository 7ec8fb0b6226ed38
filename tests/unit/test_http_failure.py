"""Why no answer came, in words, and what that means for the records."""

from __future__ import annotations

import http.client
import socket
import ssl

import pytest

from logbus.collectors.sinks.http.failure import aborted, tells, unanswered, unreachable
from logbus.errors import SinkError


def alert(name: str) -> ssl.SSLError:
    """An error of OpenSSL's by its name."""
    error = ssl.SSLError(1, f"[SSL: {name}]")
    error.reason = name
    return error


@pytest.mark.parametrize(
    ("error", "words", "mend"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "no connection: Connection refused", False),
        (TimeoutError(), "no connection within 3 s", False),
        (socket.gaierror(-2, "Name or service not known"), "no address found for h: Name or service not known", False),
        (UnicodeError("label too long"), "no connection: label too long", False),
        (ssl.SSLEOFError(8, "EOF"), "no connection: it was closed during the TLS handshake", False),
        (alert("WRONG_VERSION_NUMBER"), "is it one for plain text?", True),
        (alert("TLSV1_ALERT_PROTOCOL_VERSION"), "h refuses the TLS connection: tlsv1 alert protocol version", True),
        (SinkError("web", "tls.ca /x: no such file"), "tls.ca /x: no such file", True),
    ],
)
def test_a_connection_that_did_not_come_about_leaves_no_doubt(error: Exception, words: str, mend: bool) -> None:
    """Nothing was sent; what somebody must mend is told from what passes."""
    failure = unreachable(error, "h", 3.0)
    assert words in str(failure)
    assert (failure.begun, failure.mend) == (False, mend)


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize(
    ("error", "words", "mend"),
    [
        (TimeoutError(), "no answer within 3 s", False),
        (ConnectionResetError(104, "Connection reset by peer"), "broke before an answer came: Connection reset", False),
        (ssl.SSLEOFError(8, "EOF occurred"), "the connection broke before an answer came", False),
        (http.client.RemoteDisconnected("closed"), "closed the connection without an answer", False),
        (http.client.BadStatusLine("220 ready"), "answered with what is no HTTP (BadStatusLine)", False),
        (alert("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"), "no TLS connection to h: decryption failed", True),
    ],
)
def test_a_request_without_an_answer_may_have_arrived(error: Exception, words: str, mend: bool, begun: bool) -> None:
    """If its body was begun, whatever the error."""
    failure = unanswered(error, "h", 3.0, begun=begun)
    assert words in str(failure)
    assert (failure.begun, failure.mend) == (begun, mend)
    assert aborted(begun=begun).begun is begun


def test_some_errors_prove_that_nothing_arrived() -> None:
    """A server judges the client's certificate before it reads a request, and one in TLS reads no plain text."""
    for name in ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_UNKNOWN_CA", "TLSV1_ALERT_ACCESS_DENIED"):
        failure = unanswered(alert(name), "h", 3.0, begun=True)
        assert "h refuses our certificate, or the want of one" in str(failure)
        assert (failure.begun, failure.mend) == (False, True)
    plain = unanswered(http.client.BadStatusLine("\x15\x03\x01"), "h", 3.0, begun=True)
    assert (plain.begun, plain.mend) == (False, True)


def test_an_alert_tells_more_than_the_end_of_the_connection() -> None:
    """So it is what is told where both come."""
    assert tells(alert("TLSV1_ALERT_UNKNOWN_CA"))
    assert not tells(ssl.SSLEOFError(8, "EOF"))
    assert not tells(BrokenPipeError(32, "Broken pipe"))
