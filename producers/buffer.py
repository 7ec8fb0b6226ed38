"""The bounded buffer between the threads that log and the sender thread.

No lock, so that a call never waits and a signal handler may log in the middle of a call. Entries stand in one chain
of lists per level bucket; a ticket, taken at the call, gives their order. What must not come apart (an entry enters and
is counted; an entry leaves and is counted) is written as statements without a call between them: CPython checks for
signals and for other threads only at calls, loops and function entries, so these run as one step. See
docs/decisions/0002.

The lists are flat, the parts of one entry after those of the other. A tuple for each would be one more object that the
garbage collector has to look at, mostly in the calling thread: that cost each log call 0.15 µs. What leaves at the
front is blanked, and the front moves on. A list that has become long is followed by another one, and let go as soon as
all of it has left: no step is longer than a list, and no list many times :data:`_SEGMENT`, whatever the capacity.

The law, at every moment between two steps:
``settled = records + sent + dropped``, with ``records`` what is in here and in the sender's hand.
"""

from __future__ import annotations

import itertools
import logging
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final, Literal

from logbus.counters import DROPPED, EMITTED, SETTLED, Counters
from logbus.levels import BUCKETS, bucket_of
from logbus.os_threads import get_ident
from logbus.wire import HIGH_WATER_MARK, SHUTDOWN, UNENCODABLE

OnFull = Literal["shed_lowest", "drop_newest", "drop_oldest"]

#: An entry: (ticket, size in bytes, created in seconds, site, thread name, message, extra, nested, exception).
Entry = tuple[Any, ...]

#: Parts of an entry, and those that the buffer reads.
_PARTS: Final = 9
_SIZE: Final = 1
_CREATED: Final = 2
#: Parts of one entry that has left.
_BLANK: Final = (None,) * _PARTS
#: Records in a list from which on another one follows it, and records that may gather before somebody looks. The end
#: of a list is one step, which takes 10 to 50 µs at this length; up to three times as many enter before one is cut.
_SEGMENT: Final = 1024
#: Where the ticket of the newest entry stands in a list.
_NEWEST: Final = -_PARTS
#: Where the site stands in an entry, and the level number in a site.
_SITE: Final = 3
_LEVEL_NO: Final = 1
_WIDTH: Final = len(BUCKETS)
_HIGH_WATER_MARK: Final = DROPPED + HIGH_WATER_MARK * _WIDTH
_SHUTDOWN: Final = DROPPED + SHUTDOWN * _WIDTH
_UNENCODABLE: Final = DROPPED + UNENCODABLE * _WIDTH
#: Level bucket from which on a record should be sent at once: a crash may follow.
_URGENT: Final = bucket_of(logging.ERROR)


def _nobody() -> None:
    """The reader of a buffer that has none."""


class Segment(list[Any]):
    """Entries of one level, their parts in a row, and the segment that comes after them."""

    __slots__ = ("following",)

    following: Segment


class Buffer:
    """A buffer of at most ``capacity`` records and ``capacity_bytes`` bytes, whichever comes first."""

    __slots__ = (
        "_cells",
        "_counters",
        "_first",
        "_fronts",
        "_heads",
        "_last",
        "_look_at",
        "_queues",
        "_staged",
        "_staged_counts",
        "_tickets",
        "asleep",
        "bytes",
        "capacity",
        "capacity_bytes",
        "closed",
        "hurry",
        "on_full",
        "records",
        "wake",
    )

    def __init__(self, capacity: int, capacity_bytes: int, on_full: OnFull, counters: Counters) -> None:
        self._counters = counters
        self._cells = counters.cells
        #: Set by the reader before it sleeps: the next record calls ``wake``.
        self.asleep = False
        #: How the reader is woken, and how it is told of a record (ERROR and above) that should not wait.
        self.wake: Callable[[], None] = _nobody
        self.hurry: Callable[[], None] = _nobody
        self.capacity = capacity
        self.capacity_bytes = capacity_bytes
        self.on_full = on_full
        #: Set at shutdown: what comes now is dropped and counted as such.
        self.closed = False
        #: Records and bytes here and in the sender's hand.
        self.records = 0
        self.bytes = 0
        self._tickets = itertools.count()
        #: Where each level's records enter, and the segment that its oldest stands in: the same one, or the first of a
        #: chain that ends there.
        self._queues = [Segment() for _ in BUCKETS]
        self._heads = [*self._queues]
        #: Where the oldest entry of each head begins; all before it is blank.
        self._fronts = [0] * _WIDTH
        #: So many records, and somebody looks whether a list has become long. Never more than the capacity.
        self._look_at = min(capacity, _SEGMENT)
        #: What the sender has looked at and not taken yet, and how many of each level; its own, and counted in here.
        self._staged: list[Entry] = []
        self._staged_counts = [0] * _WIDTH
        self._first = [0.0] * (2 * _WIDTH)
        self._last = [0.0] * (2 * _WIDTH)

    def put(
        self,
        created: float,
        site: tuple[Any, ...],
        thread: str,
        message: str,
        extra: dict[str, Any] | None,
        nested: dict[str, Any] | None,
        exception: Any,
        size: int,
    ) -> None:
        """Takes one record in, or drops one by the policy; both are counted in the slot of the calling thread.

        Never waits; raises nothing but what a signal handler raises. The arguments are those of
        :data:`logbus.producers.producer.Emit`.
        """
        cell = self._cells.get(get_ident())
        if cell is None:
            cell = self._counters.cell()
        bucket = site[1] // 10
        if not 0 <= bucket < _WIDTH:
            bucket = bucket_of(site[1])
        cell[EMITTED] += 1
        under_way = True
        try:
            # A closed buffer needs no room: nobody goes for a record that goes itself.
            if (
                (self.records >= self._look_at or self.bytes + size > self.capacity_bytes)
                and not self.closed
                and not self._make_room(cell, bucket, size)
            ):
                self._note(bucket, created)
                at = _HIGH_WATER_MARK + bucket
                cell[at] += 1  # one step with the next two lines: no call between
                cell[SETTLED] += 1
                under_way = False
                return
            # Made here: where an object is made that has to be tracked Python 3.11 may collect garbage, which runs
            # finalizers, which may let another thread in.
            entry = (next(self._tickets), size, created, site, thread, message, extra, nested, exception)
            queue = self._queues[bucket]
            if self.closed:  # looked at here, past the last call: nothing enters once it is set
                self._note(_WIDTH + bucket, created)
                at = _SHUTDOWN + bucket
                cell[at] += 1  # one step with the next two lines
                cell[SETTLED] += 1
                under_way = False
                return
            # One step to the end: "+=" where a reader expects extend(), which is a call and could be interrupted.
            queue += entry
            self.records += 1
            self.bytes += size
            cell[SETTLED] += 1
            under_way = False
        except BaseException:
            # Interrupted by what a signal handler raised, or out of memory. Counted before any call: a second signal
            # may interrupt that.
            if under_way:
                at = _UNENCODABLE + bucket
                cell[at] += 1
                cell[SETTLED] += 1
                self._note(bucket, created)
            raise
        try:
            if bucket >= _URGENT:
                self.hurry()
            elif self.asleep:
                self.asleep = False
                self.wake()
        except (RecursionError, MemoryError):
            # The record is in: whoever was told otherwise would put it in again. The next one wakes the reader.
            self.asleep = bucket < _URGENT or self.asleep

    def _make_room(self, cell: memoryview[int], bucket: int, size: int) -> bool:
        """Evicts what the policy gives up until a record of this size fits. False: the new one has to go."""
        if self._look_at <= self.records < self.capacity:
            self._look()
        elif len(self._queues[bucket]) >= _SEGMENT * _PARTS:
            self._cut(bucket)
        fronts, heads = self._fronts, self._heads
        while self.records >= self.capacity or self.bytes + size > self.capacity_bytes:
            if self.on_full == "drop_newest" or size > self.capacity_bytes:
                return False
            victims = self._lowest(bucket) if self.on_full == "shed_lowest" else self._oldest()
            if victims is None:
                return False
            head = heads[victims]  # one step with the next two lines
            front = fronts[victims]
            tail = self._queues[victims]
            behind = front + _PARTS
            place = slice(front, behind)
            at = _HIGH_WATER_MARK + victims
            gone = head[place]  # the last victim ends here, with whatever hangs on it, and not inside the step
            last = head is not tail and behind == len(head)
            # One step to the count: no call between, and nothing made that has to be tracked.
            if head is not heads[victims] or front != fronts[victims] or tail is not self._queues[victims] or not gone:
                continue  # the sender, or another thread, was quicker: look again
            head[place] = _BLANK
            if last:
                heads[victims] = head.following
                fronts[victims] = 0
            else:
                fronts[victims] = behind
            self.records -= 1
            self.bytes -= gone[_SIZE]
            cell[at] += 1
            self._note(victims, gone[_CREATED])
        return True

    def _look(self) -> None:
        """Cuts what has become long, and says when to look again."""
        for at in range(_WIDTH):
            self._cut(at)
        self._look_at = min(self.capacity, self.records + _SEGMENT)

    def _cut(self, at: int) -> None:
        """Has the next record of a level enter another segment, where the one in use is long."""
        tail = self._queues[at]
        if len(tail) < _SEGMENT * _PARTS:
            return
        try:
            fresh = Segment()
        except MemoryError:  # another call does it
            return
        # One step to the end; nothing in it takes memory.
        if tail is self._queues[at]:
            if tail[_NEWEST] is None:  # all has left: there is no other segment
                self._heads[at] = fresh
                self._fronts[at] = 0
            else:
                tail.following = fresh
            self._queues[at] = fresh

    def _lowest(self, bucket: int) -> int | None:
        for lower in range(bucket):
            if self._fronts[lower] < len(self._heads[lower]):  # both are read before the call
                return lower
        return None

    def _oldest(self) -> int | None:
        best = None
        for at in range(_WIDTH):
            try:
                ticket = self._heads[at][self._fronts[at]]  # one step: a head that was left has no ticket
            except IndexError:
                continue
            if best is None or ticket < best[0]:
                best = (ticket, at)
        return None if best is None else best[1]

    def _note(self, at: int, created: float) -> None:
        # Evictions take the older ones, and come after drops of newer ones: the order of drops is not that of times.
        if not self._first[at] or created < self._first[at]:
            self._first[at] = created
        if created > self._last[at]:
            self._last[at] = created

    def span(self, reason: int, bucket: int) -> tuple[float, float]:
        """First and last time (epoch seconds) of the drops since the last call; zeros when none was noted."""
        at = (_WIDTH if reason == SHUTDOWN else 0) + bucket
        span = self._first[at], self._last[at]
        self._first[at] = self._last[at] = 0.0
        return span

    def take(self, limit: int, limit_bytes: int) -> list[Entry]:
        """The oldest entries, in the order of each thread: at most ``limit`` and about ``limit_bytes``, one at least.

        For the sender thread only. They stay counted in ``records`` and ``bytes`` until :meth:`release`.
        """
        # Whatever a thread appended before one of the entries below this ticket is in its queue by now.
        cutoff = next(self._tickets)
        self._look_at = min(self.capacity, self.records + _SEGMENT)
        # Both are read before the call: a level that was overlooked would come too late.
        waiting = [at for at in range(_WIDTH) if self._fronts[at] < len(self._heads[at])]
        counts = self._staged_counts
        if not self._staged and len(waiting) == 1:
            # About as many as the bytes allow: the more are looked at, the more are looked at for nothing.
            likely = limit_bytes * self.records // (self.bytes or 1) + 1
            rest: list[Entry] = []
            self._pop(waiting[0], cutoff, min(limit, likely), limit_bytes)
            taken = self._staged
            self._staged = rest
            counts[waiting[0]] = 0
            return taken
        for at in waiting:
            # As many of each level as could go: only then does the sort see every entry that may come first.
            self._pop(at, cutoff, max(limit - counts[at], 0), limit_bytes)
        staged = self._staged
        staged.sort()
        count = total = 0
        for entry in staged:
            if count == limit or (count and total + entry[1] > limit_bytes):
                break
            total += entry[1]
            count += 1
        taken, rest = staged[:count], staged[count:]
        for entry in taken:
            counts[bucket_of(entry[_SITE][_LEVEL_NO])] -= 1
        self._staged = rest
        return taken

    def _pop(self, at: int, cutoff: int, limit: int, limit_bytes: int) -> None:
        """Stages the oldest entries of one level, from as many segments as they stand in."""
        heads, fronts, counts = self._heads, self._fronts, self._staged_counts
        while limit:
            head = heads[at]  # one step with the next two lines
            front = fronts[at]
            tail = self._queues[at]
            parts = head[front : front + limit * _PARTS]
            if not parts:
                break
            if parts[0] is None:  # an eviction came between the lines
                continue
            tickets, totals = parts[::_PARTS], [*accumulate(parts[_SIZE::_PARTS])]
            count = min(bisect_left(totals, limit_bytes) + 1, len(tickets))
            if max(tickets) >= cutoff:
                count = min(count, next(n for n, ticket in enumerate(tickets) if ticket >= cutoff))
                if not count:
                    break
            # All that takes memory is made before the step: where there is none left, nothing has left the buffer.
            del parts[count * _PARTS :]
            # Rows of what was flat: one iterator, read for each part in turn.
            staged = [*self._staged, *zip(*[iter(parts)] * _PARTS, strict=True)]
            staged_count = counts[at] + count
            behind = front + count * _PARTS
            last = head is not tail and behind == len(head)
            gone, blanks = slice(front, behind), _BLANK * count
            # One step to the counts: where an eviction was quicker, all is looked at again.
            if head is not heads[at] or front != fronts[at] or tail is not self._queues[at]:
                continue
            head[gone] = blanks
            if last:
                heads[at] = head.following
                fronts[at] = 0
            else:
                fronts[at] = behind
            self._staged = staged
            counts[at] = staged_count
            limit -= count
            limit_bytes -= totals[count - 1]
            if not last or limit_bytes <= 0:
                break
        self._cut(at)

    def ticket(self) -> int:
        """A point in the order of entries: those that are in here now come before it."""
        return next(self._tickets)

    def release(self, records: int, size: int) -> None:
        """Ends the count of entries that have been sent (or dropped by the sender, who counts that)."""
        self.records -= records
        self.bytes -= size
