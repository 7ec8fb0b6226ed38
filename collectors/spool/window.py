"""What has been read of a spool and has not ended: the records of all its segments, merged by number.

Each segment is read in pieces, and only those whose numbers are next: so what is in memory is what was handed out and
a piece of each segment that overlaps there, however long the spool is. What has been handed out stays the same until it
has ended, whatever is appended or thrown away meanwhile.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Final

from logbus.collectors.spool.segment import Entry
from logbus.collectors.spool.stored import Stored

_NUMBER: Final = itemgetter(0)
_PAYLOAD: Final = itemgetter(2)
_TAG: Final = itemgetter(4)


@dataclass(frozen=True, slots=True)
class Portion:
    """The oldest records of a spool: their lines as one, how many there are, and the number of each, ascending.

    ``dialect`` is None when it is the sink's own; else these lines are not for it. It is "" where it is not known.
    """

    data: bytes
    count: int
    first_seq: int
    last_seq: int
    numbers: Sequence[int]
    dialect: str | None = None


class Window:
    """The entries that were read, in order."""

    def __init__(self) -> None:
        self._ready: list[Entry] = []
        self._bytes = 0
        #: How many of the first ones have been handed out at any time, and have not ended.
        self._handed = 0

    def held(self) -> frozenset[int]:
        """The tags of the segments of what was handed out."""
        return frozenset(map(_TAG, self._ready[: self._handed]))

    def fill(self, segments: Sequence[Stored], records: int, size: int) -> None:
        """Reads until it has so many records or bytes, or all. Raises OSError."""
        while len(self._ready) < records and self._bytes < size and self._merge(segments):
            pass

    def hand(self, segments: dict[int, Stored], records: int, size: int, dialect: int) -> Portion | None:
        """The oldest records, of one dialect, one at least; ``dialect`` is the checksum of the sink's."""
        part = self._ready[:records]
        if not part:
            return None
        if self._bytes > size:
            ends = accumulate(len(entry[2]) for entry in part)
            part = part[: max(1, bisect_right(list(ends), size))]
        spoken = {tag: segments[tag].name.dialect for tag in set(map(_TAG, part))}
        first = segments[part[0][4]]
        if len(set(spoken.values())) > 1:
            own = spoken[first.tag]
            part = part[: next(at for at, entry in enumerate(part) if spoken[entry[4]] != own)]
        self._handed = max(self._handed, len(part))
        numbers = list(map(_NUMBER, part))
        foreign = None if first.name.dialect == dialect else first.dialect or ""
        return Portion(b"".join(map(_PAYLOAD, part)), len(part), numbers[0], numbers[-1], numbers, foreign)

    def end(self, number: int) -> list[tuple[int, int]]:
        """Takes out what was handed out up to this number; returns tags of segments and how many records of each."""
        # From the end: after older ones that came late they do not ascend.
        count = next((at for at in range(self._handed, 0, -1) if self._ready[at - 1][0] <= number), 0)
        ended = self._ready[:count]
        del self._ready[:count]
        self._handed -= count
        self._bytes -= sum(map(len, map(_PAYLOAD, ended)))
        return list(Counter(map(_TAG, ended)).items())

    def forget(self, tag: int) -> None:
        """Takes out what was read of a segment, of which nothing may have been handed out."""
        self._keep(self._handed + at for at, entry in enumerate(self._ready[self._handed :]) if entry[4] != tag)

    def rewind(self, segments: Iterable[Stored]) -> None:
        """Takes back that anything has been read beyond what was handed out: older numbers have come."""
        for segment in segments:
            entries = [entry for entry in self._ready[self._handed :] if entry[4] == segment.tag] + segment.decoded
            if entries:
                segment.rewind(entries[0], len(entries))
        self._keep(())

    def clear(self) -> None:
        """Forgets everything."""
        self._handed = 0
        self._keep(())

    def _keep(self, places: Iterable[int]) -> None:
        self._ready[self._handed :] = [self._ready[at] for at in places]
        self._bytes = sum(map(len, map(_PAYLOAD, self._ready)))

    def _merge(self, segments: Sequence[Stored]) -> bool:
        """Takes the next entries, at least one; False when there are none."""
        while True:
            waiting = [segment for segment in segments if segment.decoded or segment.unread]
            if not waiting:
                return False
            # Those of which nothing is in memory come first: the number is one that they may begin with.
            segment = min(waiting, key=_next)
            if segment.decoded:
                break
            segment.read()
        # Up to what is not in memory yet, everything that comes next is.
        bound = min((segment.following for segment in waiting if segment.unread), default=None)
        more: list[Entry] = []
        for segment in waiting:
            decoded = segment.decoded
            count = len(decoded) if bound is None else bisect_left(decoded, (bound,))
            more += decoded[:count]
            segment.decoded = decoded[count:]
        more.sort()
        self._ready += more
        self._bytes += sum(map(len, map(_PAYLOAD, more)))
        return True


def _next(segment: Stored) -> tuple[int, bool]:
    return (segment.decoded[0][0], True) if segment.decoded else (segment.following, False)
