"""From settings to sinks that send to others: what each is made of, and by what a reload knows it again."""

from __future__ import annotations

import json
import subprocess
import sys
from math import inf
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.configuration.settings import Settings
from logbus.collectors.destinations import destinations, slot_of
from logbus.collectors.plan import Start, plan
from logbus.collectors.remotes import BREAKER_FAILURES
from logbus.collectors.route import Destination
from logbus.collectors.sinks.http.sink import HttpSink
from logbus.collectors.sinks.plugin import PluginSink
from logbus.collectors.sinks.syslog.sink import SyslogSink
from logbus.collectors.writing.terms import Terms
from logbus.errors import ConfigurationError
from tests.collector_command import child_environment
from tests.plugin_sinks import CALLS
from tests.unit.test_destinations import a_batch

HTTP = {"type": "http", "url": "https://h/in"}
SYSLOG = {"type": "syslog", "address": "udp://h"}
THEIRS = {"type": "tests.plugin_sinks:Kept"}


def settings_of(*sinks: dict[str, Any], **more: Any) -> Settings:
    """Settings with these sinks, each with a name."""
    return Settings.model_validate({"sinks": [{"name": f"s{at}", **sink} for at, sink in enumerate(sinks)], **more})


def made(sink: dict[str, Any], state: Path, **environ: str) -> Destination:
    """The destination that a sink becomes."""
    [found] = destinations(settings_of(sink), state, environ=environ)
    return found


def test_http_is_made_as_it_is_told(tmp_path: Path) -> None:
    """Its batches and retries are terms; the form of its lines has a name."""
    found = made(
        {
            **HTTP,
            "batch": {"max_records": 7, "max_bytes": "2 MiB", "max_delay": "3 s"},
            "retry": {"initial": "2 s", "max_interval": "1 min", "max_elapsed": "1 hour"},
            "queue": {"max_bytes": "4 MiB", "on_full": "drop_oldest"},
        },
        tmp_path,
    )
    assert isinstance(found.sink, HttpSink)
    assert found.terms == Terms(
        max_records=7,
        max_bytes=2 << 20,
        max_delay_s=3.0,
        queue_bytes=4 << 20,
        on_full="drop_oldest",
        initial_s=2.0,
        max_interval_s=60.0,
        max_elapsed_s=3600.0,
        jitter=True,
        breaker_failures=BREAKER_FAILURES,
        dialect="http ndjson json",
    )
    assert found.formatter is made({"type": "console", "format": "json"}, tmp_path).formatter
    assert not [*tmp_path.iterdir()]


def test_a_spool_is_the_policy_where_there_is_one(tmp_path: Path) -> None:
    """What has no room goes there."""
    terms = made({**HTTP, "spool": "2 MiB"}, tmp_path).terms
    assert (terms.on_full, terms.spool_bytes, terms.max_elapsed_s) == ("spool", 2 << 20, inf)


@pytest.mark.parametrize(
    ("sink", "dialect"),
    [
        ({**HTTP, "format": "logfmt"}, "http ndjson logfmt"),
        ({**HTTP, "body": "json"}, "http json json"),
        ({**HTTP, "body": "loki", "format": "text"}, "http loki"),
        ({**HTTP, "body": "otlp"}, "http otlp"),
        (SYSLOG, "syslog rfc5424"),
        ({**SYSLOG, "protocol": "rfc3164"}, "syslog rfc3164"),
        ({**SYSLOG, "address": "/dev/log"}, "syslog rfc3164 local"),
        ({**THEIRS, "format": "logfmt"}, "lines logfmt"),
    ],
)
def test_the_form_of_the_lines_has_a_name(tmp_path: Path, sink: dict[str, Any], dialect: str) -> None:
    """So that a spool of lines of another form is not sent."""
    assert made(sink, tmp_path).terms.dialect == dialect


def test_lines_have_the_form_of_the_body(tmp_path: Path) -> None:
    """With the labels, the fields and the names of the sink; what is secret in any of them is masked."""
    batch = a_batch(1)
    more = {"static_fields": {"password": "hunter2"}}
    table = {"job": "x", "of": "{component}", "token": "hunter2"}
    loki = made({**HTTP, "body": "loki", "labels": table, **more}, tmp_path)
    [labels, _, text] = json.loads(loki.formatter.encode(batch).replace(b"\t", b""))
    assert labels == {"job": "x", "of": "rotator", "token": "***"}
    assert json.loads(text)["password"] == "***"
    otlp = made({**HTTP, "body": "otlp", **more}, tmp_path).formatter.encode(batch)
    assert b'"password"' in otlp
    syslog = made({**SYSLOG, "facility": "local7", "app_name": "shop", **more}, tmp_path).formatter.encode(batch)
    assert syslog.startswith(b"<190>1 ")
    assert b" shop " in syslog
    renamed = made({**THEIRS, "rename_fields": {"message": "msg"}, **more}, tmp_path).formatter.encode(batch)
    assert json.loads(renamed)["msg"] == "m0"
    assert b"hunter2" not in otlp + syslog + renamed


def test_variables_have_their_values_in_the_sink_alone(tmp_path: Path) -> None:
    """Of headers, credentials and the options of somebody else's sink."""
    sink = {**HTTP, "headers": {"X-Key": "k-${KEY}"}, "auth": {"username": "u", "password": "${PASSWORD}"}}
    found = made(sink, tmp_path, KEY="1", PASSWORD="pw")
    assert isinstance(found.sink, HttpSink)
    assert found.sink._options.headers == (("X-Key", "k-1"), ("Authorization", "Basic dTpwdw=="))
    assert "pw" not in repr(found)
    bearer = made({**HTTP, "auth": {"bearer": "${T}"}}, tmp_path, T="abc").sink
    assert isinstance(bearer, HttpSink)
    assert bearer._options.headers == (("Authorization", "Bearer abc"),)
    theirs = made({**THEIRS, "options": {"path": "${HOME}/x", "fails": ""}}, tmp_path, HOME="/h").sink
    CALLS.clear()
    theirs.open()
    assert CALLS == [("init", "/h/x")]
    CALLS.clear()


def test_what_variables_lack_is_told_at_once(tmp_path: Path) -> None:
    """Every one that is not set, by its key; and what has become no header by its value, without that."""
    sinks = [
        {**HTTP, "headers": {"X-Key": "${KEY}"}, "auth": {"bearer": "${T}"}},
        {**THEIRS, "options": {"path": "${HOME}", "fails": "${NOT}"}},
        {**HTTP, "headers": {"X-Key": "${BAD}"}, "auth": {"bearer": "${BAD}"}},
        {**HTTP, "auth": {"username": "${BAD}", "password": "x"}},
    ]
    with pytest.raises(ConfigurationError) as caught:
        destinations(settings_of(*sinks), tmp_path, environ={"HOME": "/h", "BAD": "hunter2:\r\n"})
    assert [line.partition(": ")[0] for line in caught.value.problems] == [
        "sinks[0].headers.X-Key",
        "sinks[0].auth.bearer",
        "sinks[1].options.fails",
        "sinks[2].headers.X-Key",
        "sinks[2].auth.bearer",
        "sinks[3].auth.username and password",
    ]
    assert "expected a value of KEY in the environment of the collector, found it unset" in caught.value.problems[0]
    assert "hunter2" not in str(caught.value)


def test_a_syslog_sink_is_made_as_it_is_told(tmp_path: Path) -> None:
    """Equal messages share their encoding."""
    same = {**SYSLOG, "address": "tcp://h:601", "max_message": "2 KiB"}
    [one, other] = destinations(settings_of(SYSLOG, same), tmp_path)
    assert isinstance(one.sink, SyslogSink)
    assert one.formatter is other.formatter
    assert (one.terms.max_delay_s, one.terms.jitter, one.terms.on_full) == (0.0, True, "shed_lowest")


def test_a_plug_in_is_not_made_before_it_is_opened(tmp_path: Path) -> None:
    """A reload makes every destination, and opens those only that are new."""
    CALLS.clear()
    found = made({**THEIRS, "options": {"path": "wrong"}}, tmp_path)
    assert isinstance(found.sink, PluginSink)
    assert found.sink.type == "tests.plugin_sinks:Kept"
    assert CALLS == []


def test_secrets_among_the_options_of_a_plug_in_are_in_none_of_its_words(tmp_path: Path) -> None:
    """Those of the environment, and those that stand in the file under a secret name, at any depth."""
    options = {"path": "a-${S}", "auth": {"password": "s3cret in file", "pins": ["s3cret too"]}, "fails": "abc"}
    found = made({**THEIRS, "type": "tests.plugin_sinks:repeat", "options": options}, tmp_path, S="s3cret-of-env")
    with pytest.raises(ConfigurationError) as caught:
        found.sink.open()
    assert "s3cret" not in str(caught.value)
    assert "abc" in str(caught.value)


def test_a_sink_is_known_by_its_name_and_by_how_it_sends() -> None:
    """What only makes other lines, or fewer, leaves it running; no secret is in what it is known by."""
    same: dict[str, Any] = {
        "level": "ERROR",
        "components": ["x"],
        "where": {"a": 1},
        "sample": {"rate": 0.5},
        "rename_fields": {"level": "l"},
        "static_fields": {"a": 1},
    }
    for sink in (HTTP, SYSLOG, THEIRS):
        [one] = settings_of(sink).sinks
        [other] = settings_of({**sink, **same}).sinks
        assert slot_of(one) == slot_of(other)
    for first, second in (
        ({**SYSLOG, "facility": "local0", "app_name": "x", "max_message": "1 KiB", "format": "json"}, SYSLOG),
        ({**HTTP, "body": "loki", "labels": {"a": "b"}, "format": "logfmt"}, {**HTTP, "body": "loki"}),
    ):
        [one], [other] = settings_of(first).sinks, settings_of(second).sinks
        assert slot_of(one) == slot_of(other)
    others: list[dict[str, Any]] = [
        *({**HTTP, **more} for more in (
            {}, {"url": "https://h/other"}, {"method": "PUT"}, {"body": "json"}, {"format": "logfmt"}, {"name": "x"},
            {"compression": "gzip"}, {"headers": {"A": "s3cret"}}, {"headers": {"A": "b"}}, {"auth": {"bearer": "x"}},
            {"tls": {"ca": "/c"}}, {"timeout": "1 s"}, {"batch": {"max_records": 1}}, {"retry": {"statuses": [429]}},
            {"queue": {"max_bytes": "4 MiB"}}, {"spool": "1 MiB"},
        )),
        *({**SYSLOG, **more} for more in ({}, {"address": "udp://g"}, {"protocol": "rfc3164"}, {"spool": "1 MiB"})),
        *({**THEIRS, **more} for more in ({}, {"options": {"path": "x"}}, {"format": "text"})),
    ]  # fmt: skip
    slots = [slot_of(settings_of(sink).sinks[0]) for sink in others]
    assert len(set(slots)) == len(others)
    assert "s3cret" not in repr(slots)


def test_two_sinks_of_one_address_do_not_wait_for_one_another() -> None:
    """Only a namesake does, for the row; it is opened at once, so that what is wrong with it ends the reload."""
    one, other = settings_of(HTTP, HTTP).sinks
    assert slot_of(one).place != slot_of(other).place
    changed = settings_of({**HTTP, "timeout": "1 s"}).sinks[0]
    assert plan([slot_of(one)], [], [slot_of(changed)]).steps == (Start((0,), at_once=True),)


def test_a_queue_is_a_term_of_every_sink(tmp_path: Path) -> None:
    """A file blocks and a console drops what comes, unless they are told otherwise; another queue is another writer."""
    file, console = {"type": "file", "path": str(tmp_path / "f")}, {"type": "console"}
    queue = {"queue": {"max_bytes": "1 MiB", "on_full": "shed_lowest"}}
    assert made(file, tmp_path).terms == Terms(queue_bytes=4 << 20)
    assert made(console, tmp_path).terms == Terms(on_full="drop_newest")
    for sink in (file, console):
        assert made({**sink, **queue}, tmp_path).terms == Terms(queue_bytes=1 << 20, on_full="shed_lowest")
        assert slot_of(settings_of(sink).sinks[0]) != slot_of(settings_of({**sink, **queue}).sinks[0])


def test_a_collector_of_files_loads_nothing_for_others(unmeasured: None, tmp_path: Path) -> None:
    """Neither what HTTP needs nor TLS: both cost memory and time at the start."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from logbus.collectors import start\n"
        "from logbus.collectors.configuration.read import load\n"
        "from logbus.collectors.destinations import destinations\n"
        "destinations(load(None, {'sinks': ['console', 'file:x']}, {}), Path())\n"
        "print(sorted({'urllib3', 'ssl', 'http.client'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=child_environment(), capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
