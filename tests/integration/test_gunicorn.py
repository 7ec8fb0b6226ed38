"""The real gunicorn with our logger class: every process is a worker, every request a record, nothing twice."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.rules import Rule
from tests.collector_command import child_environment
from tests.eventually import eventually
from tests.group import end_group
from tests.peer import Peer

pytest.importorskip("gunicorn")

_APPLICATION = """
import logging, os, time
log = logging.getLogger("shop.till")

if os.path.exists("broken"):
    raise RuntimeError("no till")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    log.info("serving %s", path)
    if path == "/raise":
        raise ValueError("boom")
    if path == "/hang":
        time.sleep(60)
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Request-ID", "r-1")])
    return [b"ok"]

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        log.info("serving %s", scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
"""


class Server:
    """A gunicorn on a port of its own; its output is in ``stderr``."""

    def __init__(self, directory: Path, *arguments: str, application: str = "shop:app") -> None:
        (directory / "shop.py").write_text(_APPLICATION)
        self._errors = directory / "gunicorn.err"
        ours = ["--logger-class", "logbus.integrations.gunicorn.Logger", "--no-control-socket"]
        command = [sys.executable, "-m", "gunicorn", application, "-b", "127.0.0.1:0", *ours, *arguments]
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=directory,
                env={**child_environment(), "PYTHONWARNINGS": "ignore"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    @property
    def stderr(self) -> str:
        """What it has written so far."""
        return self._errors.read_text()

    def get(self, path: str, timeout: float = 20.0) -> int:
        """The status of an answer; 0 where there was none."""
        [port] = eventually(lambda: re.findall(r"Listening at: http://127\.0\.0\.1:(\d+)", self.stderr)[:1], 20)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=timeout) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except OSError:
            return 0

    def signal(self, number: int) -> None:
        """Sends a signal to the master."""
        self.process.send_signal(number)

    def stop(self) -> int:
        """The exit status after SIGTERM."""
        self.signal(signal.SIGTERM)
        return self.process.wait(20)

    def end(self) -> None:
        """Kills what is left of it."""
        end_group(self.process)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers, and ends them."""
    started: list[Server] = []

    def start(*arguments: str, **options: Any) -> Server:
        started.append(Server(tmp_path, *arguments, **options))
        return started[-1]

    yield start
    for server in started:
        server.end()


def test_what_comes_of_requests(peer: Peer, serve: Callable[..., Server]) -> None:
    """A record of the application, one of the access log with fields, the exception of one that failed; each once."""
    server = serve()
    assert [server.get("/a?token=x"), server.get("/raise")] == [200, 500]
    assert server.stop() == 0
    peer.wait_records(1)
    served = peer.of("shop.till")
    first, second = peer.of("gunicorn.access")
    assert [record.message for record in served] == ["serving /a", "serving /raise"]
    assert '"GET /a?token=x HTTP/1.1" 200 2' in first.message
    duration = first.extra.pop("duration_ms")
    assert 0 <= duration < 20_000
    assert first.extra == {
        "method": "GET",
        "path": "/a",
        "client": "127.0.0.1",
        "user_agent": f"Python-urllib/{sys.version_info.major}.{sys.version_info.minor}",
        "http_version": "1.1",
        "status": 200,
        "bytes": 2,
        "request_id": "r-1",
    }
    assert (second.extra["status"], second.extra["path"]) == (500, "/raise")
    [failed] = [record for record in peer.of("gunicorn.error") if record.level == "ERROR"]
    assert failed.exception.type == "ValueError"
    assert failed.function != "exception"
    assert {record.pid for record in served} != {server.process.pid}
    # What gunicorn writes it writes still, each line that has come as a record too; and nothing else stands there.
    shown = Counter(re.findall(r"\[(?:INFO|ERROR)\] (.*)", server.stderr))
    assert shown == Counter(record.message for record in peer.of("gunicorn.error"))
    assert "serving" not in server.stderr


@pytest.mark.parametrize(
    ("arguments", "application"),
    [
        (("--preload", "-k", "gthread", "--threads", "2"), "shop:app"),
        (("-k", "uvicorn.workers.UvicornWorker"), "shop:asgi"),
    ],
)
def test_kinds_of_workers(
    peer: Peer, serve: Callable[..., Server], tmp_path: Path, arguments: tuple[str, ...], application: str
) -> None:
    """Preloaded or not, threads or an event loop: each request is one record of each kind, file or not."""
    access = tmp_path / "access.log"
    file = ("--access-logfile", str(access)) if application == "shop:app" else ()
    server = serve(*arguments, *file, "-w", "2", application=application)
    assert [server.get(f"/{number}") for number in range(6)] == [200] * 6
    peer.wait_for("Booting worker with pid", 2)
    assert server.stop() == 0
    peer.wait_for("Shutting down: Master")
    expected = [f"/{number}" for number in range(6)]
    logged = peer.of("gunicorn.access") or peer.of("uvicorn.access")
    assert sorted(record.extra["path"] for record in logged) == expected
    assert {record.extra["status"] for record in logged} == {200}
    assert sorted(record.message for record in peer.of("shop.till")) == [f"serving {path}" for path in expected]
    if file:
        assert sorted(access.read_text().splitlines()) == sorted(record.message for record in logged)
    assert len(peer.arrivals.byes) == 3


def test_a_worker_that_does_not_boot(peer: Peer, serve: Callable[..., Server], tmp_path: Path) -> None:
    """The exception is in the log, with the master's words about it, and the exit status is gunicorn's own."""
    (tmp_path / "broken").touch()
    server = serve()
    assert server.process.wait(20) == 3
    [record] = peer.wait_for("Exception in worker process")
    assert (record.exception.type, record.exception.message) == ("RuntimeError", "no till")
    peer.wait_for("Worker failed to boot")


def test_a_worker_that_hangs(peer: Peer, serve: Callable[..., Server]) -> None:
    """What it had logged is there, the master says that it was killed, and another one serves."""
    server = serve("--timeout", "1")
    assert server.get("/hang") in (0, 500)
    [hung] = peer.wait_for("serving /hang")
    [told] = peer.wait_for("WORKER TIMEOUT")
    assert (told.level, told.pid) == ("CRITICAL", server.process.pid)
    assert server.get("/b") == 200
    [record] = peer.wait_for("serving /b")
    assert record.pid != hung.pid


def test_reloads_and_recycling(peer: Peer, serve: Callable[..., Server]) -> None:
    """Across SIGHUP, SIGTTIN, SIGTTOU, SIGUSR1 and workers that end after two requests each is logged once."""
    server = serve("--max-requests", "2", "-k", "gthread")
    paths = []
    for at, number in enumerate((None, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1)):
        if number is not None:
            server.signal(number)
            peer.wait_for(f"Handling signal: {number.name.removeprefix('SIG').lower()}")
        for which in "ab":
            path = f"/{at}{which}"
            assert server.get(path) == 200
            paths.append(path)
    assert server.stop() == 0
    peer.wait_for("Shutting down: Master")
    assert sorted(record.extra["path"] for record in peer.of("gunicorn.access")) == paths
    assert sorted(record.message for record in peer.of("shop.till")) == [f"serving {path}" for path in paths]
    assert len({record.pid for record in peer.of("shop.till")}) >= 3


def test_levels_reach_the_access_log(peer: Peer, serve: Callable[..., Server]) -> None:
    """A rule for it turns requests off where they are logged, in every worker, and the rest goes on."""
    server = serve()
    assert server.get("/a") == 200
    [served] = peer.wait_for("GET /a ")
    levels = peer.set_levels(Rule("gunicorn.access", 30))
    eventually(lambda: served.pid in peer.confirmed(levels.version), 20)
    assert server.get("/b") == 200
    peer.wait_for("serving /b")
    assert server.stop() == 0
    assert [record.extra["path"] for record in peer.of("gunicorn.access")] == ["/a"]
