"""Durations: what is read, what is refused, and what is printed."""

from __future__ import annotations

import pytest

from logbus.durations import MAX_S, format_duration, parse_duration
from logbus.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600.0),
        ("10 min", 600.0),
        ("90 s", 90.0),
        ("1 hour", 3600.0),
        ("1.5 h", 5400.0),
        ("500 ms", 0.5),
        ("2 days", 172_800.0),
        ("1 Week", 604_800.0),
        ("  3\tSeconds ", 3.0),
        ("0s", 0.0),
        ("0.1 s", 0.1),
        ("100ms", 0.1),
    ],
)
def test_a_number_and_a_unit_are_seconds(text: str, seconds: float) -> None:
    """Short and long units, in any case, with and without a space."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "10", "m", "-1 s", "+1 s", "1e3 s", "1,5 h", ".5 h", "1. h", "1h30m", "1 parsec", "٣ s", "1 s\0", "x"],
)
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    """A bare number too: nobody can tell its unit."""
    with pytest.raises(ConfigurationError, match=r'expected a number and a unit .* like "10 min"') as raised:
        parse_duration(text)
    assert repr(text) in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_duration_has_an_end() -> None:
    """A hundred years are one, and more is a mistake; a text of any length is refused in a short sentence."""
    assert parse_duration("36500 days") == MAX_S
    with pytest.raises(ConfigurationError, match="expected at most 36500 days"):
        parse_duration("36501 days")
    with pytest.raises(ConfigurationError) as raised:
        parse_duration("9" * 100_000)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (0.5, "500 ms"),
        (1, "1 s"),
        (90, "90 s"),
        (600, "10 min"),
        (3600, "1 hour"),
        (5400, "90 min"),
        (86_400, "1 day"),
        (604_800, "7 days"),
        (1.2345, "1.2345 s"),
        (0.0001, "0.0001 s"),
        (0.00001, "0.00001 s"),
    ],
)
def test_it_is_printed_in_the_biggest_whole_unit(seconds: float, text: str) -> None:
    """What cannot be said in whole units is said in seconds, exactly."""
    assert format_duration(seconds) == text
