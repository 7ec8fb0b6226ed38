"""Lengths of time as people write them, ``10m`` or ``1.5 h``, read and printed by one grammar everywhere.

A duration is a number and a unit, with or without a space between; the unit in any case, short or spelled out, in the
singular or the plural. A bare number is refused: whether it meant seconds or minutes is what one finds out too late.
"""

from __future__ import annotations

import re
from typing import Final

from logbus.errors import ConfigurationError

#: Units and what a number of them is multiplied with, or divided by, to give seconds.
_UNITS: Final[dict[str, tuple[int, int]]] = {
    **dict.fromkeys(("ms", "msec", "millisecond", "milliseconds"), (1, 1000)),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), (1, 1)),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), (60, 1)),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), (3600, 1)),
    **dict.fromkeys(("d", "day", "days"), (86_400, 1)),
    **dict.fromkeys(("w", "week", "weeks"), (604_800, 1)),
}
#: The units that are printed, the biggest first, as one of them and as several.
_PRINTED: Final = (("day", "days"), ("hour", "hours"), ("min", "min"), ("s", "s"), ("ms", "ms"))
#: Seconds of the longest duration, a hundred years: what is longer was a slip of the finger.
MAX_S: Final = 100 * 365 * 86_400.0

#: Digits after the point: as many as are read.
_DIGITS: Final = 30

_DURATION = re.compile(r"\s*([0-9]{1,20}(?:\.[0-9]{1,30})?)\s*([A-Za-z]{1,12})\s*\Z")


def parse_duration(text: str) -> float:
    """Seconds, from 0 to a hundred years. Raises ConfigurationError when the text is no duration.

    >>> parse_duration("10m"), parse_duration("1.5 h"), parse_duration("500 ms"), parse_duration("2 days")
    (600.0, 5400.0, 0.5, 172800.0)
    """
    match = _DURATION.match(text)
    unit = _UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        raise ConfigurationError(
            [f'duration {shown!r}: expected a number and a unit (ms, s, min, h, days, weeks), like "10 min"']
        )
    seconds = float(match[1]) * unit[0] / unit[1]
    if seconds > MAX_S:
        raise ConfigurationError([f"duration {text!r}: expected at most {format_duration(MAX_S)}"])
    return seconds


def format_duration(seconds: float) -> str:
    """The duration in the biggest unit that is whole, as :func:`parse_duration` reads it back.

    ``seconds`` is from 0 to :data:`MAX_S`; it comes back to the last bit from a nanosecond on.

    >>> format_duration(600), format_duration(0.5), format_duration(90), format_duration(86_400), format_duration(0.25)
    ('10 min', '500 ms', '90 s', '1 day', '250 ms')
    """
    seconds = float(seconds)
    for one, several in _PRINTED:
        times, parts = _UNITS[one]
        number = round(seconds * parts / times)
        if number and number * times / parts == seconds:
            return f"{number} {one if number == 1 else several}"
    text = f"{seconds:.0f}"
    for digits in range(1, _DIGITS + 1):
        if float(text) == seconds:
            break
        text = f"{seconds:.{digits}f}"
    return f"{text} s"
