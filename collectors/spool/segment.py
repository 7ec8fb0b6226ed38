"""The format of a segment: records on disk, each of which is known to be whole. No I/O here.

One file of a spool or of the dead letters::

    header    magic (8), version (2), size of the header (2), id (8), created in epoch µs (8), lane (1),
              dialect (UTF-8), CRC-32 of all before it
    entry     mark: magic and level (4), length (4), number (8), CRC-32 of these 16, CRC-32 of these and the payload,
              payload
    …         and zeros: what was allocated and is not used yet

All integers are little endian. Theory of operation. Every checksum begins with the segment's :func:`key`, which comes
from a random id that stands in the file's name: so an entry counts in its own file only, whatever a payload holds is
never taken for one, and a damaged header costs nothing. After bytes that are no entry the next magic is looked for. Its
first byte is none of UTF-8's, so that text never has it, and the head of an entry has a checksum of its own: a false
one costs 16 bytes of checksum and not the length that it claims, which keeps the reading of any bytes linear.

An append that was cut short (the writer was killed) leaves the beginning of an entry and zeros, or nothing, behind it.
That is torn, and no damage: nobody has been told that it was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

#: Version of this layout. A later one keeps the first four fields of the header and the checksum at its end.
VERSION: Final = 1
#: Bytes that a dialect may have.
MAX_DIALECT: Final = 1024

_HEADER_MAGIC: Final = b"\xf7LBSEG\r\n"
_HEADER: Final = Struct("<8sHHQQB")
_CRC: Final = Struct("<I")
#: Bytes that a header has at most; one that was never finished is not longer.
MAX_HEADER: Final = _HEADER.size + MAX_DIALECT + _CRC.size

_MAGIC: Final = b"\xf7LB"
_MARK: Final = int.from_bytes(_MAGIC, "little")
_MARK_MASK: Final = (1 << 8 * len(_MAGIC)) - 1
_LEVEL_SHIFT: Final = 8 * len(_MAGIC)
#: What the first checksum of an entry covers; and all that stands before its payload.
_HEAD: Final = Struct("<IIQ")
_ENTRY: Final = Struct("<IIQII")
#: Bytes of an entry beyond its payload.
ENTRY_BYTES: Final = _ENTRY.size

_NAME: Final = re.compile(r"([0-9a-f]{16})-([0-9a-f]{8})\.seg")

#: The number of an entry, its level, its payload, the offset behind it, and the tag that the reader gave.
Entry = tuple[int, int, bytes, int, int]


class Name(NamedTuple):
    """What a segment's file name says: its id, and the checksum of its dialect for when the header is damaged."""

    id: int
    dialect: int

    def __str__(self) -> str:
        return f"{self.id:016x}-{self.dialect:08x}.seg"


class Header(NamedTuple):
    """What a segment's header says. ``created_us`` is epoch microseconds; ``size`` is the header's, in bytes."""

    id: int
    created_us: int
    lane: int
    dialect: str
    version: int = VERSION
    size: int = 0


class Decoded(NamedTuple):
    """The entries of some bytes.

    ``at`` is the offset of the first byte that was not used: 24 bytes or more from there on, ``need``, would be. At the
    end of the segment that is the end of the bytes. ``gaps`` are the places (from, to) that were passed over.
    """

    entries: list[Entry]
    at: int
    need: int
    gaps: list[tuple[int, int]]


def parse_name(name: str) -> Name | None:
    """What the name of a segment's file says; None: it is the name of something else."""
    found = _NAME.fullmatch(name)
    return Name(int(found[1], 16), int(found[2], 16)) if found else None


def dialect_sum(dialect: str) -> int:
    """The checksum by which a file's name tells its dialect."""
    return crc32(dialect.encode())


def key(ident: int) -> int:
    """With what every checksum of the segment with this id begins."""
    return crc32(ident.to_bytes(8, "little"))


def encode_header(ident: int, *, created_us: int, lane: int, dialect: str) -> bytes:
    """The bytes that a segment begins with. Raises ValueError for a dialect of more than 1,024 bytes."""
    text = dialect.encode()
    if len(text) > MAX_DIALECT:
        raise ValueError(f"expected a dialect of at most {MAX_DIALECT} bytes, found {len(text)}")
    size = _HEADER.size + len(text) + _CRC.size
    data = _HEADER.pack(_HEADER_MAGIC, VERSION, size, ident, created_us, lane) + text
    return data + _CRC.pack(crc32(data, key(ident)))


def decode_header(data: bytes, ident: int) -> Header | None:
    """The header with which a segment's bytes begin, of this or of a later version; None: it is damaged or not there.

    Of a later version only ``id``, ``version`` and ``size`` mean something.
    """
    if len(data) < _HEADER.size:
        return None
    magic, version, size, found, created_us, lane = _HEADER.unpack_from(data)
    text = size - _CRC.size
    if magic != _HEADER_MAGIC or found != ident or not _HEADER.size <= text <= len(data) - _CRC.size:
        return None
    if crc32(data[:text], key(ident)) != _CRC.unpack_from(data, text)[0]:
        return None
    dialect = data[_HEADER.size : text].decode() if version == VERSION else ""
    return Header(ident, created_us, lane, dialect, version, size)


def encode(seed: int, level: int, numbers: Iterable[int], payloads: Iterable[bytes]) -> bytes:
    """Entries of one level (0 to 255), a number for each payload, for the segment with this :func:`key`."""
    pack_head, pack_entry = _HEAD.pack, _ENTRY.pack
    mark = _MARK | level << _LEVEL_SHIFT
    parts: list[bytes] = []
    for number, payload in zip(numbers, payloads, strict=True):
        length = len(payload)
        check = crc32(pack_head(mark, length, number), seed)
        parts += (pack_entry(mark, length, number, check, crc32(payload, check)), payload)
    return b"".join(parts)


def decode(data: bytes, seed: int, at: int = 0, *, room: int | None = None, base: int = 0, tag: int = 0) -> Decoded:
    """The whole entries of ``data`` from offset ``at`` on, for the segment with this :func:`key`.

    ``room`` is the bytes from the beginning of ``data`` to the segment's end, when more of them can follow. ``base`` is
    added to the offsets of entries, and to no others; ``tag`` is put into every entry.
    """
    unpack = _ENTRY.unpack_from
    end = len(data)
    if room is None:
        room = end
    entries: list[Entry] = []
    gaps: list[tuple[int, int]] = []
    add = entries.append
    while True:
        start = at + ENTRY_BYTES
        if start > end:
            if end < room:
                return Decoded(entries, at, ENTRY_BYTES, gaps)
            if at < end:
                _pass(gaps, at, end)
            return Decoded(entries, end, 0, gaps)
        mark, length, number, check, checksum = unpack(data, at)
        if mark & _MARK_MASK == _MARK and crc32(data[at : at + _HEAD.size], seed) == check:
            stop = start + length
            if end < stop <= room:
                return Decoded(entries, at, stop - at, gaps)
            payload = data[start:stop]
            if stop <= end and crc32(payload, check) == checksum:
                add((number, mark >> _LEVEL_SHIFT, payload, base + stop, tag))
                at = stop
                continue
        found = data.find(_MAGIC, at + 1)
        if found < 0:
            # The last bytes may be the beginning of a magic that goes on in what follows.
            found = end if end == room else max(at + 1, end - len(_MAGIC) + 1)
        _pass(gaps, at, found)
        at = found


def _pass(gaps: list[tuple[int, int]], start: int, stop: int) -> None:
    # As one with the gap before it, or a payload full of magics would make one of every three bytes.
    if gaps and gaps[-1][1] == start:
        start = gaps.pop()[0]
    gaps.append((start, stop))


class Scan:
    """A whole segment, chunk by chunk: give each to :meth:`feed`, in order, and call :meth:`end` last.

    ``size`` is the segment's, in bytes. ``header`` is None while it is not known, and when it is damaged. ``used`` is
    the offset behind the last valid entry (or the header). ``damaged`` says, after :meth:`end`, whether anything there
    is neither an entry nor an append that was cut short.
    """

    def __init__(self, ident: int, size: int) -> None:
        self.header: Header | None = None
        self.used = 0
        self.damaged = False
        self._id = ident
        self._key = key(ident)
        self._size = size
        self._begun = False
        #: What is left of earlier chunks, the offset of its first byte, and how many bytes it takes to go on.
        self._rest = b""
        self._at = 0
        self._need = MAX_HEADER
        #: Of what was passed over behind ``used``: its first bytes, and the offset behind the last that is not zero.
        self._tail = b""
        self._dirty = 0

    def feed(self, chunk: bytes) -> list[Entry]:
        """The valid entries that end in this chunk; their offsets are the segment's."""
        data = self._rest + chunk if self._rest else chunk
        base = self._at
        if len(data) < min(self._need, self._size - base):
            self._rest = data
            return []
        begin = 0
        if not self._begun:
            self._begun = True
            self.header = decode_header(data, self._id)
            begin = self.used = self.header.size if self.header else 0
        found = decode(data, self._key, begin, room=self._size - base, base=base)
        if found.entries:
            end = found.entries[-1][3]
            # Whatever stands before an entry and is none has been one.
            self.damaged |= bool(self._tail) or any(base + start < end for start, _ in found.gaps)
            self.used, self._tail, self._dirty = end, b"", 0
        for start, stop in found.gaps:
            if base + start >= self.used:
                self._tail = self._tail or data[start : start + MAX_HEADER]
                if dirt := data[start:stop].rstrip(b"\0"):
                    self._dirty = base + start + len(dirt)
        self._rest, self._at, self._need = data[found.at :], base + found.at, found.need
        return found.entries

    def end(self) -> list[Entry]:
        """The entries that were left, of a file that turned out to be shorter than it was; judges the tail."""
        self._size, self._need = self._at + len(self._rest), 0
        entries = self.feed(b"") if self._rest else []
        if self.header is None and self.used:
            self.damaged = True
        if self._dirty and not self._is_torn():
            self.damaged = True
        return entries

    def _is_torn(self) -> bool:
        """Whether what follows the last valid entry is the beginning of another one, or of the header."""
        length = self._dirty - self.used
        if not self.used:
            size = int.from_bytes(self._tail[10:12], "little") if length >= 12 else MAX_HEADER
            return length < size and _begins(_HEADER_MAGIC, self._tail, length)
        if length < ENTRY_BYTES:
            return _begins(_MAGIC, self._tail, length)
        _, claimed, _, check, _ = _ENTRY.unpack_from(self._tail)
        whole: int = ENTRY_BYTES + claimed
        return crc32(self._tail[: _HEAD.size], self._key) == check and length < whole


def _begins(magic: bytes, data: bytes, length: int) -> bool:
    length = min(length, len(magic))
    return data[:length] == magic[:length]
