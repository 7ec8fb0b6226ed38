r"""A record as a line from which an OTLP request is put together: its resource, its scope, and the record of the log.

    [{"attributes":[…]}<TAB>,{"name":"proxywhirl.rotator"}<TAB>,{"timeUnixNano":"…","severityNumber":9,…}]

Such a line is JSON itself. Its only raw tabs are the two that part it, since JSON has none inside its texts: what
stands before the second tells what a request has once for many records
(:mod:`logbus.collectors.sinks.http.bodies`).

The form is the JSON encoding of OTLP 1.x (``ExportLogsServiceRequest``; the specification's "JSON Protobuf
Encoding"): integers of 64 bits are texts, enumerations are numbers, ids are hexadecimal. Where what stands:

- resource: ``service.name`` is the app's name (``unknown_service`` without one), ``service.instance.id`` the worker,
  ``host.name``, ``process.pid``, and the static fields, which replace one of these by its name;
- scope: its name is the logger's;
- ``severityNumber`` by the level's number as OpenTelemetry's own SDK for Python has it, TRACE below; ``severityText``
  is the level's name, and a level that is none of the standard library's has its number as ``level_no``;
- ``traceId`` and ``spanId`` are the extra fields ``trace_id`` and ``span_id`` where they are ids by W3C Trace Context;
- attributes: ``code.function.name`` with its module, ``code.line.number``, ``thread.name``, ``component``, then the
  extra fields under their own names, nested ones as maps and arrays; null is a value that is not set. An exception is
  ``exception.type``, ``exception.message`` and ``exception.stacktrace``, which has all that hang on it.

An extra field that is called like one of these attributes is ``extra.NAME``. A time before 1970 is 0, which is "not
known" to OTLP; then readers take ``observedTimeUnixNano``, when the collector wrote the line.

As in JSON lines, most is the same for all records of a call site, and made once per batch.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from logbus.collectors.decode import Batch, Raised, Record, Site, Source
from logbus.collectors.format.base import EMPTY_MESSAGE, Formatter, level_name, lines
from logbus.collectors.format.json import safe_lines
from logbus.collectors.format.made import shared
from logbus.collectors.format.names import Names, Scalar
from logbus.levels import STANDARD_LEVELS

#: Microseconds since the epoch of the last time that OTLP can hold: nanoseconds are unsigned, of 64 bits.
LAST_US: Final = (2**64 - 1) // 1000
#: What a service is called that nobody has named (the semantic conventions of ``service.name``).
UNKNOWN_SERVICE: Final = "unknown_service"

#: The attributes that a record has of its own, and what no attribute may be called.
_OWN: Final = frozenset(
    {
        *("code.function.name", "code.line.number", "thread.name", "component", "level_no", "sample_rate", ""),
        *("exception.type", "exception.message", "exception.stacktrace"),
    }
)
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-fA-F]{32}\Z")
_SPAN_ID: Final = re.compile(r"(?!0{16})[0-9a-fA-F]{16}\Z")
#: What a line ends with behind its last attribute.
_END: Final = b"]}]\n"
_encoder: Final = msgspec.json.Encoder()


class OtlpFormat:
    """Lines of an OTLP request."""

    name = "otlp"

    def __init__(self, static: Mapping[str, Scalar] | None = None, now: Callable[[], int] = time.time_ns) -> None:
        """``static`` are attributes of the resource; ``now`` gives nanoseconds since the epoch.

        Raises ConfigurationError with every problem, each under ``static_fields.KEY``.
        """
        self._static = Names(static=static).static
        self._now = now

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one for each record, in UTF-8, each with its newline."""
        write = _encoder.encode_into
        resource = _encoder.encode(self._resource(batch.source))
        observed = self._now()
        heads: dict[int, bytes] = {}
        tails: dict[tuple[int, int], bytes] = {}
        # By field: what stands before its value, and before its value where that is a text.
        openings: dict[str, tuple[bytes, bytes]] = {}
        out = bytearray()
        for record in batch.records:
            head = heads.get(record.site)
            if head is None:
                head = heads[record.site] = self._head(resource, batch.sites[record.site], observed)
            out += head
            out += b'%d","body":{"stringValue":' % (min(max(record.time_us, 0), LAST_US) * 1000)
            write(record.message or EMPTY_MESSAGE, out, -1)
            out += b"}"
            place = (record.site, record.thread)
            tail = tails.get(place)
            if tail is None:
                tail = tails[place] = self._tail(batch.sites[record.site], batch.threads[record.thread])
            extra: Mapping[str, Any] | None = record.extra
            if extra and "trace_id" in extra:
                ids, extra = _ids(extra)
                out += ids
            out += tail
            if extra:
                for key, value in extra.items():
                    opening = openings.get(key)
                    if opening is None:
                        opening = openings[key] = _opening(key)
                    if type(value) is str:
                        out += opening[1]
                        write(value, out, -1)
                        out += b"}}"
                    else:
                        out += opening[0]
                        write(any_value(value), out, -1)
                        out += b"}"
            if record.nested or record.exception is not None:
                for attribute in _rare(record, extra or {}):
                    out += b","
                    write(attribute, out, -1)
            out += _END
        data = bytes(out)
        if data.isascii() and b"\x7f" not in data:
            return data
        return b"".join([_safe(line) for line in lines(data)])

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The line with the attribute ``sample_rate``, a number, behind the others."""
        return line[: -len(_END)] + b"," + _encoder.encode(_attribute("sample_rate", rate)) + _END

    def _resource(self, source: Source) -> dict[str, Any]:
        found: dict[str, Scalar] = {
            "service.name": source.app_name or UNKNOWN_SERVICE,
            "service.instance.id": source.worker,
            "host.name": source.host,
            "process.pid": source.pid,
        }
        return {"attributes": [_attribute(name, value) for name, value in {**found, **self._static}.items()]}

    def _head(self, resource: bytes, site: Site, observed: int) -> bytes:
        """From the beginning of the line up to the record's time."""
        scope = _encoder.encode({"name": site.logger})
        record: dict[str, Any] = {"observedTimeUnixNano": str(observed)}
        if number := severity_number(site.level_no):
            record["severityNumber"] = number
        record["severityText"] = level_name(site)
        return b"[" + resource + b"\t," + scope + b"\t," + _encoder.encode(record)[:-1] + b',"timeUnixNano":"'

    def _tail(self, site: Site, thread: str) -> bytes:
        """From the end of the body up to the attributes that the record alone has."""
        own: dict[str, Scalar] = {
            "code.function.name": ".".join(filter(None, (site.module, site.function))),
            "code.line.number": site.line,
            "thread.name": thread,
            "component": site.component,
        }
        if STANDARD_LEVELS.get(site.level_name) != site.level_no:
            own["level_no"] = site.level_no
        return b',"attributes":' + _encoder.encode([_attribute(name, value) for name, value in own.items()])[:-1]


def make_otlp(static: Mapping[str, Scalar] | None = None) -> Formatter:
    """Lines of an OTLP request; the same object for equal arguments.

    ``static`` are attributes of the resource. Raises ConfigurationError, each problem under ``static_fields.KEY``.
    """
    static = dict(static or {})
    typed = tuple((key, type(value), value) for key, value in static.items())
    return shared((OtlpFormat.name, typed), lambda: OtlpFormat(static))


def severity_number(level_no: int) -> int:
    """The SeverityNumber of a level, 1 to 24; 0, not specified, for NOTSET and below.

    From DEBUG on each range of ten levels is one range of four numbers, whose first three are the first three levels
    and whose fourth the others (``std_to_otel`` of OpenTelemetry's SDK for Python). Below, loguru's TRACE (5) begins
    the range of that name.
    """
    if level_no < 10:
        return 0 if level_no <= 0 else 1 + min(max(level_no - 5, 0), 3)
    if level_no >= 60:
        return 24
    return 1 + level_no // 10 * 4 + min(level_no % 10, 3)


def any_value(value: Any) -> dict[str, Any]:
    """A value of a record as an AnyValue, by the specification's "Mapping Arbitrary Data to OTLP AnyValue"."""
    kind = type(value)
    if kind is str:
        return {"stringValue": value}
    if kind is bool:
        return {"boolValue": value}
    if kind is int:
        # A text for what 64 bits with a sign don't hold, as the mapping has it.
        return {"intValue" if -(2**63) <= value < 2**63 else "stringValue": str(value)}
    if kind is float:
        return {"doubleValue": value}
    if kind is list:
        return {"arrayValue": {"values": [any_value(inner) for inner in value]}}
    if kind is dict:
        return {"kvlistValue": {"values": [_attribute(key, inner) for key, inner in value.items()]}}
    return {}


def stacktrace(raised: Raised) -> str:
    """An exception and all that hang on it as a text, in the order in which Python prints them."""
    return "\n".join(_printed(raised, ""))


def _printed(raised: Raised, margin: str) -> Iterator[str]:
    for before, how in (
        (raised.cause, "The above exception was the direct cause of the following exception:"),
        (raised.context, "During handling of the above exception, another exception occurred:"),
    ):
        if before is not None:
            yield from _printed(before, margin)
            yield from (margin, f"{margin}{how}", margin)
    if raised.traceback:
        yield f"{margin}Traceback (most recent call last):"
        yield from (f"{margin}  {frame}" for frame in raised.traceback)
    yield f"{margin}{raised.type}: {raised.message}" if raised.message else f"{margin}{raised.type}"
    for number, member in enumerate(raised.members, 1):
        yield f"{margin}  +---------------- {number} ----------------"
        yield from _printed(member, f"{margin}  | ")


def _rare(record: Record, scalars: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The attributes that few records have: nested fields, an exception. ``scalars`` are those that it has already."""
    taken = set(map(_named, scalars)) if record.nested else set()
    for key, value in (record.nested or {}).items():
        name = _named(key)
        while name in taken:  # a foreign producer may call two fields alike
            name = f"extra.{name}"
        taken.add(name)
        yield _attribute(name, value)
    raised = record.exception
    if raised is not None:
        yield _attribute("exception.type", raised.type)
        yield _attribute("exception.message", raised.message)
        yield _attribute("exception.stacktrace", stacktrace(raised))


def _ids(extra: Mapping[str, Any]) -> tuple[bytes, Mapping[str, Any]]:
    """The ids as fields of the record, and the extra fields that are left. A span without a trace is none."""
    trace, span = extra["trace_id"], extra.get("span_id")
    if type(trace) is not str or not _TRACE_ID.match(trace):
        return b"", extra
    left = {"trace_id"}
    ids = f',"traceId":"{trace.lower()}"'
    if type(span) is str and _SPAN_ID.match(span):
        left.add("span_id")
        ids += f',"spanId":"{span.lower()}"'
    return ids.encode(), {key: value for key, value in extra.items() if key not in left}


def _named(key: str) -> str:
    """The attribute of an extra field: its name, or one of which no attribute of a record's own is a part."""
    name = key
    while name.startswith("extra."):
        name = name[6:]
    return f"extra.{key}" if name in _OWN else key


def _opening(key: str) -> tuple[bytes, bytes]:
    opening = b',{"key":' + _encoder.encode(_named(key)) + b',"value":'
    return opening, opening + b'{"stringValue":'


def _attribute(key: str, value: Any) -> dict[str, Any]:
    return {"key": key, "value": any_value(value)}


def _safe(line: bytes) -> bytes:
    """The line with what never passes raw as escapes, but for the tabs that part it."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return b"[" + b"\t,".join([safe_lines(part + b"\n")[:-1] for part in line[1:-2].split(b"\t,")]) + b"]\n"
