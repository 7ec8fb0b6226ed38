from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from logbus.collectors.format import (
    FORMATS,
    JsonFormat,
    LogfmtFormat,
    Names,
    TextFormat,
    json as module,
    lines,
)
from logbus.collectors.format.base import MANY_UNSAFE
from tests.property.batches import batch_of, payload_of


def _record(
    message: str = "m", extra: Any = None, nested: Any = None, exception: Any = None, time: int = 0
) -> list[Any]:
    return [time, 0, 0, message, extra, nested, exception]


def _encoded(*records: list[Any], level: tuple[int, str] = (20, "INFO")) -> list[bytes]:
    payload = payload_of(*records)
    payload[1][0][1:3] = level
    return lines(JsonFormat().encode(batch_of(payload)))


def _line(*given: Any, **named: Any) -> dict[str, Any]:
    [only] = _encoded(_record(*given, **named))
    loaded: dict[str, Any] = json.loads(only)
    return loaded


def test_a_line_in_full() -> None:
    """A plain record has the required fields and those that are always there, in this order."""
    assert _encoded(_record("hello", time=1_700_000_000_123_456)) == [
        b'{"timestamp":"2023-11-14T22:13:20.123456Z","level":"INFO","message":"hello","logger":"app.db",'
        b'"component":"app","module":"db","function":"query","line":7,"process_id":42,"thread_name":"MainThread",'
        b'"worker":"worker-1","host":"host","app_name":"app"}\n'
    ]


def test_usual_fields_stand_at_the_top() -> None:
    """The promoted fields are top-level; everything else stands under extra, nested values kept."""
    extra = {"request_id": "r", "n": 1, "proxy_url": "http://h", "user_id": 7, "level": "mine", "ok": None}
    loaded = _line("m", extra, {"tree": {"a": [1, None]}, "source": ["nested"]})
    assert (loaded["request_id"], loaded["proxy_url"], loaded["user_id"], loaded["level"]) == (
        "r",
        "http://h",
        7,
        "INFO",
    )
    assert loaded["extra"] == {"n": 1, "level": "mine", "ok": None, "tree": {"a": [1, None]}, "source": ["nested"]}


@pytest.mark.parametrize(("extra", "nested"), [(None, None), ({}, None), ({}, {}), (None, {})])
def test_nothing_of_its_own_leaves_no_trace(extra: Any, nested: Any) -> None:
    """Empty maps give no empty objects."""
    assert "extra" not in _line("m", extra, nested)


def test_only_usual_fields_give_no_extra() -> None:
    """A record with promoted fields alone has no extra, and its batch is left as it was."""
    batch = batch_of(payload_of(_record("m", {"operation": "get", "strategy": None})))
    loaded = json.loads(JsonFormat().encode(batch))
    assert (loaded["operation"], loaded["strategy"], "extra" in loaded) == ("get", None, False)
    assert batch.records[0].extra == {"operation": "get", "strategy": None}


def test_exceptions_hang_together() -> None:
    """An exception shows its type, message, traceback, cause, context and the members of a group."""
    leaf: list[Any] = ["KeyError", "k", [], None, None, []]
    loaded = _line("m", None, None, ["ValueError", "bad", ["line 1", "line 2"], leaf, leaf, [leaf, leaf]])
    shown = {"type": "KeyError", "message": "k", "traceback": []}
    assert loaded["exception"] == {
        "type": "ValueError",
        "message": "bad",
        "traceback": ["line 1", "line 2"],
        "cause": shown,
        "context": shown,
        "exceptions": [shown, shown],
    }


@pytest.mark.parametrize(
    ("level", "fields"),
    [
        ((50, "CRITICAL"), {"level": "CRITICAL"}),
        ((25, "SUCCESS"), {"level": "SUCCESS", "level_no": 25}),
        ((21, "INFO"), {"level": "INFO", "level_no": 21}),
        ((33, ""), {"level": "Level 33", "level_no": 33}),
    ],
)
def test_custom_levels_keep_their_name_and_add_their_number(level: tuple[int, str], fields: dict[str, Any]) -> None:
    """A level that is not one of the five says its number too."""
    loaded = json.loads(_encoded(_record(), level=level)[0])
    assert {key: loaded[key] for key in ("level", "level_no") if key in loaded} == fields


def test_a_message_is_never_empty() -> None:
    """An empty message is shown as such."""
    assert _line("")["message"] == "(empty)"


def test_a_name_with_a_percent_sign_is_no_template() -> None:
    """Names of levels, and what stands beside them in a line, come out as they are."""
    assert json.loads(_encoded(_record("100%"), level=(25, "50%d %% %b"))[0])["level"] == "50%d %% %b"


def test_records_of_many_seconds_threads_and_sites_mix() -> None:
    """Each line has the time, the level and the thread of its own record, in whatever order they come."""
    payload = payload_of(*[[at, at % 2, at % 3, "m", None, None, None] for at in (0, 999_999, 5, 1_000_000, 2**63 - 1)])
    payload[1].append(["app.web", 30, "WARNING", "web", "get", 8, "web"])
    payload[2] = ["a", "b", "c"]
    shown = [json.loads(line) for line in lines(JsonFormat().encode(batch_of(payload)))]
    assert [(line["timestamp"], line["level"], line["logger"], line["thread_name"]) for line in shown] == [
        ("1970-01-01T00:00:00.000000Z", "INFO", "app.db", "a"),
        ("1970-01-01T00:00:00.999999Z", "WARNING", "app.web", "a"),
        ("1970-01-01T00:00:00.000005Z", "WARNING", "app.web", "c"),
        ("1970-01-01T00:00:01.000000Z", "INFO", "app.db", "b"),
        ("9999-12-31T23:59:59.999999Z", "WARNING", "app.web", "b"),
    ]


def test_what_would_deceive_the_eye_is_escaped() -> None:
    r"""Control characters, separators and overrides are \u escapes, and come back as they were."""
    text = 'a\n\r\0\x1b[31m\x7f\x85\u2028\u202e\u200b\ufeff\U000e0001 é 日 🎉 " \\'
    [only] = _encoded(_record(text, {text: text}))
    assert only.decode().isprintable() is False  # its newline
    assert only[:-1].decode().isprintable()
    assert "é 日 🎉".encode() in only
    loaded = json.loads(only)
    assert (loaded["message"], loaded["extra"]) == (text, {text: text})


def test_delete_is_escaped_in_a_batch_of_plain_ascii() -> None:
    """DEL is ASCII, and JSON would let it pass: it is looked for on its own."""
    [plain, odd] = _encoded(_record("plain"), _record("a\x7fb"))
    assert b"plain" in plain
    assert rb"a\u007fb" in odd


def test_a_line_of_many_odd_characters_reads_back() -> None:
    """Where they are too many to escape one by one, all that is not ASCII is escaped; the line says the same."""
    text = 'é"\\' + "\u202e\x85a\U000e0041" * MANY_UNSAFE
    fields: dict[str, Any] = {"request_id": text, "n": 2**63 - 1, "f": 1e22, "t": None}
    first, second = _encoded(_record("é"), _record(text, fields, {"tree": [text, {}]}))
    assert "é".encode() in first
    assert second.isascii()
    assert second[:-1].decode().isprintable()
    loaded = json.loads(second)
    rest = {key: value for key, value in fields.items() if key != "request_id"}
    assert (loaded["message"], loaded["request_id"], loaded["extra"]) == (text, text, {**rest, "tree": [text, {}]})


def test_only_lines_that_need_it_are_escaped_and_order_stays() -> None:
    """A batch of plain and odd lines keeps their order and number."""
    texts = ["plain", "é\u202e", "plain too", "\x7f", "日本"]
    assert [json.loads(one)["message"] for one in _encoded(*[_record(text) for text in texts])] == texts


RENAMED = Names(
    {"timestamp": "@timestamp", "level": "log 100%d", "message": 'a"b', "extra": "labels", "exception": "error"},
    {"environment": "production", "é": True, "weight": 1.5},
)


def test_fields_have_the_names_that_the_sink_wants() -> None:
    """Renamed fields stand where they stood, added ones at the top after what every line has; the rest is as it was."""
    payload = payload_of(_record("m", {"n": 1, "request_id": "r"}, None, ["E", "m", [], None, None, []]))
    [line] = lines(JsonFormat(RENAMED).encode(batch_of(payload)))
    loaded = json.loads(line)
    assert list(loaded) == [
        *("@timestamp", "log 100%d", 'a"b', "logger", "component", "module", "function", "line", "process_id"),
        *("thread_name", "worker", "host", "app_name", "environment", "é", "weight", "request_id", "labels", "error"),
    ]
    assert (loaded["@timestamp"], loaded["log 100%d"], loaded['a"b']) == ("1970-01-01T00:00:00.000000Z", "INFO", "m")
    assert (loaded["environment"], loaded["é"], loaded["weight"]) == ("production", True, 1.5)
    assert (loaded["labels"], loaded["error"]) == ({"n": 1}, {"type": "E", "message": "m", "traceback": []})


def test_promoted_fields_and_custom_levels_are_renamed_too() -> None:
    """A promoted field gets its other name, in a batch of nothing else as well; a nested one of that name does not."""
    names = Names({"request_id": "trace", "level_no": "severity"})
    payload = payload_of(_record("m", {"request_id": "r"}), _record("m", {"source": "s"}, {"request_id": [1]}))
    payload[1][0][1:3] = [25, "SUCCESS"]
    batch = batch_of(payload)
    first, second = map(json.loads, lines(JsonFormat(names).encode(batch)))
    assert (first["trace"], first["severity"], "request_id" in first) == ("r", 25, False)
    assert (second["source"], second["extra"], "trace" in second) == ("s", {"request_id": [1]}, False)
    assert batch.records[0].extra == {"request_id": "r"}


def test_two_fields_can_change_places() -> None:
    """A name that another field has given up is free."""
    names = Names({"module": "function", "function": "module"})
    loaded = json.loads(JsonFormat(names).encode(batch_of(payload_of(_record()))))
    assert (loaded["module"], loaded["function"]) == ("query", "db")


@pytest.mark.parametrize("rate", [0.1, 1e-9, 0.999999])
@pytest.mark.parametrize("extra", [None, {"n": 1}, {"request_id": "}"}])
def test_a_sampled_line_says_its_rate(rate: float, extra: Any) -> None:
    """The rate is one more number at the top of the line; all else stays."""
    formatter = JsonFormat()
    [line] = lines(formatter.encode(batch_of(payload_of(_record("é", extra)))))
    stamped = formatter.stamp(line, rate)
    assert json.loads(stamped) == {**json.loads(line), "sample_rate": rate}
    assert lines(stamped) == [stamped]
    renamed = JsonFormat(Names({"sample_rate": "kept"}))
    assert json.loads(renamed.stamp(line, rate))["kept"] == rate


def test_an_empty_batch_has_no_lines() -> None:
    """No records are no bytes."""
    assert JsonFormat().encode(batch_of(payload_of())) == b""


def test_formats_have_names() -> None:
    """Configuration knows the formats by name."""
    assert FORMATS == ("json", "logfmt", "text")
    assert (JsonFormat.name, LogfmtFormat.name, TextFormat.name) == FORMATS


def test_a_call_site_is_known_by_all_that_its_lines_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered for one worker, thread or call site is not used for another; and it does not grow forever."""
    monkeypatch.setattr(module, "_PARTS_KEPT", 4)
    form = JsonFormat()
    payload = payload_of(_record())
    changes: list[tuple[list[Any], Any]] = [
        *[(payload[0], (at, value)) for at, value in enumerate(("h2", 43, "w2", "a2"))],
        *[(payload[1][0], (at, value)) for at, value in enumerate(("l2", 30, "WARN", "m2", "f2", 8, "c2"))],
        (payload[2], (0, "t2")),
    ]
    seen = [form.encode(batch_of(payload))]
    for of, (at, value) in changes:
        of[at] = value
        seen.append(form.encode(batch_of(payload)))
        assert seen[-1] == JsonFormat().encode(batch_of(payload))
        assert 0 < len(form._sites) <= 4
        assert 0 < len(form._sources) <= 4
    assert len(set(seen)) == len(seen)


def test_long_names_of_a_call_site_are_not_remembered() -> None:
    """A worker may send names of 200 kB, and have such itself."""
    form = JsonFormat()
    payload = payload_of(_record())
    payload[0][0] = payload[1][0][0] = "x" * 2000
    assert form.encode(batch_of(payload)) == form.encode(batch_of(payload))
    assert not form._sites
    assert not form._sources


def test_names_are_written_once_for_a_batch_whose_records_are_of_many_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones too, which nothing remembers: else a small frame would keep the collector busy with its names."""
    form, calls = JsonFormat(), []

    def counted(name: str, write: Callable[..., bytes], *of: Any) -> bytes:
        calls.append(name)
        return write(*of)

    for name in ("_lead", "_place", "_who"):
        monkeypatch.setattr(form, name, partial(counted, name, getattr(form, name)))
    payload = payload_of(*[[second * 1_000_000, 0, 0, "m", None, None, None] for second in (1, 2, 1, 9)])
    payload[0][0] = payload[1][0][0] = "x" * 2000
    encoded = form.encode(batch_of(payload))
    assert [json.loads(line)["timestamp"][17:19] for line in lines(encoded)] == ["01", "02", "01", "09"]
    assert calls == ["_lead", "_place", "_who"]
