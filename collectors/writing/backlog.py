"""The queue of one sink: lines that wait in memory, bounded in bytes, numbered, and shed by level where it overflows.

Lines come in deliveries and leave in batches. Between the two stand three places, oldest first:

- *in hand*: what has been taken for a write. It stays until :meth:`Backlog.done` says that it has ended, and is taken
  again first; nothing else touches it.
- *leaving*: what is on its way into the spool. Until that is known to have worked, nothing behind it is taken.
- *waiting*: the rest. Only from here anything is shed.

Small deliveries that wait become one (:data:`MERGE_BYTES`): a single record's own would cost several times its line.

Each record has a number. Numbers ascend in the order in which records came. What is shed leaves a gap, or those behind
it in the same delivery close up.

Shedding costs time in proportion to what comes, however much waits: each delivery stands in a list for every level that
it has, and leaves the list when its records of that level are shed. And a sixteenth of the bound more goes at once, of
the same level, so that an overflow that lasts is not worked on, and booked, with every delivery.

It has no lock of its own: its writer has one around it (:mod:`logbus.collectors.writing.writer`).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from itertools import chain
from math import inf
from typing import Final

from logbus.collectors.rows import Range
from logbus.collectors.writing.lines import Lines
from logbus.collectors.writing.terms import Terms
from logbus.levels import BUCKETS

#: The part of the bound that is shed beyond what is necessary: one of so many.
SHED_PART: Final = 16
#: Bytes up to which deliveries that follow one another become one; and ranges of sequence numbers. To add to a delivery
#: costs as much as it has already.
MERGE_BYTES: Final = 4096
MERGE_RANGES: Final = 16
#: Deliveries that were shed whole and still stand among the others, beyond which they are swept out.
MAX_EMPTY: Final = 64

_NOTHING: Final = (0,) * len(BUCKETS)


class Backlog:
    """What waits for one sink, by its terms. Numbers begin at ``first``."""

    def __init__(self, terms: Terms, *, first: int = 0) -> None:
        self.terms = terms
        #: Bytes and records in all three places.
        self.bytes = 0
        self.records = 0
        #: The number of the next record.
        self.next_seq = first
        self._hand: deque[Lines] = deque()
        self._hand_records = self._hand_bytes = 0
        self._leaving: deque[Lines] = deque()
        self._waiting: deque[Lines] = deque()
        #: By level, the waiting deliveries that have some of it, oldest first; of a few it is all gone.
        self._having: tuple[deque[Lines], ...] = tuple(deque() for _ in BUCKETS)
        #: Waiting deliveries of which nothing is left; never the first.
        self._empty = 0
        self._by_level = terms.by_level
        self._lists = terms.on_full in ("shed_lowest", "spool")

    @property
    def full(self) -> bool:
        """Whether it holds as many bytes as it may."""
        return self.bytes >= self.terms.queue_bytes

    @property
    def half_full(self) -> bool:
        """Whether it holds half of that: where there is a spool, some should go there though the sink works."""
        return 2 * self.bytes >= self.terms.queue_bytes

    @property
    def hand(self) -> list[Lines]:
        """What is in hand: all that was taken and has not ended, though a later take may have taken less of it."""
        return [lines.whole() for lines in self._hand]

    @property
    def oldest_came(self) -> float | None:
        """When the oldest record came that has not ended, in monotonic seconds; None without any."""
        oldest = self._oldest()
        return None if oldest is None else oldest.came

    @property
    def oldest_seq(self) -> int:
        """A number below which nothing is here any more: that of the oldest that has not ended, or of the next."""
        oldest = self._oldest()
        return self.next_seq if oldest is None else oldest.first

    @property
    def waiting(self) -> bool:
        """Whether anything waits that is neither in hand nor leaving."""
        return bool(self._waiting)

    @property
    def first_bytes(self) -> int:
        """Bytes of the line that :meth:`take` would take first; 0 when there is none."""
        place = self._hand or (() if self._leaving else self._waiting)
        if not place:
            return 0
        lines = place[0]
        return lines.data.find(b"\n", lines.gone) + 1 - lines.gone

    def due_in(self, now: float) -> float:
        """Seconds from ``now`` (monotonic) until a batch is to be taken; 0 if at once, ``inf`` if more has to come."""
        if self._hand:
            return 0.0
        if self._leaving or not self._waiting:
            return inf
        terms = self.terms
        if self.records >= terms.max_records or self.bytes >= terms.max_bytes or self.full:
            return 0.0
        return max(0.0, self._waiting[0].came + terms.max_delay_s - now)

    def put(
        self, data: bytes, records: int, ranges: tuple[Range, ...], came: float, levels: bytes = b""
    ) -> Sequence[int]:
        """Adds whole lines that came at ``came`` (monotonic s); how many records it sheds therefor, by level bucket.

        These may be some of its own. ``levels`` has the bucket of each line (an index in
        :data:`logbus.levels.BUCKETS`) where the terms are ``by_level``. Raises ValueError when that doesn't fit.
        """
        if self._by_level and len(levels) != records:
            raise ValueError(f"levels: expected one for each of {records} records, found {len(levels)}")
        last = self._waiting[-1] if len(data) < MERGE_BYTES and self._waiting else None
        if last is not None and self._joins(last, len(data), ranges, levels):
            lines = last
            lines.join(data, records, ranges, levels)
        else:
            lines = Lines(data, records, ranges, came, levels, self.next_seq)
            self._waiting.append(lines)
        self.next_seq += records
        self.records += records
        self.bytes += len(data)
        return self._choose(lines, levels) if self._by_level else _NOTHING

    def take(self, max_records: int, max_bytes: int, room: int = sys.maxsize) -> list[Lines]:
        """What the next write takes, in hand from now on: a line at least, else no more than these bounds.

        What is in hand already is taken first, and by itself. A delivery is split where the records end, or where even
        the first is too long. Empty when nothing waits, or when it waits behind something that is leaving.
        """
        limit = room if room < max_bytes else max_bytes
        hand = self._hand
        if hand:
            taken, _, _ = self._pull(hand, max_records, limit)
            hand.extendleft(reversed(taken))
        elif self._leaving:
            taken = []
        else:
            taken, self._hand_records, self._hand_bytes = self._pull(self._waiting, max_records, limit)
            hand.extend(taken)
        return taken

    def done(self, records: int) -> None:
        """Lets the first records go of what is in hand: they have ended. Raises ValueError when it is less."""
        hand, size = self._hand, self._hand_bytes
        if records > self._hand_records:
            raise ValueError(f"done: expected at most the {self._hand_records} records in hand, found {records}")
        if records == self._hand_records:
            hand.clear()
        else:
            size = self._off(hand, records)
        self._hand_records -= records
        self._hand_bytes -= size
        self.records -= records
        self.bytes -= size

    def spill(self, max_bytes: int) -> list[Lines]:
        """The oldest that wait, for the spool: no more than so many bytes, a line at least; the same again until told.

        They are neither taken nor shed before :meth:`spilled` or :meth:`unspill` has had all of them.
        """
        if not self._leaving:
            self._leaving.extend(self._pull(self._waiting, sys.maxsize, max_bytes)[0])
        return [lines.whole() for lines in self._leaving]

    def spilled(self, records: int) -> None:
        """Lets the first records go of what is leaving: the spool has them. Raises ValueError when it is less."""
        leaving = sum([lines.records for lines in self._leaving])
        if records > leaving:
            raise ValueError(f"spilled: expected at most the {leaving} records that are leaving, found {records}")
        self.records -= records
        self.bytes -= self._off(self._leaving, records)

    def unspill(self) -> None:
        """Has what is still leaving wait again: the spool has not got it."""
        while self._leaving:
            lines = self._leaving.pop()
            self._waiting.appendleft(lines)
            if self._lists:
                for bucket in set(lines.left):
                    self._having[bucket].appendleft(lines)

    def number_from(self, first: int) -> None:
        """Raises every number, so that the oldest is ``first`` at least; before the spool has seen any."""
        oldest = self._oldest()
        more = first - (self.next_seq if oldest is None else oldest.first)
        if more > 0:
            self.next_seq += more
            for lines in chain(self._hand, self._leaving, self._waiting):
                lines.first += more

    def _oldest(self) -> Lines | None:
        for place in (self._hand, self._leaving, self._waiting):
            if place:
                return place[0]
        return None

    def _pull(self, place: deque[Lines], max_records: int, max_bytes: int) -> tuple[list[Lines], int, int]:
        """The oldest of a place, taken off: a line at least, else within these bounds. And their records and bytes."""
        taken: list[Lines] = []
        records = size = 0
        while place:
            lines = place[0]
            length = len(lines.data) - lines.gone
            if taken and size + length > max_bytes:
                break
            if (records + lines.records > max_records or length > max_bytes) and lines.records > 1:
                if place is self._hand:
                    place[0] = lines = lines.divisible()
                lines = lines.front(max_records - records, max_bytes)
                length = len(lines.data)
            else:
                place.popleft()
                if self._lists and place is self._waiting:
                    self._unlist(lines)
            taken.append(lines.whole() if lines.gone else lines)
            records += lines.records
            size += length
            if records >= max_records:
                break
        return taken, records, size

    def _off(self, place: deque[Lines], records: int) -> int:
        """Takes so many records off a place of which things were given out; their bytes."""
        size = 0
        while records:
            lines = place.popleft()
            if lines.records > records:
                rest = lines.divisible()
                lines = rest.front(records, sys.maxsize)
                place.appendleft(rest)
            records -= lines.records
            size += lines.size
        return size

    def _unlist(self, lines: Lines) -> None:
        """What is to be done once the oldest of those waiting is none of them any more."""
        for having in self._having:
            # It stands first wherever it is listed, or behind one that was shed after its last of that level was taken.
            while having and (having[0] is lines or not having[0].records):
                having.popleft()
        self._sweep()

    def _joins(self, last: Lines, size: int, ranges: tuple[Range, ...], levels: bytes) -> bool:
        """Whether what comes may become one with the last that waits: it is whole, small, and the numbers go on."""
        return (
            last.records > 0
            and last.is_whole
            and last.last + 1 == self.next_seq
            and bool(last.levels) == bool(levels)
            and len(last.data) + size <= MERGE_BYTES
            and len(last.ranges) + len(ranges) <= MERGE_RANGES
        )

    def _choose(self, lines: Lines, levels: bytes) -> Sequence[int]:
        """Lists what has come, with these levels in these lines, and sheds what there is no room for."""
        if self._lists:
            for bucket, having in enumerate(self._having):
                if bucket in levels and not (having and having[-1] is lines):
                    having.append(lines)
        excess = self.bytes - self.terms.queue_bytes
        return self._shed(excess) if excess > 0 else _NOTHING

    def _let_go(self, lines: Lines) -> None:
        self.records -= lines.records
        self.bytes -= lines.size

    def _shed(self, excess: int) -> list[int]:
        """Sheds so many bytes and some more; how many records of each level."""
        counts = [0] * len(BUCKETS)
        size = excess + self.terms.queue_bytes // SHED_PART
        if self._lists:
            self._shed_lowest(counts, excess, size)
            self._sweep()
        else:
            self._shed_oldest(counts, size)
        return counts

    def _shed_oldest(self, counts: list[int], size: int) -> None:
        while size > 0 and self._waiting:
            lines = self._waiting[0]
            part = lines.oldest(size) if lines.size > size else lines
            if part is lines or not lines.records:
                self._waiting.popleft()
            for bucket in range(len(BUCKETS)):
                counts[bucket] += part.left.count(bucket)
            size -= part.size
            self._let_go(part)

    def _shed_lowest(self, counts: list[int], excess: int, size: int) -> None:
        """``excess`` bytes of the lowest levels, and up to ``size`` of the highest of these."""
        freed = 0
        for bucket, having in enumerate(self._having):
            while having and freed < size:
                lines = having[0]
                records, cut = lines.cut(bucket, size - freed)
                if bucket not in lines.left:
                    having.popleft()
                if records and not lines.records:
                    self._empty += 1
                counts[bucket] += records
                self.records -= records
                self.bytes -= cut
                freed += cut
            if freed >= excess:
                return

    def _sweep(self) -> None:
        """Takes deliveries away of which nothing is left: at both ends always, between them once they are many."""
        waiting = self._waiting
        while waiting and not waiting[0].records:
            waiting.popleft()
            self._empty -= 1
        while waiting and not waiting[-1].records:
            waiting.pop()
            self._empty -= 1
        if self._empty > MAX_EMPTY and 2 * self._empty > len(waiting):
            left = [lines for lines in waiting if lines.records]
            waiting.clear()
            waiting.extend(left)
            self._empty = 0
