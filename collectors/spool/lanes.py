"""The segments of a spool, in lanes: one series for each level. Appending, and the bound.

Segments are allocated whole, and what counts against the bound is what is allocated. What does not fit makes room for
itself: the oldest segment of the lowest lane goes, up to its own lane, else it is itself what goes. An append happens
as a whole or not at all; what was removed to make room for one that failed is counted with the next.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate, compress
from typing import Final, NamedTuple

from logbus.collectors.spool.folder import Folder
from logbus.collectors.spool.segment import ENTRY_BYTES, MAX_HEADER
from logbus.collectors.spool.stored import Mark, Stored
from logbus.levels import BUCKETS

#: Parts into which a spool's bytes are cut: what goes at a time.
_PARTS: Final = 32
#: Bytes of a segment, at least and at most.
MIN_SEGMENT: Final = 64 * 1024
MAX_SEGMENT: Final = 4 * 1024 * 1024
#: Bytes of a block on disk, of which the segment of a line that is longer than others has a whole number.
_BLOCK: Final = 4096


class _Victim(NamedTuple):
    segment: Stored
    live: int


class Lanes:
    """All segments, by their tags, and the one of each lane that is appended to.

    ``held`` says the tags of those that have to stay, and ``removed`` is told those of the ones that are gone.
    ``max_bytes`` 0: nothing new is taken, and what is there stays.
    """

    def __init__(self, folder: Folder, *, held: Callable[[], Collection[int]], removed: Callable[[int], None]) -> None:
        self.segments: dict[int, Stored] = {}
        self.max_bytes = 0
        self.dialect = ""
        self._folder = folder
        self._held = held
        self._removed = removed
        self._segment_bytes = MIN_SEGMENT
        self._open: dict[int, Stored] = {}
        self._last_tag = 0
        #: Of the append under way: what each segment was like before (None: it was not there), and what was removed.
        self._before: dict[int, Mark | None] = {}
        self._victims: list[_Victim] = []
        #: Records that were removed, by bucket, and that nobody has been told of.
        self._owed = [0] * len(BUCKETS)

    @property
    def size(self) -> int:
        """Bytes that are allocated."""
        return sum(segment.allocated for segment in self.segments.values())

    def next_tag(self) -> int:
        """A tag that no segment has had."""
        self._last_tag += 1
        return self._last_tag

    def configure(self, max_bytes: int, dialect: str) -> None:
        """Sets the bound, and the dialect of what is appended from now on. Raises OSError."""
        self.max_bytes, self.dialect = max_bytes, dialect
        self._segment_bytes = min(max(max_bytes // _PARTS, MIN_SEGMENT), MAX_SEGMENT)
        for lane, segment in list(self._open.items()):
            if segment.dialect != dialect or segment.allocated > self._segment_bytes:
                self._seal(lane)

    def fit(self) -> list[int]:
        """Removes what is beyond the bound; counts of records by bucket. Raises OSError."""
        over = self.size - self.max_bytes
        if self.max_bytes and over > 0:
            for segment in self._candidates(len(BUCKETS)):
                over -= segment.allocated
                self.drop(segment)
                self._owed[segment.lane] += segment.live
                if over <= 0:
                    break
        return self._settled()

    def append(self, first: int, lines: Sequence[bytes], levels: bytes) -> list[int]:
        """Appends records with the numbers from ``first`` on; counts by bucket of those that went, of these or others.

        Raises OSError, and then nothing has been appended.
        """
        gone = [0] * len(BUCKETS)
        self._before.clear()
        self._victims.clear()
        try:
            # The highest first: what is lower must not take a place that it would lose again.
            for lane in sorted(set(levels), reverse=True):
                numbers: Sequence[int] = range(first, first + len(lines))
                chosen = lines
                if levels.count(lane) < len(levels):
                    mine = [level == lane for level in levels]
                    numbers, chosen = list(compress(numbers, mine)), list(compress(lines, mine))
                gone[lane] += self._append(lane, numbers, chosen)
        except BaseException:
            self._undo()
            raise
        for tag in self._before:
            if (written := self.segments.get(tag)) and written.sealed:
                written.close()
        for segment, live in self._victims:
            gone[segment.lane] += live
        return [a + b for a, b in zip(gone, self._settled(), strict=True)]

    def drop(self, segment: Stored) -> None:
        """Removes a segment. Raises OSError, and then it is still there."""
        segment.remove()
        self.forget(segment)

    def forget(self, segment: Stored) -> None:
        """Takes a segment out whose file is another's business."""
        del self.segments[segment.tag]
        if self._open.get(segment.lane) is segment:
            del self._open[segment.lane]
        segment.close()
        self._removed(segment.tag)

    def clear(self) -> None:
        """Closes and forgets all segments, which stay on disk."""
        for segment in self.segments.values():
            segment.close()
        self.segments.clear()
        self._open.clear()

    def seal(self) -> None:
        """Gives back all that is allocated and not used. Raises OSError."""
        for lane in list(self._open):
            self._seal(lane)

    def _append(self, lane: int, numbers: Sequence[int], lines: Sequence[bytes]) -> int:
        """Appends to one lane; how many records had no room."""
        ends = list(accumulate(len(line) + ENTRY_BYTES for line in lines))
        at = gone = 0
        while at < len(lines):
            base = ends[at - 1] if at else 0
            segment = self._open.get(lane)
            if segment is None or segment.free < ends[at] - base or segment.last >= numbers[at]:
                segment = self._begin(lane, ends[at] - base)
            if segment is None:
                if ends[at] - base + MAX_HEADER <= self._segment_bytes:
                    return gone + len(lines) - at
                # It needs more than the others: there may be room for those.
                at, gone = at + 1, gone + 1
                continue
            stop = bisect_right(ends, base + segment.free)
            self._before.setdefault(segment.tag, segment.mark())
            segment.append(numbers[at:stop], lines[at:stop])
            at = stop
        return gone

    def _begin(self, lane: int, size: int) -> Stored | None:
        """Another segment for a lane, in which an entry of this size has room; None: there is no room for it."""
        needed = -(-(size + MAX_HEADER) // _BLOCK) * _BLOCK
        size = max(self._segment_bytes, needed)
        if not self._make_room(lane, size):
            return None
        if lane in self._open:
            self._seal(lane)
        tag = self.next_tag()
        try:
            segment = self._create(tag, lane, size)
        except OSError as error:
            least = max(MIN_SEGMENT, needed)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or least >= size:
                raise
            segment = self._create(tag, lane, least)  # a disk that is nearly full has room for a small one
        self._before[tag] = None
        self.segments[tag] = self._open[lane] = segment
        return segment

    def _create(self, tag: int, lane: int, size: int) -> Stored:
        try:
            return Stored.create(self._folder, tag, lane=lane, dialect=self.dialect, size=size)
        except FileNotFoundError:
            self._folder.make()
            return Stored.create(self._folder, tag, lane=lane, dialect=self.dialect, size=size)

    def _make_room(self, lane: int, size: int) -> bool:
        over = self.size + size - self.max_bytes
        if over <= 0:
            return True
        if size > self.max_bytes:
            return False
        candidates = self._candidates(lane)
        if sum(segment.allocated for segment in candidates) < over:
            return False
        for segment in candidates:
            victim = _Victim(segment, segment.live)
            over -= segment.allocated
            self.drop(segment)
            self._victims.append(victim)
            if over <= 0:
                break
        return True

    def _candidates(self, lane: int) -> list[Stored]:
        """What may go for a record of this lane, in the order in which it goes."""
        held = self._held()
        able = [segment for segment in self.segments.values() if segment.lane <= lane and segment.tag not in held]
        return sorted(able, key=lambda segment: (segment.live > 0, segment.lane, segment.first))

    def _seal(self, lane: int) -> None:
        segment = self._open.pop(lane)
        segment.seal()
        if not segment.live:
            self.drop(segment)

    def _undo(self) -> None:
        """Takes back an append that failed, as far as the disk lets it."""
        for victim in self._victims:
            mark = self._before.get(victim.segment.tag, victim)
            self._owed[victim.segment.lane] += mark.live if mark else 0
        for tag, mark in self._before.items():
            segment = self.segments.get(tag)
            if segment is None:
                continue
            self._open.pop(segment.lane, None)
            try:
                if mark is None:
                    self.drop(segment)
                else:
                    segment.undo(mark)
            except OSError:
                # What stays on disk is found by the next life, and not read in this one.
                if mark is None:
                    self.forget(segment)

    def _settled(self) -> list[int]:
        owed, self._owed = self._owed, [0] * len(BUCKETS)
        return owed
