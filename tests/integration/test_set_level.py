"""``logbus set-level`` with real workers: what they log follows, they confirm, and who can't is named."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.collector_command import CollectorCommand, run_logbus
from tests.conftest import StartCollector
from tests.eventually import eventually
from tests.integration.watch import lines_of
from tests.worker import Worker

StartWorker = Callable[..., Worker]

#: A worker that logs a DEBUG and an INFO of one component each time it is asked to, and ends with its stdin.
SCRIPT = """
logbus.configure()
log = logging.getLogger("proxywhirl.rotator")
say(pid=os.getpid())
number = 0
while True:
    number += 1
    with logbus.context(request_id=str(number % 2)):
        log.debug("debug %d", number)
        log.info("info %d", number)
    time.sleep(0.01)
"""


def started(start_worker: StartWorker, script: str = SCRIPT, **options: Any) -> Worker:
    """A worker that has configured logging."""
    worker = start_worker(script, **options)
    worker.hear()
    return worker


def levels_of(path: Path, pid: int, since: int = 0) -> list[str]:
    """The levels of the lines of one process, beyond the first ``since`` bytes of a file."""
    data = path.read_bytes()[since:]
    lines = [json.loads(line) for line in data.splitlines(keepends=True)[1:] if line.endswith(b"\n")]
    return [line["level"] for line in lines if line["process_id"] == pid]


def settled(path: Path, pid: int, *, debug: bool) -> None:
    """Waits until what a process logs now has DEBUG records, or has none."""
    since = path.stat().st_size

    def look() -> bool:
        nonlocal since
        found = levels_of(path, pid, since)
        if not debug and "DEBUG" in found:
            since = path.stat().st_size
        return len(found) > 20 and ("DEBUG" in found) is debug

    eventually(look, what=f"lines {'with' if debug else 'without'} DEBUG")


def current(collector: CollectorCommand) -> dict[int, bool]:
    """Whether each worker, by its pid, has the rules in force."""
    done = run_logbus("levels", "--json", "--control", collector.control)
    return {row["pid"]: row["current"] for row in json.loads(done.stdout)["workers"]}


def test_debug_comes_and_goes_while_they_run(
    start_collector: StartCollector, start_worker: StartWorker, tmp_path: Path
) -> None:
    """Two workers confirm, their DEBUG records are in the file; after the reset there are none again."""
    start_collector("--sink", "file:out.jsonl")
    workers = [started(start_worker) for _ in range(2)]
    out = tmp_path / "out.jsonl"
    eventually(out.exists)
    for worker in workers:
        settled(out, worker.pid, debug=False)
    done = run_logbus("set-level", "DEBUG", "--component", "rotator")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2/2 workers confirmed in ")
    for worker in workers:
        settled(out, worker.pid, debug=True)
    late = started(start_worker)
    settled(out, late.pid, debug=True)
    done = run_logbus("reset-level", "--component", "rotator")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3/3 workers confirmed in ")
    for worker in (*workers, late):
        settled(out, worker.pid, debug=False)


def test_a_late_worker_has_its_level_before_its_first_record(
    start_collector: StartCollector, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The very first call already goes by the rules."""
    start_collector("--sink", "file:out.jsonl")
    assert run_logbus("set-level", "DEBUG", "--component", "rotator", "--force").returncode == 0
    script = "logbus.configure(); logging.getLogger('proxywhirl.rotator').debug('the first')"
    assert start_worker(script).finish() == {}
    lines = eventually(lambda: [line for line in lines_of(tmp_path / "out.jsonl") if line["message"] == "the first"])
    assert lines[0]["level"] == "DEBUG"


def test_a_stopped_worker_is_named_and_converges_when_it_goes_on(
    start_collector: StartCollector, start_worker: StartWorker
) -> None:
    """Exit 4 within the timeout with its pid and why; after SIGCONT it has the rules within a second or so."""
    collector = start_collector("--sink", "file:out.jsonl")
    running, stopped = started(start_worker), started(start_worker)
    eventually(lambda: current(collector) == {running.pid: True, stopped.pid: True})
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        done = run_logbus("set-level", "DEBUG", "--timeout", "2")
        assert done.returncode == 4
        assert time.monotonic() - begun < 10  # 2 s and the start of a program, on a machine that does nothing else
        assert done.stdout.startswith("1/2 workers confirmed in ")
        assert f"(pid {stopped.pid}, host" in done.stderr
        assert "is stopped" in done.stderr
    finally:
        os.kill(stopped.pid, signal.SIGCONT)
    eventually(lambda: current(collector) == {running.pid: True, stopped.pid: True})


def test_one_request_is_debugged_and_no_other(
    start_collector: StartCollector, start_worker: StartWorker, tmp_path: Path
) -> None:
    """A condition holds where the context of a call has that value."""
    start_collector("--sink", "file:out.jsonl")
    worker = started(start_worker)
    out = tmp_path / "out.jsonl"
    eventually(lambda: out.exists() and levels_of(out, worker.pid))
    where = ("--component", "rotator", "--where", "request_id=1")
    assert run_logbus("set-level", "DEBUG", *where).returncode == 0
    settled(out, worker.pid, debug=True)
    found = [line for line in lines_of(out) if line["level"] == "DEBUG"]
    assert {line["request_id"] for line in found} == {"1"}


def test_a_worker_keeps_its_level_over_a_crash_of_the_collector(
    start_collector: StartCollector, start_worker: StartWorker, tmp_path: Path
) -> None:
    """After kill -9 the next collector has the rule, under a new version, which the worker confirms by itself."""
    first = start_collector("--sink", "file:out.jsonl")
    worker = started(start_worker)
    eventually(lambda: current(first) == {worker.pid: True})
    assert run_logbus("set-level", "DEBUG").returncode == 0
    first.kill()
    second = start_collector("--sink", "file:out.jsonl")
    eventually(lambda: current(second) == {worker.pid: True})
    settled(tmp_path / "out.jsonl", worker.pid, debug=True)
    assert run_logbus("reset-level").stdout.startswith("1/1 workers confirmed")
    settled(tmp_path / "out.jsonl", worker.pid, debug=False)
