"""Entries of the buffer into payloads of DATA frames: one msgpack call for a whole batch. Runs in the sender thread.

The ordinary batch packs as it is. One that doesn't (a lone surrogate, a name that can't be hashed) or that is larger
than a frame may be goes the slow way, record by record: repaired, cut to size, or counted as unencodable. Whatever a
record claims to be, its site, thread and time have the types of the wire: a collector refuses whole frames.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgpack

from logbus.counters import Meta
from logbus.levels import bucket_of, component_of
from logbus.producers.buffer import Entry
from logbus.producers.exception import finish
from logbus.producers.sanitise import repair, shrink
from logbus.producers.text import text_of
from logbus.wire import HEADER, MAX_FRAME_BYTES, MAX_FRAME_RECORDS

#: Records in one frame: with fewer, each send gives the GIL away more often than it is worth.
FRAME_RECORDS: Final = min(800, MAX_FRAME_RECORDS)
#: Bytes (estimated) of the records in one frame.
FRAME_BYTES: Final = 160 * 1024
#: Bytes of a payload that a collector accepts.
MAX_PAYLOAD_BYTES: Final = MAX_FRAME_BYTES - HEADER.size
#: Bytes of a single record that is cut to size: room for its site, its thread and the source is left.
_MAX_RECORD_BYTES: Final = MAX_PAYLOAD_BYTES - 32 * 1024
#: Characters of a name: of a logger, level, module, function or thread.
_MAX_NAME_CHARS: Final = 1024
#: What the wire holds as a time (microseconds) and as a level or line number.
_TIMES: Final = range(-(1 << 63), 1 << 63)
_NUMBERS: Final = range(-(1 << 31), 1 << 31)
#: Call sites whose row is kept from frame to frame.
_SITES_KEPT: Final = 8192

Record = list[Any]


class Packed(NamedTuple):
    """The payload of one frame, the entries in it, and the level buckets of entries that can't be encoded."""

    payload: bytes
    entries: Sequence[Entry]
    unencodable: list[int]


class Packer:
    """Packs for one producer. ``component`` names the component of loggers that name none."""

    def __init__(self, meta: Meta, component: str) -> None:
        self._source = meta.source()
        self._component = component
        self._site_rows: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._packer = msgpack.Packer(use_bin_type=True)

    def pack(self, entries: Sequence[Entry], drops: list[list[int]]) -> list[Packed]:
        """The frames of these entries, in order; ``drops`` travel in the first. Never raises on what was logged."""
        try:
            payload = self._packer.pack(self._document(entries, drops))
        except Exception:  # which of them it is, and what is wrong with it, shows record by record
            return self._pack_carefully(entries, drops)
        if len(payload) <= MAX_PAYLOAD_BYTES:
            return [Packed(payload, entries, [])]
        if len(entries) > 1:
            half = len(entries) // 2
            return self.pack(entries[:half], drops) + self.pack(entries[half:], [])
        return self._pack_carefully(entries, drops)

    def _document(self, entries: Sequence[Entry], drops: list[list[int]]) -> list[Any]:
        site_rows = self._site_rows
        sites: list[tuple[Any, ...]] = []
        site_index: dict[tuple[Any, ...], int] = {}
        thread_index: dict[str, int] = {}
        records: list[tuple[Any, ...]] = []
        for _, _, created, site, thread, message, extra, nested, exception in entries:
            at = site_index.get(site)
            if at is None:
                row = site_rows.get(site)
                if row is None:
                    row = self._site_row(site)
                at = site_index[site] = len(sites)
                sites.append(row)
            thread_at = thread_index.setdefault(thread, len(thread_index))
            if exception is not None:
                exception = finish(exception)
            records.append((int(created * 1_000_000), at, thread_at, message, extra, nested, exception))
        return [self._source, sites, [_name(thread) for thread in thread_index], records, drops]

    def _site_row(self, site: tuple[Any, ...]) -> tuple[Any, ...]:
        logger, level_no, level_name, module, function, line = site
        logger = _name(logger) or "root"
        component = component_of(logger, self._component)
        row = (logger, _number(level_no), _name(level_name), _name(module), _name(function), _number(line), component)
        if len(self._site_rows) >= _SITES_KEPT:
            self._site_rows.clear()
        self._site_rows[site] = row
        return row

    def _pack_carefully(self, entries: Sequence[Entry], drops: list[list[int]]) -> list[Packed]:
        """One frame per record: rare, so plain. What nothing helps is left out and named by its bucket."""
        frames: list[Packed] = []
        for entry in entries:
            payload = self._pack_one(entry, drops)
            if payload is None:
                frames.append(Packed(b"", [entry], [bucket_of(entry[3][1])]))
                continue
            frames.append(Packed(payload, [entry], []))
            drops = []
        if drops:
            frames.append(Packed(self._packer.pack(self._document([], drops)), [], []))
        return frames

    def _pack_one(self, entry: Entry, drops: list[list[int]]) -> bytes | None:
        try:
            document = repair(self._document([_plain(entry)], drops))
            payload: bytes = self._packer.pack(document)
            if len(payload) > MAX_PAYLOAD_BYTES:
                document[3] = [shrink(record, _MAX_RECORD_BYTES) for record in document[3]]
                payload = self._packer.pack(document)
        except Exception:  # whatever it is, it was logged by a user and may not end the sender
            self._packer.reset()
            return None
        return payload if len(payload) <= MAX_PAYLOAD_BYTES else None


def microseconds(seconds: float) -> int:
    """A time of the epoch as the wire has it; the present where it is no time (not a number, or out of range)."""
    try:
        found = int(seconds * 1_000_000)
    except (OverflowError, ValueError):
        found = _TIMES.stop
    return found if found in _TIMES else time.time_ns() // 1000


def _plain(entry: Entry) -> Entry:
    """The entry with a site and a thread that can be looked up in a table, and a time that is one."""
    ticket, size, created, (logger, level_no, *names, line), thread, *rest = entry
    site = (_name(logger), level_no, *map(_name, names), _number(line))
    return (ticket, size, microseconds(created) / 1_000_000, site, _name(thread), *rest)


def _name(value: Any) -> str:
    if type(value) is str and len(value) <= _MAX_NAME_CHARS:
        return value
    return "" if value is None else text_of(value, _MAX_NAME_CHARS)


def _number(value: Any) -> int:
    if type(value) is not int:
        return 0
    return value if value in _NUMBERS else _NUMBERS[0 if value < 0 else -1]
