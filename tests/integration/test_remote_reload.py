"""Reloads of sinks that send to others: what has changed begins behind the old, and what can't be is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from logbus.bus import Endpoint
from logbus.cli import client
from logbus.errors import ControlError
from tests.collector_command import CollectorCommand, run_logbus
from tests.conftest import StartCollector
from tests.frames import RawSender, data, mark, producer
from tests.integration.watch import settled, sink_of
from tests.servers.faulty_http import FaultyHttp

A = producer(1)

CONFIG = """
[[sinks]]
type = "http"
name = "web"
url = "{url}/in"
components = ["db"]
headers = {{ X-Key = "${{WEB_KEY}}{suffix}" }}
batch = {{ max_records = {records}, max_delay = "20 ms" }}
{more}
"""


def reload(collector: CollectorCommand) -> list[str]:
    """What a reload says has changed."""
    found: list[str] = client.request({"command": "reload"}, control=Endpoint.parse(collector.control), timeout=10)[
        "changes"
    ]
    return found


def test_nothing_is_lost_or_told_twice_between_two_configurations(
    start_collector: StartCollector, start_http: Callable[..., FaultyHttp], tmp_path: Path
) -> None:
    """Other headers, other batches, other fields, in the middle of records: each is there once, in its order."""
    server, config = start_http(), tmp_path / "logbus.toml"
    config.write_text(CONFIG.format(url=server.url, suffix="", records=10, more=""))
    collector = start_collector(env={"WEB_KEY": "hunter2"})
    sent = 0
    expected = [
        ("a", 10, "", ['sink "web": headers.X-Key: "${WEB_KEY}***", was "${WEB_KEY}"']),
        ("a", 7, "", ['sink "web": batch.max_records: 7, was 10']),
        ("a", 7, 'static_fields = { site = "berlin" }', ['sink "web": static_fields.site: "berlin", was not set']),
        ("a", 7, 'static_fields = { site = "berlin" }\nlevel = "INFO"', ['sink "web": level: "INFO", was "NOTSET"']),
    ]
    with RawSender(collector.endpoint) as worker:
        for suffix, records, more, changes in expected:
            worker.send(data(A, sent, *(f"m{n}" for n in range(sent, sent + 50))))
            sent += 50
            config.write_text(CONFIG.format(url=server.url, suffix=suffix, records=records, more=more))
            # The file is watched too: whoever came first has told.
            assert reload(collector) in (changes, [])
        worker.send(mark(A, sent=sent, bye=True))
        status = settled(collector, lambda status: status["total"]["collected"] >= sent)
    row = settled(collector, lambda status: sink_of(status, "web")["delivered"] == sent)["sinks"][0]
    assert (row["duplicated"], row["dropped"], row["state"]) == (0, {}, "ok")
    assert "hunter2" not in json.dumps(status)
    assert collector.stop() == 0
    lines = [json.loads(line) for line in server.lines]
    assert [line["message"] for line in lines] == [f"m{n}" for n in range(sent)]
    assert lines[-1]["site"] == "berlin"
    assert "hunter2" not in collector.stderr


def test_a_sink_that_can_not_be_opened_changes_nothing(
    start_collector: StartCollector, start_http: Callable[..., FaultyHttp], tmp_path: Path
) -> None:
    """A variable that is not set, a certificate that is not there: the old sink goes on, and both are told by key."""
    server, config = start_http(), tmp_path / "logbus.toml"
    good = CONFIG.format(url=server.url, suffix="", records=10, more="")
    config.write_text(good)
    collector = start_collector(env={"WEB_KEY": "k"})
    for wrong, told in (
        (good.replace("WEB_KEY", "NO_KEY"), "logbus.toml: sinks[0].headers.X-Key: expected a value of NO_KEY in"),
        (f'{good}tls = {{ ca = "gone.pem" }}'.replace("http://", "https://"), "tls.ca"),
    ):
        config.write_text(wrong)
        with pytest.raises(ControlError) as caught:
            reload(collector)
        assert told in str(caught.value)
        assert [row["state"] for row in collector.status()["sinks"]] == ["ok"]
    config.write_text(good)
    assert reload(collector) == []
    assert collector.stop() == 0


def test_a_variable_that_is_not_set_ends_the_start(start_collector: StartCollector, tmp_path: Path) -> None:
    """Exit 2, by the key; a look at the file alone finds nothing wrong with it."""
    config = tmp_path / "logbus.toml"
    config.write_text(CONFIG.format(url="http://127.0.0.1:9", suffix="", records=10, more=""))
    collector = start_collector(ready=False)
    assert collector.process.wait(30) == 2
    assert (
        "sinks[0].headers.X-Key: expected a value of WEB_KEY in the environment of the collector, found it unset"
        in (collector.stderr)
    )
    assert run_logbus("config", "validate", str(config)).returncode == 0
