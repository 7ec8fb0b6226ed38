"""What an answer means for the records of its request (RFC 9110 §15), and what of it people get to see. No I/O here.

Five things can come of a request:

- *delivered*: a 2xx, but for 260, which is Loki's word for "ingestion is blocked, nothing is stored".
- *again*: the server could not now, and may soon: 408, 425, 429 and all 5xx, or what the configuration names.
- *mend*: somebody must do something: a redirection, which is never followed, and whatever a server says of a request's
  head, which is the same for all records: credentials, address, method, media type. Tried again, slowly.
- *too large*: 413. Less may fit.
- *refused*: any other 4xx: something is wrong with the records, or with one of them.
"""

from __future__ import annotations

import base64
import contextlib
import email.utils
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from http import HTTPStatus
from typing import Final
from urllib.parse import quote, unquote, unquote_plus

from logbus.collectors.shown import without_secrets
from logbus.collectors.sinks.http.keys import keys_in
from logbus.collectors.writing.terms import RETRY_AFTER_S

#: Characters of an answer's body that are shown.
SHOWN_CHARS: Final = 200
#: Characters of the shortest header value, or part of the query, that is masked where an answer repeats it.
_SECRET_CHARS: Final = 4

#: Codes that are about the head of a request, whatever its records are.
_HEAD: Final = frozenset({401, 402, 403, 404, 405, 406, 407, 410, 411, 414, 415, 417, 421, 426, 431, 451})
#: What Loki answers, unless told otherwise, while ``block_ingestion_until`` is set: it has thrown the records away.
_BLOCKED: Final = 260
#: A gateway's words for: whether the server behind it has got the request, nobody knows (RFC 9110 §15.6.3, §15.6.5).
_GATEWAY: Final = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
#: What nginx and Go's servers say, with a 400, to plain text at a port for TLS.
_WANTS_TLS: Final = (b"plain HTTP request was sent to HTTPS port", b"sent an HTTP request to an HTTPS server")

_SECONDS = re.compile(r"[0-9]+")
_TAG = re.compile(r"<[^<>]{0,200}+>")


class Verdict(Enum):
    """What became of a request, see the top of the module."""

    DELIVERED = "delivered"
    AGAIN = "again"
    MEND = "mend"
    TOO_LARGE = "too large"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer: the code, the headers that matter ("" without), and the beginning of the body."""

    status: int
    retry_after: str = ""
    date: str = ""
    location: str = ""
    body: bytes = b""

    def verdict(self, again: frozenset[int], *, tls: bool) -> Verdict:
        """What became of the records; ``again`` are the codes after which the same is sent again."""
        status = self.status
        if 200 <= status < 300:
            return Verdict.MEND if status == _BLOCKED else Verdict.DELIVERED
        if status in again or status >= 600:  # RFC 9110 §15: what is no code at all counts as a 5xx
            return Verdict.AGAIN
        if status < 400 or status in _HEAD or (not tls and self._wants_tls):
            return Verdict.MEND
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return Verdict.TOO_LARGE
        return Verdict.REFUSED

    @property
    def doubtful(self) -> bool:
        """Whether the records may have arrived though the code is none of 2xx."""
        return self.status in _GATEWAY

    @property
    def _wants_tls(self) -> bool:
        return self.status == HTTPStatus.BAD_REQUEST and any(words in self.body for words in _WANTS_TLS)

    def after_s(self, now: float) -> float:
        """Seconds for which the server wants to be left alone, at most :data:`RETRY_AFTER_S`; 0 when it says nothing.

        RFC 9110 §10.2.3: seconds, or a date, which is read by the server's own clock where it gives that. ``now`` is
        ours, in seconds since the epoch. What is neither is ignored.
        """
        text = self.retry_after.strip()
        if _SECONDS.fullmatch(text):
            return min(float(text), RETRY_AFTER_S)
        until = _seconds(text)
        if until is None:
            return 0.0
        since = _seconds(self.date)
        return min(max(0.0, until - (now if since is None else since)), RETRY_AFTER_S)

    def words(self, secrets: Iterable[str]) -> str:
        """The answer for people, in one line: the code, where it points, how its body begins."""
        text = f"answered {self.status}"
        with contextlib.suppress(ValueError):  # a code that no standard has; the server's own phrase is not shown
            text += f" {HTTPStatus(self.status).phrase}"
        if 300 <= self.status < 400:
            place = excerpt(self.location.partition("?")[0].encode("latin-1", "replace"), secrets)
            text += f", a redirection{f' to {place}' if place else ''}: none is followed"
        elif body := excerpt(self.body, secrets):
            text += f": {body}"
        return text


def excerpt(body: bytes, secrets: Iterable[str]) -> str:
    """The beginning of a text as it may be shown: printable, in one line, without tags, and without ``secrets``."""
    text = body.decode("utf-8", "replace")
    for secret in secrets:
        text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    text = "".join([character if character.isprintable() else " " for character in _TAG.sub(" ", text)])
    # More than is shown is looked at for secrets, so that the cut can't hide what gives one away.
    text = without_secrets(" ".join(text.split())[: 10 * SHOWN_CHARS])
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}…"


def secrets_of(headers: Iterable[tuple[str, str]], path: str) -> tuple[str, ...]:
    """What an answer may repeat of a request and nobody may see, longest first: values of headers, the query, keys.

    Each as it was sent, as a server reads it (out of Base64, out of the query's %XX), and as it writes it again in JSON
    and in HTML.
    """
    found: set[str] = set()
    for _, value in headers:
        found |= {value, *value.split(), *_credentials(value)}
    way, _, query = path.partition("?")
    parts = [*keys_in(way), *(part.partition("=")[2] or part for part in query.split("&"))]
    found |= {query, *parts, *map(unquote, parts), *map(unquote_plus, parts)}
    found |= {word.encode("utf-8", "replace").decode("latin-1") for word in found}  # how many servers read a header
    found |= {form for word in found for form in (html.escape(word), quote(word, safe=""))}
    found |= {json.dumps(word, ensure_ascii=plain)[1:-1] for word in found for plain in (True, False)}
    return tuple(sorted((word for word in found if len(word) >= _SECRET_CHARS), key=len, reverse=True))


def _credentials(value: str) -> tuple[str, ...]:
    """A user's name and password, together and the password alone, where the value of a header has them (RFC 7617)."""
    scheme, _, encoded = value.partition(" ")
    if scheme.lower() != "basic":
        return ()
    try:
        pair = base64.b64decode(encoded).decode("utf-8", "replace")
    except ValueError:
        return ()
    return pair, pair.partition(":")[2]


def _seconds(date: str) -> float | None:
    """Seconds since the epoch of a date in any of HTTP's three forms (RFC 9110 §5.6.7), all of which are in GMT."""
    try:
        parsed = email.utils.parsedate_tz(date)
        if parsed is None:
            return None
        year, month, day, hour, minute, second = parsed[:6]  # second 60 is a leap second
        moment = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
        return moment.timestamp() - (parsed[9] or 0)
    except (ValueError, OverflowError, TypeError, IndexError):  # a date as no calendar has it
        return None
