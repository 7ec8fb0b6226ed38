"""Syslog messages, whole but for how a transport tells one from the next: RFC 5424, or RFC 3164.

Without a format of its own a message of RFC 5424 has the record's fields as structured data
(:mod:`logbus.collectors.format.syslog_5424`), and one of RFC 3164 has them behind its text, as ``key=value``. With a
format the message is that format's line, whole, and there is no structured data: what is in a line of JSON need not be
said twice. A message that is longer than ``max_message`` bytes ends with ``…[truncated N bytes]``; so does what was a
line of JSON then, which no program reads any more, and a rate that would be stamped on it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

from logbus.collectors.decode import Batch
from logbus.collectors.format import EachFormatter, Formatter, make_formatter
from logbus.collectors.format.base import EMPTY_MESSAGE, lines, timestamps, without_unsafe
from logbus.collectors.format.cut import TRUNCATED, truncated
from logbus.collectors.format.logfmt import LogfmtFormat
from logbus.collectors.format.made import shared
from logbus.collectors.format.names import Names, Scalar
from logbus.collectors.format.syslog_5424 import StructuredFormat
from logbus.collectors.format.syslog_head import MAX_APP_NAME, NIL, Head3164, Head5424, Protocol, fits
from logbus.collectors.format.text import ESCAPES
from logbus.collectors.shown import shown
from logbus.errors import ConfigurationError

#: Bytes of the shortest bound for a message: what every receiver takes (RFC 5426 §3.2).
MIN_MESSAGE: Final = 480

_NO_DATA: Final = f"{NIL} "


class MessageFormat:
    """Messages that are the lines of ``inner``, which writes every record, behind a head."""

    name = "syslog"

    def __init__(self, head: Head3164 | Head5424, inner: Formatter, max_message: int) -> None:
        self.dialect = head.dialect
        self._head = head
        self._data = _NO_DATA if isinstance(head, Head5424) else ""
        self._inner = inner
        self._size = max_message

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one for each record, in UTF-8, each with its newline."""
        found = lines(self._inner.encode(batch))
        if not found:
            return b""
        starts = "\n".join(self._starts(batch)).encode().split(b"\n")
        if max(map(len, starts)) + max(map(len, found)) <= self._size + 1:
            return b"".join(chain.from_iterable(zip(starts, found, strict=True)))
        return b"".join([self._line(*pair) for pair in zip(starts, found, strict=True)])

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The line with its rate where the inner format writes it; as it is if it was cut."""
        if TRUNCATED.search(line, 0, len(line) - 1):
            return line
        at = self._head.end(line) + len(self._data)
        return self._line(line[:at], self._inner.stamp(line[at:], rate))

    def _starts(self, batch: Batch) -> Sequence[str]:
        starts = self._head.starts(batch)
        return [start + self._data for start in starts] if self._data else starts

    def _line(self, start: bytes, line: bytes) -> bytes:
        if len(start) + len(line) <= self._size + 1:
            return start + line
        message, _ = truncated(line[:-1], self._size - len(start))
        return start + message + b"\n"


class EachMessageFormat(MessageFormat):
    """The same with an inner format that may be unable to write a record, which then has no line here either."""

    def __init__(self, head: Head3164 | Head5424, inner: EachFormatter, max_message: int) -> None:
        super().__init__(head, inner, max_message)
        self._each = inner
        #: Why the inner format could not write a record of the last batch; None when it wrote them all.
        self.error: str | None = None

    def encode(self, batch: Batch) -> bytes:
        """The lines of those records of the batch that the inner format can write."""
        return b"".join([line for line in self.encode_each(batch) if line is not None])

    def encode_each(self, batch: Batch) -> list[bytes | None]:
        """For each record of the batch its line, newline included, or None for one that can't be written."""
        found = self._each.encode_each(batch)
        self.error = self._each.error
        return [
            None if line is None else self._line(start.encode(), line)
            for start, line in zip(self._starts(batch), found, strict=True)
        ]


class MessageFirst(LogfmtFormat):
    """The message as it is, for eyes, and behind it the fields as ``key=value``."""

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one for each record, in UTF-8, each with its newline."""
        key = f" {self._message}="
        heads = [self._head(site).removesuffix(key) for site in batch.sites]
        tails: dict[tuple[int, int], str] = {}
        begin = f" {self._timestamp}="
        out = []
        for record, timestamp in zip(batch.records, timestamps(batch.records), strict=True):
            place = (record.site, record.thread)
            tail = tails.get(place) or self._add_tail(tails, place, batch)
            message = without_unsafe(record.message or EMPTY_MESSAGE, ESCAPES)
            out.append(f"{message}{begin}{timestamp}{heads[record.site]}{tail}{self._own(record)}\n")
        return "".join(out).encode()


#: What :func:`make_syslog` gives. ``dialect`` names the form of the lines, for a spool.
SyslogFormat = StructuredFormat | MessageFormat


def make_syslog(
    protocol: Protocol,
    facility: int,
    max_message: int,
    *,
    format: str | None = None,  # noqa: A002 - it is what configuration calls it
    app_name: str | None = None,
    local: bool = False,
    rename: Mapping[str, str] | None = None,
    static: Mapping[str, Scalar] | None = None,
) -> SyslogFormat:
    """Messages for a syslog server; the same object for equal arguments.

    ``facility`` is a number from 0 to 23, ``max_message`` is in bytes, :data:`MIN_MESSAGE` at least. ``format`` is the
    name of the format whose lines are the messages, ``app_name`` what stands in a head instead of the record's.
    ``local`` is for the machine's own daemon. Raises ConfigurationError, each problem under its key.
    """
    rename, static = dict(rename or {}), dict(static or {})
    inner = None if format is None else make_formatter(format, rename=rename, static=static)
    names = Names(rename, static)
    typed = tuple((key, type(value), value) for key, value in static.items())
    fields = (frozenset(rename.items()), typed) if inner is None else inner

    def made() -> SyslogFormat:
        head: Head3164 | Head5424
        if protocol == "rfc5424":
            head = Head5424(facility, app_name)
            if inner is None:
                return StructuredFormat(head, names, max_message)
        else:
            head = Head3164(facility, app_name, local=local)
        if isinstance(inner, EachFormatter):
            return EachMessageFormat(head, inner, max_message)
        return MessageFormat(head, inner or MessageFirst(names), max_message)

    return shared((MessageFormat.name, protocol, facility, max_message, fields, app_name, local), made)


def check_app_name(text: str) -> str:
    """The name, if it can stand in the head of a message as it is.

    Raises ConfigurationError, whose one problem begins with ``app_name: ``.
    """
    if not fits(text):
        expected = f"1 to {MAX_APP_NAME} printable ASCII characters without a blank or a slash"
        raise ConfigurationError([f"app_name: expected {expected}, found {shown(text)}"])
    return text
