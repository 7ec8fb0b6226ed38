"""The buffer under any sequence of calls: the law of the ledger holds after each, and so does every promise.

Both forms are held to the same model: the one in Python, and the compiled one.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logbus.counters import Counters, Meta
from logbus.levels import BUCKETS, bucket_of
from logbus.producers.buffer import Buffer, Entry, OnFull
from logbus.wire import HIGH_WATER_MARK, SHUTDOWN
from tests.forms import buffer_type, needs_compiled, rows

CAPACITY = 8
CAPACITY_BYTES = 1000
LEVELS = st.sampled_from([0, 5, 10, 20, 25, 30, 40, 50, 60])
SIZES = st.integers(1, 300) | st.integers(900, 1100)
THREADS = st.sampled_from(["a", "b", "c"])


@dataclass(frozen=True)
class Put:
    """A record as the model knows it."""

    number: int
    thread: str
    bucket: int
    size: int


class AnyUse(RuleBasedStateMachine):
    """Threads that put, a sender that takes, sends and gives up, and a shutdown, in any order.

    The model is a list: what the policy says of it is written down plainly, and held against the real buffer.
    """

    form = "python"

    @initialize(on_full=st.sampled_from(get_args(OnFull)))
    def begin(self, on_full: OnFull) -> None:
        """A buffer with one of the policies."""
        self.counters = Counters(Path("/nowhere"), bytes(16), Meta("", 1, "", "", 1))
        self.buffer: Buffer = buffer_type(self.form)(CAPACITY, CAPACITY_BYTES, on_full, self.counters)
        self.cells = {thread: self.counters.cell() for thread in "abc"}
        self.next = 0
        #: What can still be evicted, in the order of the calls; what the sender has looked at; what it holds.
        self.waiting: list[Put] = []
        self.hand: deque[list[Entry]] = deque()
        self.released = 0
        self.dropped: Counter[tuple[int, int]] = Counter()
        self.last_taken: dict[str, int] = defaultdict(lambda: -1)

    @rule(thread=THREADS, level=LEVELS, size=SIZES)
    def put(self, thread: str, level: int, size: int) -> None:
        """A thread logs a record."""
        record = Put(self.next, thread, bucket_of(level), size)
        self.next += 1
        self.counters.cells[threading.get_ident()] = self.cells[thread]
        queued = self._queued()
        before = sum(map(len, queued.values()))
        staged = 0 if self.form == "compiled" else self.buffer.records - before - sum(map(len, self.hand))
        site = ("logger", level, "LEVEL", "module", "function", 1)
        self.buffer.put(1.0, site, thread, str(record.number), None, None, None, size)
        if self.buffer.closed:
            self.dropped[SHUTDOWN, record.bucket] += 1
            return
        self._make_room(record, queued, staged)

    def _make_room(self, new: Put, queued: dict[int, list[int]], staged: int) -> None:
        """What the policy says, on the model: the records that had to go are counted."""
        in_reach = [record for record in self.waiting if record.number in queued[record.bucket]]
        fixed_records = staged + sum(map(len, self.hand))
        fixed_bytes = self._bytes() - sum(record.size for record in in_reach)
        kept = list(in_reach)

        def full() -> bool:
            too_many = fixed_records + len(kept) >= CAPACITY
            return too_many or fixed_bytes + sum(record.size for record in kept) + new.size > CAPACITY_BYTES

        gone: list[Put] = []
        fits = True
        while full():
            if self.buffer.on_full == "drop_newest" or new.size > CAPACITY_BYTES:
                victims = []
            elif self.buffer.on_full == "drop_oldest":
                victims = kept
            else:
                lowest = min((record.bucket for record in kept), default=len(BUCKETS))
                victims = [record for record in kept if record.bucket == lowest < new.bucket]
            if not victims:
                fits = False
                break
            gone.append(victims[0])
            kept.remove(victims[0])
        for record in gone if fits else [*gone, new]:
            self.dropped[HIGH_WATER_MARK, record.bucket] += 1
        self.waiting = [record for record in self.waiting if record not in gone]
        if fits:
            self.waiting.append(new)

    @rule(limit=st.integers(1, 6), limit_bytes=st.integers(1, 600))
    def take(self, limit: int, limit_bytes: int) -> None:
        """The sender takes a batch: within its limits, but one at least, and each thread's records in order."""
        batch = self.buffer.take(limit, limit_bytes)
        taken = rows(batch)
        assert len(batch) == len(taken)
        assert bool(taken) == bool(self.waiting)
        assert len(taken) <= limit
        assert len(taken) == 1 or sum(entry[1] for entry in taken[:-1]) < limit_bytes
        for entry in taken:
            assert int(entry[5]) > self.last_taken[entry[4]]
            self.last_taken[entry[4]] = int(entry[5])
        numbers = {int(entry[5]) for entry in taken}
        assert numbers == {record.number for record in self.waiting[: len(taken)]}, "not the oldest"
        self.waiting = self.waiting[len(taken) :]
        if taken:
            self.hand.append(taken)

    @precondition(lambda self: self.hand)
    @rule()
    def release(self) -> None:
        """The sender has sent a batch."""
        batch = self.hand.popleft()
        self.buffer.release(len(batch), sum(entry[1] for entry in batch))
        self.released += len(batch)

    @rule()
    def close(self) -> None:
        """The producer shuts down."""
        self.buffer.closed = True

    @invariant()
    def law(self) -> None:
        """What settled is here, was sent or was dropped; nothing is under way between two calls."""
        totals = self.counters.totals()
        assert totals.emitted == totals.settled == self.next
        assert totals.settled == self.buffer.records + self.released + sum(totals.dropped)

    @invariant()
    def bounds(self) -> None:
        """Neither limit is ever exceeded, and both counts are right."""
        assert 0 <= self.buffer.records <= CAPACITY
        assert 0 <= self.buffer.bytes <= CAPACITY_BYTES
        assert self.buffer.records == len(self.waiting) + sum(map(len, self.hand))
        assert self.buffer.bytes == self._bytes()

    @invariant()
    def drops(self) -> None:
        """Each drop stands under its reason and its level."""
        found = {(reason, bucket): count for reason, bucket, count in self.counters.totals().drops()}
        assert found == dict(self.dropped)

    def _bytes(self) -> int:
        held: int = sum(entry[1] for batch in self.hand for entry in batch)
        return sum(record.size for record in self.waiting) + held

    def _queued(self) -> dict[int, list[int]]:
        """The numbers that stand in each level's queue: an eviction reaches these, not what the sender looks at."""
        if self.form == "compiled":  # nothing is looked at but what it takes
            return {at: [record.number for record in self.waiting] for at in range(len(BUCKETS))}
        return {at: [int(text) for text in self._parts(at)[5::9]] for at in range(len(BUCKETS))}

    def _parts(self, at: int) -> list[Any]:
        """What stands in a level's queue, all segments in a row, without the blanks."""
        segment = self.buffer._heads[at]
        parts: list[Any] = []
        while segment is not self.buffer._queues[at]:
            parts += segment
            segment = segment.following
        return [*parts, *segment][self.buffer._fronts[at] :]


class AnyUseCompiled(AnyUse):
    """The same of the compiled buffer."""

    form = "compiled"


TestAnyUse = AnyUse.TestCase
TestAnyUseCompiled = needs_compiled(AnyUseCompiled.TestCase)
