"""A batch in one format: encoded once, and never raising."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from logbus.collectors.decode import Batch
from logbus.collectors.encode import MAX_ERROR_CHARS, Encoded
from logbus.collectors.format import JsonFormat
from tests.sampled import batch

BATCH = batch(*[(f"r{at}", 20) for at in range(10)])


class Counting(JsonFormat):
    """Messages only; counts how many records it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.records = 0

    def encode(self, batch: Batch) -> bytes:
        """A line for each message."""
        self.records += len(batch.records)
        return b"".join([f"{record.message}\n".encode() for record in batch.records])


class Each(Counting):
    """A format of somebody else's, which can't write odd records."""

    error: str | None = None

    def encode_each(self, batch: Batch) -> list[bytes | None]:
        """None for each record whose message is an odd number."""
        self.records += len(batch.records)
        self.error = "ValueError: odd"
        return [None if int(record.message) % 2 else f"{record.message}\n".encode() for record in batch.records]


class UnspeakableError(Exception):
    """An error that has no words either."""

    def __str__(self) -> str:
        """Fails, too."""
        raise ValueError


def failing(error: Exception) -> Callable[[Batch], Any]:
    """A format's method that raises."""

    def encode(batch: Batch) -> Any:
        raise error

    return encode


def test_it_is_encoded_when_asked_and_once() -> None:
    """Whole, as lines and in parts: the same work."""
    form = Counting()
    encoded = Encoded(form, BATCH)
    assert form.records == 0
    assert encoded.whole == b"".join(encoded.lines)
    assert encoded.pick([3, 5]) == [b"3\n", b"5\n"]
    assert (encoded.failed, encoded.error, form.records) == (frozenset(), None, 10)


@pytest.mark.parametrize(("alone", "chosen", "records"), [(True, [1, 4], 2), (True, range(6), 10), (False, [1, 4], 10)])
def test_few_are_encoded_for_themselves_where_nobody_wants_the_others(
    alone: bool, chosen: list[int], records: int
) -> None:
    """Else the work is shared."""
    form = Counting()
    assert Encoded(form, BATCH, alone=alone).pick(chosen) == [f"{at}\n".encode() for at in chosen]
    assert form.records == records


def test_what_is_encoded_is_not_encoded_again() -> None:
    """Few of a batch that is there are picked from it."""
    form = Counting()
    encoded = Encoded(form, BATCH, alone=True)
    assert encoded.failed == frozenset()
    assert encoded.pick([1]) == [b"1\n"]
    assert form.records == 10


@pytest.mark.parametrize("alone", [True, False])
def test_a_record_that_can_t_be_written_has_no_line(alone: bool) -> None:
    """The others have theirs; the error says why."""
    encoded = Encoded(Each(), BATCH, alone=alone)
    assert encoded.pick([0, 1, 2, 3]) == [b"0\n", b"", b"2\n", b""]
    assert encoded.error == "ValueError: odd"
    assert encoded.failed == {1, 3, 5, 7, 9}
    assert encoded.whole == b"0\n2\n4\n6\n8\n"


@pytest.mark.parametrize("method", ["encode", "encode_each"])
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no"), "ValueError: no"),
        (UnspeakableError(), "UnspeakableError"),
        (KeyError("x" * 999), "KeyError: 'xxx"),
    ],
)
def test_a_format_that_raises_has_no_lines(method: str, error: Exception, words: str) -> None:
    """Nothing is raised; the error is told in few words."""
    form = Counting()
    setattr(form, method, failing(error))
    encoded = Encoded(form, BATCH)
    assert (encoded.whole, encoded.lines, encoded.failed) == (b"", [b""] * 10, frozenset(range(10)))
    assert encoded.error is not None
    assert encoded.error.startswith(words)
    assert len(encoded.error) <= MAX_ERROR_CHARS


def test_a_format_that_miscounts_has_no_lines() -> None:
    """Nobody can tell which is whose."""
    few, each = Counting(), Each()
    few.encode = lambda batch: b"one\n"  # type: ignore[method-assign]
    each.encode_each = lambda batch: [b"one\n"]  # type: ignore[method-assign]
    for form in (few, each):
        encoded = Encoded(form, BATCH)
        assert encoded.pick(range(10)) == [b""] * 10
        assert encoded.error == "ValueError: expected 10 lines, found 1"


def test_only_what_is_wanted_is_encoded() -> None:
    """The lines of the wanted records are the whole, in one piece; any of them can be had by its index."""
    form = Counting()
    encoded = Encoded(form, BATCH, wanted=[1, 4, 7])
    assert encoded.covers([1, 4, 7])
    assert not encoded.covers([1, 4])
    assert not encoded.covers(None)
    assert (encoded.whole, form.records) == (b"1\n4\n7\n", 3)
    assert encoded.pick([4, 7]) == [b"4\n", b"7\n"]
    assert form.records == 3


def test_few_of_the_wanted_are_encoded_for_themselves() -> None:
    """Where one sink has the format and takes a small part, such as a sample, of what it could take."""
    form = Counting()
    encoded = Encoded(form, BATCH, alone=True, wanted=[1, 2, 4, 7])
    assert (encoded.pick([4]), form.records) == ([b"4\n"], 1)
    assert (encoded.pick([1, 4, 7]), form.records) == ([b"1\n", b"4\n", b"7\n"], 5)


def test_wanted_records_of_which_one_has_no_line_are_not_given_as_a_whole() -> None:
    """Who takes them has to ask for each, to know which is missing."""
    encoded = Encoded(Each(), BATCH, wanted=[0, 3, 4])
    assert not encoded.covers([0, 3, 4])
    assert encoded.failed == {1}
    assert encoded.pick([0, 3, 4]) == [b"0\n", b"", b"4\n"]
