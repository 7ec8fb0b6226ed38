"""What the workers of these benchmarks log: the reference records, or records of a chosen size."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable
from typing import Final

from benchmarks.record import log_records

#: Different texts of one size.
_TEXTS: Final = 64
_SENTENCE: Final = "Response of proxy-%02d took %d milliseconds, its weight is %d of 10 now and the pool has %d more. "

#: Logs so many records with a logger; a multiple of ten.
Say = Callable[[logging.Logger, int], None]


def words(shape: str, size: int) -> Say:
    """What a shape says: "reference", or "message" or "field" with a text of ``size`` characters in it.

    Raises ValueError for another shape.
    """
    if shape == "reference":
        return log_records
    if shape not in ("message", "field"):
        raise ValueError(f"expected the shape reference, message or field, found {shape!r}")
    take = itertools.cycle([_text(number, size) for number in range(_TEXTS)]).__next__

    def message(log: logging.Logger, count: int) -> None:
        for _ in range(count):
            log.info("%s", take())

    def field(log: logging.Logger, count: int) -> None:
        for number in range(count):
            log.info("Answer %d of the pool came in", number, extra={"body": take()})

    return message if shape == "message" else field


def _text(number: int, size: int) -> str:
    sentences = itertools.count()
    text = ""
    while len(text) < size:
        at = number * 31 + next(sentences)
        text += _SENTENCE % (at % 97, at * 7 % 900, at % 10, at % 13)
    return text[:size]
