r"""A record as one line of JSON: what ``logbus record-schema`` describes.

Most of a line is the same for all records of a call site: twelve of its fields, and nearly all of a thirteenth, the
time. They are encoded once per call site, and once per thread of a worker, remembered, and spliced between what
differs: to encode them anew for each batch would cost a record as much as all the rest of its line. A line is made of

    {"timestamp":"…","level":…,"message": | "…" | ,"logger":…,"app_name":… | ,"request_id":…,"extra":{…}}

where the first is a template with a place for the microseconds, and the second and the last are written by msgspec
straight into the batch's buffer: no object is made per line, and nothing is copied. The last part is the object of
the remaining fields with its brace turned into a comma; for the usual extra fields, which all stand at the top of a
line, that object is the record's own dict. Other names (``rename_fields``) and added fields (``static_fields``) are
part of the templates and cost nothing; only the promoted fields, given other names, no longer are the record's dict.

msgspec escapes what JSON demands. DEL, C1 and format characters are escaped afterwards, in the lines that are not
plain ASCII only.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from logbus.collectors.decode import Batch, Raised, Record, Site, Source
from logbus.collectors.format.base import (
    AFTER_ALL_US,
    EMPTY_MESSAGE,
    PROMOTED,
    UNSAFE_RUN,
    json_escape,
    level_name,
    lines,
    many_unsafe,
    split_time,
)
from logbus.collectors.format.names import Names
from logbus.collectors.packed import Packed
from logbus.collectors.redaction.work import MASK
from logbus.levels import STANDARD_LEVELS

if TYPE_CHECKING:
    from logbus.collectors._native import Rows

#: Call sites, threads of workers, and keys, whose parts of a line are remembered, so many of each, and the bytes of
#: these parts. Of each format: thirty sinks may have one each, and where threads don't repeat it is in vain.
_PARTS_KEPT: Final = 1024
_PART_BYTES: Final = 1024

_PROMOTED: Final = frozenset(PROMOTED)
_COMMA: Final = ord(",")
_encoder = msgspec.json.Encoder()
_read = msgspec.json.Decoder().decode


class JsonFormat:
    """JSON lines, strictly by the contract of a log line where ``names`` doesn't say otherwise."""

    name = "json"

    def __init__(self, names: Names | None = None) -> None:
        self._names = names = names or Names()
        self._opening = f"\n{{{_quoted(names['timestamp'])}:".replace("%", "%%")
        #: What the compiled part has to know of all lines.
        self._style = (
            f'{{{_quoted(names["timestamp"])}:"'.encode(),
            _encoder.encode(EMPTY_MESSAGE),
            _encoder.encode(MASK),
            f",{_quoted(names['extra'])}:{{".encode(),
            _encoder.encode,
        )
        #: By a record's key, what stands before its value, and whether that is at the top of a line.
        self._keys: dict[str, tuple[bytes, bool]] = {}
        self._message = b"," + _encoder.encode(names["message"]) + b":"
        self._static = b"," + _encoder.encode(names.static)[1:-1] if names.static else b""
        self._rate = b"," + _encoder.encode(names["sample_rate"]) + b":"
        #: By call site, what stands before the message, and right behind it; by thread of a worker, what follows that.
        self._sites: dict[Site, tuple[bytes, bytes]] = {}
        self._sources: dict[tuple[str, int, str, str, str], bytes] = {}

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one JSON object for each record, in UTF-8, each with its newline."""
        if isinstance(batch, Packed) and batch.rows is not None:
            return self._encode_rows(batch, batch.rows)
        write = _encoder.encode_into
        # Whether a dict of promoted fields can be written as it is, and whether all records have such.
        as_they_are = self._names.promoted_as_they_are
        usual = as_they_are and _PROMOTED.issuperset(
            set[str]().union(*[record.extra for record in batch.records if record.extra])
        )
        # By thread and call site: what stands before and behind a message, without a second and for the one at hand.
        made: dict[tuple[int, int], tuple[bytes, bytes]] = {}
        parts_of: dict[int, dict[int, tuple[bytes, bytes]]] = {}
        parts: dict[int, tuple[bytes, bytes]] = {}
        second, opens, thread = AFTER_ALL_US, b"", -1
        out = bytearray()
        for record in batch.records:
            micros = record.time_us - second
            if not 0 <= micros < 1_000_000:
                second, micros, text = split_time(record.time_us)
                opens = f'{self._opening}"{text}.%06dZ"'.encode()
                parts_of, thread = {}, -1
            if record.thread != thread:
                thread = record.thread
                parts = parts_of.setdefault(thread, {})
            found = parts.get(record.site)
            if found is None:
                pair = thread, record.site
                if (both := made.get(pair)) is None:
                    both = made[pair] = self._parts(batch.source, batch.sites[record.site], batch.threads[thread])
                found = parts[record.site] = opens + both[0].replace(b"%", b"%%"), both[1]
            opening, tail = found
            out += opening % micros
            write(record.message or EMPTY_MESSAGE, out, -1)
            out += tail
            extra = record.extra
            if (
                record.nested is not None
                or record.exception is not None
                or (not usual and extra and not (as_they_are and _PROMOTED.issuperset(extra)))
            ):
                extra = self._own(record)
            if extra:
                at = len(out)
                write(extra, out, -1)
                out[at] = _COMMA
            else:
                out += b"}"
        if out:
            out += b"\n"
            del out[0]  # each line began with the newline of the one before
        return safe_lines(bytes(out))

    def _encode_rows(self, batch: Packed, rows: Rows) -> bytes:
        """The same, by the compiled part; the records that it leaves are written here, and put in their places."""
        strange = batch.left_to_python()
        written = dict(zip(strange, lines(self.encode(batch.plain(strange))), strict=True)) if strange else {}
        source, sites, threads = batch.source, batch.sites, batch.threads

        def parts(site: int, thread: int) -> tuple[bytes, bytes]:
            return self._parts(source, sites[site], threads[thread])

        keys = [self._keys.get(key) or self._key(key) for key in rows.fields()]
        return safe_lines(rows.encode(self._style, parts, keys, written, batch.chosen))

    def _key(self, key: str) -> tuple[bytes, bool]:
        name = self._names.promoted.get(key)
        if name is None:
            found = _encoder.encode(key) + b":", False
        else:
            found = _encoder.encode(name) + b":", True
        if len(key) <= _PART_BYTES:
            _keep(self._keys, key, found)
        return found

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The line with its ``sample_rate``, a number, at the end of its object."""
        return line[:-2] + self._rate + _encoder.encode(rate) + b"}\n"

    def _parts(self, source: Source, site: Site, thread: str) -> tuple[bytes, bytes]:
        """What all lines of a call site have before and behind their message, on this thread of this worker."""
        found = self._sites.get(site)
        if found is None:
            found = self._lead(site), self._place(site)
            if len(found[0]) + len(found[1]) <= _PART_BYTES:
                _keep(self._sites, site, found)
        of = source.host, source.pid, source.worker, source.app_name, thread
        who = self._sources.get(of)
        if who is None:
            who = self._who(source, thread)
            if len(who) <= _PART_BYTES:
                _keep(self._sources, of, who)
        return found[0], found[1] + who

    def _lead(self, site: Site) -> bytes:
        """From the end of the timestamp up to the message."""
        names = self._names
        fields: dict[str, Any] = {names["level"]: level_name(site)}
        if STANDARD_LEVELS.get(site.level_name) != site.level_no:
            fields[names["level_no"]] = site.level_no
        return b"," + _encoder.encode(fields)[1:-1] + self._message

    def _place(self, site: Site) -> bytes:
        """From the end of the message up to the worker."""
        names = self._names
        fields = {
            names["logger"]: site.logger,
            names["component"]: site.component,
            names["module"]: site.module,
            names["function"]: site.function,
            names["line"]: site.line,
        }
        return b"," + _encoder.encode(fields)[1:-1]

    def _who(self, source: Source, thread: str) -> bytes:
        """From the worker up to what the record alone has."""
        names = self._names
        fields = {
            names["process_id"]: source.pid,
            names["thread_name"]: thread,
            names["worker"]: source.worker,
            names["host"]: source.host,
            names["app_name"]: source.app_name,
        }
        return b"," + _encoder.encode(fields)[1:-1] + self._static

    def _own(self, record: Record) -> dict[str, Any]:
        """What the record alone has besides time and message, in its places."""
        names, promoted = self._names, self._names.promoted
        fields: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, value in (record.extra or {}).items():
            name = promoted.get(key)
            if name is None:
                rest[key] = value
            else:
                fields[name] = value
        if record.nested:
            rest.update(record.nested)
        if rest:
            fields[names["extra"]] = rest
        if record.exception is not None:
            fields[names["exception"]] = exception_fields(record.exception)
        return fields


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


def safe_lines(data: bytes) -> bytes:
    """Lines of JSON with what never passes raw as escapes; what JSON itself demands has been escaped."""
    if b"\x7f" in data:
        data = data.replace(b"\x7f", rb"\u007f")
    if data.isascii():
        return data
    return b"".join([line if line.isascii() else _escaped(line) for line in lines(data)])


def _escaped(line: bytes) -> bytes:
    text = line[:-1].decode()
    if many_unsafe(text):
        return json.dumps(_read(text), separators=(",", ":")).encode() + b"\n"
    return UNSAFE_RUN.sub(json_escape, text).encode() + b"\n"


def _keep(known: dict[Any, Any], key: Any, value: Any) -> None:
    """Remembers one more; where they are too many, all others are forgotten."""
    if len(known) >= _PARTS_KEPT:
        known.clear()
    known[key] = value


def _quoted(text: str) -> str:
    return _encoder.encode(text).decode()
