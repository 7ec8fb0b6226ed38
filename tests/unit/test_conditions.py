"""Conditions, asked of batches (collectors/conditions.py); that they mean what lines show, a property test proves."""

from __future__ import annotations

from typing import Any

import pytest

from logbus.collectors import conditions
from logbus.collectors.conditions import Conditions
from logbus.collectors.decode import Batch
from logbus.collectors.patterns import Pattern
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.where import parse_where
from tests.property.batches import batch_of


def batch(*extras: dict[str, Any], nested: dict[str, Any] | None = None, loggers: tuple[str, ...] = ("app",)) -> Batch:
    """A batch with a record for each of these extra fields, of these loggers' call sites in turn."""
    sites = [[logger, 20, "INFO", "m", "f", 7, logger.rpartition(".")[2]] for logger in loggers]
    records = [[0, at % len(sites), 0, f"message {at}", extra, nested, None] for at, extra in enumerate(extras)]
    return batch_of([["host", 42, "worker-1", "app"], sites, ["MainThread"], records, []])


def chosen(where: Any, records: Batch) -> list[int]:
    """The records for which a where holds."""
    return list(Conditions(parse_where(where)).choose(records, range(len(records.records))))


STATUS = batch({"n": 200}, {"n": 500.0}, {"n": "500"}, {"n": True}, {"n": None}, {}, {"n": 1}, {"n": "a"})


@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        (500, [1]),
        (1, [6]),
        (True, [3]),
        ("500", [2]),
        ({"ne": 500}, [0, 2, 3, 4, 5, 6, 7]),
        ({"ne": True}, [0, 1, 2, 4, 5, 6, 7]),
        ([1, "a", 500], [1, 6, 7]),
        ([True, 200], [0, 3]),
        ({"not_in": [1, "a", 500]}, [0, 2, 3, 4, 5]),
        ({"ge": 200}, [0, 1]),
        ({"lt": 500}, [0, 6]),
        ({"gt": 1, "le": 200}, [0]),
        ({"ge": "5"}, [2, 7]),
        ({"lt": "a"}, [2]),
        ({"matches": "0$"}, [2]),
        ({"not_matches": "0$"}, [0, 1, 3, 4, 5, 6, 7]),
        ({"exists": True}, [0, 1, 2, 3, 4, 6, 7]),
        ({"exists": False}, [5]),
    ],
)
def test_values_are_typed_and_what_is_not_there_is_unequal(operators: Any, expected: list[int]) -> None:
    """A number is no text and no boolean; null is there; what is missing meets the negative operators only."""
    assert chosen({"n": operators}, STATUS) == expected


@pytest.mark.parametrize(
    ("operators", "expected"),
    [
        ("warning", ["WARN", "WARNING"]),
        ("Warn", ["WARN", "WARNING"]),
        ("success", ["Success"]),
        ({"ne": "INFO"}, ["WARN", "WARNING", "Success", "Level 33"]),
        ([33, "info"], ["INFO", "Level 33"]),
        ("level 33", ["Level 33"]),
        ({"ge": "warn"}, ["WARN", "WARNING", "Level 33"]),
        ({"gt": 20, "lt": "WARNING"}, ["Success"]),
        ({"matches": "^W"}, ["WARN", "WARNING"]),
        ({"exists": False}, []),
    ],
)
def test_levels_have_names_in_any_case_and_ranks(operators: Any, expected: list[str]) -> None:
    """Equality is by name, of which WARN and FATAL are second ones, or by rank; comparison is by rank."""
    levels = [("INFO", 20), ("WARN", 30), ("WARNING", 30), ("Success", 25), ("Level 33", 33)]
    sites = [["app", rank, name.replace("Level 33", ""), "m", "f", 7, "app"] for name, rank in levels]
    records = batch_of([["h", 1, "w", "a"], sites, ["t"], [[0, at, 0, "m", None, None, None] for at in range(5)], []])
    assert [levels[at][0] for at in chosen({"level": operators}, records)] == expected


def test_a_nested_value_is_equal_to_nothing_and_can_be_looked_into() -> None:
    """Tables and lists are no values, but they are there."""
    records = batch({}, nested={"deep": {"a": ["x"], "b": 1}})
    assert [chosen({name: {"ne": "x"}, "deep": {"exists": True}}, records) for name in ("deep", "deep.a")] == [[0], [0]]
    assert chosen({"deep": ["x", 1, True]}, records) == chosen({"deep": {"ge": ""}}, records) == []
    assert chosen({"deep.b": 1}, records) == [0]


def test_tables_are_any_and_their_conditions_all() -> None:
    """Each record once, in order, whichever table took it."""
    records = batch({"a": 1, "b": 1}, {"a": 1}, {"b": 1}, {}, {"a": 1, "b": 2})
    assert chosen({"a": 1, "b": 1}, records) == [0]
    assert chosen([{"b": 1}, {"a": 1}], records) == [0, 1, 2, 4]
    assert chosen([{"b": 2}, {"a": 1, "b": 1}, {"b": 1}], records) == [0, 2, 4]
    assert chosen([{"a": {"exists": False}}, {"a": 1}], records) == [0, 1, 2, 3, 4]


def test_an_old_filter_matched_nothing_where_this_one_takes_the_module() -> None:
    """A logger's dotted name is compared as the line shows it, and not with the stem of a file."""
    records = batch({}, {}, {}, loggers=("proxywhirl.rotator.sync", "proxywhirl.cache", "proxywhirl.rotator"))
    assert chosen({"logger": {"matches": r"^proxywhirl\.rotator(\.|$)"}}, records) == [0, 2]
    assert chosen({"logger": "proxywhirl.rotator"}, records) == [2]


def test_conditions_on_call_sites_are_decided_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And remembered from batch to batch; more of them, or with longer names, than are remembered change nothing."""
    monkeypatch.setattr(conditions, "_SITES_KEPT", 3)
    asked = Conditions(parse_where([{"logger": ["a", "x" * 600]}, {"logger": {"matches": "b"}, "n": 1}]))
    for loggers in (
        ("a", "b"),
        ("b", "c"),
        ("b", "a", "c", "d", "e"),
        ("a",),
        ("x" * 600, "b"),
        ("x" * 600,),
        ("b", "a"),
    ):
        records = batch(*[{"n": 1}] * len(loggers), loggers=loggers)
        expected = [at for at, logger in enumerate(loggers) if logger in ("a", "b", "x" * 600)]
        assert list(asked.choose(records, range(len(loggers)))) == expected
    assert 0 < len(asked._sites) <= 3
    assert max(len(site.logger) for site in asked._sites) == 1


def test_what_is_remembered_is_not_decided_again() -> None:
    """A call site that is known by its values, wherever it stands in another batch, has its answer already."""
    asked = Conditions(parse_where({"logger": "a"}))
    assert list(asked.choose(batch({}, {}, loggers=("a", "b")), range(2))) == [0]
    asked._sites.update({site: (site.logger == "b",) for site in asked._sites})
    assert list(asked.choose(batch({}, {}, {}, loggers=("b", "a", "c")), range(3))) == [0]


def test_conditions_see_what_redaction_left() -> None:
    """A secret can't be asked for: nobody finds out by a filter what it is."""
    records = batch({"token": "s3cret", "url": "http://u:s3cret@h/"}, {"token": "other"})
    Redactor().redact(records)
    assert chosen([{"token": "s3cret"}, {"url": {"matches": "s3cret"}}], records) == []
    assert chosen({"token": "***"}, records) == [0, 1]


def test_the_same_text_is_asked_of_a_pattern_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages repeat; each different one of a batch is looked at once."""
    seen: list[set[str]] = []
    matching = Pattern.matching

    def watched(self: Pattern, texts: set[str]) -> set[str]:
        seen.append({*texts})
        return matching(self, texts)

    monkeypatch.setattr(Pattern, "matching", watched)
    records = batch({"n": "ab"}, {"n": "b"}, {"n": "ab"}, {"n": 1}, {})
    assert chosen({"n": {"matches": "a."}}, records) == [0, 2]
    assert seen == [{"ab", "b"}]
