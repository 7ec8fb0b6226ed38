"""When a log file has to make room for the next one: by its size, by its age, or at times of the day or the week.

Pure: nothing here reads a clock or a file. Ages count on a clock that nobody sets and that goes on while the machine
sleeps; times of the day are local time, as people mean them. A time that the clocks skip in spring comes as much
later, one that they show twice in autumn counts the first time.

Where somebody sets the clock forward, a file is due once at most before its time, since the next one begins in the
new time. Where somebody sets it back, the wall clock alone would keep a file for as long again; so it is also due once
as much time has passed as lay before it when it began, and an hour's grace, which small corrections of the clock need:
without it a step of a second, just after midnight, would rotate twice.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time as time_of_day, timedelta
from typing import Final, NamedTuple

from logbus.durations import MAX_S, format_duration, parse_duration
from logbus.errors import ConfigurationError
from logbus.sizes import MAX_BYTES, format_size, parse_size

#: Bytes of the smallest size and seconds of the shortest interval: below them a slip of the finger fills a directory.
MIN_BYTES: Final = 1000
MIN_INTERVAL_S: Final = 1.0
#: Seconds by which a clock may be set back without a file being due by the time that has passed.
GRACE_S: Final = 3600.0

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_CLOCK = re.compile(
    rf"\s*(?:({'|'.join(WEEKDAYS)})(?:\s+at\s+([0-9]{{1,2}}:[0-9]{{2}}))?|([0-9]{{1,2}}:[0-9]{{2}}))\s*\Z",
    re.IGNORECASE,
)
#: What a rotation may be, for messages.
EXPECTED: Final = (
    f'expected a size from {format_size(MIN_BYTES)} to {format_size(MAX_BYTES)} ("100 MB"), an interval from '
    f'{format_duration(MIN_INTERVAL_S)} to {format_duration(MAX_S)} ("1 hour"), a time of the day ("00:00") '
    'or of the week ("sunday", "sunday at 03:00")'
)
#: The clock that counts on while the machine sleeps, where there is one.
_STEADY: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Moment(NamedTuple):
    """A point in time on two clocks: ``wall`` in seconds since the epoch, ``steady`` in seconds that nobody sets."""

    wall: float
    steady: float

    @classmethod
    def now(cls) -> Moment:
        """The present one."""
        return cls(time.time(), time.clock_gettime(_STEADY))

    def ago(self, wall: float) -> Moment:
        """The moment at which the wall clock showed ``wall``, as far as this one can tell: never one to come."""
        past = max(0.0, self.wall - max(0.0, wall))
        return Moment(self.wall - past, self.steady - past)


class ClockTime(NamedTuple):
    """A local time of the day, each day or (``weekday`` from 0, Monday) each week."""

    hour: int
    minute: int
    weekday: int | None = None

    def after(self, wall: float) -> float:
        """Seconds since the epoch of the first such time later than ``wall``."""
        day = datetime.fromtimestamp(wall, UTC).date() - timedelta(days=1)  # no later than the local one
        at = time_of_day(self.hour, self.minute)
        while True:
            if self.weekday in (None, day.weekday()):
                # Without a zone it is local time; one that is skipped is as much later, one shown twice the first.
                found = datetime.combine(day, at).timestamp()
                if found > wall:
                    return found
            day += timedelta(days=1)


class Deadline(NamedTuple):
    """The moment at which a file is due: when either clock has come so far."""

    wall: float
    steady: float

    def reached(self, now: Moment) -> bool:
        """Whether it is time."""
        return now.wall >= self.wall or now.steady >= self.steady


@dataclass(frozen=True, slots=True)
class Rotation:
    """When to rotate: whichever comes first. ``texts`` is how somebody wrote it."""

    texts: tuple[str, ...]
    #: Bytes that a file may have; None: any number.
    max_bytes: int | None = None
    #: Seconds that a file may last; None: for ever.
    interval_s: float | None = None
    times: tuple[ClockTime, ...] = ()

    def deadline(self, began: Moment) -> Deadline:
        """When a file that began then is due by time."""
        wall = steady = float("inf")
        if self.interval_s is not None:
            steady = began.steady + self.interval_s
        if self.times:
            wall = min(at.after(began.wall) for at in self.times)
            steady = min(steady, began.steady + (wall - began.wall) + GRACE_S)
        return Deadline(wall, steady)

    def full(self, size: int, first: int = 0) -> bool:
        """Whether a file of ``size`` bytes is due before a line of ``first`` bytes (0: none waits) goes into it."""
        if self.max_bytes is None or not size:
            return False
        return size >= self.max_bytes or size + first > self.max_bytes

    def room(self, size: int) -> int:
        """How many bytes a file of ``size`` bytes may still take."""
        return sys.maxsize if self.max_bytes is None else max(0, self.max_bytes - size)


def parse_rotation(texts: Sequence[str]) -> Rotation:
    """When to rotate, from one or more sizes, intervals and times. Raises ConfigurationError, a problem for each.

    >>> parse_rotation(["100 MB", "sunday at 03:00"]).times
    (ClockTime(hour=3, minute=0, weekday=6),)
    """
    sizes: list[int] = []
    intervals: list[float] = []
    times: list[ClockTime] = []
    problems = []
    for text in texts:
        found = _parse(text)
        if isinstance(found, ClockTime):
            times.append(found)
        elif isinstance(found, float):
            intervals.append(found)
        elif found is not None:
            sizes.append(found)
        else:
            shown = text if len(text) <= 80 else f"{text[:80]}…"
            problems.append(f"rotation {shown!r}: {EXPECTED}")
    if not texts:
        problems.append(f"rotation: {EXPECTED}, found nothing")
    if problems:
        raise ConfigurationError(problems)
    return Rotation(tuple(texts), min(sizes, default=None), min(intervals, default=None), tuple(dict.fromkeys(times)))


def _parse(text: str) -> ClockTime | float | int | None:
    """A time, an interval in seconds (a float) or a size in bytes (an int); None when it is none of these."""
    if match := _CLOCK.match(text):
        hour, minute = map(int, (match[2] or match[3] or "0:00").split(":"))
        weekday = WEEKDAYS.index(match[1].lower()) if match[1] else None
        return ClockTime(hour, minute, weekday) if hour < 24 and minute < 60 else None
    with contextlib.suppress(ConfigurationError):
        size = parse_size(text)
        return size if size >= MIN_BYTES else None
    if text.rstrip().endswith("M"):  # minutes, to whom reads durations; whoever wrote it may have meant MB
        return None
    with contextlib.suppress(ConfigurationError):
        interval = parse_duration(text)
        return interval if interval >= MIN_INTERVAL_S else None
    return None
