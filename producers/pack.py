"""Entries of the buffer into payloads of DATA frames: one msgpack call for a whole batch. Runs in the sender thread.

The ordinary batch packs as it is. One that doesn't (a lone surrogate, a name that can't be hashed) or that is larger
than a frame may be goes the slow way, record by record: repaired, cut to size, or counted as unencodable. Whatever a
record claims to be, its site, thread and time have the types of the wire: a collector refuses whole frames.

Records of the compiled buffer are msgpack already, but for those that a log call can't write: :class:`CompiledPacker`
has frames made of them (native/frames.c), and says what only Python can.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgpack

from logbus.counters import Meta
from logbus.levels import BUCKETS, bucket_of, component_of
from logbus.producers.buffer import Entry
from logbus.producers.compiled import NATIVE
from logbus.producers.exception import finish
from logbus.producers.sanitise import repair, shrink
from logbus.producers.text import text_of
from logbus.wire import HEADER, MAX_FRAME_BYTES, MAX_FRAME_RECORDS, pack_payload, unpack_payload

#: Records in one frame: with fewer, each send gives the GIL away more often than it is worth.
FRAME_RECORDS: Final = min(800, MAX_FRAME_RECORDS)
#: Bytes (estimated) of the records in one frame.
FRAME_BYTES: Final = 160 * 1024
#: Bytes of a payload that a collector accepts.
MAX_PAYLOAD_BYTES: Final = MAX_FRAME_BYTES - HEADER.size
#: Bytes of a single record that is cut to size: room for its site, its thread and the source is left. Six names of
#: lone surrogates, each of which becomes six characters, take 36 KiB.
_MAX_RECORD_BYTES: Final = MAX_PAYLOAD_BYTES - 48 * 1024
#: Characters of a name: of a logger, level, module, function or thread.
_MAX_NAME_CHARS: Final = 1024
#: Seconds of the epoch from which on a time is none: the wire holds microseconds in 63 bits, and msgpack would 64.
_LAST_TIME: Final = 9.2e12
#: What the wire holds as a time (microseconds) and as a level or line number.
_TIMES: Final = range(-(1 << 63), int(_LAST_TIME) * 1_000_000 + 1)
_NUMBERS: Final = range(-(1 << 31), 1 << 31)
#: Call sites, and names of threads, whose row is kept from frame to frame.
_SITES_KEPT: Final = 8192
_THREADS_KEPT: Final = 1024
#: A frame's report of drops where there are none, as msgpack.
_NO_DROPS: Final = pack_payload([])

Record = list[Any]


class Packed(NamedTuple):
    """One frame: its payload (empty where there is nothing to send) and the number of its records.

    ``size`` is what they count for in the buffer, ``last`` their last ticket; both are also of those that can't be
    encoded, of which ``unencodable`` has the level buckets. A frame of drops only has no last ticket: 0.
    """

    payload: bytes
    records: int
    size: int
    last: int
    unencodable: list[int]

    @classmethod
    def of(cls, payload: bytes, entries: Sequence[Entry], unencodable: list[int]) -> Packed:
        """The frame of these entries, of which some may be unencodable."""
        size = sum([entry[1] for entry in entries])  # a generator takes twice as long
        last = entries[-1][0] if entries else 0
        return cls(payload, len(entries) - len(unencodable), size, last, unencodable)

    def levels(self) -> list[int]:
        """How many of its records, and of those that can't be encoded, there are of each level bucket."""
        counts = [0] * len(BUCKETS)
        for bucket in self.unencodable:
            counts[bucket] += 1
        if self.payload:
            _, sites, _, records, _ = unpack_payload(self.payload)
            for record in records:
                counts[bucket_of(sites[record[1]][1])] += 1
        return counts


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
            return [Packed.of(payload, entries, [])]
        if len(entries) > 1:
            half = len(entries) // 2
            return self.pack(entries[:half], drops) + self.pack(entries[half:], [])
        return self._pack_carefully(entries, drops)

    @staticmethod
    def levels(entries: Sequence[Entry]) -> tuple[list[int], int]:
        """How many of these entries there are of each level bucket, and the bytes that they count for."""
        counts = [0] * len(BUCKETS)
        for entry in entries:
            counts[_bucket(entry)] += 1
        return counts, sum(entry[1] for entry in entries)

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
            if created > _LAST_TIME:
                raise OverflowError
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
                frames.append(Packed.of(b"", [entry], [_bucket(entry)]))
                continue
            frames.append(Packed.of(payload, [entry], []))
            drops = []
        if drops:
            frames.append(Packed.of(self._packer.pack(self._document([], drops)), [], []))
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


class CompiledPacker(Packer):
    """The same for batches of the compiled buffer."""

    def __init__(self, meta: Meta, component: str) -> None:
        super().__init__(meta, component)
        self._packed_source = pack_payload(self._source)
        self._packed_sites: dict[Any, bytes] = {}
        self._packed_threads: dict[Any, bytes] = {}

    def pack(self, entries: Any, drops: list[list[int]]) -> list[Packed]:
        """As of the base class, of what the compiled buffer's ``take`` has returned."""
        packed_drops = pack_payload(drops) if drops else _NO_DROPS
        frames = NATIVE.pack(
            entries or None,
            self._packed_source,
            self._packed_sites,
            self._pack_site,
            self._packed_threads,
            self._pack_thread,
            self._pack_rest,
            packed_drops,
            _NO_DROPS,
            MAX_PAYLOAD_BYTES,
        )
        return [Packed(*frame) for frame in frames]

    @staticmethod
    def levels(entries: Any) -> tuple[list[int], int]:
        """As of the base class."""
        counts, size = entries.levels()
        return counts, size

    def _pack_site(self, site: Any) -> bytes:
        try:
            row = self._site_row(site)
        except Exception:  # parts that can't be hashed
            site = _plain_site(site)
            row = self._site_row(site)
        return self._keep(self._packed_sites, site, _SITES_KEPT, row)

    def _pack_thread(self, thread: Any) -> bytes:
        name = _name(thread)
        return self._keep(self._packed_threads, thread if type(thread) is str else name, _THREADS_KEPT, name)

    @staticmethod
    def _keep(rows: dict[Any, bytes], key: Any, limit: int, row: Any) -> bytes:
        try:
            packed = pack_payload(row)
        except Exception:  # lone surrogates
            packed = pack_payload(repair(row))
        if len(rows) >= limit:
            rows.clear()
        rows[key] = packed
        return packed

    def _pack_rest(self, message: Any, extra: Any, nested: Any, exception: Any) -> bytes | None:
        """What follows site and thread in a record; None where nothing helps. Never raises an Exception."""
        try:
            parts = [message, extra, nested, None if exception is None else finish(exception)]
            with contextlib.suppress(Exception):
                packed = _pack_parts(parts)
                if len(packed) <= _MAX_RECORD_BYTES:
                    return packed
            parts = repair(parts)
            packed = _pack_parts(parts)
            if len(packed) > _MAX_RECORD_BYTES:
                packed = _pack_parts(shrink([0, 0, 0, *parts], _MAX_RECORD_BYTES)[3:])
        except Exception:  # whatever it is, it was logged by a user and may not end the sender
            return None
        return packed if len(packed) <= _MAX_RECORD_BYTES else None


def packer_for(meta: Meta, component: str) -> Packer:
    """The packer for what the buffer of this installation holds."""
    return Packer(meta, component) if NATIVE is None else CompiledPacker(meta, component)


def _pack_parts(parts: Any) -> bytes:
    """Four values as msgpack, one after the other: an array of four without its one byte of a head."""
    return pack_payload(parts)[1:]


def _bucket(entry: Entry) -> int:
    level_no = entry[3][1]
    return bucket_of(level_no) if isinstance(level_no, int) else 0


def _plain_site(site: Any) -> tuple[Any, ...]:
    logger, level_no, *names, line = site
    return (_name(logger), _number(level_no), *map(_name, names), _number(line))


def microseconds(seconds: float) -> int:
    """A time of the epoch as the wire has it; the present where it is no time (not a number, or out of range)."""
    try:
        found = int(seconds * 1_000_000)
    except (OverflowError, ValueError):
        found = _TIMES.stop
    return found if found in _TIMES else time.time_ns() // 1000


def _plain(entry: Entry) -> Entry:
    """The entry with a site and a thread that can be looked up in a table, and a time that is one."""
    ticket, size, created, site, thread, *rest = entry
    return (ticket, size, microseconds(created) / 1_000_000, _plain_site(site), _name(thread), *rest)


def _name(value: Any) -> str:
    if type(value) is str and len(value) <= _MAX_NAME_CHARS:
        return value
    return "" if value is None else text_of(value, _MAX_NAME_CHARS)


def _number(value: Any) -> int:
    if type(value) is not int:
        return 0
    return value if value in _NUMBERS else _NUMBERS[0 if value < 0 else -1]
