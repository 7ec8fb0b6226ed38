"""Why no answer came to a request, in words for the one who can mend it, and what that means for the records.

Before the first byte of a request's body nothing of it can have arrived; from there on nobody knows. The one exception
is a server's alert about the client's certificate, which it judges before it reads anything.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from typing import Final, TypeGuard

from logbus.collectors.sinks.tls import refuses_client, wrong_with
from logbus.errors import LogbusError

#: How a server for TLS begins its answer to plain text: with an alert.
_ALERT: Final = "\x15\x03"


class NoAnswerError(LogbusError):
    """Raised when no answer came to a request. ``begun``: some of its body was sent, and it may have arrived.

    ``mend``: it will be so until somebody has done something.
    """

    def __init__(self, message: str, *, begun: bool = False, mend: bool = False) -> None:
        super().__init__(message)
        self.begun = begun
        self.mend = mend


def aborted(*, begun: bool) -> NoAnswerError:
    """For a request that another thread has ended."""
    return NoAnswerError("given up by the collector before an answer came", begun=begun)


def tells(error: Exception) -> TypeGuard[ssl.SSLError]:
    """Whether the end of a connection says why it is one: TLS's alerts do."""
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)


def unreachable(error: Exception, host: str, timeout_s: float) -> NoAnswerError:
    """For a connection that did not come about."""
    if isinstance(error, ssl.SSLEOFError):
        return NoAnswerError("no connection: it was closed during the TLS handshake")
    if isinstance(error, ssl.SSLError):
        return NoAnswerError(wrong_with(error, host), mend=True)
    if isinstance(error, LogbusError):  # the files of TLS
        return NoAnswerError(str(error), mend=True)
    if isinstance(error, TimeoutError):
        return NoAnswerError(f"no connection within {timeout_s:g} s")
    if isinstance(error, socket.gaierror):
        return NoAnswerError(f"no address found for {host}: {error.strerror}")
    return NoAnswerError(f"no connection: {_reason(error)}")


def unanswered(error: Exception, host: str, timeout_s: float, *, begun: bool) -> NoAnswerError:
    """For a request on a connection that was there; ``begun`` says whether some of its body was sent."""
    if isinstance(error, TimeoutError):
        return NoAnswerError(f"no answer within {timeout_s:g} s", begun=begun)
    if tells(error):
        # In TLS 1.3 a server judges the client's certificate after the handshake, and before all that we send.
        return NoAnswerError(wrong_with(error, host), begun=begun and not refuses_client(error), mend=True)
    if isinstance(error, http.client.RemoteDisconnected):
        return NoAnswerError("closed the connection without an answer", begun=begun)
    if isinstance(error, OSError):
        return NoAnswerError(f"the connection broke before an answer came: {_reason(error)}", begun=begun)
    if isinstance(error, http.client.BadStatusLine) and _ALERT in str(error.args[0]):
        return NoAnswerError("answered in TLS: is it an https:// server?", mend=True)
    return NoAnswerError(f"answered with what is no HTTP ({type(error).__name__})", begun=begun)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text).splitlines()[0]
