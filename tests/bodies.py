"""Bodies of requests as their receivers read them: OTLP by its published schema, pushes to Loki by ours of its API.

The schema of a push is written after "Ingest logs" of Loki's HTTP API and the limits that Loki has when nobody
configures them: labels of a stream, their names and values, times as texts.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any, Final

import jsonschema
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

#: A push, with nothing besides what the API names.
PUSH: Final = jsonschema.Draft202012Validator(
    {
        "type": "object",
        "required": ["streams"],
        "additionalProperties": False,
        "properties": {"streams": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/stream"}}},
        "$defs": {
            "stream": {
                "type": "object",
                "required": ["stream", "values"],
                "additionalProperties": False,
                "properties": {
                    "stream": {
                        "type": "object",
                        "minProperties": 1,
                        "maxProperties": 15,
                        "propertyNames": {"pattern": "^[a-zA-Z_:][a-zA-Z0-9_:]*$", "maxLength": 1024},
                        "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 2048},
                    },
                    "values": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/value"}},
                },
            },
            "value": {
                "type": "array",
                "minItems": 2,
                "maxItems": 2,
                "prefixItems": [
                    {"type": "string", "pattern": "^(-[1-9][0-9]*|0|[1-9][0-9]*)$"},
                    {"type": "string", "minLength": 1},
                ],
            },
        },
    }
)
_IDS: Final = re.compile(r'"(traceId|spanId)":"([0-9a-f]+)"')

#: One record of a request: the attributes of its resource, the name of its scope, and itself.
Received = tuple[dict[str, Any], str, Any]


def pushed(body: bytes) -> list[tuple[dict[str, str], int, str]]:
    """The labels, the time in nanoseconds and the text of each record of a push, stream by stream."""
    push = json.loads(body)
    PUSH.validate(push)
    streams = [stream["stream"] for stream in push["streams"]]
    assert all(stream not in streams[:at] for at, stream in enumerate(streams)), "a stream stands there twice"
    found = []
    for stream in push["streams"]:
        for nanoseconds, text in stream["values"]:
            assert -(2**63) <= int(nanoseconds) < 2**63
            found.append((stream["stream"], int(nanoseconds), text))
    return found


def exported(body: bytes) -> list[Received]:
    """The records of an OTLP request, resource by resource, as its published schema has them; what it doesn't fails."""
    # The one place where OTLP's JSON is not protobuf's: ids are hexadecimal there, and base64 here.
    text = _IDS.sub(lambda hit: f'"{hit[1]}":"{base64.b64encode(bytes.fromhex(hit[2])).decode()}"', body.decode())
    request = json_format.Parse(text, ExportLogsServiceRequest())
    found = []
    for logs in request.resource_logs:
        resource = attributes(logs.resource.attributes)
        for scope in logs.scope_logs:
            assert scope.log_records, "an empty scope"
            found += [(resource, scope.scope.name, record) for record in scope.log_records]
    return found


def attributes(pairs: Any) -> dict[str, Any]:
    """Attributes as a dict; one that stands there twice, or has no name, fails."""
    found: dict[str, Any] = {}
    for pair in pairs:
        assert isinstance(pair, KeyValue)
        assert pair.key
        assert pair.key not in found
        found[pair.key] = plain(pair.value)
    return found


def plain(value: AnyValue) -> Any:
    """A value as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(inner) for inner in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)
