r"""A record as one line of ``key=value``, as go-logfmt and its kin read it.

    timestamp=2026-11-22T12:00:00.000000Z level=INFO message="selected proxy" logger=proxywhirl.rotator … extra.n=1

The keys are the paths of the JSON line, in its order. Extra fields are one key each, ``extra.kind``, so that none is
taken for a field of the line; what is nested in one is its JSON text, since a dotted path can't tell a list from a
table, nor a dot in a key from a step. Exceptions are dotted as deep as they hang together, with the lines of a
traceback in one value.

A value stands in quotes where it is empty or has a space, ``"``, ``=``, a backslash or an unsafe character, and
where it is a text that would read as ``null``, ``true`` or ``false``. Between quotes it is a JSON string, escapes
included, and that is how readers take it. Readers know no escapes in keys: characters that can't stand there are
written ``%20``, as in a URL, so that two keys never become one.

All of a line but the time, the message and the record's own fields is made once per batch and call site.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from logbus.collectors.decode import Batch, Raised, Record, Site, Source
from logbus.collectors.format.base import (
    EMPTY_MESSAGE,
    MANY_UNSAFE,
    UNSAFE,
    UNSAFE_RUN,
    json_escape,
    level_name,
    many_unsafe,
    timestamps,
)
from logbus.collectors.format.names import Names
from logbus.levels import STANDARD_LEVELS

#: The JSON of what is no text, and all texts that readers take for something else unless they stand in quotes.
_WORDS: Final = frozenset({"null", "true", "false"})
_QUOTED_WORDS: Final = _WORDS | {""}
#: What can't stand in a key; the replacement character is how a reader of UTF-8 sees a broken one.
_ILLEGAL: Final = re.compile(rf'(?:{UNSAFE.pattern[:-1]}\s"=%\ufffd])+')

_encode: Final = msgspec.json.Encoder().encode


class LogfmtFormat:
    """Lines of ``key=value`` with every field that the JSON line has."""

    name = "logfmt"

    def __init__(self, names: Names | None = None) -> None:
        self._names = names = names or Names()
        self._timestamp = _legal(names["timestamp"])
        self._message = _legal(names["message"])
        self._extra = _legal(names["extra"])
        self._exception = _legal(names["exception"])
        self._promoted = {field: _legal(name) for field, name in names.promoted.items()}
        self._static = "".join(_pair(name, value) for name, value in names.static.items())
        self._rate = f" {_legal(names['sample_rate'])}="

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one for each record, in UTF-8, each with its newline."""
        heads = [self._head(site) for site in batch.sites]
        tails: dict[tuple[int, int], str] = {}
        begin = f"{self._timestamp}="
        out = []
        for record, timestamp in zip(batch.records, timestamps(batch.records), strict=True):
            place = (record.site, record.thread)
            tail = tails.get(place) or self._add_tail(tails, place, batch)
            own = self._own(record) if record.extra or record.nested or record.exception is not None else ""
            message = _quoted(record.message or EMPTY_MESSAGE)
            out.append(f"{begin}{timestamp}{heads[record.site]}{message}{tail}{own}\n")
        return "".join(out).encode()

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The line with its ``sample_rate`` at the end."""
        return line[:-1] + f"{self._rate}{rate!r}\n".encode()

    def _head(self, site: Site) -> str:
        """From the end of the timestamp up to the message."""
        names = self._names
        head = _pair(names["level"], level_name(site))
        if STANDARD_LEVELS.get(site.level_name) != site.level_no:
            head += _pair(names["level_no"], site.level_no)
        return f"{head} {self._message}="

    def _add_tail(self, tails: dict[tuple[int, int], str], place: tuple[int, int], batch: Batch) -> str:
        """What stands from the end of the message up to what the record alone has, at a site in a thread."""
        tail = tails[place] = self._tail(batch.source, batch.sites[place[0]], batch.threads[place[1]])
        return tail

    def _tail(self, source: Source, site: Site, thread: str) -> str:
        fields = {
            "logger": site.logger,
            "component": site.component,
            "module": site.module,
            "function": site.function,
            "line": site.line,
            "process_id": source.pid,
            "thread_name": thread,
            "worker": source.worker,
            "host": source.host,
            "app_name": source.app_name,
        }
        return "".join(_pair(self._names[field], value) for field, value in fields.items()) + self._static

    def _own(self, record: Record) -> str:
        """What the record alone has besides time and message: promoted fields, the others, its exception."""
        promoted = self._promoted
        first, rest = [], []
        for key, value in (record.extra or {}).items():
            if key in promoted:
                first.append(f" {promoted[key]}={_value(value)}")
            elif not record.nested or key not in record.nested:
                rest.append(f" {self._extra}.{_legal(key)}={_value(value)}")
        for key, value in (record.nested or {}).items():
            rest.append(f" {self._extra}.{_legal(key)}={_value(value)}")
        if record.exception is not None:
            rest += [f" {key}={_quoted(text)}" for key, text in _exception(self._exception, record.exception)]
        return "".join(first + rest)


def _exception(name: str, raised: Raised) -> Iterator[tuple[str, str]]:
    """An exception, and all that hang on it, as dotted keys below ``name`` and their texts."""
    yield f"{name}.type", raised.type
    yield f"{name}.message", raised.message
    yield f"{name}.traceback", "\n".join(raised.traceback)
    if raised.cause is not None:
        yield from _exception(f"{name}.cause", raised.cause)
    if raised.context is not None:
        yield from _exception(f"{name}.context", raised.context)
    for index, member in enumerate(raised.members):
        yield from _exception(f"{name}.exceptions[{index}]", member)


def _pair(name: str, value: Any) -> str:
    return f" {_legal(name)}={_value(value)}"


def _value(value: Any) -> str:
    """A value as it stands after its ``=``: a text, or the JSON of anything else."""
    if type(value) is str:
        return _quoted(value)
    if type(value) is int:
        return str(value)
    text = _encode(value).decode()
    return text if text in _WORDS else _quoted(text)


def _quoted(text: str) -> str:
    """A text as it stands after its ``=``. Searches for single characters are twice as fast as one for a class."""
    if (
        " " not in text
        and text.isprintable()
        and "=" not in text
        and '"' not in text
        and "\\" not in text
        and text not in _QUOTED_WORDS
    ):
        return text
    quoted = _encode(text).decode()
    # A space at least stands in most of what comes here. Some characters are not printable to Python, yet harmless.
    if "\x7f" in quoted:
        quoted = quoted.replace("\x7f", "\\u007f")
    if quoted.isascii():
        return quoted
    return json.dumps(text) if many_unsafe(quoted) else UNSAFE_RUN.sub(json_escape, quoted)


def _legal(key: str) -> str:
    """A key without what can't stand in one; different keys stay different."""
    if key.isascii() and key.isidentifier():
        return key
    if len(key) > MANY_UNSAFE:  # all of it, in one call: each run of such characters takes half a microsecond
        return _percent(key)
    return _ILLEGAL.sub(lambda found: _percent(found[0]), key)


def _percent(text: str) -> str:
    return "%" + text.encode().hex("%").upper()
