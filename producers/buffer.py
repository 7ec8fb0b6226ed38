"""The bounded buffer between the threads that log and the sender thread.

No lock, so that a call never waits and a signal handler may log in the middle of a call. Entries stand in one
deque per level bucket; a ticket, taken at the call, gives their order. What must not come apart (an entry enters
and is counted; an entry leaves and is counted) is written as statements without a call between them: CPython
checks for signals and for other threads only at calls, loops and function entries, so these run as one step.
See docs/decisions/0002.

The law, at every moment between two steps:
``settled = records + sent + dropped``, with ``records`` what is in here and in the sender's hand.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final, Literal

from logbus.counters import DROPPED, EMITTED, SETTLED, Counters
from logbus.levels import BUCKETS, bucket_of
from logbus.wire import HIGH_WATER_MARK, SHUTDOWN, UNENCODABLE

OnFull = Literal["shed_lowest", "drop_newest", "drop_oldest"]

#: An entry: (ticket, size in bytes, created in seconds, site, thread name, message, extra, nested, exception).
Entry = tuple[Any, ...]

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
        self._queues: tuple[deque[Entry], ...] = tuple(deque() for _ in BUCKETS)
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
            # An iterator, made here: "+=" would make one, and where an object is made that has to be tracked Python
            # 3.11 may collect garbage, which runs finalizers, which may let another thread in.
            entry = iter(((next(self._tickets), size, created, site, thread, message, extra, nested, exception),))
            queue = self._queues[bucket]
            if self.closed:  # looked at here, past the last call: nothing enters once it is set
                self._note(_WIDTH + bucket, created)
                at = _SHUTDOWN + bucket
                cell[at] += 1  # one step with the next two lines
                cell[SETTLED] += 1
                under_way = False
                return
            # One step to the end: "+=" where a reader expects append(), which is a call and could be interrupted.
            self.records += 1
            self.bytes += size
            queue += entry
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
        while self.records >= self.capacity or self.bytes + size > self.capacity_bytes:
            victims = self._lowest(bucket) if self.on_full == "shed_lowest" else self._oldest()
            if victims is None:
                return False
            queue = self._queues[victims]
            at = _HIGH_WATER_MARK + victims
            entry = None  # the last victim ends here, with whatever hangs on it, and not inside the step
            try:
                entry = queue[0]  # one step to the count: no call between
                del queue[0]
                self.records -= 1
                self.bytes -= entry[1]
                cell[at] += 1
            except IndexError:  # the sender, or another thread, was quicker: look again
                continue
            self._note(victims, entry[2])
        return True

    def _lowest(self, bucket: int) -> int | None:
        for lower in range(bucket):
            if self._queues[lower]:
                return lower
        return None

    def _oldest(self) -> int | None:
        best = None
        for at, queue in enumerate(self._queues):
            try:
                ticket = queue[0][0]
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
        waiting = [at for at, queue in enumerate(self._queues) if queue]
        if not staged and len(waiting) == 1:
            return self._pop(waiting[0], cutoff, limit, limit_bytes)
        counts = self._staged_counts
        for at in waiting:
            # As many of each level as could go: only then does the sort see every entry that may come first.
            popped = self._pop(at, cutoff, limit - counts[at], limit_bytes)
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
        queue = self._queues[at]
        popped: list[Entry] = []
        total = 0
        try:
            while len(popped) < limit and total < limit_bytes:
                entry = queue[0]  # one step with the removal: an eviction can't come between
                if entry[0] >= cutoff:
                    break
                del queue[0]
                popped.append(entry)
                total += entry[1]
        except IndexError:  # empty
            pass
        return popped

    def ticket(self) -> int:
        """A point in the order of entries: those that are in here now come before it."""
        return next(self._tickets)

    def release(self, records: int, size: int) -> None:
        """Ends the count of entries that have been sent (or dropped by the sender, who counts that)."""
        self.records -= records
        self.bytes -= size
