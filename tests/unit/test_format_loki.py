from __future__ import annotations

import json
from typing import Any

import pytest

from logbus.collectors.format import FORMATS, EachFormatter, lines, make_formatter
from logbus.collectors.format.labels import MAX_LABELS, MAX_VALUE, Labels
from logbus.collectors.format.loki import make_loki
from logbus.collectors.sinks.http.bodies import BODIES
from logbus.errors import ConfigurationError
from tests.bodies import pushed
from tests.property.batches import batch_of, payload_of


def picky(record: dict[str, Any]) -> str:
    """A format of somebody else that can't write every record."""
    if record["message"] == "no":
        raise ValueError("not this one")
    return f'"{record["message"]}"\t\\ '


PICKY = f"{__name__}:picky"


def _record(
    message: str = "m", extra: Any = None, nested: Any = None, exception: Any = None, time: int = 0
) -> list[Any]:
    return [time, 0, 0, message, extra, nested, exception]


def _labels(table: dict[str, str], *records: list[Any]) -> list[dict[str, str]]:
    data = make_loki("text", table).encode(batch_of(payload_of(*records or [_record()])))
    return [json.loads(line)[0] for line in lines(data)]


def test_a_line_in_full() -> None:
    """A line is an array of labels, time and text, whose only raw tab stands behind the labels."""
    record = _record("hello", time=1_700_000_000_123_456)
    [line] = lines(make_loki("logfmt").encode(batch_of(payload_of(record))))
    assert line == (
        b'[{"job":"logbus","level":"INFO"}\t,"1700000000123456000","timestamp=2023-11-14T22:13:20.123456Z level=INFO '
        b"message=hello logger=app.db component=app module=db function=query line=7 process_id=42 "
        b'thread_name=MainThread worker=worker-1 host=host app_name=app"]\n'
    )


@pytest.mark.parametrize("name", FORMATS)
def test_the_text_is_the_line_of_the_inner_format(name: str) -> None:
    """Every format's lines come through a push as they are, without their newlines, stamped ones too."""
    records = [_record('a "b" \\ \n\t\x7f é \u202e', {"n": 1.5, "u": "\u2028"}), _record("", None, {"t": [{}]})]
    batch = batch_of(payload_of(*records))
    inner, outer = make_formatter(name, static={"s": 'q"'}), make_loki(name, static={"s": 'q"'})
    texts = inner.encode(batch).decode().splitlines()
    assert [text for _, _, text in pushed(BODIES["loki"].assemble(outer.encode(batch)))] == texts
    stamped = b"".join([outer.stamp(line, 0.25) for line in lines(outer.encode(batch))])
    expected = [inner.stamp(line, 0.25).decode()[:-1] for line in lines(inner.encode(batch))]
    assert pushed(BODIES["loki"].assemble(stamped)) == [
        ({"job": "logbus", "level": "INFO"}, 0, one) for one in expected
    ]


def test_a_record_that_somebodys_format_cannot_write_has_no_line() -> None:
    """What a plug-in can't write is missing, the others are there, and the reason is told."""
    outer = make_loki(PICKY)
    batch = batch_of(payload_of(_record("a"), _record("no"), _record("b")))
    assert isinstance(outer, EachFormatter)
    first, none, last = outer.encode_each(batch)
    assert none is None
    assert outer.error == f"format {PICKY!r}: ValueError: not this one"
    assert first is not None
    assert last is not None
    assert outer.encode(batch) == first + last
    assert [text for _, _, text in pushed(BODIES["loki"].assemble(first + last))] == ['"a"\\u0009\\ ', '"b"\\u0009\\ ']


@pytest.mark.parametrize(
    ("time", "nanoseconds"),
    [
        (-(2**63), -((2**63) // 1000) * 1000),
        (2**63 - 1, (2**63 - 1) // 1000 * 1000),
        (-1, -1000),
        (0, 0),
    ],
)
def test_times_beyond_are_the_nearest(time: int, nanoseconds: int) -> None:
    """A time that signed nanoseconds don't hold becomes the nearest, and no other record's time changes."""
    data = make_loki("text").encode(batch_of(payload_of(_record(time=time), _record(time=5))))
    assert [found for _, found, _ in pushed(BODIES["loki"].assemble(data))] == [nanoseconds, 5000]


def test_a_label_is_a_text_or_a_field() -> None:
    """Fields of the process, the call site, the thread and the record are found by their names."""
    table = {
        "job": "j é",
        "w": "{worker}",
        "c": "{component}",
        "t": "{thread_name}",
        "r": "{request_id}",
        "k": "{kind}",
    }
    record = _record("m", {"request_id": "r1", "kind": "a"})
    assert _labels(table, record) == [
        {"job": "j é", "w": "worker-1", "c": "app", "t": "MainThread", "r": "r1", "k": "a"}
    ]


def test_values_that_are_no_texts_are_their_json() -> None:
    """A number, a truth and what is nested are labels by their JSON; equal texts are one stream."""
    values = [1, True, 1.5, "1", "true"]
    found = _labels({"v": "{v}"}, *[_record("m", {"v": value}) for value in values], _record("m", None, {"v": [1, {}]}))
    assert [labels["v"] for labels in found] == ["1", "true", "1.5", "1", "true", "[1,{}]"]


def test_what_is_not_there_is_no_label() -> None:
    """A missing, null or empty field leaves its label out; a record without any label gets one."""
    table = {"v": "{v}"}
    assert _labels(table, _record(), _record("m", {"v": None}), _record("m", {"v": ""}), _record("m", {"v": "x"})) == [
        {"job": "logbus"},
        {"job": "logbus"},
        {"job": "logbus"},
        {"v": "x"},
    ]


def test_long_values_are_cut() -> None:
    """A value that Loki would refuse is cut to whole characters, and the cut is seen."""
    [labels] = _labels({"v": "{v}"}, _record("m", {"v": "é" * MAX_VALUE}))
    assert labels["v"].rstrip("…") == "é" * ((MAX_VALUE - 3) // 2)
    assert len(labels["v"].encode()) <= MAX_VALUE
    [whole] = _labels({"v": "{v}"}, _record("m", {"v": "x" * MAX_VALUE}))
    assert whole["v"] == "x" * MAX_VALUE


def test_labels_hide_nothing() -> None:
    """Characters that a terminal obeys are escapes in a line, and what they were for the server."""
    value = "a\x1b\x7f\u202e\tb"
    [line] = lines(make_loki("json", {"v": "{v}"}).encode(batch_of(payload_of(_record("m", {"v": value})))))
    assert line.count(b"\t") == 1
    assert line.decode().replace("\t", "").removesuffix("\n").isprintable()
    assert json.loads(line)[0] == {"v": value}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "labels: expected 1 to 15 labels, found 0"),
        ({f"l{n}": "x" for n in range(MAX_LABELS + 1)}, "labels: expected 1 to 15 labels, found 16"),
        (
            {"1a": "x"},
            "labels.1a: expected a name of letters, digits, _ and :, without a digit at its beginning or __, found",
        ),
        ({"__a": "x"}, "labels.__a: expected a name of letters"),
        ({"a\n": "x"}, 'labels."a\\n": expected a name of letters'),
        ({"é": "x"}, 'labels."\\u00e9": expected a name of letters'),
        ({"a": ""}, 'labels.a: expected a text or "{FIELD}", found ""'),
        ({"a": 5}, 'labels.a: expected a text or "{FIELD}", found 5'),
        ({"a": "x{level}"}, 'labels.a: expected a text without braces, or "{FIELD}" alone, found "x{level}"'),
        ({"a": "{level}{job}"}, "labels.a: expected a text without braces"),
        ({"a": "{}"}, "labels.a: expected a text without braces"),
        ({"a": "x" * (MAX_VALUE + 1)}, "labels.a: expected at most 2048 bytes of UTF-8"),
        ({"a": "\ud800"}, "labels.a: expected at most 2048 bytes of UTF-8"),
        ({"a": "{timestamp}"}, "labels.a: expected another field: the time is every record's own"),
        ({"a": "{exception}"}, "labels.a: expected exception.type or exception.message"),
    ],
)
def test_wrong_labels_are_refused(table: dict[str, Any], problem: str) -> None:
    """What Loki would not take, or nobody can mean, is refused under its key."""
    for ask in (Labels, lambda table: make_loki("json", table)):
        with pytest.raises(ConfigurationError) as caught:
            ask(table)
        assert [one[: len(problem)] for one in caught.value.problems] == [problem]


def test_all_that_is_wrong_is_told() -> None:
    """Several wrong labels are several problems."""
    with pytest.raises(ConfigurationError) as caught:
        Labels({"1": "x", "a": "{timestamp}", "b": "fine"})
    assert len(caught.value.problems) == 2


def test_equal_arguments_give_the_same_format() -> None:
    """Sinks with the same labels and the same line share one encoding, with or without naming the usual labels."""
    kept = make_loki("json")
    assert kept is make_loki("json", {"job": "logbus", "level": "{level}"})
    assert kept is not make_loki("json", {"job": "logbus"})
    assert kept is not make_loki("text")
    assert kept is not make_loki("json", static={"a": 1})
