from __future__ import annotations

import json
import math
from typing import Any

import pytest

from logbus.collectors.format import JsonFormat
from logbus.collectors.format.names import FIELDS, MAX_NAME, MAX_TEXT, Names, Scalar
from logbus.collectors.schema import record_schema
from logbus.errors import ConfigurationError
from tests.property.batches import batch_of, payload_of


def _problems(rename: dict[str, Any] | None = None, static: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Names(rename, static)
    return caught.value.problems


def test_the_fields_are_those_of_the_contract() -> None:
    """What can be renamed is what the schema of a line has, and a line has its fields in that order."""
    assert set(FIELDS) == set(record_schema()["properties"])
    payload = payload_of([0, 0, 0, "m", {"request_id": "r", "n": 1}, None, ["E", "m", [], None, None, []]])
    payload[1][0][1:3] = [25, "SUCCESS"]
    formatter = JsonFormat()
    line = json.loads(formatter.stamp(formatter.encode(batch_of(payload)), 0.5))
    assert [field for field in FIELDS if field in line] == list(line)


def test_without_a_word_everything_keeps_its_name() -> None:
    """Every field is called what it is, and nothing is added."""
    names = Names()
    assert [names[field] for field in FIELDS] == list(FIELDS)
    assert (names.static, names.promoted_as_they_are) == ({}, True)


def test_a_field_that_no_line_has_cannot_be_renamed() -> None:
    """What comes near is offered; where nothing does, all of them are named."""
    assert _problems({"timestmp": "t"}) == ["rename_fields.timestmp: no field of a line; did you mean timestamp?"]
    [problem] = _problems({"a b": "t"})
    assert problem == f'rename_fields."a b": no field of a line; expected one of {", ".join(FIELDS)}'


@pytest.mark.parametrize("name", ["", " ", "a\n", "a\u202eb", "n" * (MAX_NAME + 1), 7, None, ["x"]])
def test_a_name_is_a_printable_text(name: Any) -> None:
    """Empty, invisible, long and other names are refused, and shown in ASCII."""
    [problem] = _problems({"level": name})
    assert problem.startswith(f"rename_fields.level: expected a name of 1 to {MAX_NAME} printable characters, found ")
    assert problem.isascii()
    assert problem.isprintable()
    assert len(problem) < 500


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (None, "expected a text, a finite number or a boolean, found NoneType"),
        ([1], "expected a text, a finite number or a boolean, found list"),
        ({"a": "s3cret"}, "expected a text, a finite number or a boolean, found dict"),
        (math.nan, "expected a text, a finite number or a boolean, found nan"),
        (-math.inf, "expected a text, a finite number or a boolean, found -inf"),
        (2**64, "expected an integer of at most 64 bits"),
        (-(2**63) - 1, "expected an integer of at most 64 bits"),
        ("x" * (MAX_TEXT + 1), f"expected at most {MAX_TEXT} characters, found {MAX_TEXT + 1}"),
        ("\ud800", "expected characters that UTF-8 has, found half a surrogate pair"),
    ],
)
def test_a_static_field_is_a_scalar(value: Any, wrong: str) -> None:
    """Other values are refused, without showing what they hold."""
    assert _problems(None, {"environment": value}) == [f"static_fields.environment: {wrong}"]


def test_every_scalar_can_be_added() -> None:
    """Texts, integers, floats and booleans are taken as they are, in their order."""
    static: dict[str, Scalar] = {
        "a": "x",
        "b": 2**64 - 1,
        "c": -(2**63),
        "d": 0.5,
        "e": False,
        "f": "",
        "service.name": "s",
    }
    assert list(Names(None, static).static.items()) == list(static.items())


def test_no_two_fields_have_one_name() -> None:
    """A name that another field has, by nature or by renaming, is refused for both kinds, with the key to blame."""
    assert _problems({"level": "message", "line": "x", "module": "x"}, {"host": 1, "x": 2, "level": 3}) == [
        'rename_fields.level: "message" is the name of another field of a line',
        'rename_fields.module: "x" is the name of the renamed field line',
        "static_fields.host: that is the name of another field of a line",
        "static_fields.x: that is the name of the renamed field line",
    ]


def test_a_name_given_up_is_free() -> None:
    """Fields change names with one another, and a static field takes the old name of a renamed one."""
    names = Names({"level": "severity", "host": "worker", "worker": "host"}, {"level": "gold"})
    assert (names["host"], names["worker"], names["level"]) == ("worker", "host", "severity")
    assert Names({"level": "level"})["level"] == "level"


def test_dotted_names_stay_out_of_other_fields() -> None:
    """A name that logfmt would give to a field inside extra or an exception is refused, whatever those are called."""
    assert _problems({"worker": "extra.worker"}, {"exception.type": 1, "extra.n": 2}) == [
        'rename_fields.worker: "extra.worker" is the name of a field inside extra',
        'static_fields."exception.type": "exception.type" is the name of a field inside exception',
        'static_fields."extra.n": "extra.n" is the name of a field inside extra',
    ]
    assert _problems({"extra": "e"}, {"extra.n": 1, "e.n": 2}) == [
        'static_fields."e.n": "e.n" is the name of a field inside extra'
    ]


def test_what_is_shown_has_no_secret() -> None:
    """A URL that was pasted into the wrong place is shown without its password, as a key and as a name."""
    url = "http://user:hunter2@host/"
    found = _problems({url: "t", "level": f"{url}\n", "line": {"password": "hunter2"}}, {url: [1]})
    assert len(found) == 4
    assert "hunter2" not in "".join(found)
    assert found[0].startswith('rename_fields."http://user:***@host/": no field of a line')


def test_everything_wrong_is_said_at_once() -> None:
    """Each problem is one line with its key."""
    found = _problems({"lebel": "x", "level": ""}, {"host": 1, "n": None})
    assert [line.partition(":")[0] for line in found] == [
        "rename_fields.lebel",
        "rename_fields.level",
        "static_fields.n",
        "static_fields.host",
    ]
