"""The buffer in Python: its segments are short whatever the capacity, and nothing is lost between two, or two steps."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from logbus.counters import Counters, Meta
from logbus.levels import BUCKETS
from logbus.producers import buffer as module
from logbus.producers.buffer import Buffer, OnFull, Segment
from tests.unit.test_buffer import DEBUG, ERROR, INFO, Caller, check_law, drain, numbers, one_caller

#: Parts of an entry, and records in a segment before another one follows, where a test makes them few.
PARTS = 9
FEW = 16


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few records: there are many of them, and each of their ends is met."""
    monkeypatch.setattr(module, "_SEGMENT", FEW)


def chain(buffer: Buffer, at: int) -> list[Segment]:
    """The segments of a level, the oldest first."""
    found = [buffer._heads[at]]
    while found[-1] is not buffer._queues[at]:
        found.append(found[-1].following)
    return found


def chains(buffer: Buffer) -> list[Segment]:
    """The segments of all levels."""
    return [segment for at in range(len(BUCKETS)) for segment in chain(buffer, at)]


@pytest.mark.parametrize("how", ["taken", "evicted"])
def test_what_has_left_takes_no_room(how: str) -> None:
    """However many records pass through, the room of those that have left is given back, and their order is kept."""
    caller = one_caller(50, 1 << 20, "drop_oldest")
    most = 0
    for number in range(5000):
        caller.put(INFO)
        if how == "taken" and number % 7 == 0:
            drain(caller.buffer)
        most = max(most, sum(map(len, chains(caller.buffer))))
    assert most < PARTS * 1100
    left = 1 if how == "taken" else 50  # 4998 is a multiple of seven
    assert caller.buffer.records == left
    assert numbers(drain(caller.buffer)) == list(range(5000 - left, 5000))


@pytest.mark.parametrize("capacity", [10 * FEW + 5, 40 * FEW + 5])
@pytest.mark.parametrize("on_full", ["shed_lowest", "drop_newest", "drop_oldest"])
@pytest.mark.parametrize("limit_bytes", [1000, 1 << 20])
@pytest.mark.usefixtures("short_segments")
def test_no_list_is_long_whatever_the_capacity(on_full: OnFull, capacity: int, limit_bytes: int) -> None:
    """A burst, a full buffer and a backlog that drains stand in short lists: nobody waits for the end of a long one."""
    caller = one_caller(capacity, 1 << 20, on_full)
    longest = 0

    def look() -> None:
        nonlocal longest
        longest = max(longest, *map(len, chains(caller.buffer)))
        assert caller.buffer.records <= capacity

    choice = random.Random(capacity)
    for _ in range(2):
        for _ in range(2 * capacity):
            caller.put(choice.choice((DEBUG, INFO, INFO, ERROR)))
            look()
        before = caller.buffer.records
        taken = 0
        while entries := caller.buffer.take(5, limit_bytes):
            caller.buffer.release(len(entries), sum(entry[1] for entry in entries))
            taken += len(entries)
            if choice.random() < 0.5:
                caller.put(choice.choice((DEBUG, INFO, ERROR)))
            look()
        assert taken >= before
    assert FEW * PARTS <= longest <= 3 * FEW * PARTS
    assert caller.buffer.records == 0


@pytest.mark.parametrize("levels_put", [(INFO,), (INFO, DEBUG)])
@pytest.mark.usefixtures("short_segments")
def test_a_take_goes_on_where_a_segment_ends(levels_put: tuple[int, ...]) -> None:
    """As many are taken as the limits allow, in the order of the calls, however many segments they stand in."""
    caller = one_caller(1000)
    for _ in range(600 // len(levels_put)):
        for level in levels_put:
            caller.put(level, size=100)
    assert sum(len(chain(caller.buffer, at)) for at in (1, 2)) > 10
    assert numbers(caller.buffer.take(100, 1 << 20)) == list(range(100))
    assert len(caller.buffer.take(1000, 10_050)) in (100, 101)
    rest = drain(caller.buffer)
    assert len(rest) >= 399
    assert numbers(rest) == list(range(600 - len(rest), 600))


@pytest.mark.parametrize("how", ["taken", "evicted"])
@pytest.mark.usefixtures("short_segments")
def test_nothing_is_lost_where_no_memory_is_left_for_another_segment(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records enter, leave and make room as ever, though their list becomes longer than it should."""

    def refused() -> Segment:
        raise MemoryError

    caller = one_caller(1000 if how == "taken" else 50, 1 << 20, "drop_oldest")
    monkeypatch.setattr(module, "Segment", refused)
    for _ in range(1000):
        caller.put(INFO)
    assert len(chain(caller.buffer, 2)) == 1
    assert numbers(drain(caller.buffer)) == list(range(0 if how == "taken" else 950, 1000))
    check_law(caller.buffer, [caller], 1000 - sum(caller.dropped().values()))


class Tight(Segment):
    """A segment whose records can't be copied: no memory is left for that."""

    __slots__ = ()

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            raise MemoryError
        return super().__getitem__(at)


@pytest.mark.parametrize("levels_put", [(INFO,), (DEBUG, INFO)])
@pytest.mark.usefixtures("short_segments")
def test_what_left_a_segment_is_not_lost_where_memory_ends_in_the_next_one(levels_put: tuple[int, ...]) -> None:
    """A take that fails half way has lost nothing: the next one begins with what had left, in its order."""
    caller = one_caller(1000)
    for _ in range(200 // len(levels_put)):
        for level in levels_put:
            caller.put(level)
    buffer = caller.buffer
    first, second, third = chain(buffer, 2)[:3]
    tight = Tight(second)
    first.following, tight.following = tight, third
    with pytest.raises(MemoryError):
        buffer.take(200, 1 << 20)
    assert buffer._heads[2] is tight
    check_law(buffer, [caller], 0)
    buffer._heads[2] = second
    second.following = third
    assert numbers(drain(buffer)) == list(range(200))


class RaisedError(Exception):
    """What a signal handler raises."""


class Interrupted(Buffer):
    """A buffer whose every note of a drop is interrupted by a signal handler that raises."""

    __slots__ = ()

    def _note(self, at: int, created: float) -> None:
        raise RaisedError


@pytest.mark.parametrize("closed", [False, True])
def test_a_drop_is_counted_though_signals_interrupt_it_twice(closed: bool) -> None:
    """A handler that raises while a drop is noted, and another one while the first is dealt with, hide no record."""
    counters = Counters(Path("/nowhere"), bytes(16), Meta("", 1, "", "", 1))
    buffer = Interrupted(1, 1 << 20, "drop_newest", counters)
    caller = Caller(buffer, counters)
    caller.put(INFO)
    buffer.closed = closed
    with pytest.raises(RaisedError):
        caller.put(INFO)
    totals = counters.totals()
    assert totals.emitted == totals.settled == 2
    assert sum(totals.dropped) == 1
