from __future__ import annotations

import json
from typing import Any

import pytest

from logbus.collectors.format import JsonFormat, LogfmtFormat, lines
from logbus.collectors.format.loki import make_loki
from logbus.collectors.format.otlp import OtlpFormat
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.sinks.http.bodies import BODIES
from tests.bodies import exported, pushed
from tests.property.batches import batch_of, payload_of


def _payload(*levels: str, worker: str = "worker-1", logger: str = "app.db") -> list[Any]:
    """A record for each of the levels, its message its number."""
    payload = payload_of(*[[at, at, 0, str(at), None, None, None] for at in range(len(levels))])
    payload[0][2] = worker
    payload[1] = [[logger, 20, level, "db", "query", 7, "app"] for level in levels]
    return payload


def test_bodies_say_what_they_are() -> None:
    """Each form has the media type that servers know it by."""
    assert {name: (body.name, body.content_type) for name, body in BODIES.items()} == {
        "ndjson": ("ndjson", "application/x-ndjson"),
        "json": ("json", "application/json"),
        "loki": ("loki", "application/json"),
        "otlp": ("otlp", "application/json"),
    }


def test_lines_of_any_format_go_as_they_are() -> None:
    """NDJSON is the lines, whatever they are."""
    data = LogfmtFormat().encode(batch_of(_payload("INFO", "INFO")))
    assert BODIES["ndjson"].assemble(data) == data


@pytest.mark.parametrize("count", [1, 3])
def test_an_array_has_a_line_for_each_element(count: int) -> None:
    """Lines of JSON become one array, in order, texts with newlines and commas whole."""
    records = [[at, 0, 0, f"{at}\n,\n", {"n": [None]} if at else None, None, None] for at in range(count)]
    payload = payload_of(*[[*record[:4], None, record[4], None] for record in records])
    data = JsonFormat().encode(batch_of(payload))
    assert json.loads(BODIES["json"].assemble(data)) == [json.loads(line) for line in lines(data)]


def test_a_push_has_a_stream_for_each_set_of_labels() -> None:
    """Records of one stream stand together in their order, streams in the order of their first records."""
    data = make_loki("text").encode(batch_of(_payload("INFO", "ERROR", "INFO", "DEBUG", "ERROR")))
    found = [(labels["level"], time) for labels, time, _ in pushed(BODIES["loki"].assemble(data))]
    assert found == [("INFO", 0), ("INFO", 2000), ("ERROR", 1000), ("ERROR", 4000), ("DEBUG", 3000)]


def test_a_push_in_full() -> None:
    """A push is what the API's description shows."""
    data = make_loki(f"{__name__}:short", {"job": "a"}).encode(batch_of(_payload("INFO", "INFO")))
    assert BODIES["loki"].assemble(data) == (
        b'{"streams":[{"stream":{"job":"a"},"values":[["0","line 0"],["1000","line 1"]]}]}'
    )


def short(record: dict[str, Any]) -> str:
    """A format: the message."""
    return f"line {record['message']}"


def test_an_export_has_each_resource_and_each_scope_once() -> None:
    """Records are under the scope of their logger in the resource of their process, in their order."""
    form = OtlpFormat(now=lambda: 1)
    data = b"".join(
        form.encode(batch_of(_payload(*levels, worker=worker, logger=logger)))
        for levels, worker, logger in (
            (["INFO", "ERROR"], "a", "x"),
            (["INFO"], "b", "x"),
            (["DEBUG"], "a", "y"),
            (["WARNING"], "a", "x"),
        )
    )
    body = BODIES["otlp"].assemble(data)
    assert [(where["service.instance.id"], scope, one.severity_text) for where, scope, one in exported(body)] == [
        ("a", "x", "INFO"),
        ("a", "x", "ERROR"),
        ("a", "x", "WARNING"),
        ("a", "y", "DEBUG"),
        ("b", "x", "INFO"),
    ]
    assert [len(logs["scopeLogs"]) for logs in json.loads(body)["resourceLogs"]] == [2, 1]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"{}", (0, "")),
        (b"", (0, "")),
        (b'{"partialSuccess":{}}', (0, "")),
        (b'{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}', (3, "too old")),
        (b'{"partialSuccess":{"rejectedLogRecords":3}}', (3, "the server gives no reason")),
        (b'{"partialSuccess":{"errorMessage":"be careful"}}', (0, "be careful")),
        (b'{"partialSuccess":{"rejectedLogRecords":"-1","errorMessage":"a\\u001b\\nb"}}', (0, "a\\u001b\\u000ab")),
        (b'{"partialSuccess":{"rejectedLogRecords":true,"errorMessage":5}}', (0, "")),
        (b'{"partialSuccess":{"rejectedLogRecords":"many"}}', (0, "")),
        (b'{"partialSuccess":{"rejectedLogRecords":1.5}}', (0, "")),
        (b'{"partialSuccess":{"rejectedLogRecords":"' + b"9" * 1000 + b'"}}', (0, "")),
        (b'{"partialSuccess":null}', (0, "")),
        (b'{"partialSuccess":[]}', (0, "")),
        (b"[]", (0, "")),
        (b"<html>", (0, "")),
        (b"\xff", (0, "")),
        (b"[" * 60_000, (0, "")),
        (b'{"partialSuccess":{"rejectedLogRec', (0, "")),
    ],
)
def test_what_an_answer_says_of_records_left_out(answer: bytes, found: tuple[int, str]) -> None:
    """A partial success has its number and its reason; an answer that says nothing, or anything else, has none."""
    assert BODIES["otlp"].rejected(answer) == found


@pytest.mark.parametrize("name", ["ndjson", "json", "loki"])
def test_other_answers_say_nothing(name: str) -> None:
    """Only OTLP has a form for what was left out."""
    assert BODIES[name].rejected(b'{"partialSuccess":{"rejectedLogRecords":"3"}}') == (0, "")


@pytest.mark.parametrize("name", ["loki", "otlp"])
def test_what_was_redacted_is_nowhere_in_a_body(name: str) -> None:
    """A body shows a secret neither in its labels nor in an attribute or a stack trace, once redaction has passed."""
    secret = "hunter2-hunter2"
    raised = ["ValueError", f"token={secret}", [f'File "a.py", line 1, in f: password="{secret}"'], None, None, []]
    extra = {"password": secret, "proxy_url": f"http://user:{secret}@h", "trace_id": "t"}
    record = [
        0,
        0,
        0,
        f"Authorization: Bearer {secret}",
        extra,
        {"t": {"token": secret}},
        [*raised[:3], raised, None, []],
    ]
    batch = batch_of(payload_of(record))
    labels = {"password": "{password}", "url": "{proxy_url}", "m": "{message}", "e": "{exception.cause.message}"}
    form = make_loki("json", labels) if name == "loki" else OtlpFormat()
    assert secret.encode() in BODIES[name].assemble(form.encode(batch))
    Redactor().redact(batch)
    body = BODIES[name].assemble(form.encode(batch))
    assert secret.encode() not in body
    assert body.count(b"***") >= 6
