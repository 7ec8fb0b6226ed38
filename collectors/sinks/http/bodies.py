"""The forms of a request's body, by the names that the configuration has for them.

``ndjson`` and ``json`` take lines of JSON (``ndjson`` any line), ``loki`` and ``otlp`` lines of the formats of those
names (:mod:`logbus.collectors.format.loki`, :mod:`logbus.collectors.format.otlp`), which are made to be put together
without being read: what stands before a line's tab is the same for the records that belong together. Records that do
keep their order, whatever stands between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from logbus.collectors.format.base import JSON_ESCAPES, without_unsafe
from logbus.collectors.sinks.http.body import Body

_JSON: Final = "application/json"
_read: Final = msgspec.json.Decoder().decode


class NdjsonBody:
    """The lines as they are, in any format. There is no registered media type; this is the one that servers know."""

    name = "ndjson"
    content_type = "application/x-ndjson"

    def assemble(self, data: bytes) -> bytes:
        """The lines themselves."""
        return data

    def rejected(self, answer: bytes) -> tuple[int, str]:
        """Nothing: what a server says in an answer of its own has no form that is known."""
        return 0, ""


class JsonBody(NdjsonBody):
    """An array of the lines, which must be JSON: their newlines are the only ones, and become commas."""

    name = "json"
    content_type = _JSON

    def assemble(self, data: bytes) -> bytes:
        """The lines in one array."""
        return b"[%b]" % data[:-1].replace(b"\n", b",")


class LokiBody(NdjsonBody):
    """A push of Loki's HTTP API ("Ingest logs"): one stream for each set of labels."""

    name = "loki"
    content_type = _JSON

    def assemble(self, data: bytes) -> bytes:
        """The push of lines of the format ``loki``: ``{"streams":[{"stream":…,"values":[…]}]}``."""
        streams: dict[bytes, list[bytes]] = {}
        for line in data.splitlines():
            tab = line.index(b"\t")
            labels = line[1:tab]  # without the bracket before them
            values = streams.get(labels)
            if values is None:
                values = streams[labels] = []
            values.append(line[tab + 2 :])  # without the tab and the comma; with the bracket at the end
        return b'{"streams":[%b]}' % b",".join(
            [b'{"stream":%b,"values":[[%b]}' % (labels, b",[".join(values)) for labels, values in streams.items()]
        )


class OtlpBody(NdjsonBody):
    """An ``ExportLogsServiceRequest`` of OTLP/HTTP in JSON: resources, in each its scopes, in each its records."""

    name = "otlp"
    content_type = _JSON

    def assemble(self, data: bytes) -> bytes:
        """The request of lines of the format ``otlp``: ``{"resourceLogs":[…]}``."""
        found: dict[bytes, list[bytes]] = {}
        for line in data.splitlines():
            tab = line.index(b"\t", line.index(b"\t") + 1)
            place = line[1:tab]
            records = found.get(place)
            if records is None:
                records = found[place] = []
            records.append(line[tab + 2 : -1])
        resources: dict[bytes, list[bytes]] = {}
        for place, records in found.items():
            resource, _, scope = place.partition(b"\t,")
            logs = b'{"scope":%b,"logRecords":[%b]}' % (scope, b",".join(records))
            resources.setdefault(resource, []).append(logs)
        return b'{"resourceLogs":[%b]}' % b",".join(
            [b'{"resource":%b,"scopeLogs":[%b]}' % (name, b",".join(logs)) for name, logs in resources.items()]
        )

    def rejected(self, answer: bytes) -> tuple[int, str]:
        """What stands under ``partialSuccess`` (OTLP, "Partial Success"): how many records, and why.

        The protocol doesn't say which ones, and forbids to send the request again. With 0 records and a text it is a
        warning about a request that was taken whole. An answer in another form says nothing: (0, "").
        """
        try:
            partial: Any = _read(answer)["partialSuccess"]
            count, reason = partial.get("rejectedLogRecords", 0), partial.get("errorMessage", "")
            # A number of 64 bits is a text in this encoding, and readers take both.
            records = int(count) if type(count) is int or (type(count) is str and len(count) <= 20) else 0
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            return 0, ""
        words = without_unsafe(reason, JSON_ESCAPES) if type(reason) is str else ""
        return (records, words or "the server gives no reason") if records > 0 else (0, words)


#: The forms of the body by their names.
BODIES: Final[Mapping[str, Body]] = {body.name: body for body in (NdjsonBody(), JsonBody(), LokiBody(), OtlpBody())}
