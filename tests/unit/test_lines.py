"""Lines that are taken apart: from the front, by size, and out of the middle."""

from __future__ import annotations

from itertools import chain

import pytest

from logbus.collectors.rows import MAX_RANGES, Range
from logbus.collectors.writing.lines import Lines, picked

P, Q = b"p" * 16, b"q" * 16
DEBUG, INFO, ERROR = 1, 2, 4


def lines(*texts: str, levels: tuple[int, ...] = (), ranges: tuple[Range, ...] | None = None) -> Lines:
    """Lines numbered from 10, of one producer whose own numbers begin at 100."""
    data = b"".join([text.encode() + b"\n" for text in texts])
    return Lines(data, len(texts), ranges or ((P, 100, len(texts)),), 5.0, bytes(levels), 10)


def test_the_front_comes_off_with_all_that_belongs_to_it() -> None:
    """Lines, levels, ranges and numbers are divided at the same place; when they came stays."""
    both = lines("a", "bb", "ccc", levels=(DEBUG, INFO, ERROR), ranges=((P, 7, 1), (Q, 1, 2)))
    part = both.front(2, 1000)
    assert (part.data, part.records, part.ranges, part.came) == (b"a\nbb\n", 2, ((P, 7, 1), (Q, 1, 1)), 5.0)
    assert (part.levels, part.first, part.last) == (bytes([DEBUG, INFO]), 10, 11)
    rest = both.whole()
    assert (rest.data, rest.records, rest.ranges, rest.came) == (b"ccc\n", 1, ((Q, 2, 1),), 5.0)
    assert (rest.levels, rest.first, rest.last) == (bytes([ERROR]), 12, 12)


@pytest.mark.parametrize(
    ("records", "size", "expected"),
    [
        (2, 1000, b"a\nbb\n"),
        (3, 1000, b"a\nbb\nccc\n"),
        (3, 5, b"a\nbb\n"),
        (3, 6, b"a\nbb\n"),
        (3, 1, b"a\n"),
        (9, 5, b"a\nbb\n"),
        (9, 8, b"a\nbb\n"),
        (9, 9, b"a\nbb\nccc\n"),
        (1, 9, b"a\n"),
        (9, 1, b"a\n"),
    ],
)
def test_the_front_keeps_within_both_bounds(records: int, size: int, expected: bytes) -> None:
    """So many records and bytes at most, as many as there is room for, and one line at least."""
    assert lines("a", "bb", "ccc", "dddd").front(records, size).data == expected


def test_what_stays_is_not_copied() -> None:
    """A delivery of many lines is the same bytes while it leaves line by line."""
    many = lines(*map(str, range(1000)))
    data = many.data
    parts = [many.front(1, 1000) for _ in range(999)]
    assert many.data is data
    assert b"".join([part.data for part in (*parts, many.whole())]) == data
    assert [part.first for part in parts] == list(range(10, 1009))
    assert (many.first, many.ranges) == (1009, ((P, 1099, 1),))


def test_what_was_given_out_stays_as_it_is() -> None:
    """Parts are taken off another object; of what was begun already nobody has anything."""
    given = lines("a", "b", "c").whole()
    other = given.divisible()
    other.front(1, 1000)
    assert (given.data, given.records, given.ranges, given.first) == (b"a\nb\nc\n", 3, ((P, 100, 3),), 10)
    assert other.divisible() is other


def test_the_oldest_are_as_few_as_have_the_size() -> None:
    """One line more only where the ones before have less; all of them where that is what it takes."""
    assert lines("a", "bb", "ccc").oldest(2).data == b"a\n"
    assert lines("a", "bb", "ccc").oldest(3).data == b"a\nbb\n"
    every = lines("a", "bb", "ccc")
    assert (every.oldest(6).records, every.records, every.size) == (3, 0, 0)


def test_a_level_is_cut_out_oldest_first() -> None:
    """As few of its lines as have the size; those behind them close up."""
    mixed = lines("d1", "i1", "d2", "e1", "d3", levels=(DEBUG, INFO, DEBUG, ERROR, DEBUG))
    assert mixed.cut(DEBUG, 4) == (2, 6)
    assert (mixed.data, mixed.levels) == (b"i1\ne1\nd3\n", bytes([INFO, ERROR, DEBUG]))
    assert (mixed.records, mixed.ranges, mixed.first) == (3, ((P, 101, 1), (P, 103, 2)), 10)
    assert mixed.cut(DEBUG, 1000) == (1, 3)
    assert mixed.cut(DEBUG, 1000) == (0, 0)
    assert mixed.lines() == [b"i1\n", b"e1\n"]


def test_a_cut_behind_a_front_that_has_gone_takes_of_the_rest_only() -> None:
    """The bytes, levels and ranges that have gone are not there any more."""
    mixed = lines("d1", "e1", "d2", "e2", levels=(DEBUG, ERROR, DEBUG, ERROR))
    mixed.front(1, 1000)
    assert mixed.cut(DEBUG, 1000) == (1, 3)
    assert (mixed.data, mixed.first, mixed.ranges) == (b"e1\ne2\n", 11, ((P, 101, 1), (P, 103, 1)))


def test_a_cut_leaves_no_more_ranges_than_an_intent_has() -> None:
    """Every second record goes: of those left the first so many are numbered."""
    levels = tuple(chain.from_iterable((DEBUG, ERROR) for _ in range(100)))
    mixed = lines(*map(str, range(200)), levels=levels)
    mixed.cut(DEBUG, 10**6)
    assert mixed.records == 100
    assert mixed.ranges == tuple((P, 101 + 2 * at, 1) for at in range(MAX_RANGES))


def test_lines_with_a_carriage_return_are_not_torn() -> None:
    """Only a newline ends a line."""
    assert lines("a\rb", "c\x0bd", "", "e").lines() == [b"a\rb\n", b"c\x0bd\n", b"\n", b"e\n"]


def test_ranges_that_number_less_than_there_is() -> None:
    """What stands behind their end has no number, and what is picked before it keeps its own."""
    assert picked([(P, 7, 2)], [(1, 4), (6, 8)]) == ((P, 8, 1),)
    assert picked([], [(0, 3)]) == ()
