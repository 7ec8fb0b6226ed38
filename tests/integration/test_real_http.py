"""The HTTP sink behind Debian's nginx as a reverse proxy: connections kept alive, and the answers of a real proxy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.collector_command import CollectorCommand
from tests.conftest import StartCollector
from tests.integration.till import Till, numbers
from tests.integration.watch import settled, sink_of
from tests.servers.certificates import Certificates
from tests.servers.faulty_http import FaultyHttp
from tests.servers.nginx import MAX_BODY_BYTES, REQUESTS_PER_CONNECTION, Nginx
from tests.worker import Worker

CONFIGURATION = """
[[sinks]]
name = "there"
type = "http"
url = "{url}"
batch = {{ max_records = {records}, max_delay = "50 ms" }}
retry = {{ initial = "50 ms", max_interval = "200 ms" }}
timeout = "10 s"
{more}
"""


@dataclass(frozen=True)
class Place:
    """A proxy and the server behind it; ``ca`` has signed the proxy's certificate, which is for ``localhost``."""

    nginx: Nginx
    server: FaultyHttp
    ca: Path

    @property
    def url(self) -> str:
        """Where the proxy is asked."""
        return f"http://127.0.0.1:{self.nginx.port}/ingest"

    def arrived(self) -> Counter[int]:
        """How often the server has accepted each number."""
        return numbers(line.decode() for line in self.server.lines)

    def statuses(self) -> Counter[int]:
        """How many of the proxy's answers had each code."""
        return Counter(answer["status"] for answer in self.nginx.answered())


@pytest.fixture
def place(directories: Path, start_http: Callable[..., FaultyHttp]) -> Iterator[Place]:
    """A proxy and a server that are well."""
    certificates = Certificates(directories)
    server = start_http()
    nginx = Nginx(directories / "nginx", server.port, certificates.issue("nginx", "localhost"))
    try:
        nginx.start()
        yield Place(nginx, server, certificates.ca)
    finally:
        nginx.stop()


@pytest.fixture
def collect(start_collector: StartCollector, tmp_path: Path) -> Callable[..., CollectorCommand]:
    """Starts a collector with one sink, ``there``: a URL, the records of a batch, and more lines of its table."""

    def start(url: str, *, records: int = 50, more: str = "") -> CollectorCommand:
        (tmp_path / "logbus.toml").write_text(CONFIGURATION.format(url=url, records=records, more=more))
        return start_collector()

    return start


def ended(collector: CollectorCommand, till: Till) -> dict[str, Any]:
    """The sink's row once all that was logged has come to its end, in a ledger that balances."""

    def look(status: dict[str, Any]) -> bool:
        row = sink_of(status, "there")
        return bool(row["offered"] >= till.count and not row["queued"] and not row["spooled"])

    till.end()
    status = settled(collector, look)
    assert status["balanced"], status
    return sink_of(status, "there")


def test_connections_are_kept_and_a_closed_one_costs_nothing(
    place: Place, collect: Callable[..., CollectorCommand], start_worker: Callable[..., Worker]
) -> None:
    """A proxy closes a connection after ten requests: as many go over each, and every record arrives once."""
    collector, till = collect(place.url, records=10), Till(start_worker)
    till.log(400)
    row = ended(collector, till)

    assert place.arrived() == Counter(range(400))
    assert (row["delivered"], row["duplicated"], row["dropped"]) == (row["offered"], 0, {}), row
    requests = Counter(answer["connection"] for answer in place.nginx.answered())
    assert len(requests) >= 4
    assert sorted(requests.values())[1:] == [REQUESTS_PER_CONNECTION] * (len(requests) - 1)
    assert place.statuses().keys() == {200}


def test_a_proxy_that_closes_each_connection_gets_every_record_once(
    place: Place, collect: Callable[..., CollectorCommand], start_worker: Callable[..., Worker]
) -> None:
    """Without keep-alive each request has a connection of its own, and none is doubled or lost."""
    collector, till = collect(f"http://127.0.0.1:{place.nginx.port}/close/", records=10), Till(start_worker)
    till.log(200)
    row = ended(collector, till)

    assert place.arrived() == Counter(range(200))
    assert (row["delivered"], row["duplicated"]) == (row["offered"], 0), row
    assert {answer["requests"] for answer in place.nginx.answered()} == {1}


def test_a_body_that_is_too_large_for_the_proxy_is_halved_until_it_fits(
    place: Place, collect: Callable[..., CollectorCommand], start_worker: Callable[..., Worker]
) -> None:
    """Over TLS: after 413s every record arrives once, but for the one that is too large alone, which is refused."""
    url = f"https://localhost:{place.nginx.tls}/ingest"
    collector = collect(url, records=5000, more=f'tls = {{ ca = "{place.ca}" }}')
    till = Till(start_worker)
    till.log(500, size=500)
    till.log(1, size=2 * MAX_BODY_BYTES)
    till.log(500, size=500)
    row = ended(collector, till)

    assert place.arrived() == Counter({number: 1 for number in range(1001) if number != 500})
    assert row["dropped"] == {"rejected": 1}, row
    assert (row["delivered"], row["duplicated"]) == (row["offered"] - row["filtered"] - 1, 0), row
    assert "413 Request Entity Too Large" in collector.stderr
    assert place.statuses()[413] > 1
    assert max(answer["bytes"] for answer in place.nginx.answered() if answer["status"] == 200) <= 2 * MAX_BODY_BYTES
    assert {answer["scheme"] for answer in place.nginx.answered()} == {"https"}


def test_a_proxy_without_a_server_behind_it_is_asked_until_there_is_one(
    place: Place, collect: Callable[..., CollectorCommand], start_worker: Callable[..., Worker]
) -> None:
    """While it answers 502 everything waits; afterwards every record arrives, once."""
    collector, till = collect(place.url), Till(start_worker)
    till.log(100)
    settled(collector, lambda status: sink_of(status, "there")["delivered"] >= 100)
    place.server.down()
    till.log(100)
    waiting = settled(collector, lambda status: "502" in (sink_of(status, "there")["last_error"] or ""))
    assert sink_of(waiting, "there")["state"] == "failing"
    place.server.up()
    row = ended(collector, till)

    assert place.arrived() == Counter(range(200))
    # Reports about a sink that fails go to the others only.
    assert row["delivered"] == row["offered"] - row["filtered"], row
    assert row["state"] == "ok", row
    assert place.statuses().keys() == {200, 502}


def test_what_a_server_may_have_got_before_a_504_is_sent_again_and_reported(
    place: Place, collect: Callable[..., CollectorCommand], start_worker: Callable[..., Worker]
) -> None:
    """The server takes a request and is slow to say so: nothing is lost, and what is there twice is reported so."""
    collector, till = collect(place.url), Till(start_worker)
    place.server.next({"do": "drip", "every": 5})
    till.log(100)
    row = ended(collector, till)

    arrived = place.arrived()
    assert arrived.keys() == set(range(100))
    twice = arrived.total() - 100
    assert 0 < twice <= row["duplicated"], row
    # Reports about a sink that fails go to the others only.
    assert row["delivered"] == row["offered"] - row["filtered"], row
    assert place.statuses()[504] == 1
