from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.collectors.format.base import lines
from logbus.collectors.format.syslog import MIN_MESSAGE, SyslogFormat, check_app_name, make_syslog
from logbus.collectors.format.syslog_5424 import SD_ID, param_name
from logbus.errors import ConfigurationError
from tests.property.batches import batch_of, payload_of
from tests.syslog_parser import Message, parse_3164, parse_5424

LOCAL0 = 16
PLACE = 'level="INFO" logger="app.db" component="app" module="db" function="query" line="7"'
WHO = 'thread_name="MainThread" worker="worker-1"'


@pytest.fixture(autouse=True)
def warsaw(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone with summer time."""
    monkeypatch.setenv("TZ", "Europe/Warsaw")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def _payload(
    message: str = "m", extra: Any = None, nested: Any = None, exception: Any = None, *, time_us: int = 0
) -> list[Any]:
    return payload_of([time_us or 1_700_000_000_123_456, 0, 0, message, extra, nested, exception])


def _line(formatter: SyslogFormat, payload: list[Any]) -> bytes:
    [line] = lines(formatter.encode(batch_of(payload)))
    return line


def _read(payload: list[Any], **options: Any) -> Message:
    """What a strict reader finds in the message of RFC 5424 with the only record of a payload."""
    return parse_5424(_line(make_syslog("rfc5424", LOCAL0, 8192, **options), payload)[:-1])


def test_a_message_in_full() -> None:
    """Head, structured data and message, as RFC 5424 has them."""
    line = _line(make_syslog("rfc5424", LOCAL0, 8192), _payload("hello world", {"request_id": "r", "n": 1}))
    assert line.decode() == (
        "<134>1 2023-11-14T22:13:20.123456Z host app 42 - "
        f'[{SD_ID} {PLACE} {WHO} request_id="r" extra.n="1"] hello world\n'
    )


def test_an_old_message_in_full() -> None:
    """RFC 3164 has local time, a tag, the message, and its fields behind it; the own daemon gets no host."""
    fields = (
        "timestamp=2023-11-14T22:13:20.123456Z level=INFO logger=app.db component=app module=db function=query line=7 "
        "process_id=42 thread_name=MainThread worker=worker-1 host=host app_name=app request_id=r extra.n=1\n"
    )
    payload = _payload("hello world", {"request_id": "r", "n": 1})
    line = _line(make_syslog("rfc3164", LOCAL0, 8192), payload)
    assert line.decode() == f"<134>Nov 14 23:13:20 host app[42]: hello world {fields}"
    line = _line(make_syslog("rfc3164", LOCAL0, 8192, local=True), payload)
    assert line.decode() == f"<134>Nov 14 23:13:20 app[42]: hello world {fields}"


def test_a_day_of_one_digit_has_a_blank() -> None:
    """The day has two places (RFC 3164 §4.1.2), and summer time is minded."""
    line = _line(make_syslog("rfc3164", LOCAL0, 8192), _payload(time_us=1_751_500_000_000_000))
    assert line.startswith(b"<134>Jul  3 01:46:40 host app[42]: m ")


@pytest.mark.parametrize("time_us", [-(2**63), -1, 2**63 - 1])
def test_times_beyond_the_calendar_are_times(time_us: int) -> None:
    """The first and the last time that can be shown stand for those beyond."""
    assert _read(_payload(time_us=time_us)).timestamp.endswith("Z")
    parse_3164(_line(make_syslog("rfc3164", LOCAL0, 8192), _payload(time_us=time_us))[:-1])


def test_the_priority_has_facility_and_severity() -> None:
    """A level becomes its severity, and keeps its name and number among the fields."""
    payload = _payload()
    payload[1][0][1:3] = [25, "SUCCESS"]
    found = _read(payload)
    assert (found.facility, found.severity) == (LOCAL0, 5)
    assert (found.params["level"], found.params["level_no"]) == ("SUCCESS", "25")


@pytest.mark.parametrize(
    "value", ['say "hi"', r"C:\temp", "[a]", "]", "\\", '\\"', "żółć", "", "a=b c", "%s %d", "\ufffd"]
)
def test_values_come_back(value: str) -> None:
    """What a reader unescapes is what was logged, by the quick way and by that of nested fields."""
    assert _read(_payload("m", {"strategy": value, "k": value})).params["strategy"] == value
    found = _read(_payload("m", {"k": value}, {"tree": [value]})).params
    assert found["extra.k"] == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb", r"a\x0ab"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x7f", r"\x7f"),
        ("\u202eabc", r"\u202eabc"),
        ("\ufeffabc", r"\ufeffabc"),
        (True, "true"),
        (None, "null"),
        (1.5, "1.5"),
    ],
)
def test_unsafe_characters_are_escaped(value: Any, shown: str) -> None:
    """In a value they are written out, in a message too; what is no text is JSON."""
    assert _read(_payload("m", {"k": value})).params["extra.k"] == shown
    if isinstance(value, str):
        assert _read(_payload(value)).text == shown
        old = parse_3164(_line(make_syslog("rfc3164", LOCAL0, 8192), _payload(value))[:-1])
        assert old.text.startswith(f"{shown} timestamp=")


def test_one_odd_record_does_not_touch_the_others() -> None:
    """Records of a batch are escaped one by one where any needs it."""
    values: list[Any] = ["plain", 'q"', 7, "x]", "é", "\\", "\n"]
    payload = payload_of(*[[0, 0, 0, str(value), {"k": value}, None, None] for value in values])
    found = [parse_5424(line[:-1]) for line in lines(make_syslog("rfc5424", 0, 8192).encode(batch_of(payload)))]
    assert [one.params["extra.k"] for one in found] == ["plain", 'q"', "7", "x]", "é", "\\", r"\x0a"]
    assert [one.text for one in found] == ["plain", 'q"', "7", "x]", "é", "\\", r"\x0a"]


def test_an_empty_message_has_a_text() -> None:
    """A message is never empty."""
    assert _read(_payload("")).text == "(empty)"


def test_names_that_grammar_does_not_have() -> None:
    """Blanks and their like are written as in a URL; of long names the end becomes a number that tells them apart."""
    assert param_name('a b=]"%') == "a%20b%3D%5D%22%25"
    long, other = param_name("extra." + "n" * 40), param_name("extra." + "n" * 41)
    assert len(long) == len(other) == 32
    assert long != other
    assert param_name("é" * 100_000)[:9] == "%C3%A9%C3"
    assert _read(_payload("m", {"a b": 1})).params["extra.a%20b"] == "1"


def test_extra_and_nested_fields_of_one_name() -> None:
    """They are one field, as in a line of JSON, unless the first has a place of its own."""
    found = _read(_payload("m", {"n": 1, "source": "s"}, {"n": [2], "source": [3]})).params
    assert (found["extra.n"], found["source"], found["extra.source"]) == ("[2]", "s", "[3]")


def test_an_exception_has_its_type_and_stands_behind_the_message() -> None:
    """Whoever looks for one type finds a parameter, and whoever reads finds the frames."""
    raised = ["ValueError", "so\nbad", ['File "a.py", line 2'], None, None, []]
    found = _read(_payload("failed", None, None, raised))
    assert (found.params["exception.type"], found.params["exception.message"]) == ("ValueError", r"so\x0abad")
    assert found.text == r"""failed exception ValueError: so\x0abad | File "a.py", line 2"""


@pytest.mark.parametrize(
    ("host", "shown"),
    [("web-1.example.com", "web-1.example.com"), ("a b", "a_b"), ("é", "_"), ("", "-"), ("../x", ".._x"), ("..", "-")],
)
def test_names_in_a_head_are_names(host: str, shown: str) -> None:
    """What a head can't have is replaced, and what the record had stands among the fields."""
    payload = _payload()
    payload[0][0] = payload[0][3] = host
    found = _read(payload)
    assert (found.host, found.app_name) == (shown, shown)
    expected = (None, None) if host == shown else (host, host)
    assert (found.params.get("host"), found.params.get("app_name")) == expected
    old = parse_3164(_line(make_syslog("rfc3164", 0, 8192), payload)[:-1])
    assert (old.host, old.app_name) == (shown, shown)


def test_long_names_are_cut() -> None:
    """A host has 255 characters, an app 48, a tag 32."""
    payload = _payload()
    payload[0][0] = payload[0][3] = "n" * 300
    found = _read(payload)
    assert (len(found.host), len(found.app_name), len(found.params["app_name"])) == (255, 48, 300)
    assert len(parse_3164(_line(make_syslog("rfc3164", 0, 8192), payload)[:-1]).app_name) == 32


def test_an_app_name_of_the_sink() -> None:
    """It stands in the head, and the record's own among the fields."""
    found = _read(_payload(), app_name="shop")
    assert (found.app_name, found.params["app_name"]) == ("shop", "app")
    assert check_app_name("shop") == "shop"


@pytest.mark.parametrize("text", ["", "a b", "é", "n" * 49, "a/b", "."])
def test_an_app_name_that_no_head_can_have(text: str) -> None:
    """It is refused with what would be right."""
    with pytest.raises(ConfigurationError) as caught:
        check_app_name(text)
    assert caught.value.problems[0].startswith("app_name: expected 1 to 48 printable ASCII characters")


def test_other_names_and_added_fields() -> None:
    """Fields have the names that the sink gives them, and added ones stand beside them."""
    found = _read(_payload("m", {"request_id": "r"}), rename={"request_id": "trace id"}, static={"zone": "a", "v": 2})
    assert (found.params["trace%20id"], found.params["zone"], found.params["v"]) == ("r", "a", "2")


@pytest.mark.parametrize("protocol", ["rfc5424", "rfc3164"])
def test_a_format_is_the_message(protocol: Any) -> None:
    """With a format the message is its line, whole, and there is no structured data."""
    from logbus.collectors.format import JsonFormat

    payload = _payload("m", {"k": "v"})
    line = _line(make_syslog(protocol, LOCAL0, 8192, format="json"), payload)
    found = parse_5424(line[:-1]) if protocol == "rfc5424" else parse_3164(line[:-1])
    assert found.text.encode() + b"\n" == JsonFormat().encode(batch_of(payload))
    assert found.data == {}


def refuses_seven(record: dict[str, Any]) -> str:
    """A format: the message, unless it is 7."""
    if record["message"] == "7":
        raise ValueError("seven")
    return str(record["message"])


def test_a_format_of_somebody_else_may_have_no_line() -> None:
    """The record that it can't write has no message, and the others have theirs."""
    formatter: Any = make_syslog("rfc5424", 0, 8192, format=f"{__name__}:refuses_seven")
    batch = batch_of(payload_of(*[[0, 0, 0, text, None, None, None] for text in ("6", "7", "8")]))
    six, seven, eight = formatter.encode_each(batch)
    assert seven is None
    assert [parse_5424(line[:-1]).text for line in (six, eight)] == ["6", "8"]
    assert formatter.encode(batch) == six + eight
    assert "ValueError: seven" in formatter.error


@pytest.mark.parametrize("options", [{}, {"format": "json"}])
@pytest.mark.parametrize("protocol", ["rfc5424", "rfc3164"])
def test_a_long_message_is_cut_and_marked(protocol: Any, options: dict[str, Any]) -> None:
    """It has no more bytes than it may, says how many are gone, and is a message still."""
    for size in (MIN_MESSAGE, 1024, 2048):
        line = _line(make_syslog(protocol, LOCAL0, size, **options), _payload("é" * 5000, {"n": 1}))[:-1]
        assert size - 80 < len(line) <= size
        found = parse_5424(line) if protocol == "rfc5424" else parse_3164(line)
        assert found.text.startswith(("é", "{"))
        assert found.text.endswith(" bytes]")
        assert "…[truncated " in found.text


def test_short_fields_stay_whole_beside_long_ones() -> None:
    """Of several texts the longest are cut; the element stays whole and says how much is gone."""
    payload = _payload("short", {"request_id": "r", "big": "\\" * 3000, "bigger": "]" * 9000})
    found = _read(payload)
    whole = {"request_id": "r", "extra.n": None}
    assert found.params["request_id"] == whole["request_id"]
    assert found.text == "short"
    assert found.params["extra.bigger"].endswith("]…")
    assert "…" not in found.params["logger"]
    assert int(found.params["truncated"]) > 10_000


def test_of_thousands_of_names_the_first_stay() -> None:
    """Names take half of a message at most, so that there is room for the message."""
    found = _read(_payload("short", {f"k{number}": "v" for number in range(3000)}))
    assert found.text == "short"
    assert found.params["extra.k0"] == "v"
    assert 100 < len(found.params) < 1000


def test_a_sampled_message_says_its_rate() -> None:
    """The rate is a parameter, also of a message that was cut; in a format's line it is where that has it."""
    formatter = make_syslog("rfc5424", 0, 600, rename={"sample_rate": "kept"})
    for text in ("m", "m" * 5000):
        line = formatter.stamp(_line(formatter, _payload(text)), 1 / 3)
        assert parse_5424(line[:-1]).params["kept"] == repr(1 / 3)
        assert len(line) <= 601
    inner = make_syslog("rfc5424", 0, 600, format="json")
    line = inner.stamp(_line(inner, _payload("m")), 0.5)
    assert parse_5424(line[:-1]).text.endswith(',"sample_rate":0.5}')
    old = make_syslog("rfc3164", 0, 600, local=True)
    line = old.stamp(_line(old, _payload("see: this")), 0.5)
    assert parse_3164(line[:-1], local=True).text.endswith(" app_name=app sample_rate=0.5")
    for formatter in (inner, old):
        cut = _line(formatter, _payload("m" * 5000))
        assert formatter.stamp(cut, 0.5) == cut


def test_equal_arguments_give_the_same_format() -> None:
    """Sinks of one form share their encoding; whatever differs makes another one."""
    one = make_syslog("rfc5424", 1, 2048, static={"a": 1})
    assert make_syslog("rfc5424", 1, 2048, static={"a": 1}) is one
    others = [
        make_syslog("rfc3164", 1, 2048, static={"a": 1}),
        make_syslog("rfc5424", 2, 2048, static={"a": 1}),
        make_syslog("rfc5424", 1, 2049, static={"a": 1}),
        make_syslog("rfc5424", 1, 2048, static={"a": True}),
        make_syslog("rfc5424", 1, 2048, static={"a": 1}, app_name="x"),
        make_syslog("rfc5424", 1, 2048, static={"a": 1}, format="json"),
        make_syslog("rfc5424", 1, 2048, static={"a": 1}, local=True),
    ]
    assert len({id(formatter) for formatter in [one, *others]}) == 8


def test_a_dialect_says_what_else_can_be_sent() -> None:
    """It is the same for all that a server of one kind can read."""
    assert [
        make_syslog("rfc5424", 1, 2048, format="json").dialect,
        make_syslog("rfc5424", 2, 999, local=True).dialect,
        make_syslog("rfc3164", 1, 2048).dialect,
        make_syslog("rfc3164", 1, 2048, local=True).dialect,
    ] == ["syslog rfc5424", "syslog rfc5424", "syslog rfc3164", "syslog rfc3164 local"]


def test_wrong_names_are_refused() -> None:
    """What is wrong with renamed and static fields comes with its key, with a format and without."""
    for inner in (None, "json"):
        with pytest.raises(ConfigurationError) as caught:
            make_syslog("rfc5424", 1, 2048, format=inner, rename={"lebel": "x"}, static={"host": 1})
        assert [problem.partition(":")[0] for problem in caught.value.problems] == [
            "rename_fields.lebel",
            "static_fields.host",
        ]
