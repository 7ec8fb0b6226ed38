"""The numbers by which records and requests are sampled."""

from __future__ import annotations

import math

import pytest

from logbus.collectors.chance import BLOCK, END, key_of, limit_of, record_numbers, request_number
from logbus.collectors.redaction.mask import MASK
from tests.frames import producer

A, B = producer(1), producer(2)


def test_the_numbers_are_these_for_ever() -> None:
    """Collectors of all versions choose alike: what one of them has kept, the next one keeps."""
    assert record_numbers(A, 0, 3) == [468095936, 694934646, 123856291]
    assert [request_number(key) for key in ("req-1", "", "ключ")] == [3216351478, 634351890, 3374551829]


@pytest.mark.parametrize("first", [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 5, 2**63])
def test_a_record_has_one_number_in_whichever_batch(first: int) -> None:
    """A resend in other frames is chosen alike."""
    together = record_numbers(A, first, 2 * BLOCK + 3)
    assert together == [number for at in range(len(together)) for number in record_numbers(A, first + at, 1)]
    assert together != record_numbers(B, first, len(together))
    assert all(0 <= number < END for number in together)


@pytest.mark.parametrize("step", [1, 2, 10, BLOCK])
def test_a_share_of_records_is_the_rate(step: int) -> None:
    """Within four sigma, of all and of every second, tenth and so on: an application logs in patterns."""
    count, rate = 20_000, 0.1
    numbers = record_numbers(A, 0, count)[::step]
    kept = sum(number < limit_of(rate) for number in numbers)
    assert abs(kept - len(numbers) * rate) <= 4 * math.sqrt(len(numbers) * rate * (1 - rate))


@pytest.mark.parametrize("shape", ["{}", "req-{:08d}", "{:032x}", "a-rather-long-identifier-of-a-request/{}"])
def test_a_share_of_requests_is_the_rate(shape: str) -> None:
    """Within four sigma, however the ids are made."""
    count, rate = 20_000, 0.1
    kept = sum(request_number(shape.format(number)) < limit_of(rate) for number in range(count))
    assert abs(kept - count * rate) <= 4 * math.sqrt(count * rate * (1 - rate))


def test_the_ends_of_a_rate() -> None:
    """At 0 nothing is below the limit, at 1 everything is."""
    assert limit_of(0.0) == 0
    assert limit_of(1.0) == END


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("req-1", "req-1"),
        ("5", "5"),
        (5, "5"),
        (-7, "-7"),
        (5.0, "5.0"),
        (True, "true"),
        (False, "false"),
        ("", None),
        (None, None),
        (MASK, None),
        ([1], None),
        ({"a": 1}, None),
    ],
)
def test_a_key_is_the_text_of_a_value(value: object, key: str | None) -> None:
    """5 and "5" are one request; what is empty, nested or masked is none."""
    assert key_of(value) == key


def test_a_long_key_is_kept_short() -> None:
    """A text of any length stands for itself in 64 characters, and for no other."""
    longest = "x" * 64
    assert key_of(longest) == longest
    found = {key_of("x" * length) for length in (65, 66, 100_000)}
    assert len(found) == 3
    assert all(key is not None and len(key) == 64 for key in found)
