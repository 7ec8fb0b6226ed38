"""Sizes: what is read, what is refused, and what is printed."""

from __future__ import annotations

import pytest

from logbus.errors import ConfigurationError
from logbus.sizes import MAX_BYTES, format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("100 MB", 100_000_000),
        ("100MB", 100_000_000),
        ("100 mb", 100_000_000),
        ("1 kB", 1000),
        ("1 KB", 1000),
        ("1 KiB", 1024),
        ("16 MiB", 16 * 1024**2),
        ("1.5 GB", 1_500_000_000),
        ("1.5 GiB", 3 * 512 * 1024**2),
        ("2 TB", 2 * 1000**4),
        ("1 TiB", 1024**4),
        ("  7\tB ", 7),
        ("1 byte", 1),
        ("512 Bytes", 512),
        ("0 B", 0),
        ("0.3 KiB", 307),
        ("0.1 MB", 100_000),
    ],
)
def test_a_number_and_a_unit_are_bytes(text: str, size: int) -> None:
    """Powers of 1000 and of 1024, in any case, with and without a space; a part of a byte is rounded."""
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "100", "MB", "100 M", "100 K", "-1 MB", "1e3 B", "1,5 GB", ".5 GB", "1. GB", "1 PB", "٣ MB", "1 B\0"]
)
def test_what_is_no_size_is_refused_with_an_example(text: str) -> None:
    """A bare number, and a bare letter too: nobody can tell whether it meant 1000 or 1024."""
    with pytest.raises(ConfigurationError, match=r'expected a number and a unit .* like "100 MB"') as raised:
        parse_size(text)
    assert repr(text) in str(raised.value)
    assert raised.value.exit_code == 2


def test_a_size_has_an_end() -> None:
    """A thousand TB are one, and more is a mistake; a text of any length is refused in a short sentence."""
    assert parse_size("1000 TB") == MAX_BYTES
    with pytest.raises(ConfigurationError, match="size '1001 TB': expected at most 1000 TB"):
        parse_size("1001 TB")
    with pytest.raises(ConfigurationError) as raised:
        parse_size("9" * 100_000)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1024, "1 KiB"),
        (1500, "1500 B"),
        (100_000_000, "100 MB"),
        (16 * 1024**2, "16 MiB"),
        (5_000_000_000, "5 GB"),
        (1_234_567, "1234567 B"),
    ],
)
def test_it_is_printed_in_the_biggest_whole_unit(size: int, text: str) -> None:
    """What cannot be said in a bigger unit is said in bytes, exactly."""
    assert format_size(size) == text
