from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, strategies as st

from logbus.collectors.format.base import FIRST_US, LAST_US, lines
from logbus.collectors.format.priority import severity_of
from logbus.collectors.format.syslog import MIN_MESSAGE, make_syslog
from tests.property.batches import TEXTS, batch_of, payloads
from tests.syslog_parser import parse_3164, parse_5424

UNSAFE_CATEGORIES = ("Cc", "Cf", "Zl", "Zp", "Cs")
#: Long ones, too.
LONG = TEXTS | st.tuples(TEXTS, st.integers(1, 400)).map(lambda found: found[0] * found[1])


def shown(text: str) -> str:
    """The text with its unsafe characters written out."""
    return "".join(escaped(c) if unicodedata.category(c) in UNSAFE_CATEGORIES else c for c in text)


def escaped(character: str) -> str:
    """A character as Python writes it."""
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"


def one_line(line: bytes) -> bytes:
    """The message in a line, in which nothing is that a terminal obeys."""
    assert line.endswith(b"\n")
    for character in set(line[:-1].decode()):
        assert unicodedata.category(character) not in UNSAFE_CATEGORIES
    return line[:-1]


@given(payloads())
def test_messages_hold_every_batch(payload: list[Any]) -> None:
    """A strict reader finds in each message of any batch the head and the fields of its record."""
    batch = batch_of(payload)
    found = lines(make_syslog("rfc5424", 3, 1_000_000).encode(batch))
    for line, record in zip(found, batch.records, strict=True):
        message = parse_5424(one_line(line))
        site = batch.sites[record.site]
        assert (message.facility, message.severity) == (3, severity_of(site.level_no))
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=min(max(record.time_us, FIRST_US), LAST_US))
        assert datetime.fromisoformat(message.timestamp) == when
        assert message.process == str(batch.source.pid)
        [pairs] = message.data.values()
        values: dict[str, list[str]] = {}
        for name, text in pairs:
            values.setdefault(name, []).append(text)
        assert values["logger"] == [shown(site.logger)]
        assert values["line"] == [str(site.line)]
        assert values["thread_name"] == [shown(batch.threads[record.thread])]
        assert values["worker"] == [shown(batch.source.worker)]
        assert message.host == batch.source.host or values["host"] == [shown(batch.source.host)]
        for key, value in (record.extra or {}).items():
            if key in ("request_id", "operation", "proxy_url", "source", "user_id") and isinstance(value, str):
                assert values[key] == [shown(value)]
        own = len({*(record.extra or {})} - {*(record.nested or {})}) + len(record.nested or {})
        assert len(pairs) >= 8 + own + 2 * (record.exception is not None)
        assert message.text.startswith(shown(record.message) or "(empty)")
        if record.exception is not None:
            assert f" exception {shown(record.exception.type)}" in message.text


@given(payloads(), st.integers(MIN_MESSAGE, 2000), LONG, LONG, st.sampled_from([None, "json", "logfmt"]))
def test_messages_keep_to_their_bound(payload: list[Any], size: int, name: str, text: str, inner: str | None) -> None:
    """Whatever is long, in names, values or the message, each line is a message of so many bytes at most."""
    payload[0][0] = payload[0][3] = name
    for site in payload[1]:
        site[0] = name
    for record in payload[3]:
        record[3] = text
        record[4] = {**(record[4] or {}), name: text, "request_id": text}
    batch = batch_of(payload)
    for local in (False, True):
        old = make_syslog("rfc3164", 23, size, format=inner, local=local)
        for line in lines(old.encode(batch)):
            assert len(line) <= size + 1
            assert parse_3164(one_line(line), local=local).facility == 23
            parse_3164(one_line(old.stamp(line, 0.1)), local=local)
    new = make_syslog("rfc5424", 23, size, format=inner)
    for line in lines(new.encode(batch)):
        assert len(line) <= size + 1
        parse_5424(one_line(line))
        stamped = new.stamp(line, 0.123456789012345)
        assert len(stamped) <= size + 1
        message = parse_5424(one_line(stamped))
        if inner is None:
            [pairs] = message.data.values()
            assert ("sample_rate", "0.123456789012345") in pairs


@given(payloads())
def test_old_messages_hold_every_batch(payload: list[Any]) -> None:
    """A reader of RFC 3164 finds head and text in each message of any batch."""
    batch = batch_of(payload)
    found = lines(make_syslog("rfc3164", 3, 1_000_000).encode(batch))
    for line, record in zip(found, batch.records, strict=True):
        message = parse_3164(one_line(line))
        assert message.severity == severity_of(batch.sites[record.site].level_no)
        assert message.text.startswith(shown(record.message) or "(empty)")
