from __future__ import annotations

from typing import Any

import pytest

from logbus.collectors.format import TextFormat
from tests.property.batches import batch_of, payload_of

END = "process_id=42 thread_name=MainThread module=db function=query line=7"
MACHINE = "host=host app_name=app"


def _encoded(message: str = "m", extra: Any = None, nested: Any = None, exception: Any = None) -> str:
    payload = payload_of([1_700_000_000_123_456, 0, 0, message, extra, nested, exception])
    return TextFormat().encode(batch_of(payload)).decode()


def _own(*given: Any, **named: Any) -> str:
    """What stands between the message and who wrote it."""
    return _encoded(*given, **named).partition(": m ")[2].partition(" process_id=")[0]


def test_a_line_in_full() -> None:
    """A line has time, level, worker, component, logger, message, its own fields, its process and its place."""
    line = _encoded("hello world", {"n": 1, "request_id": "r"})
    assert line == (
        f"2023-11-14T22:13:20.123456Z INFO     worker-1 app app.db: hello world request_id=r n=1 {END} {MACHINE}\n"
    )


def test_a_record_without_fields() -> None:
    """A plain record goes from its message to who wrote it."""
    assert _encoded("").endswith(f"app.db: (empty) {END} {MACHINE}\n")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        (r"C:\temp", r'"C:\\temp"'),
        ("a\nb", r'"a\x0ab"'),
        ("\x1b[31m", r"\x1b[31m"),
        ("\u202eabc\u200b", r"\u202eabc\u200b"),
        ("\U000e0001", r"\U000e0001"),
        ("żółć", "żółć"),
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
    ],
)
def test_values_are_quoted_and_escaped(value: Any, shown: str) -> None:
    """A value is quoted when it has to be, and unsafe characters are escaped."""
    assert _own("m", {"k": value}) == f"k={shown}"


def test_keys_are_quoted_like_values() -> None:
    """A key can't pretend to be two."""
    assert _own("m", {"a b=c\n": 1}) == r'"a b=c\x0a"=1'


def test_nested_values_are_json() -> None:
    """Nested values keep their structure; a promoted name that is nested keeps its place among the others."""
    assert _own("m", {"source": "s"}, {"tree": {"a": [1, None]}}) == r'source=s tree="{\"a\":[1,null]}"'
    assert _own("m", {"n": 1}, {"source": [1]}) == "n=1 source=[1]"
    assert _own("m", None, {"source": [1]}) == "source=[1]"


def test_an_exception_is_on_the_same_line() -> None:
    """Type, message, traceback and what hangs on the exception are dotted keys."""
    leaf: list[Any] = ["KeyError", "k", [], None, None, []]
    assert _own("m", None, None, ["ValueError", "so bad", ["one", "two"], leaf, leaf, [leaf]]) == (
        r'exception.type=ValueError exception.message="so bad" exception.traceback="one\x0atwo" '
        'exception.cause.type=KeyError exception.cause.message=k exception.cause.traceback="" '
        'exception.context.type=KeyError exception.context.message=k exception.context.traceback="" '
        'exception.exceptions[0].type=KeyError exception.exceptions[0].message=k exception.exceptions[0].traceback=""'
    )


def test_a_message_is_one_line() -> None:
    """A message with a second line, or an escape sequence, is one line without."""
    assert r"first\x0a2026-11-22 ERROR forged\x1b[2J" in _encoded("first\n2026-11-22 ERROR forged\x1b[2J")


def test_custom_levels_say_their_number() -> None:
    """A level that is not one of the five shows name and number."""
    payload = payload_of([0, 0, 0, "m", None, None, None])
    payload[1][0][1:3] = [25, "SUCCESS"]
    line = TextFormat().encode(batch_of(payload)).decode()
    assert " SUCCESS  worker-1 app " in line
    assert " line=7 level_no=25 " in line


def test_a_worker_cannot_pretend_to_be_more_than_a_name() -> None:
    """A worker's name stands before the component, in quotes where it would look like several columns."""
    payload = payload_of([0, 0, 0, "m", {"worker": "other"}, None, None])
    payload[0][2] = "w 1\n"
    line = TextFormat().encode(batch_of(payload)).decode()
    assert line.startswith('1970-01-01T00:00:00.000000Z INFO     "w 1\\x0a" app app.db: m worker=other process_id=')


@pytest.mark.parametrize(("level", "colour"), [(5, "2"), (10, "2"), (20, "32"), (30, "33"), (40, "31"), (99, "1;31")])
def test_colours_follow_the_level(level: int, colour: str) -> None:
    """With colour, the level has one and the end of the line is dim; taken away, the line is the plain one."""
    payload = payload_of([0, 0, 0, "m", None, None, None])
    payload[1][0][1:3] = [level, "NAME"]
    coloured = TextFormat(colour=True).encode(batch_of(payload)).decode()
    assert f"\x1b[{colour}mNAME    \x1b[0m" in coloured
    plain = coloured.replace(f"\x1b[{colour}m", "").replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert plain == TextFormat().encode(batch_of(payload)).decode()
