"""What a call costs that a level suppresses, and one that passes loguru: each kind of gate in a process of its own.

A suppressed call is measured beside the library's own, in one process and in turns: the one logger suppresses what
``set-level`` suppresses, by a real collector, the other what its application or its handler's level does. Both stand in
functions that differ in their globals alone. The program is ``python -m benchmarks.gates '{"gate": …}'``; it prints
its result as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, Final

from benchmarks.service import PATIENCE_S, environment

#: The gates that are measured, and what each one's calls are.
GATES: Final = ("stdlib", "loguru", "idle")
#: Calls of one turn, when they are suppressed and when they pass; these fit the buffer.
SUPPRESSED: Final = 20_000
PASSED: Final = 2_000
#: Loggers of an application that is idle.
LOGGERS: Final = 500

#: As the standard library and proxywhirl write them.
_STDLIB_CALL: Final = 'log.debug("Selected proxy %s for the request", proxy)'
_LOGURU_CALL: Final = 'logger.info("Closed pooled async client", proxy_id=proxy)'

_WARNING: Final = 30


@dataclass(frozen=True, slots=True)
class Task:
    """What one child does: ``turns`` of each kind of call, each of ``1 / share`` of the calls, ``seconds`` of idleness.

    ``control`` is the URL of the collector's command socket.
    """

    gate: str
    control: str
    turns: int
    share: int
    seconds: float


def run(task: Task, directory: Path) -> dict[str, list[float]]:
    """Runs a task in a new process; its figures by name. Raises RuntimeError with its stderr when it fails."""
    command = [sys.executable, "-m", "benchmarks.gates", json.dumps(asdict(task))]
    done = subprocess.run(
        command, cwd=directory, env=environment(directory), capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{task.gate} failed: {done.stderr}")
    found: dict[str, list[float]] = json.loads(done.stdout)
    return found


def measure(task: Task) -> dict[str, list[float]]:
    """Runs a task here."""
    return {"stdlib": _stdlib, "loguru": _loguru, "idle": _idle}[task.gate](task)


def set_level(control: str, level: int, component: str, **more: Any) -> None:
    """Sets a level through the collector. Raises RuntimeError unless this worker, the only one, has confirmed it."""
    _order(control, {"command": "set_level", "selector": component, "level": level, "force": True, **more})


def reset_levels(control: str) -> None:
    """Takes back what the task before has set."""
    _order(control, {"command": "reset_level", "all": True})


def _order(control: str, command: dict[str, Any]) -> None:
    from logbus.bus import control_endpoint
    from logbus.cli.client import request

    command |= {"wait_seconds": PATIENCE_S}
    answer = request(command, control=control_endpoint(control), timeout=2 * PATIENCE_S)
    if answer["unconfirmed"] or answer["workers"] > 1:
        raise RuntimeError(f"expected one worker that confirms, found {answer}")


def _stdlib(task: Task) -> dict[str, list[float]]:
    import logbus

    logbus.configure(worker="stdlib")
    reset_levels(task.control)
    ours, own = logging.getLogger("proxywhirl.rotator"), logging.getLogger("application.picker")
    own.setLevel(_WARNING)
    calls = _calls(_STDLIB_CALL, SUPPRESSED // task.share)
    set_level(task.control, _WARNING, "rotator")
    figures = _in_turns("suppressed", task, calls, {"log": ours}, {"log": own})
    later = logging.getLogger("proxywhirl.rotator.later")
    figures |= _in_turns("suppressed_in_a_later_logger", task, calls, {"log": later}, {"log": own})
    set_level(task.control, 10, "rotator", where={"request_id": "r-1"})
    return figures | _in_turns("no_condition_holds", task, calls, {"log": ours}, {"log": own})


def _loguru(task: Task) -> dict[str, list[float]]:
    from loguru import logger

    import logbus

    module: Any = import_module("proxywhirl.rotator.async_")

    logbus.configure(worker="loguru")
    reset_levels(task.control)
    if module.logger is logger:
        raise RuntimeError("expected the direct gate in a module of proxywhirl, found loguru's logger")
    # Loguru as it is, with a core of its own: its only handler writes nothing.
    loguru: Any = import_module("loguru._logger")
    own = loguru.Logger(loguru.Core(), None, 0, False, False, False, False, True, [], {})
    beside = {**vars(module), "logger": own}
    suppressed, passed = (_calls(_LOGURU_CALL, count // task.share) for count in (SUPPRESSED, PASSED))
    own.add(lambda message: None, format="{message}", level=_WARNING)
    set_level(task.control, _WARNING, "rotator")
    figures = _in_turns("suppressed", task, suppressed, vars(module), beside)
    set_level(task.control, 10, "rotator", where={"request_id": "r-1"})
    figures |= _in_turns("no_condition_holds", task, suppressed, vars(module), beside)
    own.remove()
    own.add(lambda message: None, format="{message}", level=0)
    reset_levels(task.control)
    set_level(task.control, 10, "rotator")
    return figures | _in_turns("passed", task, passed, vars(module), beside)


def _idle(task: Task) -> dict[str, list[float]]:
    """CPU milliseconds of the sender thread per second in which nobody logs, by what is in force."""
    import logbus

    logbus.configure(worker="idle")
    reset_levels(task.control)
    [sender] = (name for name in os.listdir("/proc/self/task") if _is_sender(name))
    figures = {"no_logger": [_idle_cost(sender, task.seconds)]}
    for number in range(LOGGERS):
        logging.getLogger(f"package{number % 10}.module{number}")
    figures["no_rule"] = [_idle_cost(sender, task.seconds)]
    set_level(task.control, 10, "package1")
    return {**figures, "one_rule": [_idle_cost(sender, task.seconds)]}


def _is_sender(task: str) -> bool:
    return any(thread.name == "logbus-sender" and thread.native_id == int(task) for thread in threading.enumerate())


def _idle_cost(task: str, seconds: float) -> float:
    clock = Path(f"/proc/self/task/{task}/schedstat")  # its first word: nanoseconds on a core
    time.sleep(1.1)  # what came before is over: one look sees what is new, and tells the collector its names
    before, begun = int(clock.read_text().split()[0]), time.monotonic()
    time.sleep(seconds)
    return (int(clock.read_text().split()[0]) - before) / 1e6 / (time.monotonic() - begun)


def _calls(statement: str, count: int) -> Callable[[dict[str, Any]], Callable[[], int]]:
    """A function of ``count`` calls, ten in a row so that the loop is in no figure, with globals of one's own."""
    body = "\n        ".join([statement] * 10)
    source = f"def calls(proxy='proxy-07'):\n    for _ in range({count // 10}):\n        {body}\n    return {count}\n"
    [code] = (found for found in compile(source, "calls", "exec").co_consts if isinstance(found, CodeType))
    return lambda namespace: FunctionType(code, namespace, "calls", ("proxy-07",))


def _in_turns(
    name: str,
    task: Task,
    calls: Callable[[dict[str, Any]], Callable[[], int]],
    ours: dict[str, Any],
    own: dict[str, Any],
) -> dict[str, list[float]]:
    """Nanoseconds of a call, ours and the library's own, and their ratio, turn by turn."""
    import logbus

    sides = {"ours": calls(ours), "own": calls(own)}
    found: dict[str, list[float]] = {f"{name}_{side}": [] for side in (*sides, "ratio")}
    for turn in range(-1, task.turns):
        costs = {}
        for side in sorted(sides, reverse=bool(turn % 2)):
            begun = time.thread_time_ns()
            count = sides[side]()
            costs[side] = (time.thread_time_ns() - begun) / count
            if not logbus.flush(PATIENCE_S):
                raise RuntimeError(f"nobody took the records within {PATIENCE_S:g} s")
        if turn >= 0:  # the first one only warms up
            for side, cost in costs.items():
                found[f"{name}_{side}"].append(cost)
            found[f"{name}_ratio"].append(costs["ours"] / costs["own"])
    return found


if __name__ == "__main__":
    print(json.dumps(measure(Task(**json.loads(sys.argv[1])))))
