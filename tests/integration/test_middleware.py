"""The request middleware in real servers: uvicorn, and gunicorn with workers of one thread and of several.

Without the demo's packages (requirements/demo.lock) these tests are skipped on a laptop, and fail in CI.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.collector_command import child_environment
from tests.eventually import eventually
from tests.peer import Arrived, Peer

HERE = find_spec("fastapi") is not None or "CI" in os.environ
if HERE:
    import httpx

pytestmark = pytest.mark.skipif(not HERE, reason="not installed: fastapi, httpx")

ASGI = """
import asyncio, logging, logbus
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from logbus.integrations.asgi import RequestContextMiddleware

logbus.configure()
log = logging.getLogger("shop.till")
app = FastAPI()

@app.get("/view/{name}")
def view(name: str, request: Request):
    log.info("view %s", name)
    return request.headers["x-request-id"]

@app.get("/stream/{name}")
async def stream(name: str):
    async def pieces():
        for n in range(3):
            log.info("piece %s", name)
            await asyncio.sleep(0)
            yield name
    return StreamingResponse(pieces(), background=BackgroundTask(log.info, "background %s", name))

@app.get("/fail/{name}")
async def fail(name: str):
    raise KeyError(name)

app = RequestContextMiddleware(app, log_requests=True)
logging.getLogger("uvicorn").propagate = True
"""

WSGI = """
import logging, time, flask, logbus
from logbus.integrations.wsgi import RequestContextMiddleware

logbus.configure()
log = logging.getLogger("shop.till")
app = flask.Flask("shop")

@app.get("/view/<name>")
def view(name):
    log.info("view %s", name)
    return flask.request.headers["X-Request-ID"]

@app.get("/stream/<name>")
def stream(name):
    def pieces():
        try:
            for n in range(10_000 if name == "endless" else 3):
                log.info("piece %s", name)
                yield name if name != "endless" else "x" * 65536
        finally:
            log.info("background %s", name)
    return flask.Response(pieces())

@app.get("/fail/<name>")
def fail(name):
    raise KeyError(name)

app.wsgi_app = RequestContextMiddleware(app.wsgi_app, log_requests=True)
"""

#: What each server is started with; its socket follows.
SERVERS = {
    "uvicorn": (ASGI, ["uvicorn", "service:app", "--no-access-log", "--uds"]),
    "sync": (WSGI, ["gunicorn", "service:app", "--worker-class", "sync", "--bind"]),
    "gthread": (WSGI, ["gunicorn", "service:app", "--worker-class", "gthread", "--threads", "4", "--bind"]),
}

Serve = Callable[[str], "httpx.Client"]


@pytest.fixture
def path(directories: Path) -> Path:
    """The server's socket."""
    return directories / "web"


@pytest.fixture
def serve(tmp_path: Path, path: Path, peer: Peer) -> Iterator[Serve]:
    """Starts a server on a Unix socket: a client for it. Ends it with SIGTERM."""
    running: list[tuple[httpx.Client, subprocess.Popen[bytes]]] = []

    def start(server: str) -> httpx.Client:
        source, command = SERVERS[server]
        (tmp_path / "service.py").write_text(source)
        address = str(path) if server == "uvicorn" else f"unix:{path}"
        process = subprocess.Popen(
            [sys.executable, "-m", *command, address],
            cwd=tmp_path,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(path)),
            base_url="http://shop",
            headers={"Connection": "close"},  # a server closes one after a failure, maybe while it is used again
            timeout=30,
        )
        running.append((client, process))

        def serving() -> bool:
            assert process.poll() is None, "the server ended"
            with closing(socket.socket(socket.AF_UNIX)) as knock:
                return knock.connect_ex(str(path)) == 0

        eventually(serving, 30, what="the server")
        return client

    yield start
    for client, process in running:
        client.close()
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def of_requests(peer: Peer, count: int) -> list[Arrived]:
    """The records of the requests that a test makes, once that many of them have come to their end."""

    def enough() -> list[Arrived]:
        found = peer.arrivals.records
        assert sum(record.extra.get("event") == "request_ended" for record in found) >= count
        return found

    return eventually(enough, 20, what="the last record")


@pytest.mark.parametrize("server", SERVERS)
def test_every_record_of_a_request_has_its_id(server: str, serve: Serve, peer: Peer) -> None:
    """Of requests at the same time, streams and failures included; the client gets its id back, each time."""
    client = serve(server)

    def request(lane: int) -> None:
        for number in range(4):
            for kind in ("view", "stream", "fail"):
                name = f"{lane}-{number}-{kind}"
                ids.append(name)
                answered = client.get(f"/{kind}/{name}", headers={"X-Request-ID": name})
                assert answered.headers["X-Request-ID"] == name
                answers[answered.status_code] += 1
                if kind == "view":
                    assert answered.text.strip('"') == name
        done.append(lane)

    answers: Counter[int] = Counter()
    done: list[int] = []
    ids: list[str] = []
    threads = [threading.Thread(target=request, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), answers) == (4, {200: 32, 500: 16})
    records = of_requests(peer, 48)
    eventually(lambda: sum(r.message.startswith("background") for r in peer.arrivals.records) == 16, what="the end")
    told = [record for record in peer.arrivals.records if record.logger == "shop.till"]
    assert Counter(record.message.split()[0] for record in told) == {"view": 16, "piece": 48, "background": 16}
    assert all(record.extra["request_id"] == record.message.split()[1] for record in told)
    access = [record.extra for record in records if record.logger == "requests"]
    assert Counter(fields["event"] for fields in access) == {"request_started": 48, "request_ended": 48}
    assert all(fields["path"].endswith(f"/{fields['request_id']}") for fields in access)
    assert Counter(fields["status"] for fields in access if "status" in fields) == answers
    failures = [record.extra["request_id"] for record in peer.arrivals.records if record.exception]
    assert sorted(failures) == sorted(name for name in ids if name.endswith("-fail"))


@pytest.mark.parametrize("server", ["sync", "gthread"])
def test_a_client_that_goes_away_leaves_nothing_behind(server: str, serve: Serve, path: Path, peer: Peer) -> None:
    """The server closes the stream, which is told; the next request of the worker is one of its own."""
    client = serve(server)
    with closing(socket.socket(socket.AF_UNIX)) as leaving:
        leaving.connect(str(path))
        leaving.sendall(b"GET /stream/endless HTTP/1.1\r\nHost: shop\r\nX-Request-ID: endless\r\n\r\n")
        assert leaving.recv(100)
    of_requests(peer, 1)
    assert client.get("/view/next", headers={"X-Request-ID": "next"}).text == "next"
    ended: list[dict[str, Any]] = [record.extra for record in of_requests(peer, 2) if record.extra.get("event")]
    assert [(fields["request_id"], fields.get("error")) for fields in ended] == [
        ("endless", None),
        ("endless", "incomplete response"),
        ("next", None),
        ("next", None),
    ]
    assert {r.extra["request_id"] for r in peer.arrivals.records if r.message == "background endless"} == {"endless"}
