from __future__ import annotations

import re
from typing import Any

import pytest

from logbus.collectors.format import Names, TextFormat
from logbus.collectors.format.base import MANY_UNSAFE
from tests.property.batches import batch_of, payload_of

END = "process_id=42 thread_name=MainThread module=db function=query line=7"
MACHINE = "host=host app_name=app"


def _encoded(message: str = "m", extra: Any = None, nested: Any = None, exception: Any = None) -> str:
    payload = payload_of([1_700_000_000_123_456, 0, 0, message, extra, nested, exception])
    return TextFormat().encode(batch_of(payload)).decode()


def _own(*given: Any, **named: Any) -> str:
    """What stands between the message and who wrote it."""
    return _encoded(*given, **named).partition(" m ")[2].partition(" process_id=")[0]


def _raised(*exception: Any, colour: bool = False, names: Names | None = None) -> str:
    """What stands at the end of the line of a record with this exception."""
    payload = payload_of([0, 0, 0, "m", None, None, list(exception)])
    return TextFormat(names, colour=colour).encode(batch_of(payload)).decode().partition(MACHINE)[2]


def test_a_line_in_full() -> None:
    """A line has time, level, worker, component, logger, message, its own fields, its process and its place."""
    line = _encoded("hello world", {"n": 1, "request_id": "r"})
    assert line == (
        "2023-11-14T22:13:20.123456Z INFO     worker-1 app app.db:                     "
        f"hello world request_id=r n=1 {END} {MACHINE}\n"
    )


def test_a_record_without_fields() -> None:
    """A plain record goes from its message to who wrote it."""
    assert _encoded("").endswith(f" (empty) {END} {MACHINE}\n")


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
    """Last comes the exception: type and message, then its frames, then what it was raised from or beside."""
    leaf: list[Any] = ["KeyError", "'k'", ['File "a.py", line 2, in f: d["k"]'], None, None, []]
    bare: list[Any] = ["TimeoutError", "", [], None, None, []]
    assert _raised("ValueError", "so\nbad", ["one", "two"], leaf, bare, []) == (
        r" exception ValueError: so\x0abad | one | two"
        """ | caused by KeyError: 'k' | File "a.py", line 2, in f: d["k"] | while handling TimeoutError\n"""
    )


def test_members_of_a_group_are_numbered() -> None:
    """What a group has inside is told apart by numbers, however deep."""
    leaf: list[Any] = ["KeyError", "k", [], None, None, []]
    inner: list[Any] = ["ExceptionGroup", "in", [], None, None, [leaf, ["E", "", [], leaf, None, []]]]
    assert _raised("ExceptionGroup", "out", [], None, None, [leaf, inner]) == (
        " exception ExceptionGroup: out | member 1 KeyError: k | member 2 ExceptionGroup: in"
        " | member 2.1 KeyError: k | member 2.2 E | caused by KeyError: k\n"
    )


def test_names_are_as_the_sink_wants_them() -> None:
    """Fields that stand with their name take another one; added ones stand with the machine, in quotes if need be."""
    names = Names(
        {"request_id": "trace id", "worker": "w", "process_id": "pid", "app_name": "service", "exception": "error"},
        {"environment": "pre prod", "version": 2},
    )
    payload = payload_of([0, 0, 0, "m", {"request_id": "r"}, None, ["E", "", [], None, None, []]])
    line = TextFormat(names).encode(batch_of(payload)).decode()
    assert line.partition(" m ")[2] == (
        '"trace id"=r pid=42 thread_name=MainThread module=db function=query line=7 host=host service=app '
        'environment="pre prod" version=2 error E\n'
    )


@pytest.mark.parametrize("colour", [False, True])
def test_a_sampled_line_says_its_rate(colour: bool) -> None:
    """The rate stands at the end of the line, under the name that the sink has for it."""
    batch = batch_of(payload_of([0, 0, 0, "m", None, None, ["E", "", [], None, None, []]]))
    formatter = TextFormat(Names({"sample_rate": "kept"}), colour=colour)
    line = formatter.encode(batch)
    stamped = formatter.stamp(line, 0.25)
    dim, reset = (b"\x1b[2m", b"\x1b[0m") if colour else (b"", b"")
    assert stamped == line[:-1] + b" " + dim + b"kept=0.25" + reset + b"\n"


def test_a_message_is_one_line() -> None:
    """A message with a second line, or an escape sequence, is one line without."""
    assert r"first\x0a2026-11-22 ERROR forged\x1b[2J" in _encoded("first\n2026-11-22 ERROR forged\x1b[2J")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("é\n", r"é\x0a"),
        ("e\x1b\x7f", r"e\x1b\x7f"),
        ("é\u202e\x85\U000e0041", r"\xe9\u202e\x85\U000e0041"),
    ],
)
def test_a_message_of_many_odd_characters_is_one_line(text: str, shown: str) -> None:
    """Thousands of newlines leave the rest legible; where others are too many, all that is not ASCII is escaped."""
    assert f" {shown * MANY_UNSAFE} process_id=" in _encoded(text * MANY_UNSAFE)


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
    assert line.startswith(
        '1970-01-01T00:00:00.000000Z INFO     "w 1\\x0a" app app.db:                    m worker=oth'
    )


def test_messages_begin_below_one_another() -> None:
    """Names of usual length leave the message in one column; longer ones push it."""
    payload = payload_of(*[[0, site, 0, "m", None, None, None] for site in range(3)])
    payload[1] += [
        ["uvicorn.access", 20, "INFO", "m", "f", 1, "uvicorn.access"],
        ["l" * 40, 20, "INFO", "m", "f", 1, "c"],
    ]
    found = TextFormat().encode(batch_of(payload)).decode().splitlines()
    assert [line.index(" m ") for line in found] == [77, 77, 89]


COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize(("level", "colour"), [(5, "2"), (10, "2"), (20, "32"), (30, "33"), (40, "31"), (99, "1;31")])
def test_colours_follow_the_level(level: int, colour: str) -> None:
    """The level has a colour, keys and exceptions too, the rest is dim; taken away, the line is the plain one."""
    raised: list[Any] = ["E", "bad", ["frame"], ["Cause", "", [], None, None, []], None, []]
    payload = payload_of([0, 0, 0, "m", {"n": 1, "a b": 2}, None, raised])
    payload[1][0][1:3] = [level, "NAME"]
    coloured = TextFormat(colour=True).encode(batch_of(payload)).decode()
    assert f"\x1b[{colour}mNAME    \x1b[0m" in coloured
    assert '\x1b[36mn\x1b[0m=1 \x1b[36m"a b"\x1b[0m=2 \x1b[2mprocess_id=42' in coloured
    assert (
        "app\x1b[0m exception \x1b[31mE: bad\x1b[0m\x1b[2m | frame\x1b[0m | caused by \x1b[31mCause\x1b[0m\n"
        in coloured
    )
    assert COLOURS.sub("", coloured) == TextFormat().encode(batch_of(payload)).decode()
