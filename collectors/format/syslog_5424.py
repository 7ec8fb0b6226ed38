r"""A record as one message of RFC 5424: its fields are structured data, and its message is the message.

    <134>1 2026-11-22T12:00:00.000000Z web-1 shop 42 - [logbus@32473 level="INFO" logger="shop.db" … strategy="x"] text

There is one element. 32473 is the private enterprise number that RFC 5612 keeps for examples: the project has none of
its own. Its parameters are named like the keys of a line of logfmt: the line's own fields, promoted ones, and
``extra.kind`` for all others. What the head says already is left out: time, process, and host and app where they stand
there as they are. A name has 32 characters at most and no blank, ``=``, ``]`` or ``"`` (§6.3.3): such are written
``%20``, as in logfmt, and a longer name ends with ``~`` and the CRC-32 of all of it. A value that is no text is JSON.
An exception has its type and message as parameters, and stands behind the message as in a line of text.

Unsafe characters are escaped as in a line of text, ``\x0a``, before ``\``, ``"`` and ``]`` are as §6.3.3 has it. There
is no byte order mark before the message, which makes it ``MSG-ANY`` in the grammar of §6: UTF-8 all the same, but
rsyslog would take the mark for a part of the text.

A message has a bound. In one that is longer the longest texts are cut first, of parameters and message alike, so that
what is short stays whole; a parameter that was cut ends with ``…``, the message with ``…[truncated N bytes]``, and the
parameter ``truncated`` says how many bytes are gone in all. The structure stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final
from zlib import crc32

import msgspec

from logbus.collectors.decode import Batch, Record, Site, Source
from logbus.collectors.format.base import AFTER_ALL_US, EMPTY_MESSAGE, PROMOTED, level_name, split_time, without_unsafe
from logbus.collectors.format.cut import ELLIPSIS, cut, shared_out, truncated
from logbus.collectors.format.names import Names
from logbus.collectors.format.syslog_head import Head5424
from logbus.collectors.format.text import ESCAPES, TextFormat
from logbus.levels import STANDARD_LEVELS

#: The one element of the structured data.
SD_ID: Final = "logbus@32473"
#: Characters of the name of a parameter, and of one that is longer those that stay.
MAX_NAME: Final = 32
_KEPT: Final = MAX_NAME - 9
#: The most characters that a sampling rate between 0 and 1 has.
_MAX_RATE: Final = 24

_PROMOTED: Final = frozenset(PROMOTED)
#: What can't stand in a name, and ``%``, with which it is written.
_ILLEGAL: Final = re.compile(r'[^!-~]|[%="\]]')
_NO_FIELDS: Final[dict[str, Any]] = {}
_encode: Final = msgspec.json.Encoder().encode


class StructuredFormat:
    """Messages of RFC 5424 with structured data, each of ``max_message`` bytes at most without its newline."""

    name = "syslog"

    def __init__(self, head: Head5424, names: Names, max_message: int) -> None:
        self.dialect = head.dialect
        self._head = head
        self._names = names
        self._promoted = {field: param_name(name) for field, name in names.promoted.items()}
        self._static = [(param_name(name), _escaped(_shown(value))) for name, value in names.static.items()]
        self._exception = param_name(names["exception"])
        self._text = TextFormat(names)
        self._rate = f' {param_name(names["sample_rate"])}="'
        # A rate that is stamped later has room.
        self._size = max_message - len(self._rate) - _MAX_RATE - 1

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one for each record, in UTF-8, each with its newline."""
        before, behind = self._head.around(batch)
        places = [f"Z{behind}[{SD_ID}{_joined(self._place(site))}" for site in batch.sites]
        process = _joined((*self._process(batch), *self._static))
        threads = [_joined(self._thread(thread)) + process for thread in batch.threads]
        # By site: what stands before the microseconds at hand, and what stands behind them for the thread at hand.
        openings: dict[int, str] = {}
        tails: dict[int, str] = {}
        tails_of: dict[int, dict[int, str]] = {}
        # By the keys of extra fields, the pieces of a line: some for all, and a place for each value.
        pieces_of: dict[tuple[str, ...], list[str]] = {}
        second, text, thread = AFTER_ALL_US, "", -1
        plain = _is_plain(_encode([record.message for record in batch.records]))
        values_of = _reader(batch)
        out = []
        for record in batch.records:
            micros = record.time_us - second
            if not 0 <= micros < 1_000_000:
                second, micros, text = split_time(record.time_us)
                openings = {}
            site = record.site
            opening = openings.get(site)
            if opening is None:
                opening = openings[site] = f"{before[site]}{text}."
            if record.thread != thread:
                thread = record.thread
                tails = tails_of.setdefault(thread, {})
            tail = tails.get(site)
            if tail is None:
                tail = tails[site] = places[site] + threads[thread]
            message = record.message or EMPTY_MESSAGE
            if not plain:
                message = without_unsafe(message, ESCAPES)
            extra = record.extra or _NO_FIELDS
            if record.nested is None and record.exception is None:
                keys = tuple(extra)
                found = pieces_of.get(keys)
                pieces = pieces_of.setdefault(keys, self._pieces(keys)) if found is None else found
                if keys:
                    pieces[4:-3:2] = values_of(extra)
            else:
                pieces = ["", "", "", _joined(self._own(record)), "] ", "", "\n"]
                message += self._raised(record)
            pieces[0] = opening
            pieces[1] = str(micros + 1_000_000)[1:]  # the seventh digit brings the zeros
            pieces[2] = tail
            pieces[-2] = message
            out.append("".join(pieces))
        return self._fitted(batch, out)

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The line with its ``sample_rate``, the first parameter of its element."""
        at = self._head.end(line) + 1 + len(SD_ID)
        return line[:at] + f'{self._rate}{rate!r}"'.encode() + line[at:]

    def _fitted(self, batch: Batch, out: list[str]) -> bytes:
        """The lines, those that are too long made shorter. Hardly ever is one, and one look at all says so."""
        text = "".join(out)
        data = text.encode()
        longest = max(map(len, out), default=0)
        if longest <= self._size // 4 or (len(data) == len(text) and longest <= self._size + 1):
            return data
        return b"".join(
            [
                line if len(line) <= self._size + 1 else self._shortened(batch, at, len(line) - 1)
                for at, line in enumerate(map(str.encode, out))
            ]
        )

    def _shortened(self, batch: Batch, at: int, size: int) -> bytes:
        """The line of a record whose message would have ``size`` bytes."""
        record = batch.records[at]
        one = Batch(batch.producer, batch.first_seq + at, batch.source, batch.sites, batch.threads, [record], [])
        [start] = self._head.starts(one)
        message = (without_unsafe(record.message or EMPTY_MESSAGE, ESCAPES) + self._raised(record)).encode()
        pairs = [
            (name, value.encode())
            for name, value in (
                *self._place(batch.sites[record.site]),
                *self._thread(batch.threads[record.thread]),
                *self._process(batch),
                *self._static,
                *self._own(record),
            )
        ]
        # What it takes without any text, where the number of bytes that are gone has as many digits as it may have.
        frame = len(start) + len(f'[{SD_ID} truncated="{size}"] ')
        names, kept = 0, 0
        for name, _ in pairs:
            more = names + len(name) + len(' =""')
            if more > (self._size - frame) // 2:  # of thousands of names, the first: the message is to have room, too
                break
            names, kept = more, kept + 1
        room = self._size - frame - names
        most = shared_out((*(len(value) for _, value in pairs[:kept]), len(message)), room)
        text, gone = truncated(message, most)
        fields = b""
        for name, value in pairs[:kept]:
            shown = _cut_value(value, most)
            fields += b' %b="%b"' % (name.encode(), shown + ELLIPSIS if 0 < len(shown) < len(value) else shown)
            gone += len(value) - len(shown)
        gone += sum(len(value) for _, value in pairs[kept:])
        return b'%b[%b truncated="%d"%b] %b\n' % (start.encode(), SD_ID.encode(), gone, fields, text)

    def _place(self, site: Site) -> list[tuple[str, str]]:
        """What all records of a call site share, each escaped, under the names of parameters."""
        fields: dict[str, Any] = {"level": level_name(site)}
        if STANDARD_LEVELS.get(site.level_name) != site.level_no:
            fields["level_no"] = site.level_no
        fields |= {"logger": site.logger, "component": site.component, "module": site.module}
        fields |= {"function": site.function, "line": site.line}
        return self._named(fields)

    def _thread(self, thread: str) -> list[tuple[str, str]]:
        return self._named({"thread_name": thread})

    def _process(self, batch: Batch) -> list[tuple[str, str]]:
        source: Source = batch.source
        host, app_name = self._head.names(batch)
        fields = {"worker": source.worker}
        if source.host != host:
            fields["host"] = source.host
        if source.app_name != app_name:
            fields["app_name"] = source.app_name
        return self._named(fields)

    def _named(self, fields: dict[str, Any]) -> list[tuple[str, str]]:
        return [(param_name(self._names[field]), _escaped(_shown(value))) for field, value in fields.items()]

    def _pieces(self, keys: Sequence[str]) -> list[str]:
        """The pieces of a line of a record with these extra fields, of which those that differ are to be filled in."""
        names = [self._promoted.get(key) or self._extra(key) for key in keys]
        pieces = ["", "", ""]
        for at, name in enumerate(names):
            pieces += [f'" {name}="' if at else f' {name}="', ""]
        return [*pieces, '"] ' if names else "] ", "", "\n"]

    def _extra(self, key: str) -> str:
        return param_name(f"{self._names['extra']}.{key}")

    def _own(self, record: Record) -> list[tuple[str, str]]:
        """What the record alone has besides time and message."""
        nested = record.nested or {}
        fields = [
            (self._promoted.get(key) or self._extra(key), value)
            for key, value in (record.extra or {}).items()
            if key in _PROMOTED or key not in nested
        ]
        fields += [(self._extra(key), value) for key, value in nested.items()]
        if record.exception is not None:
            fields.append((param_name(f"{self._exception}.type"), record.exception.type))
            fields.append((param_name(f"{self._exception}.message"), record.exception.message))
        return [(name, _escaped(_shown(value))) for name, value in fields]

    def _raised(self, record: Record) -> str:
        return "" if record.exception is None else self._text.exception(self._names["exception"], record.exception)


def param_name(name: str) -> str:
    """A name as a parameter's (§6.3.3): different ones stay different, but for a collision of long ones.

    >>> param_name("request_id"), param_name("extra.a b"), param_name("extra.a_name_that_never_seems_to_end")
    ('request_id', 'extra.a%20b', 'extra.a_name_that_never~2e532355')
    """
    legal = _ILLEGAL.sub(lambda found: f"%{found[0].encode().hex('%').upper()}", name[: MAX_NAME + 1])
    if len(legal) <= MAX_NAME:
        return legal
    return f"{legal[:_KEPT]}~{crc32(name.encode('utf-8', 'surrogatepass')):08x}"


def _is_plain(data: bytes) -> bool:
    """Whether the texts in this JSON have nothing to escape in a message; JSON escapes all of that but DEL."""
    return data.isascii() and b"\\" not in data and b"\x7f" not in data


def _reader(batch: Batch) -> Callable[[dict[str, Any]], Iterable[str]]:
    """What gives the values of extra fields of the batch, escaped.

    To look at each value by itself takes longer than to make the line. But one look at the JSON of all of them, which
    takes no time, tells whether any has something to escape, and, by its quotes, whether all are texts.
    """
    extras = [record.extra for record in batch.records if record.extra]
    data = _encode(extras)
    if not _is_plain(data) or data.find(b"]") != len(data) - 1:
        return _escaped_values
    return dict.values if data.count(b'"') == 4 * sum(map(len, extras)) else _shown_values


def _shown_values(extra: dict[str, Any]) -> list[str]:
    return [value if type(value) is str else _shown(value) for value in extra.values()]


def _escaped_values(extra: dict[str, Any]) -> list[str]:
    return [_escaped(_shown(value)) for value in extra.values()]


def _joined(pairs: Iterable[tuple[str, str]]) -> str:
    return "".join([f' {name}="{value}"' for name, value in pairs])


def _shown(value: Any) -> str:
    return value if type(value) is str else _encode(value).decode()


def _escaped(text: str) -> str:
    """A text as the value of a parameter."""
    text = without_unsafe(text, ESCAPES)
    if "\\" not in text and '"' not in text and "]" not in text:
        return text
    text = text.replace("\\", "\\\\")
    return text.replace('"', '\\"').replace("]", "\\]")


def _cut_value(value: bytes, size: int) -> bytes:
    """As much of an escaped value as has room in ``size`` bytes, with an ellipsis to follow where that is not all."""
    if len(value) <= size:
        return value
    kept = cut(value, size - len(ELLIPSIS))
    if (len(kept) - len(kept.rstrip(b"\\"))) % 2:  # the first half of an escape
        kept = kept[:-1]
    return kept
