from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
from hypothesis import given, strategies as st

from logbus.collectors.decode import Batch, Raised
from logbus.collectors.format import FORMATS, JsonFormat, lines, make_formatter
from logbus.collectors.format.base import PROMOTED
from logbus.collectors.format.labels import Labels
from logbus.collectors.format.loki import LokiFormat
from logbus.collectors.format.otlp import LAST_US, OtlpFormat, severity_number, stacktrace
from logbus.collectors.sinks.http.bodies import BODIES
from tests.bodies import attributes, exported, pushed
from tests.property.batches import batch_of, payloads
from tests.property.test_format import check_lines

#: Labels of every kind: texts, and fields of the process, the call site, the thread and the record.
LABELS = {"job": "a", "level": "{level}", "w": "{worker}", "t": "{thread_name}", "n": "{n}", "r": "{request_id}"}
NOW = 1_700_000_000_000_000_000


def shown(batch: Batch) -> list[dict[str, Any]]:
    """What the JSON lines of the batch say."""
    return [json.loads(line) for line in lines(JsonFormat().encode(batch))]


def parted(data: bytes, count: int, tabs: int) -> list[bytes]:
    """The lines, each JSON, safe and parted by so many tabs."""
    found = lines(data)
    check_lines(data.replace(b"\t", b""), count)
    assert all(line.count(b"\t") == tabs for line in found)
    assert all(isinstance(json.loads(line), list) for line in found)
    return found


@given(payloads())
def test_arrays_hold_every_batch(payload: list[Any]) -> None:
    """The lines of any batch are the elements of one array."""
    batch = batch_of(payload)
    if batch.records:
        assert json.loads(BODIES["json"].assemble(JsonFormat().encode(batch))) == shown(batch)


@given(payloads(), st.sampled_from(FORMATS))
def test_pushes_hold_every_batch(payload: list[Any], name: str) -> None:
    """Any batch is a push by the API with each line of the inner format under its labels, in order in each stream."""
    batch, inner = batch_of(payload), make_formatter(name)
    data = LokiFormat(inner, Labels(LABELS)).encode(batch)
    parted(data, len(batch.records), 1)
    if not batch.records:
        return
    streams: dict[str, list[str]] = {}
    for labels, _, text in pushed(BODIES["loki"].assemble(data)):
        streams.setdefault(json.dumps(labels, sort_keys=True), []).append(text)
    expected: dict[str, list[str]] = {}
    for one, line in zip(lines(inner.encode(batch)), shown(batch), strict=True):
        extra = line.get("extra", {})
        values = {
            "job": "a",
            "level": line["level"],
            "w": line["worker"],
            "t": line["thread_name"],
            "n": extra.get("n"),
            "r": line.get("request_id", extra.get("request_id")),
        }
        labels = {key: _label(value) for key, value in values.items() if value not in (None, "")}
        expected.setdefault(json.dumps(labels, sort_keys=True), []).append(one[:-1].decode())
    assert streams == expected


@given(payloads())
def test_exports_hold_every_batch(payload: list[Any]) -> None:
    """Any batch is an export by the published schema, from which all that a JSON line says can be read back."""
    batch = batch_of(payload)
    data = OtlpFormat(now=lambda: NOW).encode(batch)
    found = parted(data, len(batch.records), 2)
    for one, record, line in zip(found, batch.records, shown(batch), strict=True):
        [(resource, scope, log)] = exported(BODIES["otlp"].assemble(one))
        site = batch.sites[record.site]
        assert resource == {
            "service.name": line["app_name"] or "unknown_service",
            "service.instance.id": line["worker"],
            "host.name": line["host"],
            "process.pid": line["process_id"],
        }
        assert (scope, log.body.string_value, log.severity_text) == (line["logger"], line["message"], line["level"])
        assert log.severity_number == severity_number(site.level_no)
        assert log.time_unix_nano == min(max(record.time_us, 0), LAST_US) * 1000
        attached = attributes(log.attributes)
        own = {
            "code.function.name": ".".join(filter(None, [line["module"], line["function"]])),
            "code.line.number": line["line"],
            "thread.name": line["thread_name"],
            "component": line["component"],
        }
        if "level_no" in line:
            own["level_no"] = line["level_no"]
        if record.exception is not None:
            own["exception.type"] = line["exception"]["type"]
            own["exception.message"] = line["exception"]["message"]
            own["exception.stacktrace"] = stacktrace(record.exception)
        assert {key: attached.pop(key) for key in own} == own
        given_values = [*(record.extra or {}).items(), *(record.nested or {}).items()]
        assert Counter(map(_pair, attached.items())) == Counter(map(_pair, given_values))
        for key in {*PROMOTED} & {*line}:
            assert attached[key] == line[key]


@given(payloads())
def test_exports_of_many_lose_nothing(payload: list[Any]) -> None:
    """All lines of a batch in one export are those of the exports of each, however they are grouped."""
    found = lines(OtlpFormat(now=lambda: NOW).encode(batch_of(payload)))
    if found:
        together = exported(BODIES["otlp"].assemble(b"".join(found)))
        alone = [exported(BODIES["otlp"].assemble(line))[0] for line in found]
        assert Counter(map(repr, together)) == Counter(map(repr, alone))


@given(payloads())
def test_stack_traces_say_all(payload: list[Any]) -> None:
    """Every type, message and frame of an exception, and of all that hang on it, stands in its stack trace."""

    def check(raised: Raised, text: str) -> None:
        assert raised.type in text
        assert raised.message in text
        assert all(frame in text for frame in raised.traceback)
        for inner in [raised.cause, raised.context, *raised.members]:
            if inner is not None:
                check(inner, text)

    for record in batch_of(payload).records:
        if record.exception is not None:
            check(record.exception, stacktrace(record.exception))


def _label(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _pair(item: tuple[str, Any]) -> str:
    """A field by its last name and its value, whatever it had to be called."""
    key, value = item
    while key.startswith("extra."):
        key = key.removeprefix("extra.")
    return f"{key} {json.dumps(value, sort_keys=True)}"
