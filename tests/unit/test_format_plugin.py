from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any

import pytest

from logbus.collectors import installed
from logbus.collectors.format import EachFormatter, JsonFormat, Names, PluginFormat, lines, plugin
from logbus.errors import ConfigurationError
from tests.property.batches import batch_of, payload_of

THEIRS = "somebodys_formats"


def shout(record: dict[str, Any]) -> str:
    """A format: the message in capitals."""
    return str(record["message"]).upper()


class Numbered:
    """A format whose instances are called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, record: dict[str, Any]) -> str:
        """The message with its number."""
        self.count += 1
        return f"{self.count} {record['message']}"

    def stamp(self, line: str, rate: float) -> str:
        """The line with its rate."""
        return f"{line} 1:{1 / rate:g}"


def _exits() -> None:
    raise SystemExit(3)


def _interrupts() -> None:
    raise KeyboardInterrupt("enough")


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of somebody else, installed with entry points for what is in it."""
    module = ModuleType(THEIRS)
    vars(module).update(
        shout=shout, Numbered=Numbered, text="x", Picky=type("Picky", (), {"__init__": lambda self, a: None})
    )
    monkeypatch.setitem(sys.modules, THEIRS, module)
    points = [("shouting", "shout"), ("numbered", "Numbered"), ("gone", "gone")]
    found = EntryPoints(EntryPoint(name, f"{THEIRS}:{value}", plugin.GROUP) for name, value in points)
    monkeypatch.setattr(installed, "entry_points", lambda group: found.select(group=group))
    return module


def _batch(*messages: str) -> Any:
    return batch_of(payload_of(*[[0, 0, 0, message, None, None, None] for message in messages]))


def _each(write: Callable[..., Any], *messages: str) -> list[bytes | None]:
    return PluginFormat("theirs", write).encode_each(_batch(*messages))


def test_each_record_is_a_line() -> None:
    """What the callable returns is the line, in order; together they are what the batch is encoded to."""
    formatter = PluginFormat("theirs", Numbered())
    assert formatter.encode_each(_batch("a", "é")) == [b"1 a\n", "2 é\n".encode()]
    assert formatter.encode(_batch("b")) == b"3 b\n"
    assert (formatter.name, formatter.error) == ("theirs", None)
    assert isinstance(formatter, EachFormatter)
    assert not isinstance(JsonFormat(), EachFormatter)


def test_a_record_is_what_the_json_line_has() -> None:
    """With the names and static fields of the sink, promoted fields, extra and exception in their places."""
    names = Names({"timestamp": "@timestamp", "request_id": "trace"}, {"environment": "production"})
    batch = batch_of(
        payload_of([5, 0, 0, "m\x1b", {"request_id": "r", "n": 1}, {"t": [1]}, ["E", "m", [], None, None, []]])
    )
    seen: list[dict[str, Any]] = []
    PluginFormat("theirs", seen.append, names).encode(batch)
    assert seen == [json.loads(JsonFormat(names).encode(batch))]


def test_a_record_belongs_to_the_format() -> None:
    """What the callable does to its record changes nothing that another format or sink sees."""
    payload = payload_of([0, 0, 0, "m", {"n": 1}, {"tree": {"a": [1]}}, None])
    batch = batch_of(payload)
    before = JsonFormat().encode(batch)

    def spoil(record: dict[str, Any]) -> str:
        record["extra"]["tree"]["a"].append(record.popitem())
        return "x"

    assert PluginFormat("theirs", spoil).encode(batch) == b"x\n"
    assert JsonFormat().encode(batch) == before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\n", b"a\n"),
        ("a\nb\n\n", rb"a\u000ab\u000a" + b"\n"),
        ("\x1b[31m\x7f\u202e\U000e0001", rb"\u001b[31m\u007f\u202e\udb40\udc01" + b"\n"),
        ("\ud800", rb"\ud800" + b"\n"),
        ("zażółć 🎉", "zażółć 🎉\n".encode()),
        ("é\n" * 1000 + "x", r"é\u000a".encode() * 1000 + b"x\n"),
        ("é\u202e" * 1000, rb"\xe9\u202e" * 1000 + b"\n"),
    ],
)
def test_one_record_is_one_line(text: str, line: bytes) -> None:
    """Newlines and other unsafe characters in what the callable returns are escaped, but for a newline at its end."""
    assert _each(lambda record: text, "m") == [line]


@pytest.mark.parametrize("nonsense", [None, b"bytes", 7, "", "\n", ["a"]])
def test_what_is_no_line_costs_that_record(nonsense: Any) -> None:
    """A return value that is no text, or an empty one, gives no line for its record; the others have theirs."""
    formatter = PluginFormat("theirs", lambda record: nonsense if record["message"] == "odd" else "x")
    assert formatter.encode_each(_batch("a", "odd", "b")) == [b"x\n", None, b"x\n"]
    assert formatter.encode(_batch("a", "odd", "b")) == b"x\nx\n"
    assert formatter.error is not None
    assert formatter.error.startswith("format 'theirs': ")
    assert "expected a " in formatter.error
    formatter.encode_each(_batch("a"))
    assert formatter.error is None


@pytest.mark.parametrize(
    ("raises", "said"),
    [
        (lambda record: record["nope"], "KeyError: 'nope'"),
        (lambda record: _exits(), "SystemExit: 3"),
        (lambda record: _interrupts(), "KeyboardInterrupt: enough"),
        (lambda record: tells_secrets(), "ValueError: no answer from http://u:***@h/, password=***"),
        (lambda record: raises_long(), rf"ValueError: \x1b[31m{'x' * 183}…"),
        (lambda record: raises_mute(), "MuteError"),
    ],
)
def test_what_raises_costs_that_record(raises: Callable[[Any], Any], said: str) -> None:
    """Whatever the callable raises, the collector goes on, and one short safe line says what it was."""
    formatter = PluginFormat("theirs", raises)
    assert formatter.encode_each(_batch("a")) == [None]
    assert formatter.error == f"format 'theirs': {said}"


def raises_long() -> None:
    """Raises what has a long text with an escape sequence."""
    raise ValueError("\x1b[31m" + "x" * 5000)


def tells_secrets() -> None:
    """Raises what says more than it should: an error stands in the status and on stderr."""
    raise ValueError("no answer from http://u:hunter2@h/, password=hunter2")


class MuteError(Exception):
    """An error that has no text."""

    def __str__(self) -> str:
        raise ValueError


def raises_mute() -> None:
    """Raises what can't be shown."""
    raise MuteError


def test_a_text_of_a_class_of_theirs_is_its_characters() -> None:
    """What such a text says of itself doesn't count: its methods could make two lines of one."""

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

        def removesuffix(self, suffix: str, /) -> str:
            return self

        def isprintable(self) -> bool:
            return True

        def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
            return b"two\nlines"

    assert _each(lambda record: Text("a\nb"), "m") == [rb"a\u000ab" + b"\n"]


def test_lines_are_no_more_than_a_collector_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that a batch has no room for any more costs that record; shorter ones have their place."""
    monkeypatch.setattr(plugin, "MAX_BYTES", 10)
    formatter = PluginFormat("theirs", lambda record: record["message"])
    assert formatter.encode_each(_batch("12345", "12345", "123")) == [b"12345\n", None, b"123\n"]
    assert formatter.error == "format 'theirs': ValueError: expected lines of at most 10 bytes in a batch, found more"
    assert formatter.encode_each(_batch("123456789")) == [b"123456789\n"]


def test_a_format_that_has_a_place_for_the_rate_gets_it() -> None:
    """With ``stamp`` the line carries its rate, as the format writes it; without, or where it fails, it stays."""
    assert PluginFormat("theirs", Numbered()).stamp("é\n".encode(), 0.1) == "é 1:10\n".encode()
    assert PluginFormat("theirs", shout).stamp(b"a\n", 0.1) == b"a\n"
    formatter = PluginFormat("theirs", Numbered())
    assert formatter.stamp(b"a\n", 0) == b"a\n"
    assert formatter.error is None


def test_a_format_is_found_by_its_name_or_its_place(theirs: ModuleType) -> None:
    """An entry point's name and a dotted path lead to the same; a class is made, each time anew."""
    assert plugin.load("shouting") is shout
    assert plugin.load(f"{THEIRS}:shout") is shout
    made = plugin.load("numbered")
    assert isinstance(made, Numbered)
    assert isinstance(plugin.load(f"{THEIRS}:Numbered"), Numbered)
    assert plugin.load("numbered") is not made


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        (
            "shoutin",
            'expected one of json, shouting, numbered, gone, or "package.module:Name", found "shoutin"; '
            "did you mean shouting?",
        ),
        (
            "JSON",
            'expected one of json, shouting, numbered, gone, or "package.module:Name", found "JSON"; '
            "did you mean json?",
        ),
        ("zzz\n", r'expected one of json, shouting, numbered, gone, or "package.module:Name", found "zzz\x0a"'),
        (
            "gone",
            'expected a format that can be loaded, found "gone (somebodys_formats:gone)": '
            "AttributeError: module 'somebodys_formats' has no attribute 'gone'",
        ),
        (
            "no_such_module:x",
            'expected a format that can be loaded, found "no_such_module:x": '
            "ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("a:b:c", 'expected "package.module:Name", found "a:b:c"'),
        ("../a:b", 'expected "package.module:Name", found "../a:b"'),
        (
            f"{THEIRS}:text",
            "expected a function from a record to a line, or a class whose instances are called like one, "
            'found "somebodys_formats:text", which is of type str',
        ),
    ],
)
def test_a_name_that_leads_nowhere_says_why(theirs: ModuleType, name: str, problem: str) -> None:
    """An unknown name is shown with its near matches, one that can't be loaded with the reason."""
    with pytest.raises(ConfigurationError) as caught:
        plugin.load(name, ("json",))
    assert caught.value.problems == [f"format: {problem}"]


def test_a_class_that_needs_arguments_is_refused(theirs: ModuleType) -> None:
    """A class is made without arguments; one that wants some can't be a format."""
    with pytest.raises(ConfigurationError, match=r'found "somebodys_formats:Picky": TypeError: .*missing 1 required'):
        plugin.load(f"{THEIRS}:Picky")


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_a_module_that_exits_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, error: str) -> None:
    """Importing somebody's code can't end the collector."""
    (tmp_path / "exiting_format.py").write_text(f"raise {error}('no licence')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match=f"{error}: no licence"):
        plugin.load("exiting_format:x")


def test_lines_of_a_batch_are_as_many_as_it_has_records() -> None:
    """An empty batch has none."""
    assert PluginFormat("theirs", shout).encode_each(_batch()) == []
    assert lines(PluginFormat("theirs", shout).encode(_batch("a", "b"))) == [b"A\n", b"B\n"]
