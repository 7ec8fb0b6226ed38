"""A sink of somebody else: what it is given, what its errors mean, and that none of them ends anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from logbus.collectors import installed
from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.sinks.plugin import MAX_AFTER_S, PluginSink, check_options, load
from logbus.errors import ConfigurationError
from tests.plugin_sinks import CALLS, Kept, make

THEIRS = "tests.plugin_sinks"


@pytest.fixture(autouse=True)
def no_calls() -> Iterator[None]:
    """Each test begins with a sink that nobody has called."""
    CALLS.clear()
    yield
    CALLS.clear()


def opened(**options: Any) -> PluginSink:
    """A sink of these options, opened."""
    sink = PluginSink("theirs", "acme", Kept, options)
    sink.open()
    return sink


def test_it_is_made_opened_written_and_closed() -> None:
    """Made with its options when the collector opens it, its own open before the first lines, close at the end."""
    sink = PluginSink("theirs", "acme", Kept, {"path": "p"})
    assert (sink.name, sink.type, CALLS) == ("theirs", "acme", [])
    sink.open()
    assert CALLS == [("init", "p")]
    assert sink.write(b"a\nb\n") is None
    assert sink.write(b"c\n") is None
    sink.close()
    sink.close()
    assert CALLS[1:] == [("open", None), ("write", [b"a", b"b"]), ("write", [b"c"]), ("close", None)]


def test_a_function_may_make_it() -> None:
    """Whatever has a method write will do, and nothing else."""
    sink = PluginSink("theirs", "acme", make, {"path": "p"})
    sink.open()
    assert sink.write(b"a\n") is None
    with pytest.raises(ConfigurationError, match="sink 'x': options: expected an object with a method write"):
        PluginSink("x", "acme", dict, {}).open()


def test_one_without_other_methods_will_do() -> None:
    """A method write is all that is needed."""

    class Least:
        def write(self, lines: list[bytes]) -> None:
            CALLS.append(("write", lines))

    sink = PluginSink("theirs", "acme", Least, {})
    sink.open()
    assert sink.write(b"a\n") is None
    sink.abort()
    sink.close()
    assert CALLS == [("write", [b"a"])]


def test_what_it_has_against_its_options_is_a_wrong_setting() -> None:
    """Told when it is opened, so that neither a start nor a reload goes on with it."""
    with pytest.raises(
        ConfigurationError, match="sink 'theirs': options: expected such as \"acme\" takes: ValueError: no"
    ):
        opened(path="wrong")


def test_an_error_has_the_lines_tried_again() -> None:
    """Its words are told; nothing of the write is taken for delivered, and nothing for doubtful."""
    sink = opened(fails="open")
    for _ in range(2):  # open is called until it works
        with pytest.raises(TryAgainError, match="ConnectionError: nobody there") as caught:
            sink.write(b"a\nb\n")
        assert (caught.value.after_s, caught.value.doubtful) == (0.0, 0)
    assert [call for call, _ in CALLS] == ["init", "open", "open"]


def test_what_it_refuses_before_it_has_seen_a_line_is_no_line() -> None:
    """Its open may not make dead letters."""
    with pytest.raises(TryAgainError, match=r"^no such table$"):
        opened(fails="refused").write(b"a\n")


def test_it_can_not_end_the_collector() -> None:
    """sys.exit() concerns its lines only."""
    with pytest.raises(TryAgainError, match="SystemExit: 3"):
        opened(fails="exit").write(b"a\n")


def test_it_may_say_when_and_how_much_is_doubtful() -> None:
    """Within reason: an hour at most, and no more records than it was given."""
    with pytest.raises(TryAgainError, match=r"^busy$") as caught:
        opened(fails="later").write(b"a\nb\n")
    assert (caught.value.after_s, caught.value.doubtful) == (MAX_AFTER_S, 2)


def test_what_it_was_given_in_secret_is_masked() -> None:
    """The values of variables in its options, wherever it repeats them."""
    secrets = ("wrong", "such", "gone", "already", "nobody", "take")

    def sink(**options: Any) -> PluginSink:
        found = PluginSink("theirs", "acme", Kept, options, secrets)
        found.open()
        return found

    with pytest.raises(ConfigurationError, match=r"ValueError: no \*\*\* place"):
        sink(path="wrong")
    with pytest.raises(TryAgainError, match=r"ConnectionError: \*\*\* there"):
        sink(fails="open").write(b"a\n")
    sent = sink().write(b"poison\n")
    assert sent is not None
    assert sent.refused[0].reason == "can't *** password=***"
    closed = sink(fails="close")
    closed.close()
    assert closed.trouble == "close: OSError: *** closed"


def test_a_line_that_it_refuses_is_refused_alone() -> None:
    """The reason has no secret in it."""
    sent = opened().write(b"poison\n")
    assert sent == Sent(1, (Refusal(b"poison\n", 1, "can't take password=***"),))


def test_of_lines_that_it_refuses_together_the_right_ones_are_delivered() -> None:
    """Each is offered by itself, in order, whatever it has done to the list that it was given."""
    sent = opened().write(b"a\npoison 1\nb\npoison 2\n")
    assert sent is not None
    assert (sent.records, [refusal.lines for refusal in sent.refused]) == (4, [b"poison 1\n", b"poison 2\n"])
    assert [lines for call, lines in CALLS if call == "write"] == [[b"a"], [b"b"]]


def test_an_error_among_them_leaves_the_rest_for_later() -> None:
    """What came before it has ended; it and what is behind it come again."""
    sink = opened(fails="second")
    sent = sink.write(b"first\nsecond\npoison\n")
    assert sent == Sent(1)
    with pytest.raises(TryAgainError, match="gone"):
        sink.write(b"second\npoison\n")


def test_an_end_from_another_thread_is_passed_on() -> None:
    """Whatever its abort raises; and lines that go one by one end at the next."""

    class Slow(Kept):
        def write(self, lines: list[bytes]) -> None:
            if lines == [b"a"]:
                sink.abort()
            super().write(lines)

    sink = PluginSink("theirs", "acme", Slow, {})
    sink.abort()
    sink.open()
    assert sink.write(b"a\npoison\nb\n") == Sent(1)
    assert [call for call, _ in CALLS if call != "write"] == ["init", "open", "abort"]
    sent = sink.write(b"poison\nb\n")
    assert sent is not None
    assert sent.records == 2


def test_an_error_at_its_end_is_told() -> None:
    """In the row of its sink; nothing is lost by it."""
    sink = opened(fails="close")
    sink.write(b"a\n")
    sink.close()
    assert sink.trouble == "close: OSError: already closed"


def test_it_is_found_by_its_entry_point_or_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """As packages announce it, or by the path to it; nobody's name is told with near matches."""
    points = EntryPoints(
        [EntryPoint("acme", f"{THEIRS}:Kept", "logbus.sinks"), EntryPoint("x", "no:y", "logbus.formats")]
    )
    monkeypatch.setattr(installed, "entry_points", lambda group: points.select(group=group))
    assert load("acme") is Kept
    assert load(f"{THEIRS}:make") is make
    with pytest.raises(ConfigurationError) as caught:
        load("acmee", ("console",))
    assert caught.value.problems == [
        'type: expected one of console, acme, or "package.module:Name", found "acmee"; did you mean acme?'
    ]


def test_loading_it_may_raise_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """A module that ends the process as it is imported is a wrong setting."""
    (tmp_path / "leaving_sink.py").write_text("raise SystemExit('password=hunter2')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        load("leaving_sink:X")
    assert caught.value.problems == [
        'type: expected a sink that can be loaded, found "leaving_sink:X": SystemExit: password=***'
    ]
    assert "leaving_sink" not in sys.modules


def test_options_are_checked_without_a_call() -> None:
    """Names that it does not take, and those that are missing; what is written in C is not asked."""
    check_options(Kept, {"path": "x"})
    check_options(make, {"anything": 1})
    check_options(dict, {"a": 1})
    with pytest.raises(ConfigurationError, match='options: expected the arguments "path, fails": TypeError: got an'):
        check_options(Kept, {"pth": "x"})
    assert CALLS == []


@pytest.mark.parametrize(
    "repeat",
    [
        lambda text: repr({"password": text}),
        lambda text: repr(text.encode()),
        lambda text: json.dumps([text]),
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: f"db://app:{quote(text)}@host",
        lambda text: urlencode({"p": text}),
    ],
)
def test_what_it_was_given_in_secret_is_masked_in_quotes_too(repeat: Callable[[str], str]) -> None:
    """As errors repeat it: in a text of Python, of JSON, or in a URL."""
    secret = 'it\'s "s3cret"\n/ż\\s3cret+x'

    def make() -> Any:
        raise OSError(f"no {repeat(secret)}")

    with pytest.raises(ConfigurationError) as caught:
        PluginSink("theirs", "acme", make, {}, (secret,)).open()
    assert "s3cret" not in str(caught.value)
    assert "***" in str(caught.value)
