"""The file under a page, as bytes: two slots of equal size, each a generation.

A generation is a header, then entries, the first of which is a full snapshot and the others changes to it::

    header  magic and version 8 B | generation u64 | slot bytes u64 | seal u64
    entry   size u32 and crc32 u32 in one word | payload | padding to 8 bytes
    end     a word of zero

(in the byte order of the machine). An entry is made valid by one aligned 8-byte store of its word, after its
payload and the zero word behind it are in place; a generation by the store of its seal, after its snapshot is.
Such a store is one machine instruction and the page cache outlives the process, so a ``kill -9`` at any point, in
the middle of a copy too, leaves the old state or the new one. The checksum of an entry starts from the checksum of
its header, generation included, so that stale bytes of an older generation are no entries.

Nothing here decides anything: which slot counts and when the next one begins is :mod:`logbus.collectors.page`.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Final
from zlib import crc32

#: Bytes of a slot at most; the size of an entry must fit in 32 bits.
MAX_SLOT_BYTES: Final = 1024 * 1024 * 1024
#: Bytes before the first entry of a slot.
HEADER_BYTES: Final = 32

_SEALED_BYTES: Final = 24
_MAGIC: Final = int.from_bytes(b"LBPAGE\0\1", sys.byteorder)
#: Set in every seal: a slot that has none, a new one or one being written, has zero there.
_SEAL: Final = 1 << 32
_CRC_MASK: Final = (1 << 32) - 1


def room(snapshot: bytes) -> int:
    """Bytes of a slot that a generation with nothing but this snapshot takes."""
    return HEADER_BYTES + ((len(snapshot) + 15) & ~7) + 8


class Slots:
    """A mapped file of two slots; it owns the descriptor."""

    def __init__(self, fd: int, slot_bytes: int) -> None:
        self.fd = fd
        self.slot_bytes = slot_bytes
        self.map = mmap.mmap(fd, 2 * slot_bytes)
        self.words = memoryview(self.map).cast("Q")

    def write(self, slot: int, generation: int, snapshot: bytes) -> tuple[int, int]:
        """Begins a generation in a slot; where its next entry goes, and the seed of its checksums."""
        base = slot * self.slot_bytes
        words = self.words
        first = base >> 3
        words[first + 3] = 0  # from here to the new seal the slot holds nothing
        words[first] = _MAGIC
        words[first + 1] = generation
        words[first + 2] = self.slot_bytes
        seed = crc32(self.map[base : base + _SEALED_BYTES])
        start = base + HEADER_BYTES
        size = len(snapshot) + 8
        end = (start + size + 7) & ~7
        self.map[start + 8 : start + size] = snapshot
        words[end >> 3] = 0
        words[start >> 3] = size << 32 | crc32(snapshot, seed)
        words[first + 3] = _SEAL | seed
        return end, seed

    def generation(self, slot: int) -> int | None:
        """The generation of a slot: 0 when it holds none, None when its header is damaged."""
        base = slot * self.slot_bytes
        seal = self.words[(base >> 3) + 3]
        if not seal:
            return 0
        header = self.map[base : base + _SEALED_BYTES]
        magic, generation, slot_bytes = memoryview(header).cast("Q")
        if seal != _SEAL | crc32(header) or magic != _MAGIC or slot_bytes != self.slot_bytes:
            return None
        return int(generation)

    def entries(self, slot: int) -> tuple[list[bytes], bool]:
        """The entries of a sealed slot up to the first that is not valid, and whether nothing but the end follows."""
        base = slot * self.slot_bytes
        limit = base + self.slot_bytes
        seed = crc32(self.map[base : base + _SEALED_BYTES])
        entries: list[bytes] = []
        at = base + HEADER_BYTES
        while at < limit:
            word = self.words[at >> 3]
            if not word:
                return entries, True
            size = word >> 32
            payload = self.map[at + 8 : at + size] if 8 <= size <= limit - at else b""
            if len(payload) + 8 != size or crc32(payload, seed) != word & _CRC_MASK:
                break
            entries.append(payload)
            at = (at + size + 7) & ~7
        return entries, False

    def close(self) -> None:
        """Unmaps and closes the file."""
        self.words.release()
        self.map.close()
        os.close(self.fd)
