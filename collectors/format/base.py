"""What every format is, and what all formats must do alike: times, level names, and characters that never pass raw.

A record is one line in every format, whatever its texts hold: CWE-117 is a log line that somebody else wrote. And
a line must look like what it is: a terminal obeys escape sequences, and bidirectional overrides reorder what the
eye reads. So control and format characters are written as escapes everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final, Protocol, runtime_checkable

from logbus.collectors.decode import Batch, Record, Site

#: Extra fields with a place of their own: at the top of a JSON line, before the others in a text line.
PROMOTED: Final = ("request_id", "operation", "proxy_url", "strategy", "source", "user_id")
#: What stands for a message without text: a line's message is never empty.
EMPTY_MESSAGE: Final = "(empty)"
#: Microseconds since the epoch of the first and the last time that a timestamp can show: years 1 to 9999.
FIRST_US: Final = -62_135_596_800_000_000
LAST_US: Final = 253_402_300_799_999_999
#: Microseconds since the epoch that are later than all that the wire can hold: the second of no record.
AFTER_ALL_US: Final = 1 << 64

#: A character that is never written raw: controls (Cc), format characters (Cf: bidirectional marks, overrides and
#: isolates, zero-width and invisible ones), line and paragraph separators, lone surrogates.
UNSAFE: Final = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]"
)
#: Unsafe characters that stand together: to take them by runs is ten times as fast where they are many.
UNSAFE_RUN: Final = re.compile(f"{UNSAFE.pattern}+")

#: Unsafe characters of a text from which on all of it that is not ASCII is escaped: to escape them one by one takes
#: 0.4 µs for each, so that a record of nothing else would hold the collector for 0.1 s.
MANY_UNSAFE: Final = 512
#: The unsafe characters of ASCII, of which a long text may have thousands, such as newlines, for good reasons.
CONTROLS: Final = tuple(map(chr, [*range(32), 127]))

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Escapes(dict[int, str]):
    """What stands for an unsafe character, by its number, made by ``escape`` when it is first met."""

    def __init__(self, escape: Callable[[int], str]) -> None:
        super().__init__()
        self._escape = escape

    def __missing__(self, code: int) -> str:
        """There are no more of them than characters of :data:`UNSAFE`."""
        text = self[code] = self._escape(code)
        return text


def _json_escape(code: int) -> str:
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


#: ``\\uXXXX``, as JSON has it.
JSON_ESCAPES: Final = Escapes(_json_escape)


class Formatter(Protocol):
    """A format: it turns a batch into lines. Formats are shared by sinks and keep nothing of a record.

    The built-in ones give a line for every record. One that may fail for a record is an :class:`EachFormatter`.
    """

    #: What configuration calls it.
    name: str

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch in UTF-8: one for each record, in order, each with its newline at the end."""
        ...

    def stamp(self, line: bytes, rate: float) -> bytes:
        """A line of this format, newline included, with the rate at which its like was kept: above 0, below 1."""
        ...


@runtime_checkable
class EachFormatter(Formatter, Protocol):
    """A format that may be unable to write a record, such as one of somebody else's."""

    #: Why it could not write a record of the last batch, the last such one, in a line; None when it wrote them all.
    error: str | None

    def encode(self, batch: Batch) -> bytes:
        """The lines of those records of the batch that it can write."""
        ...

    def encode_each(self, batch: Batch) -> list[bytes | None]:
        """For each record of the batch its line, newline included, or None for one that it can't write."""
        ...


def lines(data: bytes) -> list[bytes]:
    """What a format has encoded as one element per record, newlines included, for sinks that take a part."""
    return data.splitlines(keepends=True)


def timestamps(records: list[Record]) -> list[str]:
    """RFC 3339 in UTC with microseconds, for each record; a time beyond the calendar becomes its first or last."""
    shown: list[str] = []
    second, text = AFTER_ALL_US, ""
    for record in records:
        micros = record.time_us - second
        if not 0 <= micros < 1_000_000:
            second, micros, text = split_time(record.time_us)
        # Twice as fast as {micros:06d}: the seventh digit brings the zeros.
        shown.append(f"{text}.{str(micros + 1_000_000)[1:]}Z")
    return shown


def split_time(time_us: int) -> tuple[int, int, str]:
    """Where the second of a time begins, the microseconds since, and that second in RFC 3339 without a zone.

    A time beyond the calendar becomes its first or last. Times of a batch share their seconds: ask once for each.
    """
    time = min(max(time_us, FIRST_US), LAST_US)
    micros = time % 1_000_000
    second = time - micros
    return second, micros, (_EPOCH + timedelta(microseconds=second)).isoformat()[:19]


def many_unsafe(text: str) -> bool:
    """Whether a text has more than :data:`MANY_UNSAFE` unsafe characters."""
    return len(text) > MANY_UNSAFE and next(islice(UNSAFE.finditer(text), MANY_UNSAFE, None), None) is not None


def without_unsafe(text: str, escapes: Escapes) -> str:
    """The text with its unsafe characters escaped; nearly every text has none, which ``isprintable`` knows at once.

    Where they are many, all that is not ASCII is escaped with them, as Python would write it.
    """
    if text.isprintable():
        return text
    if len(text) > MANY_UNSAFE:
        for control in CONTROLS:
            if control in text:
                text = text.replace(control, escapes[ord(control)])
        if text.isascii() or many_unsafe(text):
            return text.encode("ascii", "backslashreplace").decode()
    return UNSAFE_RUN.sub(lambda found: found[0].translate(escapes), text)


def json_escape(found: re.Match[str]) -> str:
    r"""``\uXXXX`` for each of the unsafe characters, twice for one that UTF-16 holds as two."""
    return found[0].translate(JSON_ESCAPES)


def level_name(site: Site) -> str:
    """The name of the site's level, never empty."""
    return site.level_name or f"Level {site.level_no}"
