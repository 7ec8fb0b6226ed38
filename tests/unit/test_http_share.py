"""How much one request holds: what a server has called too large, and what it has refused."""

from __future__ import annotations

import sys

import pytest

from logbus.collectors.sinks.http.share import GROW_S, IN_A_ROW, MAX_FEW, MAX_ROOM, MIN_ROOM, WHOLE_S, Share

LINE = b"x" * 1023 + b"\n"


class Clock:
    """Monotonic seconds that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        """Them."""
        return self.now


def test_at_first_everything_goes_in_one_request() -> None:
    """No bound, and every line counted."""
    assert Share().cut(b"a\n" * 70_000) == (b"a\n" * 70_000, 70_000)


def test_half_of_what_was_too_large_is_next() -> None:
    """Whole lines only, in bytes; one line at least, however long it is."""
    share = Share()
    assert share.too_large(64 * 1024, 64)
    assert share.room == 32 * 1024
    assert share.cut(LINE * 64) == (LINE * 32, 32)
    assert share.cut(b"x" * 1_000_000 + b"\n" + LINE) == (b"x" * 1_000_000 + b"\n", 1)
    assert share.cut(b"x" * 32_768 + b"\n" + LINE)[1] == 1


def test_the_whole_is_tried_again_a_minute_later() -> None:
    """Twice the room with the first request that is accepted then, and again after another minute, up to no bound."""
    clock = Clock()
    share = Share(clock)
    share.too_large(64 * 1024, 64)
    clock.now += GROW_S - 1
    share.accepted(10)
    assert share.room == 32 * 1024
    clock.now += 1
    share.accepted(10)
    share.accepted(10)
    assert share.room == 64 * 1024
    for _ in range(20):
        clock.now += GROW_S
        share.accepted(10)
    assert share.room == sys.maxsize
    assert share.room != MAX_ROOM


def test_what_is_small_and_too_large_is_no_bound_for_long() -> None:
    """A server that calls a few hundred bytes too large means something else: fewer records, and soon more again."""
    share = Share()
    assert share.too_large(MIN_ROOM, 8)
    assert (share.room, share.few) == (sys.maxsize, 4)
    assert not share.too_large(10, 1)


def test_halves_lead_to_the_record_that_is_refused() -> None:
    """Half as many records each time; each request that is accepted doubles them."""
    share = Share()
    assert [share.refused(records) for records in (8, 4, 2)] == [True, True, True]
    assert share.cut(b"a\nb\nc\n") == (b"a\n", 1)
    assert not share.refused(1)
    seen = []
    for _ in range(4):
        share.accepted(share.few)
        seen.append(share.few)
    assert seen == [2, 4, 8, 16]
    share.accepted(3)  # no more had come
    assert share.few == 16
    share.few = MAX_FEW
    share.accepted(MAX_FEW)
    assert share.few == sys.maxsize


def test_a_server_that_refuses_everything_gets_no_request_for_each_record() -> None:
    """After eight in a row requests are given up whole, until one is accepted."""
    share = Share()
    share.refused(100)
    row = [(share.whole, share.refused(1), share.whole) for _ in range(IN_A_ROW)]
    assert row == [(False, False, False)] * (IN_A_ROW - 1) + [(False, False, True)]
    assert share.cut(b"a\n" * 100)[1] == 100
    assert not share.refused(100)
    share.accepted(100)
    assert share.refused(100)


def test_a_few_bad_records_in_each_request_do_not_keep_it_whole_for_ever() -> None:
    """A minute later a single record is tried: if it is accepted, halves are tried again, else it is a minute more."""
    clock = Clock()
    share = Share(clock)
    for _ in range(IN_A_ROW):
        share.refused(1)
    clock.now += WHOLE_S
    assert share.refused(100)
    assert share.cut(b"a\n" * 100)[1] == 1
    assert not share.refused(1)
    assert not share.refused(100)  # still so
    clock.now += WHOLE_S
    assert share.refused(100)
    share.accepted(1)
    assert share.refused(2)
    assert share.cut(b"a\n" * 100)[1] == 1


@pytest.mark.parametrize("good_at", range(IN_A_ROW))
def test_one_that_is_accepted_between_begins_the_row_anew(good_at: int) -> None:
    """Eight refused ones with a good one among them are no row."""
    share = Share()
    for number in range(IN_A_ROW):
        if number == good_at:
            share.accepted(1)
        share.refused(1)
    assert share.whole == (good_at == 0)


def test_records_that_are_too_large_are_no_row() -> None:
    """That single records have no room says nothing about the others."""
    share = Share()
    for _ in range(2 * IN_A_ROW):
        assert not share.too_large(1_000_000, 1)
    assert not share.whole
