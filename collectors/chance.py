"""The number by which a record or a request is sampled: the same in every collector, process and version. Pure.

Nothing here is random. A record's number is a hash of its producer and its sequence number, a request's is a hash of
its key: whoever samples, whenever, however often a record is sent again, chooses alike; and a sink that keeps a tenth
keeps a part of what one keeps that keeps a half.

A hash function costs a microsecond a call, so that numbers of records come in blocks: one call of SHAKE gives those of
:data:`BLOCK` sequence numbers.
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import Any, Final

from logbus.collectors.redaction.mask import MASK

#: Sequence numbers of which one call of the hash function gives the numbers.
BLOCK: Final = 128
#: Blocks remembered: small frames of a producer share one. About 4 kB each.
_BLOCKS_KEPT: Final = 256
#: Characters of a key that is remembered as it is; of a longer one its hash stands for it.
MAX_KEY_CHARS: Final = 64
#: One more than the biggest number.
END: Final = 1 << 32
#: The lowest rate above 0: numbers are too coarse for much lower ones, and would keep nothing at 1e-10.
MIN_RATE: Final = 1e-6

_BYTES: Final = struct.Struct(f"<{BLOCK}I")


def limit_of(rate: float) -> int:
    """The number below which something is kept at this rate, from 0 to 1."""
    return round(rate * END)


def record_numbers(producer: bytes, first_seq: int, count: int) -> list[int]:
    """The numbers of ``count`` records of a producer from ``first_seq`` on, each from 0 to :data:`END` exclusive."""
    number, skipped = divmod(first_seq, BLOCK)
    found: list[int] = []
    while len(found) < skipped + count:
        found += _block(producer, number)
        number += 1
    return found[skipped : skipped + count]


def request_number(key: str) -> int:
    """The number of a request by its key, as :func:`key_of` gives it, from 0 to :data:`END` exclusive."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=4, usedforsecurity=False).digest()
    return int.from_bytes(digest, "little")


def key_of(value: Any) -> str | None:
    """The key that a field's value is, by the text of it: 5 and "5" are one request. None when it is none.

    None, nested values, an empty text, and a value that redaction has masked (all secrets look alike then) are no
    keys: what has them would be one request that never ends.
    """
    kind = type(value)
    if kind is not str:
        if kind is bool:
            return "true" if value else "false"
        return str(value) if kind is int or kind is float else None
    if not value or value == MASK:
        return None
    if len(value) > MAX_KEY_CHARS:
        text: bytes = value.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=32, usedforsecurity=False).hexdigest()
    return str(value)


@lru_cache(maxsize=_BLOCKS_KEPT)
def _block(producer: bytes, number: int) -> tuple[int, ...]:
    shake = hashlib.shake_128(producer + number.to_bytes(8, "little"), usedforsecurity=False)
    return _BYTES.unpack(shake.digest(_BYTES.size))
