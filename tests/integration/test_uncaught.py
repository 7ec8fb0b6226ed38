"""Real processes that die of what nobody caught: the record is there, with its fields, and stderr is what it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.collector_command import child_environment
from tests.peer import Arrived, Peer
from tests.worker import Worker

StartWorker = Callable[..., Worker]


def crashes(peer: Peer) -> list[Arrived]:
    """The records of what nobody caught."""
    return [record for record in peer.arrivals.records if record.logger == "uncaught"]


def the_crash(peer: Peer) -> Arrived:
    """The only one."""
    found = crashes(peer)
    assert len(found) == 1, [record.message for record in peer.arrivals.records]
    return found[0]


def run(start_worker: StartWorker, script: str, **options: Any) -> Worker:
    """A worker that is configured, runs the script, and has ended."""
    worker = start_worker("logbus.configure()\n" + script, **options)
    worker.wait()
    return worker


def test_a_program_that_ends_by_an_exception(peer: Peer, start_worker: StartWorker) -> None:
    """The crash arrives after what was logged before it, and exit status and stderr are Python's own."""
    script = "def sell(): raise ValueError('no till')\nlog.info('begun')\nwith logbus.context(request_id='r1'): sell()"
    worker = run(start_worker, script)

    assert worker.process.returncode == 1
    assert worker.stderr.count("Traceback (most recent call last)") == 1
    assert worker.stderr.endswith("ValueError: no till\n")
    assert peer.arrivals.messages == ["begun", "uncaught ValueError: no till"]
    crash = the_crash(peer)
    assert (crash.level, crash.function, crash.thread) == ("CRITICAL", "sell", "MainThread")
    assert crash.extra == {"request_id": "r1", "uncaught_in": "main"}
    assert (crash.exception.type, crash.exception.message) == ("ValueError", "no till")
    assert "in sell" in crash.exception.traceback[-1]


def test_stderr_is_that_of_a_program_without_us(peer: Peer, start_worker: StartWorker) -> None:
    """With a handler of the application's on stderr too, each crash stands there once, as without logbus."""
    script = """
class Odd:
    def __del__(self): raise KeyError("odd")
def fail(): raise OSError("thread")
logging.basicConfig(format="%(message)s")
thread = threading.Thread(target=fail, name="t-1")
thread.start(); thread.join()
Odd()
raise ValueError("main")
"""
    bare = start_worker(script)
    bare.wait()
    ours = run(start_worker, script)

    def shown(worker: Worker) -> list[str]:
        return [line for line in worker.stderr.splitlines() if "line" not in line and "0x" not in line]

    assert shown(ours) == shown(bare)
    assert {record.message for record in crashes(peer)} == {
        "uncaught OSError: thread",
        "uncaught KeyError: 'odd'",
        "uncaught ValueError: main",
    }


def test_a_thread_and_what_python_ignores(peer: Peer, start_worker: StartWorker) -> None:
    """They are ERROR, since the process goes on, with the fields of the thread and the name of what was ignored."""
    worker = run(
        start_worker,
        """
class Odd:
    def __del__(self): raise KeyError("odd")
def fail():
    with logbus.context(request_id="r2"):
        raise OSError("disk")
def bound():
    logbus.bind(request_id="r3")
    raise OSError("disk")
for name, target in ("t-2", fail), ("t-3", bound), ("t-4", sys.exit):
    thread = threading.Thread(target=target, name=name)
    thread.start(); thread.join()
Odd()
log.info("on")
""",
    )

    assert worker.process.returncode == 0
    found = {record.extra.get("request_id", record.extra["uncaught_in"]): record for record in crashes(peer)}
    assert found.keys() == {"r2", "r3", "unraisable"}
    assert {record.level for record in found.values()} == {"ERROR"}
    assert (found["r2"].thread, found["r3"].thread) == ("t-2", "t-3")
    assert "Odd.__del__" in found["unraisable"].extra["unraisable"]
    assert peer.arrivals.messages[-1] == "on"


@pytest.mark.parametrize("ending", ["sys.exit(3)", "raise KeyboardInterrupt", "raise SystemExit('told')"])
def test_who_ends_a_program_on_purpose_has_not_crashed(peer: Peer, start_worker: StartWorker, ending: str) -> None:
    """Neither Ctrl-C nor sys.exit() makes a record."""
    worker = run(start_worker, f"log.info('begun')\n{ending}")

    assert worker.process.returncode != 0
    assert peer.arrivals.messages == ["begun"]


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("sys.excepthook = lambda *args: os._exit(7)", 7),  # before us, and ends the process at once
        ("sys.excepthook = lambda *args: print('mine', file=sys.stderr)", 1),
    ],
)
def test_hooks_of_others_before_us_run_after_the_record(
    peer: Peer, start_worker: StartWorker, how: str, status: int
) -> None:
    """A hook that the application had set is called, even one that ends the process: the record has left by then."""
    worker = start_worker(f"{how}\nlogbus.configure()\nraise ValueError('boom')")
    worker.wait()

    assert worker.process.returncode == status
    assert "Traceback" not in worker.stderr
    peer.wait_records(1)
    assert the_crash(peer).message == "uncaught ValueError: boom"


@pytest.mark.parametrize(
    "how",
    [
        "sys.excepthook = lambda *args: None",  # calls nobody
        "ours = sys.excepthook; sys.excepthook = lambda *args: ours(*args)",
        "ours = sys.excepthook; logbus.shutdown(); sys.excepthook = lambda *args: ours(*args); logbus.configure()",
        "import rich.traceback; rich.traceback.install()",
    ],
)
def test_hooks_of_others_on_top_of_ours(peer: Peer, start_worker: StartWorker, how: str) -> None:
    """Whether they call us or not, and how often, the crash is one record."""
    run(start_worker, f"{how}\nwith logbus.context(request_id='r1'): raise ValueError('boom')")

    crash = the_crash(peer)
    assert (crash.level, crash.extra["request_id"], crash.extra["uncaught_in"]) == ("CRITICAL", "r1", "main")


def test_a_task_that_nobody_asked(peer: Peer, start_worker: StartWorker) -> None:
    """A task's failure is one record of asyncio's with the task's fields, never with those of who runs just then."""
    worker = run(
        start_worker,
        """
import asyncio, gc
async def fail(name):
    with logbus.context(request_id=name):
        raise ValueError(name)
async def bound():
    raise ValueError("bound")
async def main():
    tasks = [asyncio.create_task(fail("inner"))]
    with logbus.context(request_id="outer"):
        tasks.append(asyncio.create_task(bound()))
    tasks.append(asyncio.create_task(bound()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with logbus.context(request_id="somebody else"):
        tasks.clear(); gc.collect()
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
logbus.configure()
asyncio.run(main())
""",
    )

    assert worker.process.returncode == 0
    found = [record for record in peer.arrivals.records if record.logger == "asyncio"]
    assert len(found) == 4
    given = sorted((record.exception.message, record.extra.get("request_id", "")) for record in found)
    outer = "outer" if sys.version_info >= (3, 12) else ""  # Python 3.11 does not say what a task's context is
    assert given == [
        ("bound", ""),
        ("bound", outer),
        ("division by zero", "somebody else"),
        ("inner", "inner"),
    ]


_CHILD = """
import logging, multiprocessing, os, sys
import logbus

def fail(name):
    with logbus.context(request_id=name):
        raise ValueError(name)

def leave(code):
    sys.exit(code)

def fine(name):
    logging.getLogger("shop").warning(name)

if __name__ in ("__main__", "__mp_main__"):
    logbus.configure()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    children = [context.Process(target=fail, args=("c1",), name="till-1"), context.Process(target=leave, args=(3,))]
    try:
        raise KeyError("the parent's")
    except KeyError:
        children.append(context.Process(target=fine, args=("well",)))
        for child in children:
            child.start()
        for child in children:
            child.join()
    print([child.exitcode for child in children])
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_the_main_function_of_a_child(peer: Peer, start_worker: StartWorker, tmp_path: Path, method: str) -> None:
    """What a child prints and swallows is a crash, under every start method, and nothing else is."""
    program = tmp_path / "children.py"
    program.write_text(_CHILD)
    worker = start_worker(f"os.execv(sys.executable, [sys.executable, {str(program)!r}, {method!r}])")
    worker.wait()

    assert worker.stdout.splitlines()[-1] == "[1, 3, 0]"
    assert worker.stderr.count("Process till-1:\n") == worker.stderr.count("ValueError: c1\n") == 1
    crash = the_crash(peer)
    assert (crash.level, crash.message) == ("CRITICAL", "uncaught ValueError: c1")
    assert crash.extra == {"request_id": "c1", "uncaught_in": "process", "process_name": "till-1"}
    assert sorted(record.message for record in peer.arrivals.records if record.logger == "shop") == ["well"]


def test_a_child_that_dies_of_what_its_parent_was_handling(peer: Peer, start_worker: StartWorker) -> None:
    """Forked in an ``except`` block it raises the parent's exception again: a crash of its own."""
    run(
        start_worker,
        """
import multiprocessing
def again(error): raise error
try:
    raise ValueError("the parent's")
except ValueError as error:
    child = multiprocessing.get_context("fork").Process(target=again, args=(error,))
    child.start()
    child.join()
""",
    )
    assert the_crash(peer).message == "uncaught ValueError: the parent's"


def test_a_child_of_billiard(peer: Peer, start_worker: StartWorker) -> None:
    """Celery's multiprocessing has the same end, and a name of its own."""
    pytest.importorskip("billiard")
    run(
        start_worker,
        """
import billiard.util
def fail():
    with logbus.context(request_id="c2"):
        raise ValueError("c2")
child = billiard.Process(target=fail, name="till-2")
child.start()
child.join()
""",
    )

    crash = the_crash(peer)
    assert crash.extra == {"request_id": "c2", "uncaught_in": "process", "process_name": "till-2"}


def test_warnings_are_shown_as_they_were(peer: Peer, start_worker: StartWorker) -> None:
    """With a handler of the application's on stderr too, each stands there once, and each is one record."""
    script = """
import warnings
logging.basicConfig(format="%(message)s")
def old():
    warnings.warn("old", FutureWarning, stacklevel=2)
with logbus.context(request_id="r1"):
    old()
open(os.devnull)
"""
    bare = start_worker(script, options=("-Walways",))
    bare.wait()
    ours = start_worker("logbus.configure(capture_warnings=True)\n" + script, options=("-Walways",))
    ours.wait()

    def shown(worker: Worker) -> list[str]:
        return [line.partition(": ")[2] for line in worker.stderr.splitlines()]

    assert shown(ours) == shown(bare)
    assert "FutureWarning: old" in shown(ours)
    assert "tracemalloc" in shown(ours)[-1]
    assert [record.message.partition(":")[0] for record in peer.arrivals.records] == [
        "FutureWarning",
        "ResourceWarning",
    ]
    assert peer.arrivals.records[0].extra["request_id"] == "r1"


def test_a_pool_keeps_what_its_tasks_raise(peer: Peer, start_worker: StartWorker) -> None:
    """What a task of a pool raises belongs to who asked for it; only there, uncaught, it is a crash, once."""
    run(
        start_worker,
        """
import concurrent.futures, multiprocessing
with concurrent.futures.ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
    assert pool.submit(int, "x").exception() is not None
    with logbus.context(request_id="r9"):
        pool.submit(int, "y").result()
""",
    )

    crash = the_crash(peer)
    assert crash.extra == {"request_id": "r9", "uncaught_in": "main"}
    assert "'y'" in crash.message


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("raise ValueError('boom')", ["uncaught ValueError: boom"]),
        ("import sys; hook = sys.excepthook; sys.excepthook = lambda *a: hook(*a)\n1 / 0", None),
        ("raise SystemExit(1)", []),
    ],
)
def test_a_program_below_logbus_run_that_never_logs(peer: Peer, script: str, told: list[str] | None) -> None:
    """It becomes a worker for its last word, whoever stands on top of our hook; stderr is Python's own."""
    command = [sys.executable, "-m", "logbus", "run", "--", sys.executable, "-c", script]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    assert done.stderr.count("Traceback") == (0 if told == [] else 1)
    expected = ["uncaught ZeroDivisionError: division by zero"] if told is None else told
    assert peer.arrivals.messages == expected
