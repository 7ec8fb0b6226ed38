"""The queue of a sink against a plain list of records: order, numbers, bytes, and who is shed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logbus.collectors.rows import Range, coalesced
from logbus.collectors.writing.backlog import SHED_PART, Backlog
from logbus.collectors.writing.lines import Lines
from logbus.collectors.writing.terms import Policy, Terms
from logbus.levels import BUCKETS
from tests.frames import producer

POLICIES: tuple[Policy, ...] = ("block", "drop_newest", "drop_oldest", "shed_lowest", "spool")
#: The bounds of a take or a spill, often below one line.
BOUNDS = st.one_of(st.integers(1, 60), st.just(10**9))
#: A delivery: of each record its length, its level, and whether numbers of its producer are left out before it.
DELIVERY = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.booleans()), min_size=1, max_size=12)


@dataclass
class Record:
    """One record of the model."""

    line: bytes
    level: int
    place: Range
    came: float


class Queues(RuleBasedStateMachine):
    """A backlog, and lists of records that do what it says it does."""

    @initialize(policy=st.sampled_from(POLICIES), bound=st.integers(1, 300), first=st.integers(0, 1000))
    def begin(self, policy: Policy, bound: int, first: int) -> None:
        """An empty queue of any policy, mostly smaller than what comes."""
        self.terms = Terms(on_full=policy, queue_bytes=bound, spool_bytes=1 if policy == "spool" else 0)
        self.backlog = Backlog(self.terms, first=first)
        self.hand: list[Record] = []
        self.leaving: list[Record] = []
        self.waiting: list[Record] = []
        self.came = 0.0
        self.number = 0
        self.put_records = self.ended = self.shed = 0
        #: The last number that the spool has got.
        self.last_spilled = -1

    @rule(delivery=DELIVERY, by_level=st.booleans())
    def put(self, delivery: list[tuple[int, int, bool]], by_level: bool) -> None:
        """What comes is shed by the policy, one by one from the oldest of the lowest or from the oldest, or not."""
        self.came += 1.0
        records = []
        for length, level, gap in delivery:
            self.number += 1 + gap
            line = b"%d-%s\n" % (self.number, b"x" * length)
            records.append(Record(line, level, (producer(1), self.number, 1), self.came))
        data = b"".join([record.line for record in records])
        levels = bytes([record.level for record in records]) if by_level or self.terms.by_level else b""
        ranges = coalesced([record.place for record in records])
        self.waiting += records
        self.put_records += len(records)
        expected = self.shed_by_the_book()
        self.shed += sum(expected)
        assert list(self.backlog.put(data, len(records), ranges, self.came, levels)) == expected

    def shed_by_the_book(self) -> list[int]:
        """Sheds in the model, and says how many of each level."""
        counts = [0] * len(BUCKETS)
        excess = self.size() - self.terms.queue_bytes
        if excess <= 0 or not self.terms.by_level:
            return counts
        aim = excess + self.terms.queue_bytes // SHED_PART
        freed = 0
        orders = [None] if self.terms.on_full == "drop_oldest" else range(len(BUCKETS))
        for bucket in orders:
            if bucket is not None and freed >= excess:
                break
            for record in list(self.waiting):
                if freed < aim and bucket in (None, record.level):
                    self.waiting.remove(record)
                    counts[record.level] += 1
                    freed += len(record.line)
        return counts

    def size(self) -> int:
        """Bytes in the model."""
        return sum(len(record.line) for record in (*self.hand, *self.leaving, *self.waiting))

    @rule(records=st.integers(1, 15), size=BOUNDS, room=BOUNDS)
    def take(self, records: int, size: int, room: int) -> None:
        """A batch is the front of what is in hand, or of what waits if nothing is, within its bounds."""
        place = self.hand or ([] if self.leaving else self.waiting)
        assert self.backlog.first_bytes == (len(place[0].line) if place else 0)
        taken = self.backlog.take(records, size, room)
        count = sum(lines.records for lines in taken)
        assert (count > 0) == bool(place)
        assert count <= records
        assert count <= 1 or sum(len(lines.data) for lines in taken) <= min(size, room)
        self.same(taken, place[:count])
        if taken and not self.hand:
            assert taken[0].first > self.last_spilled
            self.hand, self.waiting = self.waiting[:count], self.waiting[count:]

    @precondition(lambda self: self.hand)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        """Any number of the first in hand may end."""
        count = data.draw(st.integers(0, len(self.hand)))
        self.backlog.done(count)
        self.ended += count
        del self.hand[:count]

    @rule()
    def look(self) -> None:
        """What is in hand is there as it was taken, whatever has come since."""
        self.same(self.backlog.hand, self.hand)

    @rule(size=BOUNDS)
    def spill(self, size: int) -> None:
        """What leaves for the spool is the front of what waits, and the same until it has ended."""
        given = self.backlog.spill(size)
        count = sum(lines.records for lines in given)
        if not self.leaving:
            assert (count > 0) == bool(self.waiting)
            assert count <= 1 or sum(len(lines.data) for lines in given) <= size
            self.leaving, self.waiting = self.waiting[:count], self.waiting[count:]
        self.same(given, self.leaving)

    @precondition(lambda self: self.leaving)
    @rule(data=st.data(), again=st.booleans())
    def spilled(self, data: st.DataObject, again: bool) -> None:
        """Any number of the first that leave may have arrived; the others leave again, or wait where they were."""
        given = self.backlog.spill(1)
        count = data.draw(st.integers(0, len(self.leaving)))
        numbers = [number for lines in given for number in range(lines.first, lines.last + 1)][:count]
        assert numbers == sorted(set(numbers))
        assert not numbers or numbers[0] > self.last_spilled
        self.last_spilled = max([self.last_spilled, *numbers])
        self.backlog.spilled(count)
        self.ended += count
        del self.leaving[:count]
        if not again:
            self.backlog.unspill()
            self.leaving, self.waiting = [], self.leaving + self.waiting

    @precondition(lambda self: self.last_spilled < 0)
    @rule(first=st.integers(0, 3000))
    def number_from(self, first: int) -> None:
        """Before the spool has any, all numbers may be raised above those that it has from before."""
        self.backlog.number_from(first)
        lowest = [lines.first for lines in self.backlog.hand] or [self.backlog.next_seq]
        assert lowest[0] >= first

    def same(self, given: list[Lines], expected: list[Record]) -> None:
        """What was given out is these records: lines, levels, which they are, when they came, ascending numbers."""
        assert [line for lines in given for line in lines.lines()] == [record.line for record in expected]
        assert b"".join([lines.data for lines in given]) == b"".join([record.line for record in expected])
        at = 0
        for lines in given:
            of = expected[at : at + lines.records]
            at += lines.records
            assert lines.ranges == coalesced([record.place for record in of])
            assert not lines.levels or list(lines.levels) == [record.level for record in of]
            assert not self.terms.by_level or lines.levels
            # Small deliveries become one, which is as old as the first of them.
            assert all(lines.came <= record.came for record in of)
        assert all(before.last < after.first for before, after in pairwise(given))
        assert not given or given[-1].last < self.backlog.next_seq

    @invariant()
    def adds_up(self) -> None:
        """All that has come has ended, was shed, or is there; and the bytes are those of the lines that are."""
        here = [*self.hand, *self.leaving, *self.waiting]
        assert self.put_records == self.ended + self.shed + self.backlog.records
        assert self.backlog.records == len(here)
        assert self.backlog.bytes == self.size()
        oldest = self.backlog.oldest_came
        assert (oldest is None) == (not here)
        assert oldest is None or 0 < oldest <= here[0].came
        assert self.backlog.waiting == bool(self.waiting)
        assert self.backlog.full == (self.size() >= self.terms.queue_bytes)
        if self.terms.by_level:
            assert not self.waiting or not self.size() > self.terms.queue_bytes

    def teardown(self) -> None:
        """What is left comes out in order."""
        if not hasattr(self, "backlog"):
            return
        self.backlog.unspill()
        self.leaving, self.waiting = [], self.leaving + self.waiting
        while self.backlog.records:
            self.take(7, 40, 10**9)
            self.backlog.done(len(self.hand))
            self.hand = []
        assert (self.waiting, self.backlog.bytes) == ([], 0)


TestQueues = Queues.TestCase
TestQueues.__doc__ = (
    "Every record of a queue is taken once and in order, or shed by the rule of its policy, or spilled."
)
