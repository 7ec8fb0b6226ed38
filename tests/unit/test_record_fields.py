"""Fields of records by the names under which a JSON line shows them (collectors/fields.py)."""

from __future__ import annotations

from typing import Any

import pytest

from logbus.collectors.decode import Batch
from logbus.collectors.fields import MAX_LEVELS, MAX_NAME, MISSING, find_field
from logbus.errors import ConfigurationError
from tests.property.batches import batch_of

BOOM: list[Any] = ["ValueError", "boom", ["a line"], ["KeyError", "k", [], None, None, []], None, []]


def batch(extra: dict[str, Any] | None = None, nested: dict[str, Any] | None = None, **options: Any) -> Batch:
    """A batch of two records of two call sites and two threads, of which the first has these fields."""
    sites = [["app.db", 20, "INFO", "db", "query", 7, "app"], ["app.web", 33, "", "web", "get", 8, "web"]]
    records = [
        [0, 0, 0, options.get("message", "m"), extra, nested, options.get("exception")],
        [1, 1, 1, "other", None, None, None],
    ]
    return batch_of([["host", 42, "worker-1", "app"], sites, ["MainThread", "T2"], records, []])


def value(name: str, extra: dict[str, Any] | None = None, nested: dict[str, Any] | None = None, **options: Any) -> Any:
    """What the first record has under a name; the two ways of asking agree."""
    asked, field = batch(extra, nested, **options), find_field(name)
    found = [field.of(asked, record) for record in asked.records]
    assert field.column(asked, [0, 1]) == found
    assert field.column(asked, [1]) == found[1:]
    return found[0]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("worker", ["worker-1", "worker-1"]),
        ("process_id", [42, 42]),
        ("host", ["host", "host"]),
        ("app_name", ["app", "app"]),
        ("logger", ["app.db", "app.web"]),
        ("component", ["app", "web"]),
        ("level", ["INFO", "Level 33"]),
        ("level_no", [20, 33]),
        ("module", ["db", "web"]),
        ("function", ["query", "get"]),
        ("line", [7, 8]),
        ("thread_name", ["MainThread", "T2"]),
        ("message", ["m", "other"]),
        ("request_id", [MISSING, MISSING]),
        ("kind", [MISSING, MISSING]),
        ("exception", [MISSING, MISSING]),
    ],
)
def test_every_line_has_fields_of_its_own(name: str, values: list[Any]) -> None:
    """Of the process, the call site, the thread and the record, by their names."""
    assert find_field(name).column(batch(), [0, 1]) == values


def test_a_message_without_text_is_what_a_line_shows() -> None:
    """A line's message is never empty, and a condition sees what the line has."""
    assert value("message", message="") == "(empty)"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("request_id", 7),
        ("kind", "x"),
        ("extra.kind", "x"),
        ("null", None),
        ("worker", "worker-1"),
        ("extra.worker", "mine"),
        ("deep.a.b", 1),
        ("extra.deep.a.b", 1),
        ("deep.a", {"b": 1, "c.d": 2}),
        ("deep.a.c.d", 2),
        ("http.status", 500),
        ("extra.http.status", 500),
        ("http.verb", "GET"),
        ("both", {"n": 1}),
        ("both.n", 1),
        ("list.0", MISSING),
        ("deep.a.b.c", MISSING),
        ("kind.x", MISSING),
        ("deep.", MISSING),
        (".deep", MISSING),
        ("extra.extra.kind", MISSING),
    ],
)
def test_extra_fields_have_bare_names_and_paths(name: str, found: Any) -> None:
    """With ``extra.`` or without, into nested tables, the longest key first; a line's own name is the line's."""
    extra = {"request_id": 7, "kind": "x", "null": None, "worker": "mine", "http.status": 500, "both": "scalar"}
    nested = {"deep": {"a": {"b": 1, "c.d": 2}}, "http": {"status": 1, "verb": "GET"}, "both": {"n": 1}, "list": [1]}
    assert value(name, extra, nested) == found


def test_the_longest_key_that_leads_to_a_value_is_taken() -> None:
    """A longer key that leads nowhere does not hide a shorter one that does."""
    nested = {"a": {"b.c": 1, "b": {"c": 2}}, "a.b": {"x": 3, "c": 4}, "d.e": {"x": 5}, "d": {"e.f": 6}}
    assert value("a.b.c", nested=nested) == 4
    assert value("d.e.f", nested=nested) == 6


def test_a_promoted_name_is_the_one_at_the_top_of_a_line() -> None:
    """A nested value of that name, which stands under extra, is found only where there is no other."""
    assert value("source", {"source": "s"}, {"source": {"n": 1}}) == "s"
    assert value("source.n", {"source": "s"}, {"source": {"n": 1}}) == 1
    assert value("source", None, {"source": {"n": 1}}) == {"n": 1}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("exception.type", "ValueError"),
        ("exception.message", "boom"),
        ("exception.cause.type", "KeyError"),
        ("exception.cause.message", "k"),
        ("exception.cause.cause", MISSING),
        ("exception.context.type", MISSING),
        ("exceptional", MISSING),
    ],
)
def test_exceptions_have_types_and_messages(name: str, found: Any) -> None:
    """Those that they hang on too, as far as there are any."""
    assert value(name, exception=BOOM) == found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "a name of 1 to"),
        ("x" * (MAX_NAME + 1), "a name of 1 to"),
        (".".join("x" * (MAX_LEVELS + 1)), "at most 16 levels"),
        ("timestamp", "another field"),
        ("extra", "extra.NAME"),
        ("extra.", "extra.NAME"),
        ("extra.request_id", "request_id, which stands at the top"),
        ("exception.traceback", "exception.type or exception.message"),
        ("exception.cause.traceback", "exception.type or exception.message"),
        ("exception.type.x", "exception.type or exception.message"),
        ("exception.", "exception.type or exception.message"),
    ],
)
def test_names_that_no_record_can_have_are_refused(name: str, expected: str) -> None:
    """With what would be right, and in short."""
    with pytest.raises(ConfigurationError, match=f"^expected .*{expected}.*, found ") as refused:
        find_field(name)
    assert len(str(refused.value)) < 300


def test_fields_are_equal_by_name() -> None:
    """Whoever keeps one can compare it."""
    assert find_field("a.b") == find_field("a.b") != find_field("a.c")
    assert repr(MISSING) == "MISSING"
