r"""A record as one line for eyes, with every field that the JSON line has.

    2026-11-22T12:00:00.000000Z INFO     w1 rotator proxywhirl.rotator: selected proxy strategy=round_robin process_id=…

Worker, component and logger stand before the message, since a terminal cuts or wraps what is long. After it come the
record's own fields, then its exception as dotted keys, then the process and the place. A value with a space, a quote,
``=`` or ``\`` stands in quotes; nested values are JSON. Unsafe characters, newlines among them, are written as
``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``. The message itself is not quoted: text is for people; whatever reads lines by
program reads JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec

from logbus.collectors.decode import Batch, Raised, Record, Site
from logbus.collectors.format.base import EMPTY_MESSAGE, PROMOTED, UNSAFE, level_name, timestamps
from logbus.levels import STANDARD_LEVELS, bucket_of

#: Columns of the level's name.
_LEVEL_WIDTH: Final = 8
#: SGR parameters by level bucket (TRACE to CRITICAL), and for what is not read first.
_COLOURS: Final = ("2", "2", "32", "33", "31", "1;31")
_DIM: Final = "\x1b[2m"
_RESET: Final = "\x1b[0m"

#: Keys remembered in their quoted form: an application has few.
_KEYS_KEPT: Final = 1024

_PROMOTED: Final = frozenset(PROMOTED)
_QUOTED = re.compile(r'[\s"=\\]')


class TextFormat:
    """Text lines; with ``colour``, in the colours of a terminal."""

    name = "text"

    def __init__(self, *, colour: bool = False) -> None:
        self._colour = colour

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one for each record, in UTF-8, each with its newline."""
        source = batch.source
        process = _pairs(("process_id", source.pid))
        machine = _pairs(("host", source.host), ("app_name", source.app_name))
        worker = _quoted(source.worker)
        heads = [self._head(site, worker) for site in batch.sites]
        places = [_place(site) for site in batch.sites]
        threads = [_pairs(("thread_name", thread)) for thread in batch.threads]
        dim, reset = (_DIM, _RESET) if self._colour else ("", "")
        out = []
        for record, timestamp in zip(batch.records, timestamps(batch.records), strict=True):
            message = _safe(record.message or EMPTY_MESSAGE)
            own = "".join(
                [
                    f" {_key(key)}={_quoted(value if type(value) is str else _shown(value))}"
                    for key, value in _own(record)
                ]
            )
            where = f"{process} {threads[record.thread]} {places[record.site]} {machine}"
            out.append(f"{timestamp} {heads[record.site]} {message}{own} {dim}{where}{reset}\n")
        return "".join(out).encode()

    def _head(self, site: Site, worker: str) -> str:
        level = f"{_safe(level_name(site)):{_LEVEL_WIDTH}}"
        if self._colour:
            level = f"\x1b[{_COLOURS[bucket_of(site.level_no)]}m{level}{_RESET}"
        return f"{level} {worker} {_safe(site.component)} {_safe(site.logger)}:"


def _place(site: Site) -> str:
    place = _pairs(("module", site.module), ("function", site.function), ("line", site.line))
    if STANDARD_LEVELS.get(site.level_name) != site.level_no:
        place += f" level_no={site.level_no}"
    return place


def _own(record: Record) -> list[tuple[str, Any]]:
    """The fields that the record alone has, promoted ones first."""
    extra, nested, exception = record.extra or {}, record.nested, record.exception
    fields: list[tuple[str, Any]] = [(key, extra[key]) for key in PROMOTED if key in extra]
    if len(fields) < len(extra) or nested:
        fields += [(key, value) for key, value in {**extra, **(nested or {})}.items() if key not in _PROMOTED]
        fields += [(key, value) for key, value in (nested or {}).items() if key in _PROMOTED]
    if exception is not None:
        fields += _exception("exception", exception)
    return fields


def _exception(name: str, raised: Raised) -> Iterator[tuple[str, Any]]:
    yield f"{name}.type", raised.type
    yield f"{name}.message", raised.message
    yield f"{name}.traceback", "\n".join(raised.traceback)
    if raised.cause is not None:
        yield from _exception(f"{name}.cause", raised.cause)
    if raised.context is not None:
        yield from _exception(f"{name}.context", raised.context)
    for index, member in enumerate(raised.members):
        yield from _exception(f"{name}.exceptions[{index}]", member)


@lru_cache(maxsize=_KEYS_KEPT)
def _key(key: str) -> str:
    return _quoted(key)


def _pairs(*pairs: tuple[str, object]) -> str:
    return " ".join(f"{key}={_quoted(_shown(value))}" for key, value in pairs)


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
    """The text with unsafe characters escaped; nearly every text has none, which ``isprintable`` knows at once."""
    return text if text.isprintable() else UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
