"""Sinks that send to others, as configuration says it: each option, each mistake by its key, and no secret anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.configuration.read import load
from logbus.collectors.configuration.settings import HttpSink, PluginSink, SyslogSink
from tests.refused import Write, json_writer, problems

pytestmark = pytest.mark.usefixtures("working_directory")

HTTP = {"type": "http", "url": "https://logs.example.com/ingest"}
SYSLOG = {"type": "syslog", "address": "tls://logs.example.com"}
THEIRS = {"type": "tests.plugin_sinks:Kept"}
LOKI = {**HTTP, "body": "loki"}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a configuration file as JSON, and gives its path."""
    return json_writer(tmp_path)


def of_sink(write: Write, sink: dict[str, Any]) -> list[str]:
    """What is wrong with a sink, each line without its path."""
    found = problems(write({"sinks": [sink]}))
    assert all(line.startswith("sinks[0].") for line in found), found
    return [line.removeprefix("sinks[0].") for line in found]


def test_every_option_of_http_is_read(write: Write, tmp_path: Path) -> None:
    """Each arrives in its shortest words, and secrets as they were written."""
    table = {
        **HTTP,
        "method": "PUT",
        "body": "json",
        "compression": "zstd",
        "headers": {"X-Key": "a ${KEY}", "X-Dollars": "$${KEY} $5"},
        "auth": {"username": "me", "password": "${PASSWORD}"},
        "tls": {"ca": "ca.pem", "certificate": "/c.pem", "key": "~/c.key"},
        "timeout": "60000 ms",
        "batch": {"max_records": 10, "max_bytes": "1024 KiB", "max_delay": "0 s"},
        "retry": {"initial": "1000 ms", "max_interval": "1 min", "max_elapsed": "60 min", "statuses": [429, 503]},
        "queue": {"max_bytes": "4096 KiB", "on_full": "drop_oldest"},
    }
    (sink,) = load(write({"sinks": [table]}), {}, {}).sinks
    assert isinstance(sink, HttpSink)
    assert (sink.name, sink.method, sink.body, sink.format, sink.compression) == ("http", "PUT", "json", "json", "zstd")
    assert sink.headers == {"X-Key": "a ${KEY}", "X-Dollars": "$${KEY} $5"}
    assert sink.auth is not None
    assert (sink.auth.username, sink.auth.password, sink.auth.bearer) == ("me", "${PASSWORD}", None)
    assert sink.tls is not None
    assert (sink.tls.ca, sink.tls.certificate) == (tmp_path / "ca.pem", Path("/c.pem"))
    assert (sink.timeout, sink.batch.max_bytes, sink.batch.max_delay) == ("1 min", "1 MiB", "0 s")
    assert (sink.retry.initial, sink.retry.max_elapsed, sink.retry.statuses) == ("1 s", "1 hour", (429, 503))
    assert (sink.queue.max_bytes, sink.queue.on_full, sink.spool) == ("4 MiB", "drop_oldest", None)


def test_what_http_is_without_more(write: Write) -> None:
    """NDJSON of JSON lines by POST; with labels for Loki, and without a format for OTLP."""
    sinks = load(write({"sinks": [HTTP, LOKI, {**HTTP, "body": "otlp"}]}), {}, {}).sinks
    plain, loki, otlp = [sink for sink in sinks if isinstance(sink, HttpSink)]
    assert (plain.method, plain.body, plain.format, plain.labels) == ("POST", "ndjson", "json", {})
    assert (plain.timeout, plain.batch.max_records, plain.retry.max_elapsed, plain.spool) == ("30 s", 500, None, None)
    assert (loki.name, loki.labels) == ("http-2", {"job": "logbus", "level": "{level}"})
    assert (otlp.name, otlp.format, otlp.labels) == ("http-3", None, {})


@pytest.mark.parametrize(
    ("address", "given", "protocol", "size"),
    [
        ("/dev/log", {}, "rfc3164", "8096 B"),
        ("udp://h", {}, "rfc5424", "2 KiB"),
        ("udp://h", {"protocol": "rfc3164"}, "rfc3164", "1 KiB"),
        ("tls://h", {"max_message": "65536 B"}, "rfc5424", "64 KiB"),
        ("unix:///run/x", {"protocol": "rfc5424"}, "rfc5424", "8096 B"),
    ],
)
def test_what_syslog_is_depends_on_its_address(
    write: Write, address: str, given: dict[str, str], protocol: str, size: str
) -> None:
    """What a daemon's socket and a server expect, unless somebody says otherwise."""
    (sink,) = load(write({"sinks": [{"type": "syslog", "address": address, **given}]}), {}, {}).sinks
    assert isinstance(sink, SyslogSink)
    assert (sink.protocol, sink.max_message, sink.facility, sink.format) == (protocol, size, "user", None)


@pytest.mark.parametrize("facility", ["local0", "LOCAL0", 16, "16"])
def test_a_facility_has_one_name(write: Write, facility: object) -> None:
    """However it was written."""
    (sink,) = load(write({"sinks": [{**SYSLOG, "facility": facility}]}), {}, {}).sinks
    assert isinstance(sink, SyslogSink)
    assert sink.facility == "local0"


def test_a_sink_of_somebody_else_is_read(write: Write) -> None:
    """With its options as they are, and a name that is made from its place."""
    options = {"path": "${HOME}/x", "fails": ""}
    sinks = load(write({"sinks": [{**THEIRS, "options": options}, THEIRS, {"type": "tests.plugin_sinks:make"}]})).sinks
    assert [sink.name for sink in sinks] == ["Kept", "Kept-2", "make"]
    first = sinks[0]
    assert isinstance(first, PluginSink)
    assert first.options == options
    assert (first.format, first.batch.max_records, first.queue.on_full) == ("json", 500, "shed_lowest")


@pytest.mark.parametrize(
    ("sink", "line"),
    [
        ({**HTTP, "url": "ftp://h"}, "url: expected one that begins with http:// or https://"),
        ({**HTTP, "url": "https://u:hunter2@h"}, "url: expected one without credentials"),
        (
            {**HTTP, "url": "https://h/${TOKEN}"},
            "url: expected a URL without ${NAME}: variables stand in headers and auth",
        ),
        ({**HTTP, "url": 5}, 'url: expected a URL, like "https://logs.example.com/ingest", found 5'),
        ({"type": "http"}, 'url: missing; expected a URL, like "https://logs.example.com/ingest"'),
        ({**HTTP, "method": "GET"}, 'method: expected "POST" or "PUT", found "GET"'),
        ({**HTTP, "body": "xml"}, 'body: expected "ndjson", "json", "loki" or "otlp", found "xml"'),
        ({**HTTP, "body": "json", "format": "text"}, 'format: expected "json": an array has JSON in it'),
        ({**HTTP, "body": "otlp", "format": "json"}, 'format: expected none beside body = "otlp"'),
        (
            {**HTTP, "body": "otlp", "rename_fields": {"level": "l"}},
            'rename_fields: expected none beside body = "otlp"',
        ),
        ({**HTTP, "labels": {"a": "b"}}, 'labels: expected body = "loki" beside them, found "ndjson"'),
        ({**LOKI, "labels": {}}, 'labels: expected one at least beside body = "loki", found none'),
        ({**LOKI, "labels": {"1a": "b"}}, "labels.1a: expected a name of letters"),
        ({**LOKI, "labels": {"a": "b{level}"}}, 'labels.a: expected a text without braces, or "{FIELD}" alone'),
        ({**LOKI, "labels": {f"a{n}": "b" for n in range(16)}}, "labels: expected a table of 1 to 15 texts"),
        ({**HTTP, "compression": "br"}, 'compression: expected "gzip" or "zstd", found "br"'),
        ({**HTTP, "headers": {"Content-Length": "5"}}, "headers.Content-Length: this header is set by the sink"),
        ({**HTTP, "headers": {"A B": "x"}}, 'headers."A B": expected a header\'s name'),
        ({**HTTP, "headers": {"A": "x\r\nB: y"}}, "headers.A: expected visible ASCII characters"),
        ({**HTTP, "headers": {"A": "${}"}}, "headers.A: expected ${NAME}, a variable of the environment, or $${"),
        ({**HTTP, "headers": {"A": 5}}, "headers.A: expected a text of 1 to 8192 characters, in which"),
        ({**HTTP, "headers": {f"A{n}": "x" for n in range(33)}}, "headers: expected a table of at most 32 texts"),
        ({**HTTP, "auth": {}}, "auth: expected username and password, or bearer, found neither"),
        ({**HTTP, "auth": {"username": "a"}}, "auth: expected username and password, or bearer, found username"),
        (
            {**HTTP, "auth": {"username": "a", "password": "b", "bearer": "c"}},
            "auth: expected username and password, or",
        ),
        ({**HTTP, "auth": {"tokn": "a", "bearer": "x"}}, "auth.tokn: unknown key; expected one of username"),
        ({**HTTP, "auth": {"bearer": "two words"}}, "auth.bearer: expected a token of letters, digits and"),
        (
            {**HTTP, "auth": {"username": "a:b", "password": "${P}"}},
            "auth.username and password: expected printable characters, and no colon in the name",
        ),
        ({**HTTP, "auth": {"bearer": ""}}, "auth.bearer: expected a text of 1 to 8192 characters"),
        (
            {**HTTP, "auth": {"bearer": "x"}, "headers": {"AUTHORIZATION": "y"}},
            "headers.AUTHORIZATION: expected no auth beside it, which is the same header",
        ),
        ({**HTTP, "url": "http://h", "tls": {"ca": "/c"}}, "tls: expected url to begin with https:// beside it"),
        ({**SYSLOG, "address": "udp://h", "tls": {"ca": "/c"}}, "tls: expected address to begin with tls:// beside it"),
        ({**HTTP, "tls": {"certificate": "/c"}}, "tls.certificate: expected key beside it"),
        ({**SYSLOG, "tls": {"key": "/k"}}, "tls.key: expected certificate beside it, found none"),
        ({**HTTP, "tls": {"verify": False}}, "tls.verify: unknown key; expected one of ca, certificate, key"),
        (
            {**HTTP, "timeout": "1 day"},
            'timeout: expected a duration from 100 ms to 10 min, like "30 s", found "1 day"',
        ),
        ({**HTTP, "timeout": 30}, "timeout: expected a duration from 100 ms to 10 min"),
        ({**HTTP, "batch": {"max_records": 0}}, "batch.max_records: expected an integer from 1 to 100000, found 0"),
        ({**HTTP, "batch": {"max_records": True}}, "batch.max_records: expected an integer from 1 to 100000"),
        ({**HTTP, "batch": {"max_delay": "2 min"}}, "batch.max_delay: expected a duration from 0 s to 1 min"),
        (
            {**HTTP, "batch": {"max_bytes": "9 MiB"}},
            "batch.max_bytes: expected no more than the 8 MiB of queue.max_bytes",
        ),
        (
            {**HTTP, "queue": {"max_bytes": "64 KiB"}},
            "queue.max_bytes: expected room for a batch, 1 MiB unless batch.max",
        ),
        (
            {**HTTP, "retry": {"initial": "1 min"}},
            'retry.initial: expected at most retry.max_interval (30 s), found "1',
        ),
        (
            {**HTTP, "retry": {"initial": "1 min", "max_interval": "1 s"}},
            "retry.max_interval: expected at least retry.initial (1 min)",
        ),
        ({**HTTP, "retry": {"max_elapsed": "0 s"}}, "retry.max_elapsed: expected a duration from 1 s to 30 days"),
        (
            {**HTTP, "retry": {"statuses": []}},
            "retry.statuses: expected a list of at most 64 items, each a status from",
        ),
        ({**HTTP, "retry": {"statuses": [200]}}, "retry.statuses[0]: expected a status from 400 to 599, found 200"),
        ({**SYSLOG, "retry": {"statuses": [429]}}, "retry.statuses: unknown key; expected one of initial"),
        ({**HTTP, "spool": "1 MB"}, 'spool: expected a size from 1 MiB to 100 GB, like "256 MiB", found "1 MB"'),
        (
            {**HTTP, "spool": "1 MiB", "queue": {"on_full": "block"}},
            'queue.on_full: expected "shed_lowest", or no spool beside it',
        ),
        ({**SYSLOG, "batch": {}}, 'batch: unknown key here; a sink of type "http" has it, or one that is installed'),
        ({**SYSLOG, "address": "localhost:514"}, 'address: expected "/dev/log"'),
        ({"type": "syslog"}, 'address: missing; expected "/dev/log"'),
        ({**SYSLOG, "facility": "locl0"}, "facility: expected one of kern"),
        ({**SYSLOG, "facility": 24}, "facility: expected one of kern"),
        ({**SYSLOG, "facility": True}, "facility: expected one of kern"),
        ({**SYSLOG, "protocol": "rfc5425"}, 'protocol: expected "rfc5424" or "rfc3164", found "rfc5425"'),
        ({**SYSLOG, "app_name": "a b"}, "app_name: expected 1 to 48 printable ASCII characters"),
        ({**SYSLOG, "max_message": "100 B"}, "max_message: expected a size from 480 B"),
        (
            {**SYSLOG, "address": "udp://h", "max_message": "64 KiB"},
            "max_message: expected at most 65507 B, which is what",
        ),
        ({**SYSLOG, "format": "xml"}, "format: expected one of json, logfmt, text"),
        (
            {"type": "no_such.module:Name"},
            'type: expected a sink that can be loaded, found "no_such.module:Name": Module',
        ),
        ({"type": "tests.plugin_sinks:Mute"}, "type: expected a class with a method write, found "),
        ({"type": "tests.plugin_sinks:CALLS"}, "type: expected a class with a method write, or a function that makes"),
        ({"type": "a:b:c"}, 'type: expected "package.module:Name", found "a:b:c"'),
        (
            {**THEIRS, "options": {"pth": "x"}},
            'options: expected the arguments "path, fails": TypeError: got an unexpected',
        ),
        ({**THEIRS, "options": {"a b": "x"}}, 'options."a b": expected the name of an argument'),
        ({**THEIRS, "options": {"path": ["x", "${"]}}, "options.path[1]: expected ${NAME}"),
        (
            {**THEIRS, "options": "x"},
            "options: expected a table of at most 64 values, each under the name of an argument",
        ),
    ],
    ids=lambda value: json.dumps(value)[:70] if isinstance(value, dict) else "",
)
def test_a_mistake_is_one_line_that_names_its_key(write: Write, sink: dict[str, Any], line: str) -> None:
    """Key path, what would be right, and what was found."""
    (found,) = of_sink(write, sink)
    assert found.startswith(line)


def test_everything_wrong_with_a_sink_comes_at_once(write: Write) -> None:
    """Models and what keys have against one another, in one go."""
    sink = {
        "type": "http",
        "method": "GET",
        "headers": {"Host": "x", "A": "${"},
        "auth": {"username": 5},
        "tls": {"key": "/k"},
        "retry": {"initial": "banana"},
        "batch": {"max_bytes": "9 MiB"},
        "labels": {"a": "b"},
        "spol": "1 MiB",
    }
    found = [line.partition(": ")[0] for line in of_sink(write, sink)]
    assert sorted(found) == sorted(
        "method headers.A auth auth.username tls.key retry.initial batch.max_bytes labels spol url".split()
    )


def test_two_sinks_may_send_to_one_server(write: Write) -> None:
    """Errors in one form and everything in another; their names tell them apart."""
    sinks = load(write({"sinks": [HTTP, {**HTTP, "level": "ERROR"}, SYSLOG, SYSLOG]}), {}, {}).sinks
    assert [sink.name for sink in sinks] == ["http", "http-2", "syslog", "syslog-2"]


def test_no_secret_is_shown_of_what_is_wrong(write: Write) -> None:
    """Not of a header, of credentials, of options or of a query, whatever is wrong with them."""
    secrets = [
        {**HTTP, "url": "https://me:hunter2@h/?key=hunter2"},
        {**HTTP, "url": "ftp://h/?key=hunter2"},
        {**HTTP, "headers": "hunter2", "auth": "hunter2"},
        {**HTTP, "headers": {"X-Insert-Key": "hunter2\n"}, "auth": {"username": "hunter2", "hunter": "hunter2"}},
        {**HTTP, "headers": {"X-Insert-Key": ["hunter2"]}, "auth": {"bearer": {"hunter2": 1}}},
        {**HTTP, "auth": {"bearer": "hunter2\n"}},
        {**HTTP, "auth": {"username": "hunter2:", "password": "hunter2\n"}},
        {**THEIRS, "options": "hunter2"},
        {**THEIRS, "options": {"token": "hunter2${", "nope": "hunter2"}},
    ]
    found = problems(write({"sinks": secrets}))
    assert len(found) >= len(secrets)
    assert "hunter2" not in "\n".join(found)


def test_no_secret_of_an_option_is_shown() -> None:
    """An option is repeated in the lines about it, without what it says under any key of a table of secrets."""
    spec = "http:https://h/in?key=hunter2,headers.X-Insert-Key=hunter2,hunter2,auth.bearer=hunter2,level=LOUD"
    found = problems(None, {"sinks": [spec]})
    assert "hunter2" not in "\n".join(found)
    assert found[0].startswith("--sink http:https://h/in?***,headers.X-Insert-Key=***,***,auth.bearer=***,level=LOUD: ")
    [line] = problems(None, {"sinks": ["http:https://h/in/ZaVnC4dhaV1hunter2hunter2,level=LOUD"]})
    assert line.startswith("--sink http:https://h/in/***,level=LOUD: ")


def test_a_queue_of_syslog_may_be_small(write: Write) -> None:
    """It has no batches that would not fit."""
    (sink,) = load(write({"sinks": [{**SYSLOG, "queue": {"max_bytes": "64 KiB"}}]}), {}, {}).sinks
    assert sink.queue.max_bytes == "64 KiB"


def test_a_queue_is_for_every_sink(write: Write) -> None:
    """A file has the receiver wait and a console drops what comes, unless they are told otherwise."""
    sinks = [
        {"type": "file", "path": "x"},
        {"type": "console"},
        {"type": "file", "path": "y", "queue": {"on_full": "shed_lowest", "max_bytes": "1 MiB"}},
    ]
    found = load(write({"sinks": sinks}), {}, {}).sinks
    assert [(sink.queue.on_full, sink.queue.max_bytes) for sink in found] == [
        ("block", "4 MiB"),
        ("drop_newest", "8 MiB"),
        ("shed_lowest", "1 MiB"),
    ]


def test_a_sink_in_one_word_has_its_tables() -> None:
    """Addresses and URLs with their colons, keys of tables behind dots, lists with a plus."""
    specs = [
        "syslog:udp://127.0.0.1:514,facility=16,queue.on_full=drop_newest,retry.initial=1 s",
        "http:https://h:8443/a?b=c,headers.X.Y=Bearer ${T},batch.max_records=5,retry.statuses=429+503,tls.ca=/c",
        "tests.plugin_sinks:Kept,options.path=${HOME},level=ERROR",
    ]
    syslog, http, theirs = load(None, {"sinks": specs}, {}).sinks
    assert isinstance(syslog, SyslogSink)
    assert (syslog.address, syslog.facility, syslog.queue.on_full) == ("udp://127.0.0.1:514", "local0", "drop_newest")
    assert isinstance(http, HttpSink)
    assert (http.url, http.headers, http.batch.max_records) == ("https://h:8443/a?b=c", {"X.Y": "Bearer ${T}"}, 5)
    assert http.retry.statuses == (429, 503)
    assert isinstance(theirs, PluginSink)
    assert (theirs.options, theirs.level) == ({"path": "${HOME}"}, 40)


def test_the_example_of_the_contract_is_right(tmp_path: Path) -> None:
    """The sinks of the public surface, as they stand there."""
    path = tmp_path / "contract.toml"
    path.write_text(
        """
        [[sinks]]
        type = "syslog"
        address = "/dev/log"
        facility = "local0"
        protocol = "rfc5424"

        [[sinks]]
        type = "http"
        url = "https://logs.example.com/ingest"
        headers = { Authorization = "Bearer ${LOG_TOKEN}" }
        batch = { max_records = 500, max_bytes = "1 MiB", max_delay = "1 s" }
        retry = { max_elapsed = "10 min", initial = "500 ms", max_interval = "30 s" }
        spool = "256 MiB"
        """
    )
    syslog, http = load(path, {}, {}).sinks
    assert isinstance(syslog, SyslogSink)
    assert isinstance(http, HttpSink)
    assert (syslog.protocol, http.retry.max_elapsed, http.spool) == ("rfc5424", "10 min", "256 MiB")
