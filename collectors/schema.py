"""The contract of a JSON log line, as JSON Schema: what ``logbus record-schema`` prints and tests hold lines against.

It is strict: a key at the top of a line that is not named here is a defect, since everything that an application
adds stands under ``extra`` or in one of the promoted fields.
"""

from __future__ import annotations

from typing import Any, Final

from logbus.collectors.format.base import PROMOTED

#: Identifies the schema; it changes with the contract, not with the release.
SCHEMA_ID: Final = "urn:logbus:record:1"

_SCALAR: Final = ["string", "number", "boolean", "null"]

_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "timestamp": {
        "description": "When the record was made: RFC 3339 in UTC, with microseconds.",
        "type": "string",
        "format": "date-time",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
    },
    "level": {
        "description": "DEBUG, INFO, WARNING, ERROR or CRITICAL; another name comes with level_no.",
        "type": "string",
        "minLength": 1,
    },
    "level_no": {"description": "The number of a level that is not one of the five.", "type": "integer"},
    "message": {"description": "The text of the record, formatted; never empty.", "type": "string", "minLength": 1},
    "logger": {"description": "The name of the logger.", "type": "string"},
    "component": {"description": "The part of the application that the logger belongs to.", "type": "string"},
    "module": {"description": "The module of the logging call.", "type": "string"},
    "function": {"description": "The function of the logging call.", "type": "string"},
    "line": {"description": "The line of the logging call in its file.", "type": "integer"},
    "process_id": {"description": "The process id of the worker.", "type": "integer"},
    "thread_name": {"description": "The thread of the logging call.", "type": "string"},
    "worker": {"description": "The name of the worker.", "type": "string"},
    "host": {"description": "The host of the worker.", "type": "string"},
    "app_name": {"description": "The application that the worker belongs to.", "type": "string"},
    "exception": {"description": "The exception that was logged.", "$ref": "#/$defs/exception"},
    "extra": {
        "description": "Everything else that came with the record; nested values are kept.",
        "type": "object",
        "minProperties": 1,
    },
    "sample_rate": {
        "description": "In a sample: the part of such records that is kept, so that each counts for 1 / rate.",
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
    },
}

_ABOUT_PROMOTED: Final = {
    "request_id": "The request that the record belongs to.",
    "operation": "What was being done.",
    "proxy_url": "The proxy in use, its credentials masked.",
    "strategy": "The strategy that chose the proxy.",
    "source": "Where the proxy came from.",
    "user_id": "The user on whose behalf it was done.",
}

_OPTIONAL: Final = frozenset({"level_no", "exception", "extra", "sample_rate"})


def record_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of one JSON log line; a new document at each call."""
    promoted = {name: {"description": _ABOUT_PROMOTED[name], "type": list(_SCALAR)} for name in PROMOTED}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "logbus record",
        "description": "One line of a JSON sink.",
        "type": "object",
        "properties": {**{name: dict(field) for name, field in _FIELDS.items()}, **promoted},
        "required": [name for name in _FIELDS if name not in _OPTIONAL],
        "additionalProperties": False,
        "if": {"properties": {"level": {"enum": ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]}}},
        "else": {"required": ["level_no"]},
        "$defs": {
            "exception": {
                "type": "object",
                "properties": {
                    "type": {"description": "The name of its class.", "type": "string"},
                    "message": {"type": "string"},
                    "traceback": {"type": "array", "items": {"type": "string"}},
                    "cause": {"description": "What it was raised from.", "$ref": "#/$defs/exception"},
                    "context": {"description": "What was being handled.", "$ref": "#/$defs/exception"},
                    "exceptions": {
                        "description": "The members of an exception group.",
                        "type": "array",
                        "minItems": 1,
                        "items": {"$ref": "#/$defs/exception"},
                    },
                },
                "required": ["type", "message", "traceback"],
                "additionalProperties": False,
            }
        },
    }
