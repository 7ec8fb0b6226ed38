r"""A record as one line for eyes, with every field that the JSON line has.

    2026-11-22T12:00:00.000000Z INFO     w1 rotator proxywhirl.rotator:   selected proxy strategy=round_robin …

Worker, component and logger stand before the message, since a terminal cuts or wraps what is long, in a column of
their own, so that messages begin below one another where names are of usual length. After the message come the
record's own fields, then process, place and machine, and last, since it is long, the exception, its frames in the
order of a traceback::

    … exception ValueError: no weights | File "pool.py", line 9, in pick: … | caused by KeyError: 'w' | File …

A value with a space, a quote, ``=`` or ``\`` stands in quotes; nested values are JSON. Unsafe characters, newlines
among them, are written as ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``. The message and the exception are not quoted: text
is for people; whatever reads lines by program reads JSON or logfmt.

On a terminal the level has its colour, an exception that of errors, keys stand out, and what is not read first is dim:
the time, the process, the frames. Without its colours a line is the one that a file gets. ``rename_fields`` changes
the names that stand in a line; time, level, worker, component, logger and message have none.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from logbus.collectors.decode import Batch, Raised, Record, Site
from logbus.collectors.format.base import (
    EMPTY_MESSAGE,
    PROMOTED,
    Escapes,
    level_name,
    timestamps,
    without_unsafe,
)
from logbus.collectors.format.names import Names
from logbus.levels import STANDARD_LEVELS, bucket_of

#: Columns of the level's name, and of worker, component and logger together.
_LEVEL_WIDTH: Final = 8
_WHO_WIDTH: Final = 40
#: SGR parameters by level bucket (TRACE to CRITICAL).
_COLOURS: Final = ("2", "2", "32", "33", "31", "1;31")
#: For keys, for the type and message of an exception, for what is not read first, and back to normal.
_KEY: Final = "\x1b[36m"
_RAISED: Final = "\x1b[31m"
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"

_PROMOTED: Final = frozenset(PROMOTED)
_QUOTED: Final = re.compile(r'[\s"=\\]')


class TextFormat:
    """Text lines; with ``colour``, in the colours of a terminal."""

    name = "text"

    def __init__(self, names: Names | None = None, *, colour: bool = False) -> None:
        self._names = names = names or Names()
        self._colour = colour
        self._key, self._raised, self._dim, self._reset = (_KEY, _RAISED, _DIM, _RESET) if colour else ("",) * 4
        self._static = "".join(f" {_pairs(pair)}" for pair in names.static.items())

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one for each record, in UTF-8, each with its newline."""
        source, names = batch.source, self._names
        dim, reset, before, after = self._dim, self._reset, f" {self._key}", f"{self._reset}="
        process = _pairs((names["process_id"], source.pid))
        machine = _pairs((names["host"], source.host), (names["app_name"], source.app_name)) + self._static
        worker = _quoted(source.worker)
        heads = [self._head(site, worker) for site in batch.sites]
        places = [self._place(site) for site in batch.sites]
        threads = [_pairs((names["thread_name"], thread)) for thread in batch.threads]
        out = []
        for record, timestamp in zip(batch.records, timestamps(batch.records), strict=True):
            message = _safe(record.message or EMPTY_MESSAGE)
            own = "".join(
                [
                    f"{before}{_key(key)}{after}{_quoted(value if type(value) is str else _shown(value))}"
                    for key, value in self._own(record)
                ]
            )
            where = f"{process} {threads[record.thread]} {places[record.site]} {machine}"
            raised = "" if record.exception is None else self.exception(_key(names["exception"]), record.exception)
            out.append(f"{dim}{timestamp}{reset} {heads[record.site]} {message}{own} {dim}{where}{reset}{raised}\n")
        return "".join(out).encode()

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The line with its ``sample_rate`` at the end."""
        end = f" {self._dim}{_key(self._names['sample_rate'])}={rate!r}{self._reset}\n"
        return line[:-1] + end.encode()

    def _head(self, site: Site, worker: str) -> str:
        level = f"{_safe(level_name(site)):{_LEVEL_WIDTH}}"
        if self._colour:
            level = f"\x1b[{_COLOURS[bucket_of(site.level_no)]}m{level}{_RESET}"
        what = f"{_safe(site.component)} {_safe(site.logger)}:"
        return f"{level} {self._dim}{worker}{self._reset} {what:{max(_WHO_WIDTH - len(worker) - 1, 0)}}"

    def _place(self, site: Site) -> str:
        names = self._names
        place = _pairs((names["module"], site.module), (names["function"], site.function), (names["line"], site.line))
        if STANDARD_LEVELS.get(site.level_name) != site.level_no:
            place += f" {_pairs((names['level_no'], site.level_no))}"
        return place

    def _own(self, record: Record) -> list[tuple[str, Any]]:
        """The fields that the record alone has, promoted ones first."""
        extra, nested = record.extra or {}, record.nested
        fields: list[tuple[str, Any]] = [
            (name, extra[key]) for key, name in self._names.promoted.items() if key in extra
        ]
        if len(fields) < len(extra) or nested:
            fields += [(key, value) for key, value in {**extra, **(nested or {})}.items() if key not in _PROMOTED]
            fields += [(key, value) for key, value in (nested or {}).items() if key in _PROMOTED]
        return fields

    def exception(self, what: str, raised: Raised, group: str = "") -> str:
        """An exception and all that hang on it, each with its type and message before its frames.

        ``group`` is the number of the member that it is in, with a dot, as in "2.".
        """
        text = f"{raised.type}: {raised.message}" if raised.message else raised.type
        parts = [f" {what} {self._raised}{_safe(text)}{self._reset}"]
        if raised.traceback:
            frames = "".join([f" | {_safe(frame)}" for frame in raised.traceback])
            parts.append(f"{self._dim}{frames}{self._reset}")
        if raised.cause is not None:
            parts.append(self.exception("| caused by", raised.cause, group))
        if raised.context is not None:
            parts.append(self.exception("| while handling", raised.context, group))
        for number, member in enumerate(raised.members, 1):
            parts.append(self.exception(f"| member {group}{number}", member, f"{group}{number}."))
        return "".join(parts)


def _key(key: str) -> str:
    return key if key.isascii() and key.isidentifier() else _quoted(key)


def _pairs(*pairs: tuple[str, object]) -> str:
    return " ".join(f"{_key(key)}={_quoted(_shown(value))}" for key, value in pairs)


def _shown(value: Any) -> str:
    return value if type(value) is str else msgspec.json.encode(value).decode()


def _quoted(text: str) -> str:
    """The text as it stands after a ``=``. Five searches for a character are twice as fast as one for a class."""
    if text.isprintable() and text and " " not in text and "=" not in text and '"' not in text and "\\" not in text:
        return text
    if text and not _QUOTED.search(text):
        return _safe(text)
    return '"' + _safe(text.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _safe(text: str) -> str:
    return without_unsafe(text, ESCAPES)


def _escape(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


#: ``\\xNN``, ``\\uNNNN`` or ``\\UNNNNNNNN``, as Python has it.
ESCAPES: Final = Escapes(_escape)
