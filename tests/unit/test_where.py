"""Conditions as configuration has them (collectors/where.py)."""

from __future__ import annotations

from typing import Any

import pytest

from logbus.collectors.where import MAX_CONDITIONS, MAX_PATTERNS, MAX_TEXT, MAX_VALUES, Condition, Where, parse_where
from logbus.errors import ConfigurationError


def problems(raw: object) -> list[str]:
    """What is wrong with a where."""
    with pytest.raises(ConfigurationError) as refused:
        parse_where(raw)
    return refused.value.problems


@pytest.mark.parametrize(
    ("raw", "conditions"),
    [
        ({"kind": "x"}, [("kind", "eq", "x")]),
        ({"kind": True}, [("kind", "eq", True)]),
        ({"kind": ["x", 1]}, [("kind", "in", ("x", 1))]),
        ({"n": {"lt": 9, "ge": 1.5}}, [("n", "ge", 1.5), ("n", "lt", 9)]),
        ({"b": 1, "a": 2}, [("a", "eq", 2), ("b", "eq", 1)]),
        ({"extra.kind": "x"}, [("extra.kind", "eq", "x")]),
        ({"extra": {"kind": "x", "n": {"gt": 1}}}, [("extra.kind", "eq", "x"), ("extra.n", "gt", 1)]),
        ({"a.b": {"exists": False}}, [("a.b", "exists", False)]),
        ({"message": {"matches": "a|b"}}, [("message", "matches", "a|b")]),
        ({"exception": {"exists": True}}, [("exception", "exists", True)]),
        (
            {"exception": {"type": "X", "exists": True}},
            [("exception", "exists", True), ("exception.type", "eq", "X")],
        ),
        ({"exception": {"cause": {"type": ["X"]}}}, [("exception.cause.type", "in", ("X",))]),
        ({"level": {"ge": "warning"}}, [("level", "ge", 30)]),
        ({"level": {"ge": 33}}, [("level", "ge", 33)]),
        ({"level": " warn "}, [("level", "eq", "WARNING")]),
        ({"level": ["fatal", "Audit", 33]}, [("level", "in", ("CRITICAL", "AUDIT", 33))]),
        ({"level": {"matches": "^E"}}, [("level", "matches", "^E")]),
        ({"line": 7, "worker": "7"}, [("line", "eq", 7), ("worker", "eq", "7")]),
    ],
)
def test_what_conditions_say(raw: dict[str, Any], conditions: list[tuple[str, str, Any]]) -> None:
    """A value is equality, a list is one of, a table is operators; nested names may be written with dots or tables."""
    assert parse_where(raw) == Where((tuple(Condition(*one) for one in conditions),))


def test_a_list_of_tables_is_any_of_them() -> None:
    """In the order given."""
    where = parse_where([{"a": 1}, {"b": 2, "c": 3}])
    assert [[one.name for one in table] for table in where.tables] == [["a"], ["b", "c"]]


def test_conditions_are_compared_by_what_they_say() -> None:
    """The order of keys is no difference; True and 1, which are equal in Python, are one. A reload compares."""
    assert parse_where({"a": 1, "b": [2]}) == parse_where({"b": [2], "a": 1})
    assert hash(parse_where({"a": 1, "b": [2]})) == hash(parse_where({"b": (2,), "a": {"eq": 1}}))
    assert parse_where({"a": 1}) != parse_where({"a": True})
    assert parse_where({"a": [0]}) != parse_where({"a": [False]})
    assert parse_where({"a": 1}) != parse_where([{"a": 1}, {"a": 2}])


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (5, ": expected a table of conditions, or a list of such tables, found 5"),
        (None, ": expected a table of conditions, or a list of such tables, found null"),
        ([], ": expected a table of conditions, or a list of such tables, found an empty list"),
        ({}, ": expected at least one condition, found an empty table"),
        ([{"a": 1}, {}], "[1]: expected at least one condition, found an empty table"),
        ([{"a": 1}, "b"], '[1]: expected a table of conditions, found "b"'),
        ({"a": {}}, "a: expected a value, a list or operators, found an empty table"),
        ({"status_code": {"gee": 1}}, "status_code.gee: unknown operator; did you mean ge?"),
        ({"n": {"not in": []}}, 'n."not in": unknown operator; did you mean not_in?'),
        (
            {"http": {"code": 1}},
            "http.code: unknown operator; expected one of eq, ne, in, not_in, lt, le, gt, ge, matches, not_matches, "
            'exists; the path to a nested value stands in quotes: "http.code"',
        ),
        (
            {"level": {"from": 1}},
            "level.from: unknown operator; expected one of eq, ne, in, not_in, lt, le, gt, ge, matches,",
        ),
        ({"a": None}, "a: expected a text, a number or a boolean; { exists = false } means that a field is not there"),
        ({"a": float("nan")}, "a: expected a text, a number or a boolean, found nan"),
        ({"a": {"eq": [1]}}, "a.eq: expected a text, a number or a boolean, found a list"),
        ({"a": ["x", {"b": 1}]}, "a[1]: expected a text, a number or a boolean, found a table"),
        ({"a": []}, "a: expected a list of at least one value, found an empty list"),
        ({"a": {"in": "x"}}, 'a.in: expected a list of at least one value, found "x"'),
        ({"a": {"lt": True}}, "a.lt: expected a number or a text to compare with, found true"),
        ({"a": {"ge": float("inf")}}, "a.ge: expected a number or a text to compare with, found inf"),
        ({"a": {"exists": "yes"}}, 'a.exists: expected true or false, found "yes"'),
        ({"a": {"matches": "(b"}}, 'a.matches: expected a pattern that RE2 takes, found "(b": missing ): (b'),
        ({"a": {"not_matches": 5}}, "a.not_matches: expected a pattern, a text of at least one character, found 5"),
        ({"a": "x" * (MAX_TEXT + 1)}, "a: expected at most 1000 characters, found 1001"),
        ({"line": "7"}, 'line: expected a number, which line is, found "7"'),
        ({"line": {"ge": "7"}}, 'line.ge: expected a number, which line is, found "7"'),
        ({"process_id": [1, True]}, "process_id[1]: expected a number, which process_id is, found true"),
        (
            {"level_no": {"matches": "5"}},
            'level_no.matches: expected a comparison with a number, which level_no is, found "5"',
        ),
        ({"worker": 7}, "worker: expected a text, which worker is, found 7"),
        ({"message": True}, "message: expected a text, which message is, found true"),
        ({"level": "eror"}, 'level: unknown level "eror"; did you mean ERROR?'),
        ({"level": True}, "level: expected the name or the number of a level, found true"),
        ({"level": " "}, 'level: expected the name or the number of a level, found " "'),
        (
            {"level": {"ge": "audit"}},
            "level.ge: expected a level, NOTSET, TRACE, DEBUG, INFO, SUCCESS, WARNING, WARN, ERROR,",
        ),
        ({"level": {"lt": 101}}, "level.lt: expected a level, "),
        ({"level": {"lt": 2.5}}, "level.lt: expected a level, "),
        ({"timestamp": 1}, 'timestamp: expected another field: the time is every record\'s own, found "timestamp"'),
        ({"extra": 1}, 'extra: expected the name of an extra field, extra.NAME, found "extra"'),
        ({"extra": {"exists": True}}, "extra.exists: expected the name of an extra field (one that is called so"),
        ({"extra": {"strategy": "a"}}, "extra.strategy: expected strategy, which stands at the top of a line, found"),
        ({"exception": "X"}, 'exception: expected "exception.type", "exception.message" or { exists = true }'),
        ({"exception": {"kind": "X"}}, "exception.kind: expected exception.type or exception.message"),
        (
            {"exception": {"type": {"mtches": 1}}},
            "exception.type.mtches: unknown operator; did you mean matches or not_",
        ),
        ({"a b": {"lt": True}}, '"a b".lt: expected a number or a text'),
        ({f"n{at}": at for at in range(MAX_CONDITIONS + 1)}, ": expected at most 64 conditions, found more"),
        ([{"a": {"lt": 1, "gt": 0}}] * 33, ": expected at most 64 conditions, found more"),
        ({f"n{at}": {"matches": "a"} for at in range(MAX_PATTERNS + 1)}, ": expected at most 16 patterns, found more"),
        ({"a": ["x"] * MAX_VALUES, "b": ["y"]}, "b: expected at most 1000 values in all lists, found more"),
    ],
)
def test_what_is_wrong_is_said_with_its_path(raw: object, problem: str) -> None:
    """One line each: the key, what would be right, what was found."""
    found = problems(raw)
    assert len(found) == 1
    assert found[0].startswith(problem)
    assert len(found[0]) < 400


def test_all_that_is_wrong_is_said_at_once() -> None:
    """In the order of the tables and their keys."""
    raw = [{"a": {"gee": 1, "lt": True}, "worker": 3}, {}, {"b": {"matches": "("}, "timestamp": 1}]
    assert [one.partition(": ")[0] for one in problems(raw)] == [
        *("[0].a.gee", "[0].a.lt", "[0].worker", "[1]", "[2].b.matches", "[2].timestamp")
    ]


@pytest.mark.parametrize(
    "raw",
    [
        {f"a{at}": {"gee": 1} for at in range(80_000)},
        {"a": {f"gee{at}": 1 for at in range(80_000)}},
        {f"extra.{at}." + "x" * 200: 1 for at in range(80_000)},
        [{}] * 80_000,
        [5] * 80_000,
        {"level": ["eror"] * 80_000},
    ],
)
def test_the_number_of_problems_is_bounded(raw: object) -> None:
    """A file with 80,000 mistakes is not read to its end."""
    found = problems(raw)
    assert len(found) <= MAX_CONDITIONS + 1
    assert "expected at most" in found[-1]
