from __future__ import annotations

import json
from typing import Any

import pytest

from logbus.collectors.decode import Raised
from logbus.collectors.format import lines
from logbus.collectors.format.base import MANY_UNSAFE
from logbus.collectors.format.otlp import OtlpFormat, make_otlp, severity_number, stacktrace
from logbus.collectors.sinks.http.bodies import BODIES
from logbus.errors import ConfigurationError
from tests.bodies import Received, attributes, exported
from tests.property.batches import batch_of, payload_of

NOW = 1_700_000_001_000_000_000
TRACE = "5b8efff798038103d269b633813fc60c"
SPAN = "eee19b7ec3c1b174"
#: The attributes that every record of these tests has.
OWN = {"code.function.name": "db.query", "code.line.number": 7, "thread.name": "MainThread", "component": "app"}


def _record(
    message: str = "m", extra: Any = None, nested: Any = None, exception: Any = None, time: int = 0
) -> list[Any]:
    return [time, 0, 0, message, extra, nested, exception]


def _sent(payload: list[Any], static: Any = None) -> list[Received]:
    data = OtlpFormat(static, lambda: NOW).encode(batch_of(payload))
    assert len(lines(data)) == len(payload[3])
    return exported(BODIES["otlp"].assemble(data))


def _one(*given: Any, **named: Any) -> Any:
    [(_, _, record)] = _sent(payload_of(_record(*given, **named)))
    return record


def _extra(*given: Any, **named: Any) -> dict[str, Any]:
    """The attributes that a record alone has."""
    found = attributes(_one(*given, **named).attributes)
    assert {key: found.pop(key) for key in OWN} == OWN
    return found


def test_a_line_in_full() -> None:
    """A line is an array of resource, scope and record, whose only raw tabs part them."""
    data = OtlpFormat(now=lambda: NOW).encode(
        batch_of(payload_of(_record("hello", {"n": 1}, time=1_700_000_000_123_456)))
    )
    assert data == (
        b'[{"attributes":[{"key":"service.name","value":{"stringValue":"app"}},'
        b'{"key":"service.instance.id","value":{"stringValue":"worker-1"}},'
        b'{"key":"host.name","value":{"stringValue":"host"}},{"key":"process.pid","value":{"intValue":"42"}}]}'
        b'\t,{"name":"app.db"}\t,{"observedTimeUnixNano":"1700000001000000000","severityNumber":9,"severityText":"INFO",'
        b'"timeUnixNano":"1700000000123456000","body":{"stringValue":"hello"},"attributes":['
        b'{"key":"code.function.name","value":{"stringValue":"db.query"}},'
        b'{"key":"code.line.number","value":{"intValue":"7"}},'
        b'{"key":"thread.name","value":{"stringValue":"MainThread"}},'
        b'{"key":"component","value":{"stringValue":"app"}},{"key":"n","value":{"intValue":"1"}}]}]\n'
    )
    assert len(json.loads(data)) == 3


def test_a_record_as_the_schema_reads_it() -> None:
    """By the published schema, the record has its times, level, body and attributes, its process and its logger."""
    [(resource, scope, record)] = _sent(payload_of(_record("hello", {"request_id": "r"}, time=1_700_000_000_123_456)))
    assert resource == {
        "service.name": "app",
        "service.instance.id": "worker-1",
        "host.name": "host",
        "process.pid": 42,
    }
    assert scope == "app.db"
    assert (record.time_unix_nano, record.observed_time_unix_nano) == (1_700_000_000_123_456_000, NOW)
    assert (record.severity_number, record.severity_text) == (9, "INFO")
    assert record.body.string_value == "hello"
    assert attributes(record.attributes) == {**OWN, "request_id": "r"}


def test_every_kind_of_value() -> None:
    """Texts, numbers, truth and null come through as they are, an integer beyond 63 bits as its text."""
    values = {
        "text": "é\n",
        "yes": True,
        "no": False,
        "n": -(2**63),
        "big": 2**63,
        "x": 0.1,
        "huge": 1e308,
        "none": None,
    }
    assert _extra("m", values) == {**values, "big": str(2**63)}


def test_what_is_no_number_in_json_is_a_text() -> None:
    """NaN and the infinities are the texts that every format has for them."""
    assert _extra("m", {"a": float("nan"), "b": float("inf")}, {"t": [float("-inf")]}) == {
        "a": "NaN",
        "b": "Infinity",
        "t": ["-Infinity"],
    }


def test_nested_values_are_maps_and_arrays() -> None:
    """What is nested keeps its form, as deep as a record may have it."""
    deep: Any = "end"
    for _ in range(15):
        deep = {"d": deep}
    nested = {"tree": {"a": [1, None, {"b": []}], "c": {}}, "deep": deep, "list": [True, 0.5, "x"]}
    assert _extra("m", None, nested) == nested


def test_ids_of_a_trace_are_the_records() -> None:
    """Ids by W3C Trace Context become the record's own, in lower case, and are no attributes."""
    record = _one("m", {"trace_id": TRACE.upper(), "span_id": SPAN, "n": 1})
    assert (record.trace_id.hex(), record.span_id.hex()) == (TRACE, SPAN)
    assert attributes(record.attributes) == {**OWN, "n": 1}


@pytest.mark.parametrize("trace", ["0" * 32, TRACE[1:], f"{TRACE}0", f"{TRACE[:-1]}g", f"{TRACE}\n", 5, None, ""])
def test_what_is_no_id_stays_an_attribute(trace: Any) -> None:
    """An id that is none is an extra field like another, and a span without a trace is none."""
    record = _one("m", {"trace_id": trace, "span_id": SPAN})
    assert (record.trace_id, record.span_id) == (b"", b"")
    assert attributes(record.attributes) == {**OWN, "trace_id": trace, "span_id": SPAN}


def test_a_wrong_span_leaves_its_trace() -> None:
    """A span that is none stays an attribute of a record that has its trace."""
    record = _one("m", {"trace_id": TRACE, "span_id": "0" * 16})
    assert (record.trace_id.hex(), record.span_id) == (TRACE, b"")
    assert attributes(record.attributes) == {**OWN, "span_id": "0" * 16}


def test_fields_called_like_attributes_of_the_record() -> None:
    """No two attributes have one name: an extra field gives way, and none has no name."""
    extra = {"thread.name": 1, "extra.thread.name": 2, "": 3, "extra.": 4, "n": 5, "sample_rate": 6, "extra.n": 7}
    assert _extra("m", extra, {"n": [], "component": {}}) == {
        "extra.thread.name": 1,
        "extra.extra.thread.name": 2,
        "extra.": 3,
        "extra.extra.": 4,
        "n": 5,
        "extra.sample_rate": 6,
        "extra.n": 7,
        "extra.extra.n": [],
        "extra.component": {},
    }


def test_an_exception_has_the_names_of_the_conventions() -> None:
    """Its type and message stand alone, and all that hang on it are in its stack trace."""
    cause: list[Any] = ["KeyError", "k", ['File "a.py", line 1, in f: x[k]'], None, None, []]
    found = _extra("m", None, None, ["ValueError", "bad", ['File "b.py", line 2, in g'], cause, None, []])
    assert found == {
        "exception.type": "ValueError",
        "exception.message": "bad",
        "exception.stacktrace": (
            "Traceback (most recent call last):\n"
            '  File "a.py", line 1, in f: x[k]\n'
            "KeyError: k\n"
            "\n"
            "The above exception was the direct cause of the following exception:\n"
            "\n"
            "Traceback (most recent call last):\n"
            '  File "b.py", line 2, in g\n'
            "ValueError: bad"
        ),
    }


def test_a_group_shows_its_members() -> None:
    """Members of a group stand behind it, each with a number and a margin, and what they came from with them."""
    leaf = Raised("KeyError", "", [], None, None, [])
    member = Raised("ValueError", "bad", ["frame"], None, leaf, [])
    assert stacktrace(Raised("ExceptionGroup", "two", [], None, None, [member, leaf])) == (
        "ExceptionGroup: two\n"
        "  +---------------- 1 ----------------\n"
        "  | KeyError\n"
        "  | \n"
        "  | During handling of the above exception, another exception occurred:\n"
        "  | \n"
        "  | Traceback (most recent call last):\n"
        "  |   frame\n"
        "  | ValueError: bad\n"
        "  +---------------- 2 ----------------\n"
        "  | KeyError"
    )


@pytest.mark.parametrize(
    ("level", "number"),
    [
        *((-(2**63), 0), (0, 0), (1, 1), (5, 1), (6, 2), (9, 4)),
        *((10, 5), (11, 6), (13, 8), (19, 8), (20, 9), (25, 12), (30, 13), (40, 17), (50, 21), (53, 24), (60, 24)),
        (2**63 - 1, 24),
    ],
)
def test_levels_have_their_numbers(level: int, number: int) -> None:
    """The standard levels have the first number of their range, and what is between them is between."""
    assert severity_number(level) == number


def test_levels_of_ones_own_are_told() -> None:
    """A level that is not the standard library's has its number as an attribute; NOTSET's is not specified."""
    payload = payload_of(_record(), _record())
    payload[1][0][1:3] = [25, "SUCCESS"]
    payload[1].append([*payload[1][0][:1], 0, "", *payload[1][0][3:]])
    payload[3][1][1] = 1
    (_, _, success), (_, _, unset) = _sent(payload)
    assert (success.severity_number, success.severity_text) == (12, "SUCCESS")
    assert attributes(success.attributes) == {**OWN, "level_no": 25}
    assert (unset.severity_number, unset.severity_text) == (0, "Level 0")


@pytest.mark.parametrize(
    ("time", "nanoseconds"), [(-1, 0), (-(2**63), 0), (2**63 - 1, (2**64 - 1) // 1000 * 1000), (1, 1000)]
)
def test_times_beyond_are_the_nearest(time: int, nanoseconds: int) -> None:
    """A time that unsigned nanoseconds don't hold becomes the nearest; before 1970 that is one that is not known."""
    assert _one(time=time).time_unix_nano == nanoseconds


def test_no_message_is_said_so() -> None:
    """A body is never empty."""
    assert _one("").body.string_value == "(empty)"


def test_a_service_without_a_name() -> None:
    """A process without an app's name is the service that the conventions have for it."""
    payload = payload_of(_record())
    payload[0][3] = ""
    [(resource, _, _)] = _sent(payload)
    assert resource["service.name"] == "unknown_service"


def test_static_fields_are_of_the_resource() -> None:
    """Static fields stand there in their types, in the place of what is called alike."""
    static = {"deployment.environment.name": "test", "service.name": "mine", "n": 1, "x": 0.5, "yes": True}
    [(resource, _, _)] = _sent(payload_of(_record()), static)
    assert resource == {"service.instance.id": "worker-1", "host.name": "host", "process.pid": 42, **static}


def test_wrong_static_fields_are_refused() -> None:
    """What is wrong comes with its key."""
    with pytest.raises(ConfigurationError) as caught:
        make_otlp({"a": float("inf"), "": 1})
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == ["static_fields.a", 'static_fields.""']


def test_equal_arguments_give_the_same_format() -> None:
    """Sinks with the same static fields share one encoding; 1 and true are two."""
    assert make_otlp() is make_otlp({})
    kept = make_otlp({"n": 1})
    assert kept is make_otlp({"n": 1})
    assert kept is not make_otlp({"n": True})


def test_a_rate_is_an_attribute() -> None:
    """A line with its rate has it behind all that it had."""
    form = OtlpFormat(now=lambda: NOW)
    line = form.encode(batch_of(payload_of(_record("m", {"n": 1}))))
    [(_, _, record)] = exported(BODIES["otlp"].assemble(form.stamp(line, 0.25)))
    assert attributes(record.attributes) == {**OWN, "n": 1, "sample_rate": 0.25}


def test_nothing_passes_raw() -> None:
    """Characters that a terminal obeys are escapes in a line, few or very many, and texts are what they were."""
    for text in ("a\x7f\x1b\u202eé\U000e0001", "\u202eé" * (MANY_UNSAFE + 1), "\t\n\r" * 9):
        payload = payload_of(_record(text, {"k\u200b": text}, {"t": [text]}), threads=["T\u2028"])
        data = OtlpFormat(now=lambda: NOW).encode(batch_of(payload))
        [line] = lines(data)
        assert line.decode().replace("\t", "").removesuffix("\n").isprintable()
        assert line.count(b"\t") == 2
        [(_, _, record)] = exported(BODIES["otlp"].assemble(data))
        found = attributes(record.attributes)
        assert (record.body.string_value, found["k\u200b"], found["t"]) == (text, text, [text])
        assert found["thread.name"] == "T\u2028"


def test_a_long_message_is_whole() -> None:
    """A message of 100 kB of what JSON escapes is one line, and comes through."""
    message = '"\\\n\t' * 25_000
    assert _one(message).body.string_value == message


def test_names_of_call_sites_that_nobody_uses_cost_nothing() -> None:
    """A frame with a long host and many call sites is no larger than the records that it has."""
    payload = payload_of(_record(), _record())
    payload[0][0] = "h" * 100_000
    payload[1] *= 2000
    assert len(OtlpFormat(now=lambda: NOW).encode(batch_of(payload))) < 300_000
