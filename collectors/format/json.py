r"""A record as one line of JSON: what ``logbus record-schema`` describes.

Most of a line is the same for all records of a call site: twelve of its fields, and nearly all of a thirteenth, the
time. They are encoded once per batch and call site, and spliced between what differs. A line is made of

    {"timestamp":"…","level":…,"message": | "…" | ,"logger":…,"app_name":… | ,"request_id":…,"extra":{…}}

where the first is a template with a place for the microseconds, and the second and the last are written by msgspec
straight into the batch's buffer: no object is made per line, and nothing is copied. The last part is the object of
the remaining fields with its brace turned into a comma; for the usual extra fields, which all stand at the top of a
line, that object is the record's own dict.

msgspec escapes what JSON demands. DEL, C1 and format characters are escaped afterwards, in the lines that are not
plain ASCII only.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from logbus.collectors.decode import Batch, Raised, Record, Site, Source
from logbus.collectors.format.base import AFTER_ALL_US, EMPTY_MESSAGE, PROMOTED, UNSAFE, level_name, lines, split_time
from logbus.levels import STANDARD_LEVELS

_PROMOTED: Final = frozenset(PROMOTED)
_COMMA: Final = ord(",")
_encoder = msgspec.json.Encoder()


class JsonFormat:
    """JSON lines, strictly by the contract of a log line."""

    name = "json"

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one JSON object for each record, in UTF-8, each with its newline."""
        write = _encoder.encode_into
        usual = _PROMOTED.issuperset(set[str]().union(*[record.extra for record in batch.records if record.extra]))
        leads = [_lead(site) for site in batch.sites]
        threads = [_encoder.encode(thread) for thread in batch.threads]
        # By site: the openings of the second at hand, and the tails of the thread at hand.
        openings: dict[int, bytes] = {}
        tails: dict[int, bytes] = {}
        tails_of: dict[int, dict[int, bytes]] = {}
        second, text, thread = AFTER_ALL_US, "", -1
        out = bytearray()
        for record in batch.records:
            site, extra = record.site, record.extra
            micros = record.time_us - second
            if not 0 <= micros < 1_000_000:
                second, micros, text = split_time(record.time_us)
                openings = {}
            opening = openings.get(site)
            if opening is None:
                opening = openings[site] = f'\n{{"timestamp":"{text}.%06dZ"'.encode() + leads[site]
            out += opening % micros
            write(record.message or EMPTY_MESSAGE, out, -1)
            if record.thread != thread:
                thread = record.thread
                tails = tails_of.setdefault(thread, {})
            tail = tails.get(site)
            if tail is None:
                tail = tails[site] = _tail(batch.source, batch.sites[site], threads[thread])
            out += tail
            if (
                record.nested is not None
                or record.exception is not None
                or (not usual and extra and not _PROMOTED.issuperset(extra))
            ):
                extra = _fields(record)
            if extra:
                at = len(out)
                write(extra, out, -1)
                out[at] = _COMMA
            else:
                out += b"}"
        if out:
            out += b"\n"
            del out[0]  # each line began with the newline of the one before
        data = bytes(out)
        if data.isascii() and b"\x7f" not in data:
            return data
        return b"".join([line if line.isascii() and b"\x7f" not in line else _escaped(line) for line in lines(data)])


def exception_fields(raised: Raised) -> dict[str, Any]:
    """An exception as it stands in a line, with all that hang on it."""
    fields: dict[str, Any] = {"type": raised.type, "message": raised.message, "traceback": raised.traceback}
    if raised.cause is not None:
        fields["cause"] = exception_fields(raised.cause)
    if raised.context is not None:
        fields["context"] = exception_fields(raised.context)
    if raised.members:
        fields["exceptions"] = [exception_fields(member) for member in raised.members]
    return fields


def _lead(site: Site) -> bytes:
    """From the end of the timestamp up to the message, as a part of a ``%`` template."""
    fields: dict[str, Any] = {"level": level_name(site)}
    if STANDARD_LEVELS.get(site.level_name) != site.level_no:
        fields["level_no"] = site.level_no
    return b"," + _encoder.encode(fields)[1:-1].replace(b"%", b"%%") + b',"message":'


def _tail(source: Source, site: Site, thread: bytes) -> bytes:
    """From the end of the message up to what the record alone has."""
    fields = {
        "logger": site.logger,
        "component": site.component,
        "module": site.module,
        "function": site.function,
        "line": site.line,
        "process_id": source.pid,
        "thread_name": msgspec.Raw(thread),
        "worker": source.worker,
        "host": source.host,
        "app_name": source.app_name,
    }
    return b"," + _encoder.encode(fields)[1:-1]


def _fields(record: Record) -> dict[str, Any]:
    """What the record alone has besides time and message, in its places."""
    fields: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for key, value in (record.extra or {}).items():
        (fields if key in _PROMOTED else rest)[key] = value
    if record.nested:
        rest.update(record.nested)
    if rest:
        fields["extra"] = rest
    if record.exception is not None:
        fields["exception"] = exception_fields(record.exception)
    return fields


def _escaped(line: bytes) -> bytes:
    return UNSAFE.sub(_escape, line[:-1].decode()).encode() + b"\n"


def _escape(found: Any) -> str:
    r"""``\uXXXX``, twice for a character that UTF-16 holds as two."""
    code = ord(found[0])
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
