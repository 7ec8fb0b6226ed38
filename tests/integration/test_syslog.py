"""A real collector with syslog sinks: servers that restart, vanish and stop, and what the ledger says of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.collector_command import CollectorCommand
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.frames import RawSender, data, mark, producer
from tests.integration.watch import settled, sink_of
from tests.syslog_parser import parse_3164, parse_5424
from tests.syslog_server import DatagramServer, Server, StreamServer, duplicates

#: Records that a test sends at once.
COUNT = 200


class Load:
    """Workers that send numbered records to a collector, and go: a status waits for nobody's answer."""

    def __init__(self, collector: CollectorCommand, sender: RawSender) -> None:
        self._collector = collector
        self._sender = sender
        self.sent = 0
        self._workers = 0

    def send(self, count: int = COUNT) -> None:
        """So many more, which the collector has when this returns."""
        messages = [f"record {self.sent + number}" for number in range(count)]
        self._workers += 1
        who, name = producer(self._workers), f"w{self._workers}"
        self._sender.send(data(who, 0, *messages, worker=name, extra={"k": 'a "b]'}))
        self._sender.send(mark(who, sent=count, worker=name, bye=True))
        self.sent += count
        settled(self._collector, lambda status: status["total"]["collected"] >= self.sent)


class Logs:
    """A collector with one syslog sink, and a load for it."""

    def __init__(self, collector: CollectorCommand, load: Load) -> None:
        self.collector = collector
        self.load = load

    @property
    def row(self) -> dict[str, Any]:
        """The row of the sink, once nothing waits."""
        return sink_of(settled(self.collector, lambda status: not sink_of(status, "logs")["queued"]), "logs")


Start = Callable[..., Logs]


@pytest.fixture
def start(start_collector: StartCollector, tmp_path: Path) -> Any:
    """Starts a collector with a syslog sink at an address, whose table may say more."""
    with ExitStack() as stack:

        def make(address: str, more: str = "") -> Logs:
            path = tmp_path / "logbus.toml"
            retry = 'retry = { initial = "50 ms", max_interval = "200 ms" }'
            table = f'[[sinks]]\nname = "logs"\ntype = "syslog"\naddress = "{address}"\n{retry}\n{more}\n'
            path.write_text(table + 'exclude_components = ["logbus"]\n')
            collector = start_collector("--config", str(path))
            sender = stack.enter_context(RawSender(collector.endpoint))
            return Logs(collector, Load(collector, sender))

        yield make


def texts(messages: list[bytes], *, protocol: str = "rfc5424", local: bool = False) -> list[str]:
    """What messages say, each read by a strict reader."""
    if protocol == "rfc5424":
        return [parse_5424(message).text for message in messages]
    return [parse_3164(message, local=local).text.partition(" timestamp=")[0] for message in messages]


def all_there(logs: Logs, *servers: Server, **options: Any) -> Callable[[], bool]:
    """Whether every record has come to some server, and no other."""
    wanted = {f"record {number}" for number in range(logs.load.sent)}
    return lambda: {text for server in servers for text in texts(server.messages, **options)} == wanted


def balanced(logs: Logs, *servers: Server, **options: Any) -> dict[str, Any]:
    """The row of the sink, after every record has come and was delivered, and each that came twice was counted."""
    eventually(all_there(logs, *servers, **options))
    row = logs.row
    came = [text for server in servers for text in texts(server.messages, **options)]
    assert (row["delivered"], row["unknown"], row["dropped"]) == (logs.load.sent, 0, {})
    assert row["duplicated"] >= duplicates(came)
    return row


def test_messages_of_a_real_collector(start: Start) -> None:
    """Over TCP, each record is one message with its head and its fields, and all are there as the collector ends."""
    with StreamServer() as server:
        logs = start(f"tcp://127.0.0.1:{server.port}", 'facility = "local3"')
        logs.load.send()
        row = balanced(logs, server)
        assert (row["state"], row["duplicated"], row["connected"]) == ("ok", 0, True)
        message = parse_5424(server.messages[0])
        assert (message.facility, message.severity, message.host, message.app_name) == (19, 6, "host", "app")
        assert (message.params["worker"], message.params["extra.k"]) == ("w1", 'a "b]')
        logs.load.send()
        assert logs.collector.stop() == 0
        assert texts(server.messages) == [f"record {number}" for number in range(2 * COUNT)]
        assert server.ends == ["end"]


@pytest.mark.parametrize("end", ["end", "reset"])
def test_a_tcp_server_that_restarts(start: Start, end: str) -> None:
    """However it ends, each record arrives, and what arrives twice is counted."""
    with StreamServer() as server:
        logs = start(f"tcp://127.0.0.1:{server.port}")
        logs.load.send()
        server.wait(COUNT)
        if end == "reset":
            server.pause()
            logs.load.send()
            server.reset()
        else:
            server.end()
    logs.load.send()
    settled(logs.collector, lambda status: sink_of(status, "logs")["state"] == "failing")
    with StreamServer(port=server.port) as successor:
        logs.load.send()
        balanced(logs, server, successor)
        assert logs.collector.stop() == 0


def test_a_daemon_that_vanishes_and_comes_back(start: Start, directories: Path) -> None:
    """To a Unix socket goes what the C library writes; what a dead daemon had not read goes to the next."""
    path = directories / "log"
    old = {"protocol": "rfc3164", "local": True}
    with DatagramServer(path=path) as server:
        logs = start(str(path))
        logs.load.send()
        server.wait(COUNT)
        server.pause()
        logs.load.send(10)  # which the daemon's queue has room for
        settled(logs.collector, lambda status: sink_of(status, "logs")["delivered"] == COUNT + 10)
        server.end()
    path.unlink()
    settled(logs.collector, lambda status: "may be lost" in str(sink_of(status, "logs")["last_error"]))
    logs.load.send(1)
    row = settled(logs.collector, lambda status: sink_of(status, "logs")["state"] == "failing")
    assert str(path) in sink_of(row, "logs")["last_error"]
    with DatagramServer(path=path) as successor:
        logs.load.send()
        balanced(logs, server, successor, **old)
        assert logs.collector.stop() == 0


def test_a_udp_server_that_starts_later(start: Start) -> None:
    """Refused datagrams are not delivered ones: what was logged before somebody listens comes then."""
    with DatagramServer() as server:
        port = server.port
    logs = start(f"udp://127.0.0.1:{port}")
    logs.load.send(20)
    row = sink_of(settled(logs.collector, lambda status: sink_of(status, "logs")["state"] == "failing"), "logs")
    assert (row["delivered"], row["queued"], row["duplicated"]) == (0, 20, 0)
    assert row["last_error"].endswith(f"udp://127.0.0.1:{port}: Connection refused")
    with DatagramServer(port=port) as successor:
        balanced(logs, successor)
        assert logs.collector.stop() == 0
