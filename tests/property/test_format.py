from __future__ import annotations

import json
import random
import re
import unicodedata
from typing import Any
from urllib.parse import quote

import jsonschema
import logfmtkv
import msgspec
from hypothesis import event, given, strategies as st

from logbus.collectors.decode import Raised
from logbus.collectors.format import JsonFormat, LogfmtFormat, Names, PluginFormat, TextFormat, lines
from logbus.collectors.format.base import PROMOTED
from logbus.collectors.format.names import FIELDS
from logbus.collectors.schema import record_schema
from logbus.errors import ConfigurationError
from tests.property.batches import FLOATS, INT64, TEXTS, batch_of, payloads

VALIDATOR = jsonschema.Draft202012Validator(record_schema())
UNSAFE_CATEGORIES = ("Cc", "Cf", "Zl", "Zp", "Cs")
COLOURS = re.compile(rb"\x1b\[[0-9;]*m")
#: What stands in quotes in a line of logfmt.
QUOTED = re.compile(r'(?<==)"(?:[^"\\]|\\.)*"')
#: Names that fields are given, good ones more often than not.
NAMES = (
    st.sampled_from(["@timestamp", "msg", "level", "a b", 'q"=%\\', "é", "service.name", "extra", "extra.n"]) | TEXTS
)
RENAMES = st.dictionaries(st.sampled_from(FIELDS), NAMES, max_size=4)
STATICS = st.dictionaries(NAMES, st.booleans() | INT64 | FLOATS | TEXTS, max_size=3)


def check_lines(data: bytes, count: int) -> list[str]:
    """The lines without their newlines: so many, and with nothing in them that a terminal obeys."""
    found = lines(data)
    assert len(found) == count
    assert b"".join(found) == data
    assert all(one.endswith(b"\n") for one in found)
    texts = [one[:-1].decode() for one in found]
    for character in set("".join(texts)):
        assert unicodedata.category(character) not in UNSAFE_CATEGORIES
    return texts


def read_logfmt(text: str) -> dict[str, str | bool]:
    """A line as go-logfmt would read it: what that refuses, and a key that comes twice, is an error.

    What stands in quotes is also read by a second reader, as the JSON string that it is.
    """
    found = logfmtkv.parse(text, strict=True, duplicates="error")
    for quoted in QUOTED.findall(text):
        assert json.loads(quoted) in found.values()
    return found


def flat(line: dict[str, Any], extra: str = "extra", exception: str = "exception") -> dict[str, str]:
    """The fields of a JSON line as logfmt has them."""
    fields: dict[str, Any] = {}
    for key, value in line.items():
        if key == extra:
            fields |= {f"{extra}.{name}": inner for name, inner in value.items()}
        elif key == exception:
            fields |= _flat_exception(exception, value)
        else:
            fields[key] = value
    return {_legal(key): _text(value) for key, value in fields.items()}


def _flat_exception(name: str, shown: dict[str, Any]) -> dict[str, str]:
    fields = {f"{name}.type": shown["type"], f"{name}.message": shown["message"]}
    fields[f"{name}.traceback"] = "\n".join(shown["traceback"])
    for link in ("cause", "context"):
        if link in shown:
            fields |= _flat_exception(f"{name}.{link}", shown[link])
    for index, member in enumerate(shown.get("exceptions", [])):
        fields |= _flat_exception(f"{name}.exceptions[{index}]", member)
    return fields


def _legal(key: str) -> str:
    """The key, character by character."""
    return "".join(
        quote(c, safe="") if c in '"=%\ufffd' or c.isspace() or unicodedata.category(c) in UNSAFE_CATEGORIES else c
        for c in key
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def _exception_of(shown: dict[str, Any]) -> Raised:
    cause, context = shown.get("cause"), shown.get("context")
    return Raised(
        shown["type"],
        shown["message"],
        shown["traceback"],
        _exception_of(cause) if cause else None,
        _exception_of(context) if context else None,
        [_exception_of(member) for member in shown.get("exceptions", [])],
    )


@given(payloads())
def test_json_lines_hold_every_batch(payload: list[Any]) -> None:
    """Any batch gives one valid line for each record, from which all that the record held can be read back."""
    batch = batch_of(payload)
    for text, record in zip(check_lines(JsonFormat().encode(batch), len(batch.records)), batch.records, strict=True):
        line = json.loads(text, parse_constant=_no_constant)
        VALIDATOR.validate(line)
        site = batch.sites[record.site]
        assert line["message"] == (record.message or "(empty)")
        assert [line[key] for key in ("logger", "component", "module", "function", "line")] == [
            site.logger,
            site.component,
            site.module,
            site.function,
            site.line,
        ]
        assert line["thread_name"] == batch.threads[record.thread]
        assert (line["host"], line["process_id"]) == (batch.source.host, batch.source.pid)
        extra = record.extra or {}
        assert {key: line[key] for key in PROMOTED if key in line} == {
            key: extra[key] for key in PROMOTED if key in extra
        }
        rest = {key: value for key, value in extra.items() if key not in PROMOTED}
        assert line.get("extra", {}) == {**rest, **(record.nested or {})}
        assert (_exception_of(line["exception"]) if "exception" in line else None) == record.exception


@given(payloads())
def test_text_lines_hold_every_batch(payload: list[Any]) -> None:
    """Any batch gives one line for each record, with every key of the JSON line's own fields in it."""
    batch = batch_of(payload)
    plain = TextFormat().encode(batch)
    for text, record in zip(check_lines(plain, len(batch.records)), batch.records, strict=True):
        extra = set(record.extra or {})
        # A key that a foreign producer puts among both is one key of "extra", unless the first is at the line's top.
        own = len(extra & {*PROMOTED}) + len((extra - {*PROMOTED}) | set(record.nested or {}))
        assert text.count("=") >= own + 7
    coloured = TextFormat(colour=True).encode(batch)
    assert len(lines(coloured)) == len(batch.records)
    assert COLOURS.sub(b"", coloured) == plain


@given(payloads())
def test_logfmt_lines_can_be_read_back(payload: list[Any]) -> None:
    """A strict reader of logfmt that is not ours finds in each line every field of the JSON line, and no others."""
    batch = batch_of(payload)
    as_json = lines(JsonFormat().encode(batch))
    for text, line in zip(check_lines(LogfmtFormat().encode(batch), len(batch.records)), as_json, strict=True):
        assert read_logfmt(text) == flat(json.loads(line))


@given(payloads(), RENAMES, STATICS)
def test_other_names_change_nothing_else(payload: list[Any], rename: dict[str, str], static: dict[str, Any]) -> None:
    """Whatever fields are renamed and added, JSON and logfmt lines are those without, under the other names."""
    batch = batch_of(payload)
    names, problems = Names(), []
    try:
        names = Names(rename, static)
    except ConfigurationError as error:
        event("refused")
        problems = error.problems
    assert all(one.isprintable() and one.startswith(("rename_fields.", "static_fields.")) for one in problems)
    if problems:
        return
    for formatter in (JsonFormat(names), LogfmtFormat(names), TextFormat(names)):
        check_lines(formatter.encode(batch), len(batch.records))
    plain = lines(JsonFormat().encode(batch))
    renamed = lines(JsonFormat(names).encode(batch))
    as_logfmt = lines(LogfmtFormat(names).encode(batch))
    for before, after, logfmt in zip(plain, renamed, as_logfmt, strict=True):
        line = {names[field]: value for field, value in json.loads(before).items()}
        assert json.loads(after) == {**line, **static}
        assert len(line) + len(static) == len(json.loads(after))
        assert read_logfmt(logfmt.decode()) == flat(json.loads(after), names["extra"], names["exception"])


@given(payloads(), st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True))
def test_every_line_can_be_stamped(payload: list[Any], rate: float) -> None:
    """A line with its rate is one line that is valid still, and holds all that it held."""
    batch = batch_of(payload)
    for formatter in (JsonFormat(), LogfmtFormat(), TextFormat()):
        for line in lines(formatter.encode(batch)):
            [text] = check_lines(formatter.stamp(line, rate), 1)
            if formatter.name == "json":
                VALIDATOR.validate(json.loads(text))
                assert json.loads(text) == {**json.loads(line), "sample_rate": rate}
            elif formatter.name == "logfmt":
                assert read_logfmt(text) == {**read_logfmt(line.decode()), "sample_rate": repr(rate)}
            else:
                assert text == f"{line[:-1].decode()} sample_rate={rate!r}"


@given(payloads(), st.lists(TEXTS | st.characters(codec=None) | st.none(), min_size=4, max_size=4))
def test_what_others_return_is_lines(payload: list[Any], texts: list[str | None]) -> None:
    """Whatever a plug-in returns, each record is one safe line or none, and what it got is the JSON line."""
    batch = batch_of(payload)
    returned = iter(texts)
    seen = []

    def write(record: dict[str, Any]) -> str | None:
        seen.append(record)
        return next(returned)

    found = PluginFormat("theirs", write).encode_each(batch)
    assert len(found) == len(batch.records)
    for text, line in zip(texts, found, strict=False):
        assert (line is None) == (text in (None, "", "\n"))
        if line is not None:
            check_lines(line, 1)
    assert seen == [json.loads(line) for line in lines(JsonFormat().encode(batch))]


@given(st.lists(payloads(), min_size=2, max_size=4), STATICS, st.randoms(use_true_random=False))
def test_what_json_remembers_of_call_sites_changes_no_line(given: list[Any], static: Any, order: random.Random) -> None:
    """Batch after batch of the same workers, threads and call sites, in any mixture, are what a new format makes."""
    try:
        names = Names(None, static)
    except ConfigurationError:
        names = Names()
    form = JsonFormat(names)
    mixed = [[given[at - 1][0], *payload[1:]] for at, payload in enumerate(given)]
    for payload in [*given, *order.sample(given, len(given)), *mixed]:
        assert form.encode(batch_of(payload)) == JsonFormat(names).encode(batch_of(payload))
