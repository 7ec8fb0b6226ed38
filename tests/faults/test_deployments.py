"""The figure of deployments: servers and pools lose nothing while their processes come and go, and every book balances.

Real gunicorn, uvicorn, celery and multiprocessing; 10,000 records each at full size. The court is in
``tests/faults/deployment.py``, its witness the deployed program.
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from logbus.integrations.uvicorn import log_config
from tests.conftest import SOAK, StartCollector
from tests.eventually import eventually
from tests.faults.crowd import Operator
from tests.faults.deployment import CLIENTS, PATIENCE, PLAIN, RUN, Deployment, Program, deployment

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600 if SOAK else 120)]

#: What `make test` leaves to `make soak`: another way to deploy what is deployed already.
ANOTHER = pytest.mark.skipif(not SOAK, reason="another way of the same: in make soak")

Scale = Callable[[int, int], int]

#: Lines of gunicorn's own, in its default format.
GUNICORN_LINE = re.compile(r"^\[[^]]+\] \[\d+\] \[[A-Z]+\] (?P<message>.*)$", re.MULTILINE)
GUNICORN_ACCESS = re.compile(r'^(?P<message>.*"GET .*)$', re.MULTILINE)
#: Those of uvicorn, in its default format without colours.
UVICORN_LINE = re.compile(r"^(?:INFO|WARNING|ERROR): +(?P<message>.*)$", re.MULTILINE)
UVICORN_ACCESS = re.compile(r'^INFO: +(?P<message>.*"[^"]*" \d+) .*$', re.MULTILINE)
#: Those of celery.
CELERY_LINE = re.compile(r"^\[[^]]+: [A-Z]+/[^]]+\] (?!record )(?P<message>.*)$", re.MULTILINE)


@pytest.fixture
def deployed(directories: Path, start_collector: StartCollector, unmeasured: None) -> Iterator[Deployment]:
    """A collector, and programs that end with the test."""
    with deployment(directories, start_collector) as deployed:
        yield deployed


def gunicorn(deployed: Deployment, *options: str, way: Sequence[str] = RUN, app: str = "wsgi") -> Program:
    """A gunicorn with three workers."""
    more = ("--workers", "3", "--bind", f"unix:{deployed.socket}", "--access-logfile", "-", "--no-control-socket")
    program = deployed.program(*way, "gunicorn", *more, *options, f"tests.programs.service:{app}")
    program.writes(program.errors, GUNICORN_LINE, "gunicorn.error", "uvicorn.error")
    program.writes(program.output, GUNICORN_ACCESS, "gunicorn.access", "uvicorn.access")
    return program


SYNC = ("--worker-class", "sync")
GTHREAD = ("--worker-class", "gthread", "--threads", "3")
GEVENT = ("--worker-class", "gevent")
UVICORN = ("--worker-class", "uvicorn.workers.UvicornWorker")
HOOK = ("--logger-class", "logbus.integrations.gunicorn.Logger")


@pytest.mark.parametrize(
    ("way", "options"),
    [
        pytest.param(RUN, SYNC, id="run-sync"),
        pytest.param(RUN, (*SYNC, "--preload"), id="run-sync-preload", marks=ANOTHER),
        pytest.param(RUN, GTHREAD, id="run-gthread", marks=ANOTHER),
        pytest.param(RUN, (*GTHREAD, "--preload"), id="run-gthread-preload", marks=ANOTHER),
        pytest.param(RUN, GEVENT, id="run-gevent"),
        pytest.param(RUN, UVICORN, id="run-uvicorn"),
        pytest.param(PLAIN, (*SYNC, *HOOK), id="hook-sync", marks=ANOTHER),
        pytest.param(PLAIN, (*GTHREAD, *HOOK, "--preload"), id="hook-gthread-preload"),
        pytest.param(PLAIN, (*GEVENT, *HOOK, "--preload"), id="hook-gevent-preload", marks=ANOTHER),
        pytest.param(PLAIN, (*UVICORN, *HOOK), id="hook-uvicorn", marks=ANOTHER),
    ],
)
def test_gunicorn(deployed: Deployment, scale: Scale, way: Sequence[str], options: tuple[str, ...]) -> None:
    """Workers that are recycled after some requests, reloaded, added, taken away and ended under load lose nothing."""
    requests, records = scale(400, 32), scale(25, 8)
    app = "asgi" if UVICORN[1] in options else "wsgi"
    server = gunicorn(deployed, *options, "--max-requests", str(requests // 8), way=way, app=app)

    with deployed.load(records) as load:
        load.wait(requests // 4)
        first = load.pids()
        server.signal(signal.SIGHUP)
        load.wait_others(first, 1)
        server.signal(signal.SIGTTIN)
        load.wait(requests // 2)
        server.signal(signal.SIGTTOU)
        load.wait(requests)
        load.wait_others(set(), 6)
        assert server.terminate() == 0, server.said

    unready = unready_workers(server) if UVICORN[1] in options else set()
    assert not unready & deployed.pids()
    verdict = deployed.judge(lost=unready, unlike=[f"Booting worker with pid: {pid}" for pid in unready])
    assert verdict.witnessed >= requests * records


def unready_workers(server: Program) -> set[int]:
    """Workers that were told to end while they began: gunicorn has them begin with the default action for SIGTERM."""
    begun = set(map(int, re.findall(r"Booting worker with pid: (\d+)", server.said)))
    return begun - set(map(int, re.findall(r"Started server process \[(\d+)\]", server.said)))


def uvicorn(deployed: Deployment, *options: str, way: Sequence[str] = RUN, **environment: str) -> Program:
    """A uvicorn with four workers."""
    command = (
        *way,
        "uvicorn",
        "--workers",
        "4",
        "--uds",
        str(deployed.socket),
        *options,
        "tests.programs.service:asgi",
    )
    program = deployed.program(*command, **environment)
    program.writes(program.errors, UVICORN_LINE, "uvicorn.error")
    program.writes(program.output, UVICORN_ACCESS, "uvicorn.access")
    return program


@pytest.mark.parametrize("way", [pytest.param(RUN, id="run"), pytest.param(PLAIN, id="hook", marks=ANOTHER)])
def test_uvicorn(deployed: Deployment, scale: Scale, way: Sequence[str]) -> None:
    """Four workers of uvicorn, one of them ended, then all replaced, then all ended under load, lose nothing."""
    requests, records = scale(400, 32), scale(25, 8)
    if way == PLAIN:
        settings = deployed.directory / "log.json"
        settings.write_text(json.dumps(log_config()))
        server = uvicorn(deployed, "--log-config", str(settings), way=way, SERVICE_CONFIGURE="1")
    else:
        server = uvicorn(deployed)

    with deployed.load(records) as load:
        load.wait(requests // 4)
        first = load.pids()
        os.kill(min(first), signal.SIGTERM)
        server.wait_said("died")
        load.wait(requests // 2)
        server.signal(signal.SIGHUP)
        load.wait_others(first, 4)
        load.wait(requests)
        assert server.terminate() == 0, server.said

    verdict = deployed.judge()
    assert verdict.witnessed >= requests * records


def test_the_collector_restarts(deployed: Deployment, scale: Scale) -> None:
    """A graceful restart of the collector under load, and a reload of the server after it, lose nothing."""
    requests, records = scale(400, 32), scale(25, 8)
    server = gunicorn(deployed, *GTHREAD, "--preload")

    with deployed.load(records) as load:
        load.wait(requests // 2)
        deployed.restart_collector()
        load.wait(requests)
        server.signal(signal.SIGHUP)
        load.wait_others(load.pids(), 2)
        assert server.terminate() == 0, server.said

    assert deployed.judge().witnessed >= requests * records


@pytest.mark.parametrize(("start", "workers"), [(gunicorn, 3), pytest.param(uvicorn, 4, marks=ANOTHER)])
def test_a_level_reaches_every_worker(
    deployed: Deployment, scale: Scale, start: Callable[..., Program], workers: int
) -> None:
    """All workers confirm a level, and have it from then on, as do those that come later, from their first request."""
    requests = scale(400, 32)
    operator = Operator(deployed.directory / "runtime")
    server = start(deployed)

    with deployed.load(1) as load:
        load.wait(requests)
        first = eventually(lambda: current(operator, set(), workers + 1), PATIENCE, what="the server and its workers")
        before = len(load.answers)
        answer = operator.set_level(logging.DEBUG, "shop")
        assert answer["confirmed"] == answer["workers"] == len(first), answer
        since = len(load.answers) + CLIENTS  # requests that were on their way
        server.signal(signal.SIGHUP)
        load.wait_others(first, 1)
        load.wait(len(load.answers) + requests)
        assert eventually(lambda: current(operator, first, workers), PATIENCE, what="workers that came later")
        assert server.terminate() == 0, server.said

    verdict = deployed.judge()
    details = {line["message"] for line in verdict.lines if line["level"] == "DEBUG"}
    assert [answer for answer in load.answers[:before] if answer["detail"] in details] == []
    assert [answer for answer in load.answers[since:] if answer["detail"] not in details] == []


def current(operator: Operator, than: set[int], count: int) -> set[int]:
    """The processes that have the newest level rules, if there are so many beside the given ones; else none."""
    rows = operator.levels()["workers"]
    pids = {row["pid"] for row in rows if row["current"]} - than
    return pids if len(pids) >= count else set()


def celery(deployed: Deployment, pool: str = "prefork", *, way: Sequence[str] = RUN, **environment: str) -> Program:
    """A celery worker with a pool of four: processes, each for one task, or greenlets."""
    command = (*way, "celery", "--app", "tests.programs.jobs", "worker", "--pool", pool, "--concurrency", "4")
    more = ("--max-tasks-per-child", "1", "--loglevel", "INFO", "--without-mingle", "--without-gossip")
    program = deployed.program(*command, *more, JOBS_FOLDER=str(deployed.directory), **environment)
    program.writes(program.errors, CELERY_LINE, "celery", "kombu", "multiprocessing")
    return program


def publish(deployed: Deployment, tasks: int, records: int) -> None:
    """Publishes tasks that log so many records each."""
    command = (*PLAIN, "tests.programs.jobs", str(tasks), str(records))
    assert deployed.program(*command, JOBS_FOLDER=str(deployed.directory)).wait() == 0


@pytest.mark.parametrize("way", [pytest.param(RUN, id="run", marks=ANOTHER), pytest.param(PLAIN, id="hook")])
def test_celery(deployed: Deployment, scale: Scale, way: Sequence[str]) -> None:
    """A process for each task, and a warm shutdown after the last, lose nothing."""
    tasks, records = scale(100, 8), scale(100, 10)
    worker = celery(deployed, way=way, JOBS_SPARED="1", **({"JOBS_INSTALL": "1"} if way == PLAIN else {}))
    publish(deployed, tasks, records)

    worker.wait_said("succeeded in", tasks)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said

    verdict = deployed.judge(unlike=["Connected to"])  # a URL is masked by us in another way
    assert verdict.lost == 0
    assert verdict.witnessed == tasks * records
    assert verdict.processes == tasks


@pytest.mark.parametrize("pool", ["gevent", pytest.param("eventlet", marks=ANOTHER)])
def test_celery_of_greenlets(deployed: Deployment, scale: Scale, pool: str) -> None:
    """A worker that makes threads greenlets after logbus is there loses nothing, and neither waits nor hangs."""
    tasks, records = scale(100, 8), scale(100, 10)
    worker = celery(deployed, pool)
    publish(deployed, tasks, records)

    worker.wait_said("succeeded in", tasks)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said

    verdict = deployed.judge(unlike=["Connected to", "pidbox: Connected to"])
    assert verdict.witnessed == tasks * records
    assert verdict.processes == 1


@pytest.mark.skipif(not SOAK, reason="half a minute, in which celery waits for what it has killed")
def test_celery_is_ended_under_load(deployed: Deployment, scale: Scale) -> None:
    """What celery kills in a warm shutdown, while its pool is being replaced, is counted to the record."""
    tasks, records = scale(100, 8), scale(100, 10)
    worker = celery(deployed)
    publish(deployed, 2 * tasks, records)

    eventually(lambda: deployed.witnessed() >= tasks * records, PATIENCE, what="tasks")
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0, worker.said

    lost = deployed.pids() - {worker.process.pid}
    verdict = deployed.judge(lost=lost, unlike=["Connected to", "Task jobs.work"])
    assert verdict.missing <= verdict.lost <= verdict.missing + len(lost)  # and what celery says at a task's end


def pools(deployed: Deployment, *kinds: str, way: Sequence[str] = RUN, **options: Any) -> Program:
    """A program that logs from processes of these kinds."""
    return deployed.program(*way, "tests.programs.pools", json.dumps({"kinds": kinds, **options}))


@pytest.mark.parametrize("way", [pytest.param(RUN, id="run"), pytest.param(PLAIN, id="configure", marks=ANOTHER)])
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(deployed: Deployment, scale: Scale, method: str, way: Sequence[str]) -> None:
    """Pools and executors that replace their processes, processes that end, and terminated ones lose nothing."""
    kinds = ("pool", "executor", "process", "terminated")
    children, records = scale(24, 3), scale(105, 10)
    options = {"method": method, "children": children, "records": records, "configured": way == PLAIN}
    program = pools(deployed, *kinds, way=way, **options)

    assert program.wait() == 0, program.said

    verdict = deployed.judge()
    assert verdict.witnessed >= len(kinds) * children * records
    assert verdict.processes >= 2 * children


@pytest.mark.parametrize("way", [pytest.param(RUN, id="run"), pytest.param(PLAIN, id="configure", marks=ANOTHER)])
def test_an_end_past_all_hooks(deployed: Deployment, scale: Scale, way: Sequence[str]) -> None:
    """What a process takes with it that ends by os._exit is counted, to the record; after a flush it is nothing."""
    children, records = scale(12, 3), scale(400, 40)
    options = {"method": "fork", "children": children, "records": records, "configured": way == PLAIN}
    program = pools(deployed, "leaving", "flushing", way=way, **options)

    assert program.wait() == 0, program.said

    verdict = deployed.judge(lost=deployed.pids() - {program.process.pid})
    assert verdict.witnessed == 2 * children * records + 3
    assert verdict.missing == verdict.lost <= children * records
