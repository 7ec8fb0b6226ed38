"""How long something took, counted in buckets: what ``logbus_sink_latency_seconds`` shows.

A record waits in its sink's queue and is written with others. The writer observes once for each write, with the
line that waited longest, so that measuring costs the same for one record as for a thousand.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

#: Upper bounds of the buckets, in seconds; a last one without a bound follows. A write takes about a millisecond, a
#: sink that fails is tried again each half second, and a queue that was full for a minute is a story of its own.
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram at one moment: for each bound, and at last for all, how many took at most so long; and their sum."""

    cumulative: tuple[int, ...]
    seconds: float

    @property
    def count(self) -> int:
        """How many were observed."""
        return self.cumulative[-1]


class Histogram:
    """Counts durations. Any thread may observe and look: a sink's old and its new writer may be at it together."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._seconds = 0.0
        self._lock = threading.Lock()

    def observe(self, seconds: float) -> None:
        """Counts one duration, in seconds."""
        with self._lock:
            self._counts[bisect_left(BOUNDS_S, seconds)] += 1
            self._seconds += seconds

    def now(self) -> Distribution:
        """What was observed so far."""
        with self._lock:
            return Distribution(tuple(accumulate(self._counts)), self._seconds)
