"""The bounded form: everything up, requests for some seconds, the ledger, the verdict, everything down."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scripts.demo.check import Verdict, check, check_secrets, end_of_last_line
from scripts.demo.debug import Operator, Window
from scripts.demo.follow import Follower
from scripts.demo.layout import CHECKOUT, WORKERS, Layout
from scripts.demo.scene import Scene
from scripts.demo.supervisor import POLL_SECONDS, UP, DemoError, Supervisor, discard, tail
from scripts.demo.witness import Statement

_COLOUR = re.compile(r"(\x1b\[[0-9;]*m)")

#: Requests a second of each worker.
RATE = 20.0
#: Seconds beyond the requests that the workers get: to start on a busy machine, and to hand over what they logged.
GRACE_SECONDS = 60.0
#: Seconds until the ledger must be at rest (nothing in flight, nothing queued) once the workers have ended.
REST_SECONDS = 10.0


def run(layout: Layout, log: Path, seconds: float) -> int:
    """Runs the demo once; 0 if every record is accounted for, else 1 with the reasons on stderr."""
    supervisor = Supervisor(layout)
    supervisor.clear()
    for stale in (layout.state, layout.witnesses, layout.output, layout.sockets):
        discard(stale)
    offset = end_of_last_line(log)
    environment = layout.environment(rate=RATE)  # the workers go on until they are stopped, on whatever machine
    console = Follower(layout.console)
    operator = Operator(layout, environment, seconds)
    try:
        supervisor.start(environment, outlive=False)
        wait_for_workers(supervisor, layout, console, operator, seconds + GRACE_SECONDS)
        status = ledger_at_rest(environment)
        show(console)
        print("\nthe ledger (logbus status):", flush=True)
        logbus(environment, "status")
        # Before the verdict: only what is in the file when the collector has gone is delivered for good.
        supervisor.stop_group("collector")
        code = supervisor.processes()["collector"]["exitstatus"]
        if code != 0:
            raise DemoError(f"the collector ended with {code}:\n{tail(layout.output / 'collector.err')}")
        verdict = judge(layout, status, log, offset, operator.window)
    except DemoError as error:
        show(console)
        verdict = Verdict(problems=[str(error)])
    finally:
        supervisor.shutdown()
        discard(layout.sockets)
    print()
    for fact in verdict.facts:
        print(fact)
    for problem in verdict.problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    print(f"log file: {log}")
    return 1 if verdict.problems else 0


def wait_for_workers(
    supervisor: Supervisor, layout: Layout, console: Follower, operator: Operator, timeout: float
) -> None:
    """Shows the console until the operator is done and all workers, then stopped, have ended well.

    Raises DemoError when a program is lost, or time is up.
    """
    deadline = time.monotonic() + timeout
    stopping = False
    while True:
        processes = supervisor.processes()
        show(console)
        for name in ("services", "collector"):
            if processes[name]["statename"] not in UP:
                output = layout.output / ("collector.err" if name == "collector" else f"{name}.out")
                raise DemoError(f"{name} is {processes[name]['statename']}:\n{tail(output)}")
        ended = 0
        for name in WORKERS:
            state, code = processes[name]["statename"], processes[name]["exitstatus"]
            if stopping and state in ("EXITED", "STOPPED") and code == 0:
                ended += 1
            elif state not in UP and not (stopping and state == "STOPPING"):
                raise DemoError(f"lost worker {name} ({state}, exit {code}):\n{tail(layout.output / f'{name}.out')}")
        if ended == len(WORKERS):
            return
        if not stopping:
            operator.look()
            if operator.done:
                stopping = True
                supervisor.stop_group("workers", wait=False)
        if time.monotonic() > deadline:
            raise DemoError(f"expected the workers to end within {timeout:g} s, {len(WORKERS) - ended} have not")
        time.sleep(POLL_SECONDS)


def ledger_at_rest(environment: Mapping[str, str]) -> dict[str, Any]:
    """The document of ``logbus status --json``, once no worker lives and nothing is queued, or after REST_SECONDS."""
    deadline = time.monotonic() + REST_SECONDS
    while True:
        status = ledger(environment)
        # The process has ended, but its last frame may still be on its way: the row says "live" until then.
        live = any(row["state"] == "live" for row in status["workers"] if row["worker"] in WORKERS)
        if not (live or any(sink["queued"] for sink in status["sinks"])) or time.monotonic() > deadline:
            return status
        time.sleep(POLL_SECONDS)


def ledger(environment: Mapping[str, str]) -> dict[str, Any]:
    """The document of ``logbus status --json``. Raises DemoError when there is none."""
    command = [sys.executable, "-m", "logbus", "status", "--json"]
    answer = subprocess.run(command, cwd=CHECKOUT, env=dict(environment), check=False, capture_output=True, text=True)
    try:
        status: dict[str, Any] = json.loads(answer.stdout)
    except ValueError:
        raise DemoError(f"logbus status failed with {answer.returncode}: {answer.stderr.strip()}") from None
    return status


def judge(layout: Layout, status: Mapping[str, Any], log: Path, offset: int, window: Window) -> Verdict:
    """The verdict, with every statement and every output that the run has left."""
    statements = []
    problems = []
    for worker in WORKERS:
        try:
            statements.append(Statement.load(layout.witnesses, worker))
        except FileNotFoundError:
            problems.append(f"{worker}: ended without a statement")
    secrets = Scene.load(layout.scene).secrets()
    verdict = check(statements, status, log, offset, secrets, window)
    verdict.problems[:0] = problems
    for path in (layout.console, layout.output / "collector.err"):
        verdict.problems += check_secrets(path.read_bytes(), secrets, str(path))
    return verdict


def logbus(environment: Mapping[str, str], *arguments: str) -> int:
    """The exit code of the logbus command, which prints to our output."""
    command = [sys.executable, "-m", "logbus", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, env=dict(environment), check=False).returncode


def show(console: Follower) -> None:
    """Prints what is new on the collector's console; on a terminal each line is cut to its width."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    while lines := console.read():
        for line in lines:
            print(line if width is None else clip(line, width))
    sys.stdout.flush()


def clip(line: str, width: int) -> str:
    """The line, cut to so many visible characters; colour sequences take no room and are kept."""
    parts = _COLOUR.split(line)
    if sum(len(part) for part in parts[::2]) <= width:
        return line
    room = width - 1
    for at in range(0, len(parts), 2):
        parts[at] = parts[at][:room]
        room -= len(parts[at])
    return "".join(parts) + "…"
