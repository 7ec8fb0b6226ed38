"""A run of lines on their way into a sink, which can be taken apart without copying what stays.

A backlog (:mod:`logbus.collectors.writing.backlog`) takes parts off the front, and cuts what it sheds out of the
middle. For the first there is an offset: a delivery of a megabyte that leaves line by line is copied once in all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import chain

from logbus.collectors.rows import Range, coalesced


class Lines:
    """Whole lines, how many records they are, which, when they came (monotonic s), and the number of the first.

    ``levels`` has the index in :data:`logbus.levels.BUCKETS` of each, or is empty where nobody needs them. What a
    backlog gives out is :meth:`whole`, and stays as it is.
    """

    #: Bytes of ``data`` and records of ``levels`` that have gone from the front, and the ranges of those left. They
    #: belong to the few that are taken apart: most are made, written and forgotten, and must not pay for it.
    gone = 0
    _passed = 0
    _ranges: deque[Range] | None = None

    def __init__(
        self, data: bytes, records: int, ranges: tuple[Range, ...], came: float, levels: bytes, first: int
    ) -> None:
        self.data = data
        self.records = records
        self.ranges = ranges
        self.came = came
        self.levels = levels
        self.first = first

    @property
    def last(self) -> int:
        """The number of the last record."""
        return self.first + self.records - 1

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data) - self.gone

    @property
    def left(self) -> bytes:
        """The levels of those that have not gone."""
        return self.levels[self._passed :]

    @property
    def is_whole(self) -> bool:
        """Whether nothing was taken off its front."""
        return not self.gone and self._ranges is None

    def join(self, data: bytes, records: int, ranges: tuple[Range, ...], levels: bytes) -> None:
        """Adds lines at the end; while it is whole, and nobody was given it."""
        self.data += data
        self.records += records
        self.ranges = coalesced(chain(self.ranges, ranges))
        self.levels += levels

    def lines(self) -> list[bytes]:
        """The lines one by one, each with its newline."""
        return [line + b"\n" for line in self.data[self.gone : -1].split(b"\n")]

    def whole(self) -> Lines:
        """Itself, holding nothing any more of what has gone."""
        if self.gone:
            assert self._ranges is not None
            self.data, self.levels, self.ranges = self.data[self.gone :], self.left, tuple(self._ranges)
            self.gone = self._passed = 0
            self._ranges = None
        return self

    def divisible(self) -> Lines:
        """The same lines, to take parts off: itself if that was done already, so that nobody can have been given it."""
        if self.gone:
            return self
        return Lines(self.data, self.records, self.ranges, self.came, self.levels, self.first)

    def front(self, records: int, size: int) -> Lines:
        """Takes off the first lines, of two or more not all: one, else no more than so many records and bytes.

        It costs what these lines are, not what stays.
        """
        data, start = self.data, self.gone
        if records >= self.records:
            end = data.rfind(b"\n", start, start + size) + 1 or data.find(b"\n", start) + 1
            return self._off(end, data.count(b"\n", start, end))
        end = data.find(b"\n", start) + 1
        count = 1
        while count < records:
            after = data.find(b"\n", end) + 1
            if after - start > size:
                break
            end = after
            count += 1
        return self._off(end, count)

    def oldest(self, size: int) -> Lines:
        """Takes off as few of the first lines as have so many bytes; ``size`` is no more than its own."""
        end = self.data.find(b"\n", self.gone + size - 1) + 1
        return self._off(end, self.data.count(b"\n", self.gone, end))

    def cut(self, bucket: int, size: int) -> tuple[int, int]:
        """Cuts out as few of the oldest lines of a level as have so many bytes, all if they have less.

        Returns how many these are, and their bytes.
        """
        levels = self.left
        if bucket not in levels:
            return 0, 0
        lines = self.lines()
        kept: list[tuple[int, int]] = []
        begin = records = freed = 0
        while freed < size and (at := levels.find(bucket, begin)) >= 0:
            if at > begin:
                kept.append((begin, at))
            begin = at + 1
            records += 1
            freed += len(lines[at])
        if begin < len(lines):
            kept.append((begin, len(lines)))
        self.ranges = picked(self.ranges if self._ranges is None else self._ranges, kept)
        self.data = b"".join([line for start, stop in kept for line in lines[start:stop]])
        self.levels = b"".join([levels[start:stop] for start, stop in kept])
        self.records -= records
        self.gone = self._passed = 0
        self._ranges = None
        return records, freed

    def _off(self, end: int, count: int) -> Lines:
        if self._ranges is None:
            self._ranges = deque(self.ranges)
        levels = self.levels[self._passed : self._passed + count]
        part = Lines(self.data[self.gone : end], count, _off(self._ranges, count), self.came, levels, self.first)
        self.gone = end
        self._passed += count
        self.records -= count
        self.first += count
        return part


def picked(ranges: Iterable[Range], runs: Iterable[tuple[int, int]]) -> tuple[Range, ...]:
    """The ranges of the records that stand in these runs (from, to), which ascend; coalesced.

    >>> picked([(b"p", 7, 3), (b"p", 20, 5)], [(1, 4), (6, 8)])
    ((b'p', 8, 2), (b'p', 20, 1), (b'p', 23, 2))
    """
    left = deque(ranges)
    found: list[Range] = []
    at = 0
    for start, stop in runs:
        _off(left, start - at)
        found += _off(left, stop - start)
        at = stop
    return coalesced(found)


def _off(ranges: deque[Range], count: int) -> tuple[Range, ...]:
    """Takes the first records off the ranges."""
    front: list[Range] = []
    while count and ranges:
        producer, first, number = ranges.popleft()
        taken = min(count, number)
        front.append((producer, first, taken))
        if number > taken:
            ranges.appendleft((producer, first + taken, number - taken))
        count -= taken
    return tuple(front)
