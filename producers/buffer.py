"""The bounded buffer between the threads that log and the sender thread.

No lock, so that a call never waits and a signal handler may log in the middle of a call. Entries stand in one
list per level bucket; a ticket, taken at the call, gives their order. What must not come apart (an entry enters
and is counted; an entry leaves and is counted) is written as statements without a call between them: CPython
checks for signals and for other threads only at calls, loops and function entries, so these run as one step.
See docs/decisions/0002.

The lists are flat, the parts of one entry after those of the other. A tuple for each would be one more object that the
garbage collector has to look at, mostly in the calling thread: that cost each log call 0.15 µs. What leaves at the
front is blanked, and the front moves on; the room of the blanks is given back now and then.

The law, at every moment between two steps:
``settled = records + sent + dropped``, with ``records`` what is in here and in the sender's hand.
"""

from __future__ import annotations

import itertools
import logging
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate
from threading import get_ident
from typing import Any, Final, Literal

from logbus.counters import DROPPED, EMITTED, SETTLED, Counters
from logbus.levels import BUCKETS, bucket_of
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
#: Parts that have left a list before their room is given back, which moves all that come after them.
_SPENT: Final = 256 * _PARTS
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


class Buffer:
    """A buffer of at most ``capacity`` records and ``capacity_bytes`` bytes, whichever comes first."""

    __slots__ = (
        "_cells",
        "_counters",
        "_first",
        "_fronts",
        "_last",
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
        self._queues: tuple[list[Any], ...] = tuple([] for _ in BUCKETS)
        #: Where the oldest entry of each list begins; all before it is blank.
        self._fronts = [0] * _WIDTH
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
                (self.records >= self.capacity or self.bytes + size > self.capacity_bytes)
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
        if bucket >= _URGENT:
            self.hurry()
        elif self.asleep:
            self.asleep = False
            self.wake()

    def _make_room(self, cell: memoryview[int], bucket: int, size: int) -> bool:
        """Evicts what the policy gives up until a record of this size fits. False: the new one has to go."""
        if self.on_full == "drop_newest" or size > self.capacity_bytes:
            return False
        fronts = self._fronts
        while self.records >= self.capacity or self.bytes + size > self.capacity_bytes:
            victims = self._lowest(bucket) if self.on_full == "shed_lowest" else self._oldest()
            if victims is None:
                return False
            queue = self._queues[victims]
            front = fronts[victims]
            behind = front + _PARTS
            place = slice(front, behind)
            at = _HIGH_WATER_MARK + victims
            gone = queue[place]  # the last victim ends here, with whatever hangs on it, and not inside the step
            try:
                # One step to the count: no call between, and nothing made that has to be tracked.
                if front != fronts[victims] or gone[0] != queue[front]:
                    continue  # the sender, or another thread, was quicker: look again
                queue[place] = _BLANK
                fronts[victims] = behind
                self.records -= 1
                self.bytes -= gone[_SIZE]
                cell[at] += 1
            except IndexError:  # quicker, too: nothing is there any more
                continue
            self._note(victims, gone[_CREATED])
            if front > _SPENT:
                self._give_back(victims)
        return True

    def _give_back(self, at: int) -> None:
        """Frees the room of the blanks at the front of a list, once they are half of it: each part moves once or so."""
        try:
            queue, front = self._queues[at], self._fronts[at]
            if front > _SPENT and 2 * front >= len(queue):
                blanks = slice(0, front)
                if self._fronts[at] == front:  # one step with the next two lines
                    del queue[blanks]
                    self._fronts[at] = 0
        except MemoryError:  # what is deleted is copied first; another call does it, and this one has lost nothing
            return

    def _lowest(self, bucket: int) -> int | None:
        for lower in range(bucket):
            if len(self._queues[lower]) > self._fronts[lower]:
                return lower
        return None

    def _oldest(self) -> int | None:
        best = None
        for at, queue in enumerate(self._queues):
            try:
                ticket = queue[self._fronts[at]]
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
        staged = self._staged
        waiting = [at for at, queue in enumerate(self._queues) if len(queue) > self._fronts[at]]
        if not staged and len(waiting) == 1:
            # About as many as the bytes allow: the more are looked at, the more are looked at for nothing.
            likely = limit_bytes * self.records // (self.bytes or 1) + 1
            return self._pop(waiting[0], cutoff, min(limit, likely), limit_bytes)
        counts = self._staged_counts
        for at in waiting:
            # As many of each level as could go: only then does the sort see every entry that may come first.
            popped = self._pop(at, cutoff, max(limit - counts[at], 0), limit_bytes)
            counts[at] += len(popped)
            staged += popped
        staged.sort()
        count = total = 0
        for entry in staged:
            if count == limit or (count and total + entry[1] > limit_bytes):
                break
            total += entry[1]
            count += 1
            counts[bucket_of(entry[_SITE][_LEVEL_NO])] -= 1
        taken = staged[:count]
        del staged[:count]
        return taken

    def _pop(self, at: int, cutoff: int, limit: int, limit_bytes: int) -> list[Entry]:
        queue, fronts = self._queues[at], self._fronts
        while True:
            front = fronts[at]
            parts = queue[front : front + limit * _PARTS]
            if not parts:
                return []
            if parts[0] is None:  # an eviction came between the two lines
                continue
            tickets, totals = parts[::_PARTS], [*accumulate(parts[_SIZE::_PARTS])]
            count = min(bisect_left(totals, limit_bytes) + 1, len(tickets))
            if max(tickets) >= cutoff:
                count = min(count, next(n for n, ticket in enumerate(tickets) if ticket >= cutoff))
                if not count:
                    return []
            # All that takes memory is made before the step: where there is none left, nothing has left the buffer.
            del parts[count * _PARTS :]
            # Rows of what was flat: one iterator, read for each part in turn.
            rows = [*zip(*[iter(parts)] * _PARTS, strict=True)]
            behind = front + count * _PARTS
            gone, blanks = slice(front, behind), _BLANK * count
            try:
                # One step with the next two lines: where an eviction was quicker, all is looked at again.
                if front == fronts[at] and tickets[0] == queue[front]:
                    queue[gone] = blanks
                    fronts[at] = behind
                    break
            except IndexError:  # what is left was moved to the front meanwhile
                continue
        self._give_back(at)
        return rows

    def ticket(self) -> int:
        """A point in the order of entries: those that are in here now come before it."""
        return next(self._tickets)

    def release(self, records: int, size: int) -> None:
        """Ends the count of entries that have been sent (or dropped by the sender, who counts that)."""
        self.records -= records
        self.bytes -= size
