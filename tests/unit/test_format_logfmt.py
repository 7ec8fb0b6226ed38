from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

import logfmtkv
import pytest

from logbus.collectors.format import LogfmtFormat, Names, lines
from logbus.collectors.format.base import MANY_UNSAFE
from tests.property.batches import batch_of, payload_of


def _line(
    message: str = "m", extra: Any = None, nested: Any = None, exception: Any = None, names: Names | None = None
) -> str:
    payload = payload_of([1_700_000_000_123_456, 0, 0, message, extra, nested, exception])
    [line] = lines(LogfmtFormat(names).encode(batch_of(payload)))
    return line.decode().removesuffix("\n")


def _own(*given: Any, **named: Any) -> str:
    """What the record alone has."""
    return _line(*given, **named).partition(" app_name=app")[2].strip()


def _read(line: str) -> dict[str, str | bool]:
    """The line as go-logfmt reads it: anything that it would refuse is an error, and so is a key that comes twice."""
    return logfmtkv.parse(line, strict=True, duplicates="error")


def test_a_line_in_full() -> None:
    """The keys are those of the JSON line, in its order."""
    assert _line("hello world", {"n": 1, "request_id": "r"}) == (
        'timestamp=2023-11-14T22:13:20.123456Z level=INFO message="hello world" logger=app.db component=app module=db '
        "function=query line=7 process_id=42 thread_name=MainThread worker=worker-1 host=host app_name=app "
        "request_id=r extra.n=1"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', r'"say \"hi\""'),
        (r"C:\temp", r'"C:\\temp"'),
        ("a\nb\r\t", r'"a\nb\r\t"'),
        ("\x1b[31m", r'"\u001b[31m"'),
        ("\x7f\x85", r'"\u007f\u0085"'),
        ("\u202eabc\u200b", r'"\u202eabc\u200b"'),
        ("\U000e0001", r'"\udb40\udc01"'),
        ("żółć", "żółć"),
        ("\u3000", '"\u3000"'),
        ("null", '"null"'),
        ("true", '"true"'),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (-5, "-5"),
        (1.5, "1.5"),
    ],
)
def test_values_are_quoted_and_escaped(value: Any, shown: str) -> None:
    """A value is quoted when it has to be, as a JSON string; a text that looks like a word of JSON is told apart."""
    assert _own("m", {"k": value}) == f"extra.k={shown}"
    if type(value) is str:
        assert _read(_own("m", {"k": value})) == {"extra.k": value}
        assert not shown.startswith('"') or json.loads(shown) == value


def test_a_newline_in_a_message_is_no_new_line() -> None:
    """A message that carries a forged line is one value, which comes back as it was."""
    message = 'first\nlevel=ERROR message="forged"'
    line = _line(message)
    assert "\n" not in line
    assert (_read(line)["message"], _read(line)["level"]) == (message, "INFO")


def test_keys_are_made_legal_and_stay_apart() -> None:
    """What can't stand in a key is written as in a URL, so that no two keys become one."""
    extra = {"a b": 1, "a_b": 2, "a=b": 3, 'a"b': 4, "a\nb": 5, "a%20b": 6, "": 7, "żółć": 8, "\u202e": 9, "\ufffd": 10}
    own = _own("m", extra)
    assert own == (
        "extra.a%20b=1 extra.a_b=2 extra.a%3Db=3 extra.a%22b=4 extra.a%0Ab=5 extra.a%2520b=6 extra.=7 extra.żółć=8 "
        "extra.%E2%80%AE=9 extra.%EF%BF%BD=10"
    )
    assert len(_read(own)) == len(extra)


def test_texts_and_keys_of_many_odd_characters_read_back() -> None:
    """Where they are too many to escape one by one, everything that is not ASCII, or all of a key, is escaped."""
    text = 'é"\\' + "\u202e\x85\x7fa\n" * MANY_UNSAFE
    own = _own("m", {"k": text, text: 1})
    assert own.isascii()
    first, second = _read(own).items()
    assert first == ("extra.k", text)
    assert (unquote(second[0]), second[1]) == (f"extra.{text}", "1")


def test_a_field_of_the_record_is_not_one_of_the_line() -> None:
    """Extra fields that are called like a field of the line stand under extra, promoted ones that are nested too."""
    own = _own("m", {"level": "mine", "source": "s", "n": 1}, {"source": ["nested"], "n": [2]})
    assert own == r'source=s extra.level=mine extra.source="[\"nested\"]" extra.n=[2]'


def test_nested_values_are_json() -> None:
    """What is nested is the text of its JSON, unsafe characters as escapes of that text's own reader."""
    tree = {"a": [1, None, "x\u202e\n"], "b c": {}}
    assert json.loads(str(_read(_own("m", None, {"tree": tree}))["extra.tree"])) == tree
    assert _own("m", None, {"tree": []}) == "extra.tree=[]"


def test_an_exception_is_dotted() -> None:
    """Type, message, traceback and what hangs on the exception are keys; the lines of a traceback are one value."""
    leaf: list[Any] = ["KeyError", "k", [], None, None, []]
    own = _own("m", None, None, ["ValueError", "so bad", ["one", "two"], leaf, leaf, [leaf]])
    assert own == (
        r'exception.type=ValueError exception.message="so bad" exception.traceback="one\ntwo" '
        'exception.cause.type=KeyError exception.cause.message=k exception.cause.traceback="" '
        'exception.context.type=KeyError exception.context.message=k exception.context.traceback="" '
        'exception.exceptions[0].type=KeyError exception.exceptions[0].message=k exception.exceptions[0].traceback=""'
    )
    assert _read(own)["exception.traceback"] == "one\ntwo"


def test_names_are_as_the_sink_wants_them() -> None:
    """Renamed fields stand where they stood, added ones before the record's own, all of them legal keys."""
    names = Names(
        {
            "timestamp": "ts",
            "message": "msg",
            "level": "log level",
            "request_id": "trace",
            "extra": "x",
            "exception": "e",
        },
        {"environment": "pre prod", "version": 2, "ok": True, "a b": "null"},
    )
    line = _line("m", {"request_id": "r", "n": 1}, None, ["E", "", [], None, None, []], names)
    assert line == (
        "ts=2023-11-14T22:13:20.123456Z log%20level=INFO msg=m logger=app.db component=app module=db function=query "
        "line=7 process_id=42 thread_name=MainThread worker=worker-1 host=host app_name=app "
        'environment="pre prod" version=2 ok=true a%20b="null" trace=r x.n=1 e.type=E e.message="" e.traceback=""'
    )


def test_custom_levels_say_their_number() -> None:
    """A level that is not one of the five says its number beside its name."""
    payload = payload_of([0, 0, 0, "", None, None, None])
    payload[1][0][1:3] = [25, "SUCCESS"]
    line = LogfmtFormat().encode(batch_of(payload)).decode()
    assert line.startswith("timestamp=1970-01-01T00:00:00.000000Z level=SUCCESS level_no=25 message=(empty) logger=")


@pytest.mark.parametrize("rate", [0.1, 1e-9, 0.999999])
def test_a_sampled_line_says_its_rate(rate: float) -> None:
    """The rate is one more pair at the end of the line."""
    formatter = LogfmtFormat(Names({"sample_rate": "kept"}))
    line = formatter.encode(batch_of(payload_of([0, 0, 0, "m", None, None, None])))
    stamped = formatter.stamp(line, rate)
    assert stamped.startswith(line[:-1] + b" kept=")
    assert stamped.endswith(b"\n")
    assert float(_read(stamped.decode())["kept"]) == rate


def test_records_of_many_threads_and_sites_mix() -> None:
    """Each line has the time, the site and the thread of its own record."""
    payload = payload_of(*[[at, at % 2, at % 3, "m", None, None, None] for at in range(6)], threads=["a", "b", "c d"])
    payload[1].append(["app.web", 30, "WARNING", "web", "get", 8, "web"])
    found = [_read(line.decode()) for line in lines(LogfmtFormat().encode(batch_of(payload)))]
    assert [(line["timestamp"], line["logger"], line["thread_name"]) for line in found] == [
        (f"1970-01-01T00:00:00.00000{at}Z", ["app.db", "app.web"][at % 2], ["a", "b", "c d"][at % 3]) for at in range(6)
    ]
