"""What a follower wants, and which records of a batch that is."""

from __future__ import annotations

from typing import Any

import pytest

from logbus.collectors.decode import Batch, decode
from logbus.collectors.follower import MAX_COMPONENTS, Follower, Question
from logbus.errors import ConfigurationError
from logbus.rules import MAX_CHARS, MAX_CONDITIONS
from logbus.wire import Header, pack_payload
from tests.frames import payload, producer, site

SITES = [site("db", 10, "DEBUG"), site("rotator", 20, "INFO"), site("rotator", 40, "ERROR")]


def batch(*at: int, **options: Any) -> Batch:
    """A batch with a record at each of these sites."""
    body = payload(*[f"m{number}" for number in range(len(at))], sites=SITES, at=at, **options)
    return decode(Header(1, 0, 1, producer(1), 0, len(at)), pack_payload(body))


def follower(**question: Any) -> Follower:
    """A follower with a question."""
    return Follower(b"f", Question(**question), now=0.0, deadline=1.0, allowance=1.0)


def wanted(records: Batch, **question: Any) -> list[int]:
    """What a follower wants of a batch."""
    asks = follower(**question)
    return list(asks.wanted(records, asks.candidates(records)))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({}, [0, 1, 2]),
        ({"level": 20}, [1, 2]),
        ({"components": ("rotator",)}, [1, 2]),
        ({"components": ("rotator", "db"), "level": 30}, [2]),
        ({"components": ("rot",)}, []),
    ],
)
def test_level_and_component_choose_call_sites(question: dict[str, Any], expected: list[int]) -> None:
    """As they do for a sink."""
    assert wanted(batch(0, 1, 2), **question) == expected


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ((("request_id", "7"),), True),
        ((("request_id", "8"),), False),
        ((("name", "x"), ("ratio", "0.5")), True),
        ((("name", "x"), ("ratio", "0.6")), False),
        ((("flag", "true"),), True),
        ((("flag", "True"),), True),
        ((("flag", "1"),), False),
        ((("none", "null"),), True),
        ((("none", ""),), False),
        ((("missing", ""),), False),
        ((("deep", "{'a': 1}"),), False),
        ((("token", "***"),), True),
        ((("worker", "w1"),), True),
        ((("worker", "mine"),), True),
        ((("worker", "w2"),), False),
        ((("process_id", "7"), ("host", "host"), ("app_name", "app")), True),
        ((("logger", "db"), ("component", "db"), ("level", "DEBUG"), ("level_no", "10")), True),
        ((("level", "debug"),), True),
        ((("extra.kind", "Debug"),), True),
        ((("extra.kind", "debug"),), False),
        ((("module", "module"), ("function", "function"), ("line", "7")), True),
        ((("thread_name", "MainThread"),), True),
        ((("thread_name", "T2"),), False),
        ((("line", "7"), ("request_id", "8")), False),
        ((("message", "m0"),), True),
        ((("message", "m1"),), False),
        ((("extra.name", "x"), ("deep.a", "1")), True),
        ((("extra.worker", "mine"),), True),
        ((("extra.worker", "w1"),), False),
        ((("exception.type", "MISSING"),), False),
        ((("missing", "MISSING"),), False),
    ],
)
def test_conditions_look_at_the_fields_of_a_line(where: tuple[tuple[str, str], ...], holds: bool) -> None:
    """Of the worker, the call site and the record, by their text; all must hold."""
    extra = {"request_id": 7, "name": "x", "ratio": 0.5, "flag": True, "none": None, "worker": "mine", "token": "***"}
    extra["kind"] = "Debug"
    record = batch(0, extra=extra, nested={"deep": {"a": 1}})
    assert wanted(record, where=where) == ([0] if holds else [])


def test_conditions_are_looked_up_by_site_and_record() -> None:
    """The same field may be met by one call site and not by another."""
    assert wanted(batch(0, 1, 2, 1), where=(("level", "INFO"),)) == [1, 3]
    assert wanted(batch(0, 1, 2, 1), where=(("level", "INFO"),), components=("db",)) == []


def test_a_question_travels_whole() -> None:
    """What the command asks is what the collector reads."""
    question = Question(("rotator", "a.b"), 30, (("a", "1"), ("b", "2")), "json", colour=True)
    assert Question.of(question.document()) == question
    assert Question.of({}) == Question()


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"components": "rotator"}, "components"),
        ({"components": [""]}, "components"),
        ({"components": [7]}, "components"),
        ({"components": ["x"] * (MAX_COMPONENTS + 1)}, "components"),
        ({"components": ["x" * (MAX_CHARS + 1)]}, "components"),
        ({"level": "INFO"}, "level"),
        ({"level": True}, "level"),
        ({"level": -1}, "level"),
        ({"level": 101}, "level"),
        ({"where": [["a", "b"]]}, "where"),
        ({"where": {"a": 1}}, "where"),
        ({"where": {"timestamp": "1"}}, "where"),
        ({"where": {"extra.request_id": "1"}}, "where"),
        ({"where": {"a": "x" * (MAX_CHARS + 1)}}, "where"),
        ({"where": {str(n): "" for n in range(MAX_CONDITIONS + 1)}}, "where"),
        ({"format": "yaml"}, "format"),
        ({"format": ["text"]}, "format"),
        ({"colour": 1}, "format"),
    ],
)
def test_a_wrong_question_is_refused_with_what_is_wrong(document: dict[str, Any], problem: str) -> None:
    """Each by its key, with exit code 2; whatever was sent is shown in short."""
    with pytest.raises(ConfigurationError, match=f"tail: {problem}: expected") as refused:
        Question.of(document)
    assert len(str(refused.value)) < 1000


def test_all_that_is_wrong_is_said_at_once() -> None:
    """One line for each."""
    with pytest.raises(ConfigurationError) as refused:
        Question.of({"components": 1, "level": None, "where": 2, "format": 3})
    assert len(refused.value.problems) == 4
