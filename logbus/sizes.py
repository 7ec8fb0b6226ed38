"""Sizes in bytes as people write them, ``100 MB`` or ``1.5 GiB``, read and printed by one grammar everywhere.

A size is a number and a unit, with or without a space between; the unit in any case. kB, MB, GB and TB are powers of
1000, KiB, MiB, GiB and TiB powers of 1024. A bare number is refused, and so is a bare ``M``: whether it meant the one
or the other is what one finds out too late.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from logbus.errors import ConfigurationError

#: The units that are printed and the bytes of one, the biggest first.
_PRINTED: Final[dict[str, int]] = {
    "TiB": 1024**4,
    "TB": 1000**4,
    "GiB": 1024**3,
    "GB": 1000**3,
    "MiB": 1024**2,
    "MB": 1000**2,
    "KiB": 1024,
    "kB": 1000,
    "B": 1,
}
_UNITS: Final = {name.lower(): size for name, size in (*_PRINTED.items(), ("byte", 1), ("bytes", 1))}
#: Bytes of the biggest size: what is bigger was a slip of the finger.
MAX_BYTES: Final = 1000 * 1000**4

_SIZE = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,30})?)\s*([A-Za-z]{1,5})\s*\Z")


def parse_size(text: str) -> int:
    """Bytes, from 0 to a thousand TB, rounded to a whole one. Raises ConfigurationError when the text is no size.

    >>> parse_size("100 MB"), parse_size("1KiB"), parse_size("1.5 GB"), parse_size("0 B")
    (100000000, 1024, 1500000000, 0)
    """
    match = _SIZE.match(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise ConfigurationError(
            [f'size {shown!r}: expected a number and a unit (B, kB, MB, GB, TB, or KiB, MiB, GiB, TiB), like "100 MB"']
        )
    size = round(Fraction(match[1]) * unit)
    if size > MAX_BYTES:
        raise ConfigurationError([f"size {text!r}: expected at most {format_size(MAX_BYTES)}"])
    return size


def format_size(size: int) -> str:
    """The size in the biggest unit that is whole, as :func:`parse_size` reads it back.

    ``size`` is bytes, from 0 to :data:`MAX_BYTES`.

    >>> format_size(100_000_000), format_size(16 * 1024**2), format_size(1500), format_size(1_234_567)
    ('100 MB', '16 MiB', '1500 B', '1234567 B')
    """
    for name, unit in _PRINTED.items():
        if size and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"
