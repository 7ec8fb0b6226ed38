"""Programs of many processes below ``logbus run``: multiprocessing in every way, and servers."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from logbus.cli.run import worker_environment
from tests.collector_command import ROOT, child_environment
from tests.eventually import eventually
from tests.integration.watch import free_port
from tests.peer import Peer
from tests.run_command import PATIENCE, below, write_program


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Writes a program of these lines, and says where it is."""
    return partial(write_program, tmp_path)


MULTIPROCESSING = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

def task(number):
    log.info("task %d", number)
    return number

def until_terminated(ready):
    log.info("waits")
    ready.set()
    time.sleep(60)

def crash():
    raise ValueError("in a child")

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    child = context.Process(target=task, args=(1,))
    child.start()
    child.join()
    with context.Pool(2, maxtasksperchild=1) as pool:
        pool.map(task, range(2, 6), chunksize=1)
        pool.close()
        pool.join()
    limit = {} if sys.argv[1] == "fork" else {"max_tasks_per_child": 1}
    with ProcessPoolExecutor(1, mp_context=context, **limit) as executor:
        for number in (6, 7):
            executor.submit(task, number).result()
    ready = context.Event()
    child = context.Process(target=until_terminated, args=(ready,))
    child.start()
    ready.wait()
    child.terminate()
    child.join()
    log.info("terminated %d", child.exitcode)
    child = context.Process(target=crash)
    child.start()
    child.join()
    log.info("crashed %d", child.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(peer: Peer, program: Callable[[str], str], method: str) -> None:
    """Children of every start method, pools and executors that replace theirs, SIGTERM, a crash: all of it, once."""
    done = below(sys.executable, program(MULTIPROCESSING), method)
    assert done.returncode == 0, done.stderr
    assert "Traceback" in done.stderr  # multiprocessing's own, of the child that crashed
    expected = [f"task {number}" for number in range(1, 8)]
    expected += ["waits", "terminated -15", "uncaught ValueError: in a child", "crashed 1"]
    assert Counter(peer.arrivals.messages) == Counter(expected)
    made = {mark.producer for mark in peer.arrivals.records}
    assert eventually(lambda: made <= set(peer.arrivals.byes))


def test_billiard(peer: Peer, program: Callable[[str], str]) -> None:
    """Celery's multiprocessing: a child's finalizers, and a pool's workers, which end by ``os._exit`` past those."""
    lines = """
    import billiard

    def task(number):
        log.info("task %d", number)

    if __name__ == "__main__":
        child = billiard.Process(target=task, args=(1,))
        child.start()
        child.join()
        pool = billiard.Pool(1, maxtasksperchild=1)
        pool.apply(task, (2,))
        pool.apply(task, (3,))
        pool.close()
        pool.join()
    """
    done = below(sys.executable, program(lines))
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(peer.arrivals.messages) == Counter(f"task {number}" for number in (1, 2, 3))
    made = {record.producer for record in peer.arrivals.records}
    assert eventually(lambda: made <= set(peer.arrivals.byes))


APPLICATION = """
async def asgi(scope, receive, send):
    if scope["type"] == "http":
        log.info("served %s", scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

def wsgi(environ, start_response):
    log.info("served %s", environ["PATH_INFO"])
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]
"""


def get(port: int, path: str) -> bool:
    """Whether a server has answered."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return bool(answer.read())
    except urllib.error.URLError:
        return False


@pytest.mark.parametrize(
    ("server", "access", "code"),
    [
        (("uvicorn", "shop:asgi", "--port"), "uvicorn.access", -signal.SIGTERM),
        (("uvicorn", "shop:asgi", "--workers", "2", "--port"), "uvicorn.access", 0),
        (("gunicorn", "shop:wsgi", "--workers", "2", "--access-logfile", "-", "--bind"), "gunicorn.access", 0),
        (("gunicorn", "shop:wsgi", "--preload", "--access-logfile", "-", "--bind"), "gunicorn.access", 0),
    ],
    ids=["uvicorn", "uvicorn with workers", "gunicorn", "gunicorn with preload"],
)
def test_servers(
    peer: Peer, program: Callable[[str], str], tmp_path: Path, server: tuple[str, ...], access: str, code: int
) -> None:
    """What servers log with loggers of their own arrives, with what the application logs; SIGTERM is as it was."""
    program(APPLICATION)
    port = free_port()
    address = f"127.0.0.1:{port}" if server[0] == "gunicorn" else str(port)
    command = [sys.executable, "-m", *server, address]
    environment = worker_environment(
        child_environment(PYTHONPATH=f"{tmp_path}:{ROOT}"), {}, no_proxywhirl=False, public_only=False
    )
    output = tmp_path / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=file)
    try:
        assert eventually(lambda: get(port, "/ready"), PATIENCE)
        for number in range(4):
            assert get(port, f"/{number}")
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == code, output.read_text()
    paths = ["/ready", "/0", "/1", "/2", "/3"]
    producers = {record.producer for record in peer.arrivals.records}
    assert eventually(lambda: producers <= set(peer.arrivals.byes))
    records = peer.arrivals.records
    assert sorted(record.message for record in records if record.logger == "shop.till") == sorted(
        f"served {path}" for path in paths
    )
    lines = [record.message for record in records if record.logger == access]
    assert sorted(path for path in paths for line in lines if f" {path} " in line) == sorted(paths)
    assert len(lines) == len(paths)
    assert Counter(record.message for record in records if record.logger != access).most_common(1)[0][1] <= 2
    shown = output.read_text()
    assert all(f"GET {path} HTTP/1.1" in shown for path in paths)
    assert "served" not in shown  # INFO is for logbus: the root logger is at WARNING
