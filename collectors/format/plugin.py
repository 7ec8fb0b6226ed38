r"""Formats of other people: an entry point of the group ``logbus.formats``, or ``"package.module:Name"``.

All that its author writes is a function from a record to a line, or a class whose instances (made without arguments)
are called like one::

    def line_of(record: dict) -> str:
        return f"{record['timestamp']} {record['message']}"

``record`` is what the JSON line has, ``extra`` and ``exception`` included, under the names and with the static fields
that the sink was given; it belongs to the function, which may change it. Redaction has happened: what is secret is
masked in ``record``, and what the function returns is not looked through again, so it must not fetch anything from
elsewhere. What it returns is one line without a newline (one at its end is taken off); unsafe characters in it, other
newlines among them, are written as ``\uXXXX``. With an attribute ``stamp``, a function from a line and a rate to a
line, sampled lines carry their rate; without one they don't.

It runs in the collector's own thread, so a slow one slows every sink. One that raises, or returns what is no line,
loses that record in the sinks that use it and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

import msgspec

from logbus.collectors import installed
from logbus.collectors.decode import Batch
from logbus.collectors.format.base import JSON_ESCAPES, without_unsafe
from logbus.collectors.format.json import JsonFormat
from logbus.collectors.format.names import Names
from logbus.collectors.installed import refusal, short, words

#: Where packages announce their formats.
GROUP: Final = "logbus.formats"
#: Bytes of the lines of one batch, at most, more than a format of ours ever makes. What is beyond is no line.
MAX_BYTES: Final = 64 * 1024 * 1024

Write = Callable[[dict[str, Any]], Any]


class PluginFormat:
    """Lines as somebody else's code writes them. ``name`` is what configuration calls it, ``write`` the callable."""

    def __init__(self, name: str, write: Write, names: Names | None = None) -> None:
        self.name = name
        #: Why it could not write a record of the last batch, the last such one, in a line; None when it wrote them all.
        self.error: str | None = None
        self._write = write
        stamp = getattr(write, "stamp", None)
        self._stamp: Callable[[str, float], Any] | None = stamp if callable(stamp) else None
        self._json = JsonFormat(names)
        # Decoding what the JSON format has written gives objects of its own: other formats never see a change.
        self._read = msgspec.json.Decoder(dict[str, Any]).decode_lines

    def encode(self, batch: Batch) -> bytes:
        """The lines of those records of the batch that it can write."""
        return b"".join([line for line in self.encode_each(batch) if line is not None])

    def encode_each(self, batch: Batch) -> list[bytes | None]:
        """For each record of the batch its line, newline included, or None for one that it can't write."""
        self.error = None
        found: list[bytes | None] = []
        left = MAX_BYTES
        for record in self._read(self._json.encode(batch)):
            try:
                line = _line(self._write(record), left)
            # Whatever it raises concerns this record only, sys.exit() and what ends tasks included. A signal raises
            # nothing in a collector.
            except BaseException as error:
                self.error = f"format {self.name!r}: {words(error)}"
                found.append(None)
            else:
                left -= len(line)
                found.append(line)
        return found

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The line as the format writes the rate into it; unchanged where it doesn't, or fails to."""
        if self._stamp is None:
            return line
        try:
            return _line(self._stamp(line[:-1].decode(), rate), MAX_BYTES)
        except BaseException:  # a record without its rate is worth more than none
            return line


def load(name: str, others: tuple[str, ...] = ()) -> Write:
    """The callable that a name in configuration stands for; ``others`` are the names that are no plug-in's.

    Raises ConfigurationError when there is none to be had, with what would be right.
    """
    point = installed.find(GROUP, "format", name, others)
    found = installed.load(point, "format", "format")
    if isinstance(found, type):
        try:
            found = found()
        except BaseException as error:  # as for importing it
            what = f"{short(installed.called(point))}: {words(error)}"
            raise refusal("format", "a format that can be loaded", what) from error
    if not callable(found):
        what = "a function from a record to a line, or a class whose instances are called like one"
        raise refusal("format", what, f"{short(installed.called(point))}, which is of type {type(found).__name__}")
    return cast("Write", found)


def _line(text: object, room: int) -> bytes:
    """What somebody's code has returned, as a line of at most so many bytes.

    Raises TypeError or ValueError where it is none.
    """
    if not isinstance(text, str):
        raise TypeError(f"expected a text, found {type(text).__name__}")
    # A text of a class of theirs has methods of theirs: its characters count, and nothing that it says of itself.
    text = str.__str__(text).removesuffix("\n")
    if not text:
        raise ValueError("expected a line, found an empty text")
    line = b"" if len(text) >= room else without_unsafe(text, JSON_ESCAPES).encode() + b"\n"
    if not 0 < len(line) <= room:
        raise ValueError(f"expected lines of at most {MAX_BYTES} bytes in a batch, found more")
    return line
