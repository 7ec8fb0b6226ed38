"""A real collector with an HTTP sink: what arrives, what is counted, and what a server's faults do to the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conftest import StartCollector
from tests.frames import RawSender, data, mark, producer
from tests.integration.watch import messages_of, settled, sink_of, status_of
from tests.servers.faulty_http import FaultyHttp

StartHttp = Callable[..., FaultyHttp]

WHO = producer(1)
#: Of both sinks: what the HTTP server gets, a file gets too.
CONFIGURATION = """
[[sinks]]
name = "file"
type = "file"
path = "out.jsonl"

[[sinks]]
name = "web"
type = "http"
url = "{url}/in?key=qu3ry-s3cret"
headers = {{ X-Token = "${{TEST_TOKEN}}" }}
batch = {{ max_records = 50, max_delay = "20 ms" }}
retry = {{ initial = "20 ms", max_interval = "100 ms" }}
timeout = "1 s"
{more}
"""


def started(start_collector: StartCollector, tmp_path: Path, server: FaultyHttp, more: str = "") -> Any:
    """A collector with a file and the server, whose token is in its environment."""
    path = tmp_path / "logbus.toml"
    path.write_text(CONFIGURATION.format(url=server.url, more=more))
    return start_collector("--config", str(path), env={"TEST_TOKEN": "t0ken-s3cret"})


def sent(server: FaultyHttp) -> list[str]:
    """The messages of the worker that the server has, in order; the collector's own come between them."""
    records = [json.loads(line) for line in server.lines]
    return [record["message"] for record in records if record["worker"] == "w1"]


def test_what_is_logged_arrives_once(start_collector: StartCollector, start_http: StartHttp, tmp_path: Path) -> None:
    """In order, by few requests over one connection, and no secret is in anything that the collector says or keeps."""
    server = start_http()
    server.next({"status": 503, "body": "no: t0ken-s3cret, qu3ry-s3cret"})
    collector = started(start_collector, tmp_path, server)
    messages = [f"message {number}" for number in range(500)]
    with RawSender(collector.endpoint) as sender:
        sender.send(
            *[data(WHO, at, *messages[at : at + 100]) for at in range(0, 500, 100)], mark(WHO, sent=500, bye=True)
        )
        status = settled(collector, lambda status: sink_of(status, "web")["delivered"] >= 500)
    assert sent(server) == messages == messages_of(tmp_path / "out.jsonl")
    report = server.report()
    assert report["last"]["headers"]["x-token"] == "t0ken-s3cret"
    assert max(report["sizes"]) <= 50
    row = sink_of(status, "web")
    assert (row["state"], row["duplicated"], row["dropped"], row["last_status"]) == ("ok", 0, {}, 200)
    assert row["url"] == f"{server.url}/in?***"
    assert status["balanced"]
    collector.stop()
    assert "answered 503" in collector.stderr
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.name != "logbus.toml" and path.is_file())
    for text in (json.dumps(status), collector.stderr, kept.decode("utf-8", "replace")):
        assert "s3cret" not in text.replace(server.kept.read_text(), "")


def test_a_server_that_is_away_costs_nothing_and_nobody(
    start_collector: StartCollector, start_http: StartHttp, tmp_path: Path
) -> None:
    """Meanwhile the file has everything; once it is back the server has, once each and in order."""
    server = start_http()
    collector = started(start_collector, tmp_path, server, 'spool = "8 MiB"')
    server.down()
    messages = [f"message {number}" for number in range(1000)]
    with RawSender(collector.endpoint) as sender:
        sender.send(*[data(WHO, at, *messages[at : at + 100]) for at in range(0, 1000, 100)])
        sender.send(mark(WHO, sent=1000, bye=True))
        status = settled(collector, lambda status: sink_of(status, "file")["delivered"] >= 1000)
        assert sink_of(status, "web")["delivered"] == 0
        settled(collector, lambda status: sink_of(status, "web")["state"] == "failing")
        assert messages_of(tmp_path / "out.jsonl") == messages
        server.up()
        status = settled(collector, lambda status: sink_of(status, "web")["delivered"] >= 1000)
    assert sent(server) == messages
    row = sink_of(status, "web")
    assert (row["duplicated"], row["dropped"], row["unknown"]) == (0, {}, 0)
    assert status["balanced"]


def test_what_is_refused_for_good_is_counted(
    start_collector: StartCollector, start_http: StartHttp, tmp_path: Path
) -> None:
    """One record among many is a dead letter, and the others arrive; so does what no request has room for."""
    server = start_http()
    server.always(status=400, when={"marked": "poison"}, body="not this one")
    collector = started(start_collector, tmp_path, server)
    messages = ["poison" if number == 70 else f"message {number}" for number in range(200)]
    with RawSender(collector.endpoint) as sender:
        sender.send(data(WHO, 0, *messages), mark(WHO, sent=200, bye=True))
        settled(collector, lambda status: sink_of(status, "web")["dropped"] == {"rejected": 1})
        status = settled(collector, lambda status: sink_of(status, "web")["queued"] == 0)
    assert sent(server) == [message for message in messages if message != "poison"]
    assert status["balanced"]
    assert sink_of(status, "web")["state"] == "ok"


def test_a_server_that_does_not_answer_does_not_hold_the_end(
    start_collector: StartCollector, start_http: StartHttp, tmp_path: Path
) -> None:
    """The request under way is ended; the next life sends it again, and it is counted as perhaps there twice."""
    server = start_http()
    server.always(do="mute")
    collector = started(start_collector, tmp_path, server, 'spool = "8 MiB"')
    messages = [f"message {number}" for number in range(100)]
    with RawSender(collector.endpoint) as sender:
        sender.send(data(WHO, 0, *messages), mark(WHO, sent=100, bye=True))
        settled(collector, lambda status: sink_of(status, "file")["delivered"] == 100)
        settled(collector, lambda _: server.report()["requests"] > 0)
    collector.stop()
    assert collector.process.returncode == 0
    server.always()
    collector = started(start_collector, tmp_path, server, 'spool = "8 MiB"')
    settled(collector, lambda status: sink_of(status, "web")["spooled"] == 0)
    row = sink_of(status_of(collector), "web")
    assert sent(server) == messages
    assert row["duplicated"] >= 50
    assert row["dropped"] == {}
