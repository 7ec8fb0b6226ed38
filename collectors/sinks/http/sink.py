"""Lines to an HTTP server: each write is one request, or a few smaller ones that lead to what the server refuses.

Delivered is what the server has answered with a 2xx. What else an answer means stands in
:mod:`logbus.collectors.sinks.http.answer`, how much a request holds in :mod:`logbus.collectors.sinks.http.share`, and
what is known without an answer in :mod:`logbus.collectors.sinks.http.failure`. The pace of attempts is the writer's;
this sink says what the server asks for.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from logbus import __version__
from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.sinks.http.answer import Answer, Verdict, excerpt, secrets_of
from logbus.collectors.sinks.http.body import Body
from logbus.collectors.sinks.http.client import Client
from logbus.collectors.sinks.http.compress import COMPRESSIONS
from logbus.collectors.sinks.http.failure import NoAnswerError
from logbus.collectors.sinks.http.options import HttpOptions
from logbus.collectors.sinks.http.share import Share
from logbus.collectors.sinks.http.watch import AbortedError, Watch
from logbus.collectors.sinks.remote import RemoteSink
from logbus.errors import SinkError

#: Seconds that a write may take beside its requests: to put the bodies together, and to compress them.
AROUND_S: Final = 5.0
#: Seconds between attempts where somebody must do something first: a wrong token, an expired certificate.
MEND_S: Final = 30.0


class HttpSink(RemoteSink):
    """Sends lines as ``body`` puts them together. ``wall`` gives seconds since the epoch, for dates of Retry-After."""

    type = "http"

    def __init__(self, name: str, options: HttpOptions, body: Body, *, wall: Callable[[], float] = time.time) -> None:
        super().__init__(name)
        self._options = options
        self._body = body
        self._wall = wall
        self._compress = COMPRESSIONS[options.compression] if options.compression else None
        self._headers = _headers(options, body)
        self._secrets = secrets_of(options.headers, options.target.path)
        self._watch = Watch()
        self._client = Client(options, name, self._watch)
        self._share = Share()
        #: Records of requests that were refused in this write, each as often: a server may have kept some all the same.
        self._doubtful = 0
        #: Requests of the write under way.
        self._attempts = 0
        #: For the status: requests, bytes of their bodies, and the code of the last answer.
        self._requests = 0
        self._bytes = 0
        self._status: int | None = None

    @property
    def patience_s(self) -> float:
        """The time of a request for each that the write under way has made, and a little for what is around them."""
        return self._options.timeout_s * max(1, self._attempts) + AROUND_S

    def open(self) -> None:
        """Reads the files of TLS. Raises SinkError. The server may be away."""
        self._client.load()

    def write(self, data: bytes) -> Sent | None:
        """Sends as many of the lines as a request may hold. Raises TryAgainError."""
        self._watch.begin()
        self._attempts = 0
        self._doubtful = 0
        try:
            while True:
                lines, records = self._share.cut(data)
                sent = self._send(lines, records)
                if sent is not None:
                    whole = len(lines) == len(data) and not sent.refused and not self._doubtful
                    return None if whole else replace(sent, resent=self._doubtful)
        finally:
            self._watch.end()

    def look(self, first: int = 0) -> int:
        """What fits a request as far as the server has said."""
        return max(first, self._share.room)

    def reopen(self) -> None:
        """Connects anew next time, with the certificates as they are now. Raises SinkError: then with those it had."""
        self._client.drop()
        try:
            self._client.load()
        except SinkError as error:
            self.trouble = str(error)
            raise
        self.trouble = None

    def abort(self) -> None:
        """Ends the request under way; its records are doubtful if their sending has begun."""
        self._watch.abort()

    def document(self) -> Mapping[str, Any]:
        """Where it sends, requests, connections and bytes of bodies so far, and what the server said last.

        ``max_request_bytes`` is what it takes at once, in bytes of lines, where it has called more too large.
        """
        return {
            "url": self._options.target.shown,
            "requests": self._requests,
            "connections": self._client.connections,
            "request_bytes": self._bytes,
            "last_status": self._status,
            "max_request_bytes": None if self._share.room == sys.maxsize else self._share.room,
        }

    def close(self) -> None:
        """Closes the connection. A lookup under way, which nothing can end, is waited for by nobody."""
        self._client.drop()

    def _send(self, lines: bytes, records: int) -> Sent | None:
        """What became of one request; None when less is to be tried. Raises TryAgainError."""
        body = self._body.assemble(lines)
        if self._compress is not None:
            body = self._compress(body)
        self._requests += 1
        self._attempts += 1
        self._bytes += len(body)
        try:
            answer = self._client.send(body, self._headers)
        except NoAnswerError as error:
            raise self._again(str(error), MEND_S if error.mend else 0.0, records if error.begun else 0) from None
        except AbortedError:
            raise self._again("given up by the collector before anything was sent", 0.0, 0) from None
        self._status = answer.status
        match answer.verdict(self._options.statuses, tls=self._options.target.tls):
            case Verdict.DELIVERED:
                self._share.accepted(records)
                return self._delivered(answer, records)
            case Verdict.TOO_LARGE:
                after_s = answer.after_s(self._wall())
                if self._share.too_large(len(lines), records):
                    return None
                if after_s:  # RFC 9110 §15.5.14: with a Retry-After it is so for now only
                    raise self._again(answer.words(self._secrets), after_s, 0)
            case Verdict.REFUSED:
                if self._share.refused(records):
                    # One is wrong with some of them, and servers that read line by line have kept others: Loki does.
                    self._doubtful += records
                    return None
            case verdict:
                after_s = max(answer.after_s(self._wall()), MEND_S if verdict is Verdict.MEND else 0.0)
                raise self._again(answer.words(self._secrets), after_s, records if answer.doubtful else 0)
        return Sent(records, (Refusal(lines, records, answer.words(self._secrets)),))

    def _delivered(self, answer: Answer, records: int) -> Sent:
        """All of them, but for what the server says that it has left out; which these are it does not say."""
        left_out, why = self._body.rejected(answer.body)
        if not left_out:
            return Sent(records)
        reason = excerpt(why.encode(), self._secrets)
        return Sent(records, (Refusal(b"", min(left_out, records), reason),))

    def _again(self, words: str, after_s: float, doubtful: int) -> TryAgainError:
        doubtful += self._doubtful
        return TryAgainError(f"{self._options.target.shown}: {words}", after_s=after_s, doubtful=doubtful)


def _headers(options: HttpOptions, body: Body) -> dict[str, str]:
    """The headers of every request; the configuration's come last, so that a type or an agent may be another."""
    headers = {
        "User-Agent": f"logbus/{__version__}",
        "Accept-Encoding": "identity",
        "Content-Type": body.content_type,
    }
    if options.compression:
        headers["Content-Encoding"] = options.compression
    named = {name.lower(): name for name in headers}
    for name, value in options.headers:
        headers.pop(named.get(name.lower(), ""), None)
        headers[name] = value
    return headers
