"""The queue of a sink: batches, what is in hand, what leaves for the spool, and what is shed at which price."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import Any

import pytest

from logbus.collectors.writing.backlog import Backlog
from logbus.collectors.writing.lines import Lines
from logbus.collectors.writing.terms import Terms
from tests.frames import producer

A = producer(1)
DEBUG, INFO, ERROR = 1, 2, 4
ALL = 10**9


def put(backlog: Backlog, *texts: str, level: int = INFO, came: float = 0.0) -> Sequence[int]:
    """One delivery of lines of one level."""
    data = b"".join([text.encode() + b"\n" for text in texts])
    count = len(texts)
    return backlog.put(data, count, ((producer(1), backlog.next_seq, count),), came, bytes([level]) * count)


def texts(given: Sequence[Lines]) -> list[str]:
    """What was given out, as texts."""
    return [line[:-1].decode() for lines in given for line in lines.lines()]


def left(backlog: Backlog) -> list[str]:
    """What comes out of it, batch after batch."""
    found = []
    while taken := backlog.take(ALL, ALL):
        found += texts(taken)
        backlog.done(sum(lines.records for lines in taken))
    return found


def test_a_batch_is_filled_across_deliveries() -> None:
    """A delivery is split where the records end; its rest is in the next batch."""
    backlog = Backlog(Terms())
    put(backlog, "a", "b", "c")
    put(backlog, "d", "e", "f")
    assert texts(backlog.take(4, ALL)) == ["a", "b", "c", "d"]
    backlog.done(4)
    assert texts(backlog.take(4, ALL)) == ["e", "f"]


def test_a_delivery_is_split_by_bytes_only_where_it_is_alone_too_long() -> None:
    """Else the batch ends before it; a line that is longer than the bound goes by itself."""
    backlog = Backlog(Terms())
    put(backlog, "aaa", "bbb")
    put(backlog, "ccc", "ddd", "eee" * 9)
    for batch in (["aaa", "bbb"], ["ccc", "ddd"], ["eee" * 9]):
        taken = backlog.take(ALL, 10)
        assert texts(taken) == batch
        backlog.done(len(batch))


def test_the_room_of_the_sink_bounds_a_batch_too() -> None:
    """The smaller of the two counts."""
    backlog = Backlog(Terms())
    put(backlog, "aaa", "bbb", "ccc")
    assert texts(backlog.take(ALL, 10, 4)) == ["aaa"]


def test_what_failed_is_taken_again_by_itself() -> None:
    """The same batch or a smaller one, whatever has come; what a smaller one leaves stays in hand."""
    backlog = Backlog(Terms())
    put(backlog, "a", "b", "c")
    assert texts(backlog.take(ALL, ALL)) == ["a", "b", "c"]
    put(backlog, "d")
    assert texts(backlog.take(ALL, ALL)) == ["a", "b", "c"]
    assert texts(backlog.take(1, ALL)) == ["a"]
    assert texts(backlog.hand) == ["a", "b", "c"]
    backlog.done(1)
    assert texts(backlog.take(ALL, ALL)) == ["b", "c"]
    backlog.done(2)
    assert texts(backlog.take(ALL, ALL)) == ["d"]


def test_more_than_is_in_hand_cannot_have_ended() -> None:
    """That is an error, and nothing has changed."""
    backlog = Backlog(Terms())
    put(backlog, "a", "b", "c")
    backlog.take(2, ALL)
    with pytest.raises(ValueError, match="expected at most the 2 records in hand, found 3"):
        backlog.done(3)
    backlog.done(2)
    assert left(backlog) == ["c"]


def test_what_was_given_out_stays_as_it_is() -> None:
    """A part that has ended, or was taken by itself, does not change the batch that somebody holds."""
    backlog = Backlog(Terms())
    put(backlog, "a", "b", "c")
    [batch] = backlog.take(ALL, ALL)
    backlog.done(1)
    [rest] = backlog.take(ALL, ALL)
    backlog.take(1, ALL)
    backlog.done(1)
    assert (batch.data, batch.records, batch.first) == (b"a\nb\nc\n", 3, 0)
    assert (rest.data, rest.records, rest.first) == (b"b\nc\n", 2, 1)
    assert [(lines.data, lines.records, lines.first) for lines in backlog.take(ALL, ALL)] == [(b"c\n", 1, 2)]


@pytest.mark.parametrize(
    ("terms", "due"),
    [
        ({}, 0.0),
        ({"max_delay_s": 4.0}, 3.0),
        ({"max_delay_s": 0.5}, 0.0),
        ({"max_delay_s": 4.0, "max_records": 3}, 0.0),
        ({"max_delay_s": 4.0, "max_records": 4}, 3.0),
        ({"max_delay_s": 4.0, "max_bytes": 6}, 0.0),
        ({"max_delay_s": 4.0, "max_bytes": 7}, 3.0),
        ({"max_delay_s": 4.0, "queue_bytes": 6}, 0.0),
    ],
    ids=str,
)
def test_a_batch_is_due_when_it_is_full_or_its_oldest_line_has_waited(terms: dict[str, Any], due: float) -> None:
    """By records, bytes or time; and a queue that can hold no more does not wait for a batch that is larger."""
    backlog = Backlog(Terms(**terms))
    assert backlog.due_in(0.0) == inf
    put(backlog, "a", "b", came=10.0)
    put(backlog, "c", came=10.9)
    assert backlog.due_in(11.0) == due
    assert backlog.oldest_came == 10.0


def test_what_is_in_hand_is_due_at_once() -> None:
    """It has been tried, and nothing more has to come."""
    backlog = Backlog(Terms(max_delay_s=4.0))
    put(backlog, "a")
    backlog.take(ALL, ALL)
    assert backlog.due_in(0.0) == 0.0


def test_nothing_overtakes_what_is_leaving_for_the_spool() -> None:
    """What is in hand is older and may be taken; what waits is newer, and is not due before that is settled."""
    backlog = Backlog(Terms())
    put(backlog, "a", "b", "c", "d")
    backlog.take(1, ALL)
    assert texts(backlog.spill(4)) == ["b", "c"]
    assert texts(backlog.spill(ALL)) == ["b", "c"]
    assert texts(backlog.take(ALL, ALL)) == ["a"]
    backlog.done(1)
    assert (backlog.take(ALL, ALL), backlog.first_bytes, backlog.due_in(0.0), backlog.waiting) == ([], 0, inf, True)
    backlog.spilled(2)
    assert (backlog.records, left(backlog)) == (1, ["d"])


def test_what_the_spool_has_not_got_waits_again_in_its_place() -> None:
    """All of it, or the rest behind what has arrived."""
    backlog = Backlog(Terms())
    put(backlog, "a", "b", "c")
    put(backlog, "d")
    backlog.spill(4)
    backlog.spilled(1)
    assert [(lines.data, lines.records, lines.first) for lines in backlog.spill(ALL)] == [(b"b\n", 1, 1)]
    with pytest.raises(ValueError, match="expected at most the 1 records that are leaving, found 2"):
        backlog.spilled(2)
    backlog.unspill()
    assert left(backlog) == ["b", "c", "d"]


def test_numbers_go_on_above_those_of_the_spool() -> None:
    """What came before the spool was read is numbered anew, in hand or not, and never below what it was."""
    backlog = Backlog(Terms(), first=5)
    put(backlog, "a", "b")
    put(backlog, "c")
    backlog.take(1, ALL)
    backlog.number_from(100)
    backlog.number_from(3)
    assert [lines.first for lines in backlog.hand] == [100]
    assert [(lines.first, lines.last) for lines in backlog.spill(ALL)] == [(101, 102)]
    assert backlog.next_seq == 103


def test_the_lowest_level_goes_first_and_of_that_the_oldest() -> None:
    """A sixteenth of the bound at a time, so that not each record has to make room for itself."""
    backlog = Backlog(Terms(queue_bytes=160, on_full="shed_lowest"))
    for at in range(10):
        put(backlog, f"debug {at:03}", level=DEBUG)
    for at in range(6):
        put(backlog, f"error {at:03}", level=ERROR)
    assert put(backlog, "info 0000", level=INFO) == [0, 2, 0, 0, 0, 0]
    errors = [f"error {at:03}" for at in range(6)]
    assert left(backlog) == [*[f"debug {at:03}" for at in range(2, 10)], *errors, "info 0000"]


def test_what_is_lower_than_all_that_waits_is_shed_as_it_comes() -> None:
    """And nothing of a higher level with it."""
    backlog = Backlog(Terms(queue_bytes=40, on_full="shed_lowest"))
    put(backlog, *["error 000"] * 4, level=ERROR)
    assert put(backlog, "debug", level=DEBUG) == [0, 1, 0, 0, 0, 0]
    assert left(backlog) == ["error 000"] * 4


def test_the_oldest_go_first_whatever_their_level() -> None:
    """What is counted is by level all the same."""
    backlog = Backlog(Terms(queue_bytes=30, on_full="drop_oldest"))
    put(backlog, "error 000", level=ERROR)
    put(backlog, "debug 001", "debug 002", level=DEBUG)
    assert put(backlog, "info 0003", level=INFO) == [0, 1, 0, 0, 1, 0]
    assert left(backlog) == ["debug 002", "info 0003"]


def test_what_is_in_hand_or_leaving_is_never_shed() -> None:
    """Though it is the lowest, and the oldest, and more than the bound; then what comes goes."""
    for policy in ("shed_lowest", "drop_oldest"):
        backlog = Backlog(Terms(queue_bytes=20, on_full=policy))
        put(backlog, "debug 000", "debug 001", level=DEBUG)
        backlog.take(1, ALL)
        backlog.spill(ALL)
        assert put(backlog, "error", level=ERROR) == [0, 0, 0, 0, 1, 0]
        backlog.spilled(1)
        assert left(backlog) == ["debug 000"]


def test_what_is_in_hand_is_not_shed_for_what_went_before_it() -> None:
    """A delivery whose one level was taken, and whose other one was then shed, does not keep the next one listed."""
    backlog = Backlog(Terms(queue_bytes=32, on_full="shed_lowest"))
    backlog.put(b"error 000\ndebug 000\n", 2, ((producer(1), 0, 2),), 0.0, bytes([ERROR, DEBUG]))
    backlog.take(1, ALL)
    assert put(backlog, "error 001", "err", level=ERROR) == [0, 1, 0, 0, 0, 0]
    backlog.done(1)
    assert texts(backlog.take(ALL, ALL)) == ["error 001", "err"]
    assert sum(put(backlog, "critical 002", "critical 003", level=5)) == 1
    assert texts(backlog.hand) == ["error 001", "err"]


def test_what_was_shed_leaves_nothing_behind() -> None:
    """Though hundreds of deliveries are shed between any two that stay."""
    backlog = Backlog(Terms(queue_bytes=50_000, on_full="shed_lowest"))
    put(backlog, *["error 000"] * 4500, level=ERROR)
    for _ in range(100):
        while not backlog.full:
            put(backlog, "debug 000", level=DEBUG)
        put(backlog, "error 001", level=ERROR)
    assert backlog.next_seq > 20_000
    assert len(backlog._waiting) < 2000
    assert sum(map(len, backlog._having)) < 2000


def test_sinks_that_wait_or_refuse_shed_nothing() -> None:
    """What is beyond the bound was let in by whoever asked whether it is full; levels are not needed."""
    backlog = Backlog(Terms(queue_bytes=3))
    assert backlog.put(b"aaaa\n", 1, (), 0.0) == (0,) * 6
    assert (backlog.full, backlog.bytes, left(backlog)) == (True, 5, ["aaaa"])


def test_levels_have_to_fit() -> None:
    """A policy that goes by them can't do with less, and says so before it has taken anything."""
    backlog = Backlog(Terms(on_full="shed_lowest"))
    with pytest.raises(ValueError, match="expected one for each of 2 records, found 1"):
        backlog.put(b"a\nb\n", 2, (), 0.0, bytes([INFO]))
    assert (backlog.records, backlog.bytes, backlog.next_seq) == (0, 0, 0)


def test_a_trickle_into_a_queue_full_of_what_matters_more_costs_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery is looked at a few times in its life, however many wait."""
    backlog = Backlog(Terms(queue_bytes=50_000, on_full="shed_lowest"))
    cuts = 0
    cut = Lines.cut

    def counted(lines: Lines, bucket: int, size: int) -> tuple[int, int]:
        nonlocal cuts
        cuts += 1
        return cut(lines, bucket, size)

    monkeypatch.setattr(Lines, "cut", counted)
    for at in range(4900):
        put(backlog, f"error {at % 10}{at % 7}{at % 3}", level=ERROR)
    shed = 0
    for at in range(3000):
        shed += sum(put(backlog, f"debug {at % 10}", level=DEBUG))
        shed += sum(put(backlog, f"inf {at % 10}", level=INFO))
    assert shed > 5000
    assert cuts < 3 * shed
    assert backlog.bytes <= 50_000


def test_small_deliveries_cost_little_more_than_their_bytes() -> None:
    """A service that logs a line at a time fills the bound of its queue, and not several times that."""
    backlog = Backlog(Terms(on_full="shed_lowest", queue_bytes=2 * 1024 * 1024))
    tracemalloc.start()
    try:
        for number in range(10_000):
            backlog.put(b"%099d\n" % number, 1, ((A, number, 1),), 0.0, bytes([number % 3]))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert backlog.bytes == 1_000_000
    assert size < 2 * backlog.bytes


def test_what_was_put_together_is_shed_and_taken_record_by_record() -> None:
    """By its level, oldest first; the numbers of sequence stay those of the lines, and numbers never go back."""
    backlog = Backlog(Terms(on_full="shed_lowest", queue_bytes=16))
    for number in range(8):
        backlog.put(b"%d\n" % number, 1, ((A, number, 1),), float(number), bytes([number % 2]))
    assert backlog.put(b"8\n", 1, ((A, 8, 1),), 8.0, b"\0") == [2, 0, 0, 0, 0, 0]
    assert not any(backlog.put(b"9\n", 1, ((A, 9, 1),), 9.0, b"\1"))
    taken = backlog.take(ALL, ALL)
    assert b"".join([lines.data for lines in taken]) == b"1\n3\n4\n5\n6\n7\n8\n9\n"
    assert [found for lines in taken for found in lines.ranges] == [(A, 1, 1), (A, 3, 6), (A, 9, 1)]
    assert taken[0].came == 0.0
    assert all(one.last < other.first for one, other in pairwise(taken))
