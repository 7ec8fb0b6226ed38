"""Levels and components: names in any case, numbers, and what a selector covers."""

from __future__ import annotations

from typing import Any

import pytest

from logbus.errors import ConfigurationError
from logbus.levels import BUCKETS, LEVELS, bucket_of, component_of, parse_level, selects, selects_any


@pytest.mark.parametrize(
    ("number", "bucket"),
    [
        (-(10**30), "TRACE"),
        (-1, "TRACE"),
        (0, "TRACE"),
        (9, "TRACE"),
        (10, "DEBUG"),
        (19, "DEBUG"),
        (20, "INFO"),
        (25, "INFO"),
        (30, "WARNING"),
        (49, "ERROR"),
        (50, "CRITICAL"),
        (10**30, "CRITICAL"),
    ],
)
def test_every_integer_has_a_bucket(number: int, bucket: str) -> None:
    """A bucket is ten levels wide; the first and the last take whatever lies beyond."""
    assert BUCKETS[bucket_of(number)] == bucket


@pytest.mark.parametrize("name", sorted(LEVELS))
def test_a_level_has_its_name_in_any_case(name: str) -> None:
    """Names are read whatever their case and the blanks around them."""
    assert parse_level(name.lower()) == parse_level(f" {name.title()} ") == LEVELS[name]


@pytest.mark.parametrize("text", [0, 100, "0", "100", "35"])
def test_a_level_may_be_a_number(text: str | int) -> None:
    """Integers from 0 to 100 are levels, as numbers and as text."""
    assert parse_level(text) == int(text)


@pytest.mark.parametrize("text", ["", "LOUD", "-1", "101", "1.5", "9" * 5000, "²", "١٢", -1, 101, True, None, 20.0])
def test_anything_else_is_refused_with_what_was_expected(text: Any) -> None:
    """The error shows what was found and what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        parse_level(text)
    assert repr(text) in str(caught.value)
    assert "from 0 to 100" in str(caught.value)


@pytest.mark.parametrize(
    ("logger", "component"),
    [
        ("proxywhirl.rotator.sync", "rotator"),
        ("proxywhirl", "proxywhirl"),
        ("proxywhirl.", "proxywhirl."),
        ("httpx", "httpx"),
        ("a.b.c", "a"),
        ("uvicorn.access", "uvicorn.access"),
        ("uvicorn.error", "uvicorn"),
        ("", "root"),
        (".hidden", "root"),
    ],
)
def test_the_component_is_the_first_segment_below_the_application(logger: str, component: str) -> None:
    """The application's own package is not a component, and no logger is without one."""
    assert component_of(logger) == component


def test_a_selector_covers_runs_of_whole_segments() -> None:
    """A selector matches any run of segments, never a part of one."""
    logger = "proxywhirl.rotator.sync"
    for selector in ("rotator", "sync", "proxywhirl.rotator", "rotator.sync", logger):
        assert selects(selector, logger, "rotator"), selector
    for selector in ("rot", "sync.rotator", "proxywhirl.sync", "otator.s"):
        assert not selects(selector, logger, "rotator"), selector


def test_a_selector_covers_a_component_that_is_no_part_of_the_name() -> None:
    """The component that a worker was configured with is selected too."""
    assert selects("billing", "root", "billing")
    assert selects_any(["health", "billing"], "root", "billing")
    assert not selects_any(["health"], "root", "billing")
    assert not selects_any([], "root", "billing")
