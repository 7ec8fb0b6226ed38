from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from logbus.collectors.format import JsonFormat
from logbus.collectors.schema import record_schema
from tests.property.batches import batch_of, payload_of

VALID: dict[str, Any] = json.loads(
    JsonFormat().encode(
        batch_of(payload_of([0, 0, 0, "m", {"request_id": "r", "n": 1}, None, ["E", "m", [], None, None, []]]))
    )
)


def _accepts(document: dict[str, Any]) -> bool:
    return jsonschema.Draft202012Validator(record_schema()).is_valid(document)


def test_the_schema_is_a_schema() -> None:
    """It is valid draft 2020-12, can be written as JSON, and each call gives a document of its own."""
    schema = record_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert json.loads(json.dumps(schema)) == schema
    schema["properties"]["level"].clear()
    assert record_schema()["properties"]["level"]


def test_a_line_is_valid() -> None:
    """What the JSON format writes is what the schema describes."""
    assert _accepts(VALID)


@pytest.mark.parametrize(
    "key",
    "timestamp level message module function line logger component process_id thread_name worker host app_name".split(),
)
def test_a_line_without_a_required_field_is_not(key: str) -> None:
    """Each field that is always there is required."""
    assert not _accepts({name: value for name, value in VALID.items() if name != key})


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"message": ""},
        {"timestamp": "2026-11-22T12:00:00Z"},
        {"timestamp": "2026-11-22T12:00:00.000000+00:00"},
        {"line": "7"},
        {"level": "SUCCESS"},
        {"level": ""},
        {"request_id": {"nested": 1}},
        {"extra": []},
        {"extra": {}},
        {"exception": {"type": "E"}},
        {"exception": {"type": "E", "message": "m", "traceback": [], "cause": {}}},
        {"exception": {"type": "E", "message": "m", "traceback": [], "exceptions": []}},
    ],
)
def test_a_line_with_something_wrong_is_not(change: dict[str, Any]) -> None:
    """Unknown keys, wrong types, other times and a custom level without its number are refused."""
    assert not _accepts({**VALID, **change})
    assert _accepts({**VALID, "level": "SUCCESS", "level_no": 25})
