"""What a sink's conditions take is what somebody would take who reads the JSON lines one by one."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any

import re2
from hypothesis import given, settings, strategies as st

from logbus.collectors.decode import Batch
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat
from logbus.collectors.format.base import PROMOTED
from logbus.collectors.where import parse_where
from logbus.errors import ConfigurationError
from logbus.levels import LEVELS, STANDARD_LEVELS, selects_any
from tests.property.batches import batch_of

NOTHING = object()
WORDS = ["a", "b", "x", "", "ab", "a\nb", "1", "é"]
SCALARS = [*WORDS, None, True, False, 0, 1, 2, 1.0, 2.5, 10**18]
KEYS = ["request_id", "source", "n", "n", "kind", "a", "a.b", "b", "worker", "level", "message", "extra"]
NAMES = st.sampled_from(
    [
        *(
            "level",
            "level",
            "level",
            "level_no",
            "message",
            "logger",
            "component",
            "module",
            "function",
            "line",
            "process_id",
            "host",
        ),
        *(
            "thread_name",
            "worker",
            "app_name",
            "request_id",
            "source",
            "n",
            "kind",
            "a",
            "a.b",
            "a.b.a",
            "b.n",
            "source.n",
        ),
        *("extra.n", "extra.worker", "extra.a.b", "extra.level", "extra.extra.n", "exception", "exception.type"),
        *("exception.message", "exception.cause.type", "exception.context.message", "missing", "missing.n"),
    ]
)
CAUSE: list[Any] = ["b", "a", [], None, None, []]
EXCEPTIONS = [None, None, CAUSE, ["a", "x", ["l"], CAUSE, None, []], ["", "ab", [], None, CAUSE, [CAUSE]]]
PATTERNS = st.sampled_from(["a", "^a", "b$", "a|b", "[ab]+", "a.b", r"a\sb", "(?i)B", r"^\d", "x*", "^$", "empty"])
COMPARISONS = ("lt", "le", "gt", "ge")


def _tree(chance: random.Random, depth: int) -> Any:
    """A nested value: a scalar, a list, or a table of such."""
    if not depth or chance.random() < 0.3:
        return chance.choice([*SCALARS, [1], []])
    return {chance.choice(KEYS): _tree(chance, depth - 1) for _ in range(3)}


def _records(chance: random.Random, count: int) -> list[list[Any]]:
    """Records, as a payload has them, whose fields meet often in a few values."""
    return [
        [
            0,
            chance.randrange(4),
            chance.randrange(2),
            chance.choice(WORDS),
            chance.choice([None, {chance.choice(KEYS): chance.choice(SCALARS) for _ in range(3)}]),
            chance.choice([None, {chance.choice(KEYS): _tree(chance, 2) for _ in range(3)}]),
            chance.choice(EXCEPTIONS),
        ]
        for _ in range(count)
    ]


def _batch(seed: int) -> Batch:
    """A batch of records of four call sites, as many as it takes to meet most pairs of a field and a value."""
    chance = random.Random(seed)
    words = [chance.choice(WORDS) for _ in range(20)]
    levels = [(10, "DEBUG"), (20, "INFO"), (30, "WARN"), (25, "Success"), (7, "INFO"), (33, "")]
    sites = [
        [words.pop(), *levels[(4 * seed + at) % 6], words.pop(), words.pop(), chance.randrange(3), words.pop()]
        for at in range(4)
    ]
    source = [words.pop(), chance.randrange(3), words.pop(), words.pop()]
    return batch_of([source, sites, ["a", "b"], _records(chance, 80), []])


# Made once: drawing trees one by one would take Hypothesis longer than all the rest, and few of them would matter.
BATCHES = [_batch(seed) for seed in range(4)]
LINES = [[json.loads(line) for line in JsonFormat().encode(batch).splitlines()] for batch in BATCHES]
VALUES = st.sampled_from([value for value in SCALARS if value is not None])
OPERANDS = (
    st.tuples(st.sampled_from(["eq", "ne"]), VALUES)
    | st.tuples(
        st.sampled_from(["eq", "ne", *COMPARISONS]), st.sampled_from(["info", "WARN", "Level 33", "SUCCESS", 20])
    )
    | st.tuples(st.sampled_from(["in", "not_in"]), st.lists(VALUES, max_size=4))
    | st.tuples(st.sampled_from(COMPARISONS), st.sampled_from([0, 1, 1.5, 20, "a", "ab", ""]))
    | st.tuples(st.sampled_from(["matches", "not_matches"]), PATTERNS)
    | st.tuples(st.just("exists"), st.booleans())
)
TABLES = st.dictionaries(NAMES, st.lists(OPERANDS, min_size=1, max_size=2).map(dict), min_size=1, max_size=3)
WHERES = TABLES | st.lists(TABLES, min_size=1, max_size=3)


def fitting(where: Any) -> Any:
    """Those of the conditions that configuration takes; the others, a text for a number's field, it refuses."""

    def taken(name: str, operator: str, operand: Any) -> bool:
        try:
            parse_where({name: {operator: operand}})
        except ConfigurationError:
            return False
        return True

    tables = [
        {
            name: kept
            for name, operands in table.items()
            if (kept := {operator: one for operator, one in operands.items() if taken(name, operator, one)})
        }
        for table in (where if isinstance(where, list) else [where])
    ]
    tables = [table for table in tables if table]
    return tables if isinstance(where, list) or not tables else tables[0]


def field_of(line: dict[str, Any], name: str) -> Any:
    """What a line has under a name, read from the line as its reader would."""
    if name.startswith("extra."):
        return path(line.get("extra", {}), name.removeprefix("extra."))
    if name in line and name not in ("extra", "exception"):
        return line[name]
    if name.partition(".")[0] == "exception":
        value: Any = line
        for step in name.split("."):
            value = value.get(step, NOTHING) if isinstance(value, dict) else NOTHING
        return value
    return path(line.get("extra", {}), name)


def path(table: Any, name: str) -> Any:
    """What a path leads to: each way of cutting it at its dots is tried, the longest first keys first."""
    if not isinstance(table, dict):
        return NOTHING
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        key, rest = ".".join(parts[:count]), ".".join(parts[count:])
        if key in table:
            found = path(table[key], rest) if rest else table[key]
            if found is not NOTHING:
                return found
    return NOTHING


def holds(line: dict[str, Any], name: str, operator: str, operand: Any) -> bool:
    """Whether one condition holds, said as plainly as it can be."""
    value = field_of(line, name)
    if operator in ("ne", "not_in", "not_matches"):
        return not holds(line, name, {"ne": "eq", "not_in": "in", "not_matches": "matches"}[operator], operand)
    if operator == "exists":
        return (value is not NOTHING) is bool(operand)
    if operator == "in":
        return any(holds(line, name, "eq", one) for one in operand)
    if operator == "matches":
        return isinstance(value, str) and re2.search(operand, value) is not None
    if name == "level":
        if operator in COMPARISONS:
            value, operand = rank_of(line), LEVELS[operand.upper()] if isinstance(operand, str) else operand
        elif isinstance(operand, str):
            value, operand = LEVELS.get(value.upper(), value.upper()), LEVELS.get(operand.upper(), operand.upper())
        else:
            value = rank_of(line)
    kinds = [
        bool if isinstance(one, bool) else float if isinstance(one, (int, float)) else type(one)
        for one in (value, operand)
    ]
    if kinds[0] is not kinds[1] or (operator in COMPARISONS and kinds[0] is bool):
        return False
    if operator == "eq":
        return bool(value == operand)
    return bool(
        {"lt": value < operand, "le": value <= operand, "gt": value > operand, "ge": value >= operand}[operator]
    )


def rank_of(line: dict[str, Any]) -> int:
    """The rank of a line's level."""
    return int(line["level_no"] if "level_no" in line else STANDARD_LEVELS[line["level"]])


def wanted(lines: list[dict[str, Any]], where: Any, level: int, components: tuple[str, ...]) -> list[int]:
    """The records that are to be taken, by their lines alone."""
    tables = where if isinstance(where, list) else [where]
    return [
        index
        for index, line in enumerate(lines)
        if rank_of(line) >= level
        and (not components or selects_any(components, line["logger"], line["component"]))
        and any(all(_all_hold(line, name, what) for name, what in table.items()) for table in tables)
    ]


def _all_hold(line: dict[str, Any], name: str, operands: Mapping[str, Any]) -> bool:
    numbered = {"level_no": rank_of(line), **line}  # a condition may ask for it where a line has no need to show it
    return all(holds(numbered, name, operator, operand) for operator, operand in operands.items())


@settings(max_examples=100)
@given(WHERES, st.permutations(range(4)), st.sampled_from([0, 0, 20]), st.sampled_from([(), (), ("a",)]))
def test_conditions_are_about_what_lines_show(
    raw: Any, order: list[int], level: int, components: tuple[str, ...]
) -> None:
    """Batches by level, component and conditions, one after the other: the records that reading their lines takes."""
    where = fitting(raw)
    if not where:
        return
    chosen = SinkFilter(level, components, (), parse_where(where))
    for number in (*order, order[0]):
        taken, count = chosen.select(BATCHES[number]), len(LINES[number])
        assert taken is None or len(taken) < count
        assert list(range(count) if taken is None else taken) == wanted(LINES[number], where, level, components)


def test_promoted_fields_are_what_this_file_takes_them_for() -> None:
    """The names above are promoted ones and others."""
    assert {"request_id", "source"} <= {*PROMOTED}
