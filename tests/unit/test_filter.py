from __future__ import annotations

from typing import Any

import pytest

from logbus.collectors.decode import Batch, Record, Site, Source
from logbus.collectors.filter import SinkFilter
from logbus.collectors.where import parse_where


def _batch(*sites: tuple[str, int, str], records: list[int] | None = None) -> Batch:
    table = [Site(logger, level, "", "m", "f", 1, component) for logger, level, component in sites]
    order = records if records is not None else list(range(len(table)))
    return Batch(b"p" * 16, 0, Source("h", 1, "w", "a"), table, ["t"], [Record(0, site, 0, "m") for site in order], [])


ROTATOR = ("proxywhirl.rotator.sync", 20, "rotator")
CACHE = ("proxywhirl.cache.manager", 10, "cache")
HTTPX = ("httpx", 30, "httpx")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({}, None),
        ({"level": 10}, None),
        ({"level": 20}, [0, 2]),
        ({"level": 31}, []),
        ({"components": ("rotator",)}, [0]),
        ({"components": ("proxywhirl",)}, [0, 1]),
        ({"components": ("rotator.sync", "httpx")}, [0, 2]),
        ({"components": ("rot",)}, []),
        ({"exclude_components": ("cache",)}, [0, 2]),
        ({"components": ("proxywhirl",), "exclude_components": ("cache",)}, [0]),
        ({"components": ("cache",), "exclude_components": ("cache",)}, []),
        ({"level": 20, "components": ("proxywhirl",)}, [0]),
    ],
)
def test_records_are_taken_by_level_and_component(given: dict[str, object], taken: list[int] | None) -> None:
    """Level and components include, exclusions win, and None stands for all."""
    chosen = SinkFilter(**given)  # type: ignore[arg-type]
    assert chosen.select(_batch(ROTATOR, CACHE, HTTPX)) == taken


@pytest.mark.parametrize(
    ("given", "where", "taken"),
    [
        ({}, {"line": 1}, None),
        ({}, {"line": 2}, []),
        ({}, {"level": {"le": "INFO"}}, [0, 1]),
        ({"level": 20}, {"level": {"le": "INFO"}}, [0]),
        ({"level": 20}, [{"logger": "httpx"}, {"component": "rotator"}], [0, 2]),
        ({"components": ("cache",)}, {"component": "rotator"}, []),
        ({"exclude_components": ("cache",)}, {"worker": "w", "message": "m"}, [0, 2]),
    ],
)
def test_conditions_choose_among_what_level_and_component_leave(
    given: dict[str, Any], where: object, taken: list[int] | None
) -> None:
    """A record is taken where all of it holds, and None stands for all of the batch."""
    chosen = SinkFilter(**given, where=parse_where(where))
    assert chosen.select(_batch(ROTATOR, CACHE, HTTPX)) == taken
    assert chosen.select(_batch()) is None


def test_components_are_found_in_a_loggers_dotted_name() -> None:
    """Where a filter by the stem of a file matched nothing: ``rotator/sync.py`` has the stem ``sync``."""
    record = _batch(("proxywhirl.rotator.sync", 20, "rotator"), HTTPX)
    assert [SinkFilter(0, (name,)).select(record) for name in ("proxywhirl.rotator", "rotator", "rotator.sync")] == [
        [0]
    ] * 3


def test_long_names_are_not_remembered() -> None:
    """A worker may send names of 200 kB: thousands of these would stay in memory."""
    chosen = SinkFilter(20)
    assert chosen.select(_batch(("x" * 10_000, 20, "x"), ("x" * 10_000, 10, "x"), ROTATOR)) == [0, 2]
    assert len(chosen._decisions) == 1


def test_sites_are_decided_once_for_all_their_records() -> None:
    """Decisions are by site, and records are selected in their order."""
    chosen = SinkFilter(level=20)
    mixed = _batch(CACHE, ROTATOR, records=[1, 0, 1, 0, 0, 1])
    assert chosen.accepted_sites(mixed) == [False, True]
    assert chosen.select(mixed) == [0, 2, 5]


def test_a_site_without_records_filters_nothing() -> None:
    """When the refused sites have no record in the batch, all records are taken."""
    assert SinkFilter(level=20).select(_batch(CACHE, ROTATOR, records=[1, 1])) is None


def test_an_empty_batch_is_taken_whole() -> None:
    """A batch with neither sites nor records has nothing to filter."""
    assert SinkFilter(level=20).select(_batch()) is None


def test_decisions_follow_the_site_and_not_its_place() -> None:
    """The same index in another batch is another site; more sites than are remembered are decided rightly."""
    chosen = SinkFilter(components=("c7",))
    for index in range(5000):
        expected: list[int] | None = None if index == 7 else []
        assert chosen.select(_batch(("app", 20, f"c{index}"))) == expected
    assert chosen.select(_batch(("app", 20, "c7"))) is None
