"""The real uvicorn with our log_config: every process of it logs to the collector, each record once, to the last."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from logbus.integrations.uvicorn import log_config
from tests.collector_command import child_environment
from tests.group import end_group
from tests.peer import Peer

_APPLICATION = """
import logging
import logbus
from logbus.integrations.asgi import RequestContextMiddleware
logbus.configure()
log = logging.getLogger("shop.till")

async def serve(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    log.info("serving %s", scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})

app = RequestContextMiddleware(serve)
"""


class Server:
    """A uvicorn on a port of its own, as its command line starts it."""

    def __init__(self, directory: Path, peer: Peer, *arguments: str, console: bool) -> None:
        (directory / "shop.py").write_text(_APPLICATION)
        (directory / "log_config.json").write_text(json.dumps(log_config(console=console)))
        self._peer = peer
        self._output = directory / "uvicorn.out"
        command = [sys.executable, "-m", "uvicorn", "shop:app", "--port", "0", "--log-config", "log_config.json"]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=directory,
                env=child_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._output.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Status and X-Request-ID of an answer."""
        running = self._peer.wait_for("Uvicorn running on")[0].message
        found = re.search(r"http://127\.0\.0\.1:\d+", running)
        assert found is not None, running
        with urllib.request.urlopen(found[0] + path, timeout=20) as answer:
            return int(answer.status), str(answer.headers["X-Request-ID"])

    def stop(self) -> int:
        """The exit status after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)

    def end(self) -> None:
        """Kills what is left of it."""
        end_group(self.process)


@pytest.fixture
def serve(peer: Peer, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers, and ends them."""
    started: list[Server] = []

    def start(*arguments: str, console: bool = True) -> Server:
        started.append(Server(tmp_path, peer, *arguments, console=console))
        return started[-1]

    yield start
    for server in started:
        server.end()


def test_one_process_to_its_last_record(peer: Peer, serve: Callable[..., Server]) -> None:
    """Start, request and end are there once each, the request with its id; the exit status is that of the signal."""
    server = serve()
    status, request_id = server.get("/a?token=x")
    assert status == 200
    assert server.stop() == -signal.SIGTERM
    peer.wait_for("Finished server process")
    [access] = peer.of("uvicorn.access")
    port = access.message.partition(" - ")[0]
    assert access.message == f'{port} - "GET /a?token=x HTTP/1.1" 200'
    assert access.extra == {
        "method": "GET",
        "path": "/a",
        "status": 200,
        "http_version": "1.1",
        "client": "127.0.0.1",
        "request_id": request_id,
        "operation": "http_request",
    }
    [served] = peer.of("shop.till")
    assert (served.message, served.extra["request_id"]) == ("serving /a", request_id)
    told = [record.message for record in peer.of("uvicorn.error")]
    assert len(told) == len(set(told))
    # Uvicorn's lines are what they are without us, and nothing else stands there.
    shown = [line.partition(" ")[2].strip() for line in server.output.splitlines()]
    assert sorted(line.removesuffix(" OK") for line in shown) == sorted([*told, access.message])


def test_workers_and_their_supervisor(peer: Peer, serve: Callable[..., Server]) -> None:
    """Each process has configured itself; one that is killed is followed by another, and nothing is lost or doubled."""
    server = serve("--workers", "2", console=False)
    peer.wait_for("Application startup complete", 2)
    expected = []
    for at in range(3):
        expected += [f"/{at}{number}" for number in range(8)]
        assert all(server.get(path)[0] == 200 for path in expected[-8:])
        if at == 0:
            os.kill(peer.wait_for("serving /00")[0].pid, signal.SIGTERM)
            peer.wait_for("Application startup complete", 3)
        if at == 1:
            server.process.send_signal(signal.SIGHUP)
            peer.wait_for("Application startup complete", 5)
    server.stop()
    peer.wait_for("Stopping parent process")
    assert sorted(record.extra["path"] for record in peer.of("uvicorn.access")) == expected
    assert sorted(record.message for record in peer.of("shop.till")) == [f"serving {path}" for path in expected]
    workers = {record.pid for record in peer.wait_for("Started server process")}
    assert len(workers) == 5
    assert {record.pid for record in peer.wait_for("Finished server process")} == workers
    assert server.output == ""
