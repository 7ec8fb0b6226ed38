"""Texts that are too long for where they go, cut to so many bytes of UTF-8 and marked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: What stands at the end of a text that was cut, in short, and with how many bytes are gone.
ELLIPSIS: Final = "…".encode()
TRUNCATED: Final = re.compile(rb"\xe2\x80\xa6\[truncated [0-9]+ bytes\]\Z")


def cut(data: bytes, size: int) -> bytes:
    """The first ``size`` bytes at most of a text in UTF-8, and no part of a character."""
    if len(data) <= size:
        return data
    while size > 0 and data[size] & 0xC0 == 0x80:  # a byte that goes on with a character
        size -= 1
    return data[: max(size, 0)]


def truncated(data: bytes, size: int) -> tuple[bytes, int]:
    """The text if it has ``size`` bytes at most, else as much of it as has room before ``…[truncated N bytes]``; and N.

    Where not even that has room, it is cut without a word.
    """
    if len(data) <= size:
        return data, 0
    room = size - len(_mark(len(data)))
    kept = cut(data, room if room >= 0 else size)
    gone = len(data) - len(kept)
    return (kept + _mark(gone) if room >= 0 else kept), gone


def shared_out(sizes: Iterable[int], room: int) -> int:
    """The number of bytes to which each text may be cut, so that all together fit: the longest are cut first."""
    ordered = sorted(sizes)
    for at, size in enumerate(ordered):
        each = max(room, 0) // (len(ordered) - at)
        if size > each:
            return each
        room -= size
    return max(ordered, default=0)


def _mark(gone: int) -> bytes:
    return b"%b[truncated %d bytes]" % (ELLIPSIS, gone)
