"""Real syslog servers that end in the middle of a stream, and real TLS servers that a collector must not trust."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks.syslog.stream import TAIL_S
from tests.collector_command import CollectorCommand
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.integration.till import Till, numbers
from tests.integration.watch import settled, sink_of
from tests.servers.certificates import Certificates
from tests.servers.daemon import unread
from tests.servers.rsyslog import CLIENT, Rsyslog
from tests.servers.syslog_ng import SyslogNg
from tests.worker import Worker

RETRY = 'retry = { initial = "50 ms", max_interval = "200 ms" }'


@pytest.fixture
def certificates(directories: Path) -> Certificates:
    """An authority of the test's own."""
    directories.joinpath("tls").mkdir()
    return Certificates(directories / "tls")


@dataclass(frozen=True)
class Server:
    """A server, one of its inputs with its address, and the files of TLS for it."""

    daemon: Rsyslog | SyslogNg
    through: str
    address: str
    tls: str

    @property
    def port(self) -> int:
        """The port of the input."""
        return int(self.address.rpartition(":")[2])


@pytest.fixture(params=["rsyslog tcp", "rsyslog tls", "syslog-ng tcp"])
def server(request: pytest.FixtureRequest, directories: Path, certificates: Certificates) -> Iterator[Server]:
    """A server of the test's own, which may end and start again, and how it is reached."""
    kind, through = request.param.split()
    daemon = Rsyslog(directories / kind, certificates) if kind == "rsyslog" else SyslogNg(directories / kind)
    place = getattr(daemon, through)
    address = f"unix://{place}" if isinstance(place, Path) else f"{through}://127.0.0.1:{place}"
    tls = ""
    if through == "tls":
        client = certificates.issue("client", CLIENT)
        tls = f'ca = "{certificates.ca}", certificate = "{client.certificate}", key = "{client.key}"'
    daemon.start()
    yield Server(daemon, through, address, tls)
    daemon.kill()


class Pipeline:
    """A worker and a collector with one sink, ``there``, to a server."""

    def __init__(self, server: Server, start_collector: StartCollector, start_worker: Callable[..., Worker]) -> None:
        self.daemon = server.daemon
        self.server = server
        lines = ["[[sinks]]", 'name = "there"', 'type = "syslog"', RETRY]
        lines.append(f'address = "{server.address}"')
        if server.tls:
            lines.append(f"tls = {{ {server.tls} }}")
        Path("logbus.toml").write_text("\n".join([*lines, ""]))
        self.collector: CollectorCommand = start_collector()
        self.till = Till(start_worker)

    def arrived(self) -> Counter[int]:
        """How often each number has come."""
        return numbers(each.message for each in self.daemon.messages.all(self.server.through))

    def wait_arrived(self) -> Counter[int]:
        """The same, once every number has come."""
        eventually(lambda: len(self.arrived()) >= self.till.count, 20, what=f"{self.till.count} numbers at the server")
        return self.arrived()

    def row(self, look: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The sink's row, once it is so."""
        return sink_of(settled(self.collector, lambda status: look(sink_of(status, "there"))), "there")

    def away(self, count: int) -> None:
        """Stops the server, logs so many records, and starts it once the collector has noticed."""
        self.daemon.stop()
        self.till.log(count)
        self.row(lambda row: row["state"] == "failing" and row["last_error"] and row["queued"])
        self.daemon.start()

    def ended(self, arrived: Counter[int]) -> dict[str, Any]:
        """The sink's row once the worker has ended and everything is delivered, in a ledger that balances.

        What has arrived is then all that was logged, and what of it did so twice the row has told of.
        """
        self.till.end()
        status = settled(self.collector, lambda status: delivered(sink_of(status, "there"), self.till.count))
        assert status["balanced"], status
        row = sink_of(status, "there")
        assert arrived.keys() == set(range(self.till.count))
        assert arrived.total() - self.till.count <= row["duplicated"], row
        return row


def delivered(row: dict[str, Any], count: int) -> bool:
    """Whether so many records are delivered, and all that were offered but for the reports about this sink itself."""
    return bool(row["delivered"] == row["offered"] - row["filtered"] >= count)


@pytest.fixture
def pipeline(
    server: Server, start_collector: StartCollector, start_worker: Callable[..., Worker], working_directory: Path
) -> Pipeline:
    """A worker, a collector and a server."""
    return Pipeline(server, start_collector, start_worker)


def test_a_server_that_is_restarted_gets_every_record(pipeline: Pipeline) -> None:
    """It ends by SIGTERM while records come, is away for a while, and comes back: all are there, doubles reported."""
    pipeline.till.log(2000)
    eventually(pipeline.arrived)
    pipeline.away(2000)
    arrived = pipeline.wait_arrived()
    assert pipeline.ended(arrived)["state"] == "ok"


def test_a_server_that_is_killed_with_records_unread_gets_them_again(pipeline: Pipeline) -> None:
    """Its kernel had taken them, so they were delivered; a reset says otherwise, and what may be twice is told."""
    pipeline.till.log(10)
    pipeline.wait_arrived()
    for _ in range(5):
        pipeline.daemon.freeze()
        begun = time.monotonic()
        pipeline.till.log(100)
        eventually(lambda: unread(pipeline.server.port) > 0)
        pipeline.row(lambda row: delivered(row, pipeline.till.count))
        pipeline.daemon.kill()
        pipeline.daemon.start()
        pipeline.till.log(10)
        pipeline.row(lambda row: delivered(row, pipeline.till.count))
        if time.monotonic() - begun < TAIL_S:  # else it may be too old to be sent again, and the test tells nothing
            break
    else:
        pytest.fail("this machine was never quick enough for the test to mean anything")
    arrived = pipeline.wait_arrived()
    assert 0 < pipeline.ended(arrived)["duplicated"] <= pipeline.till.count


@pytest.mark.parametrize("server", ["rsyslog udp", "rsyslog modern", "syslog-ng stream"], indirect=True)
def test_a_daemon_that_was_away_gets_what_has_waited_for_it(pipeline: Pipeline) -> None:
    """Over datagrams and Unix sockets: what is logged while nobody listens waits, and is sent once somebody does."""
    pipeline.till.log(10)
    pipeline.wait_arrived()
    pipeline.away(100)  # as many as a UDP socket holds, whoever reads it
    arrived = pipeline.wait_arrived()
    assert pipeline.ended(arrived)["state"] == "ok"


def test_servers_that_cannot_be_trusted_get_nothing(
    directories: Path,
    certificates: Certificates,
    start_collector: StartCollector,
    start_worker: Callable[..., Worker],
    working_directory: Path,
) -> None:
    """A wrong host, an expired certificate, an unknown authority: each is named, and the others are not touched.

    A server that wants a certificate gets records from the sink that has one, and none are taken for delivered by the
    sink that has none.
    """
    identities = {
        "good": certificates.issue("good", "localhost"),
        "asking": certificates.issue("asking", "localhost"),
        "other": certificates.issue("other", "other.test"),
        "expired": certificates.issue("expired", "localhost", expired=True),
    }
    server = SyslogNg(directories / "syslog-ng", certificates, identities)
    client = certificates.issue("client", CLIENT)
    ca = f'ca = "{certificates.ca}"'
    tables = {
        "good": ("good", ca),
        "known": ("asking", f'{ca}, certificate = "{client.certificate}", key = "{client.key}"'),
        "unknown": ("asking", ca),
        "other": ("other", ca),
        "expired": ("expired", ca),
        "stranger": ("good", ""),
    }
    text = ""
    for name, (port, tls) in tables.items():
        address = f"tls://localhost:{server.tls[port]}"
        text += f'[[sinks]]\nname = "{name}"\ntype = "syslog"\naddress = "{address}"\ntls = {{ {tls} }}\n{RETRY}\n\n'
    Path("logbus.toml").write_text(text.replace("tls = {  }\n", ""))
    try:
        server.start()
        collector = start_collector()
        till = Till(start_worker)
        till.log(100)

        def settled_down(status: dict[str, Any]) -> bool:
            trusted = all(delivered(sink_of(status, name), till.count) for name in ("good", "known"))
            return trusted and all(
                sink_of(status, name)["last_error"] for name in ("unknown", "other", "expired", "stranger")
            )

        status = settled(collector, settled_down)
        till.end()
        assert status["balanced"], status
        for name, words in {
            "unknown": "certificate required",
            "other": "not valid for 'localhost'",
            "expired": "certificate has expired",
            "stranger": "self-signed certificate in certificate chain",
        }.items():
            row = sink_of(status, name)
            assert row["delivered"] == 0, row
            assert row["state"] == "failing", row
            assert words in row["last_error"], row
        assert numbers(each.message for each in server.messages.all("good")) == Counter(range(100))
        assert numbers(each.message for each in server.messages.all("asking")) == Counter(range(100))
        collector.kill()
    finally:
        server.kill()
