from __future__ import annotations

import json
import unicodedata
from typing import Any

import jsonschema
from hypothesis import given

from logbus.collectors.decode import Raised
from logbus.collectors.format import JsonFormat, TextFormat, lines
from logbus.collectors.format.base import PROMOTED
from logbus.collectors.schema import record_schema
from tests.property.batches import batch_of, payloads

VALIDATOR = jsonschema.Draft202012Validator(record_schema())


def check_lines(data: bytes, count: int) -> list[str]:
    """The lines without their newlines: so many, and with nothing in them that a terminal obeys."""
    found = lines(data)
    assert len(found) == count
    assert b"".join(found) == data
    assert all(one.endswith(b"\n") for one in found)
    texts = [one[:-1].decode() for one in found]
    for character in set("".join(texts)):
        assert unicodedata.category(character) not in ("Cc", "Cf", "Zl", "Zp", "Cs")
    return texts


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
    for text, record in zip(check_lines(TextFormat().encode(batch), len(batch.records)), batch.records, strict=True):
        assert text.count("=") >= len(record.extra or {}) + len(record.nested or {}) + 7
    assert len(lines(TextFormat(colour=True).encode(batch))) == len(batch.records)
