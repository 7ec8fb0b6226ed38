"""A crowd of workers: one process forks most of them and starts the others, each logs at a rate and keeps a journal.

Usage: ``python -m tests.programs.crowd '{"journal": …, "workers": …, …}'``. It lives until its stdin is closed; then
every worker is ended by SIGTERM, which drains it. The journal is one file of JSON lines, appended by everybody: who is
ready, and every version of the level rules that a worker passes through, with the level that its loggers have then.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NoReturn

import logbus
from logbus.producers.gate import Front, Gate

#: The loggers whose levels the journal tells.
LOGGERS = ("proxywhirl.rotator", "proxywhirl.cache.store", "root")
#: Of so many calls at INFO one has two at DEBUG beside it.
CALLS = 25


@dataclass(frozen=True, slots=True)
class Crowd:
    """What a crowd does. ``rate`` is records per second and worker, 0 for flat out, -1 for not a word.

    ``started`` of the workers begin with an exec and so import everything anew, the others are forked.
    """

    journal: str
    name: str
    workers: int
    rate: int = 25
    started: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


def run(crowd: Crowd) -> None:
    """The process from which all others come."""
    children: list[int] = []
    programs: list[subprocess.Popen[bytes]] = []
    for number in range(crowd.workers):
        name = f"{crowd.name}-{number}"
        if number < crowd.started:
            alone = json.dumps(asdict(replace(crowd, name=name, workers=0)))
            programs.append(subprocess.Popen([sys.executable, "-m", __spec__.name, alone], stdin=subprocess.DEVNULL))
        elif pid := os.fork():
            children.append(pid)
        else:
            work(replace(crowd, name=name, workers=0))
    sys.stdin.buffer.read()
    for pid in (*children, *(program.pid for program in programs)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
    for program in programs:
        program.wait()
    for pid in children:
        os.waitpid(pid, 0)


def work(crowd: Crowd) -> NoReturn:
    """One worker."""
    try:
        note = _journal(crowd)
        _follow(note)
        logbus.configure(worker=crowd.name, **crowd.settings)
        rotator, cache = logging.getLogger(LOGGERS[0]), logging.getLogger(LOGGERS[1])
        if crowd.rate >= 0:
            rotator.debug("the first words of %s", crowd.name)
            rotator.info("%s is here", crowd.name)
        note(event="ready", levels=_levels())
        if crowd.rate < 0:
            threading.Event().wait()
        number = 0
        while True:
            number += 1
            rotator.info("selected proxy %d", number)
            if number % CALLS == 0:
                rotator.debug("looked at proxy %d", number)
                cache.debug("looked for entry %d", number)
            if crowd.rate:
                time.sleep(1 / crowd.rate)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)  # a child that was forked never goes back to where its parent is


def _journal(crowd: Crowd) -> Callable[..., None]:
    """Writes a line into the journal. O_APPEND: a line of one write is whole, whoever else writes."""
    journal = os.open(crowd.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def note(**values: Any) -> None:
        line = {"worker": crowd.name, "pid": os.getpid(), "at": time.time(), **values}
        os.write(journal, json.dumps(line).encode() + b"\n")

    return note


def _follow(note: Callable[..., None]) -> None:
    """Has every step of the gate in the journal: after each, whether all fronts have taken the rules that are here."""
    step = Gate._wait_for

    def followed(gate: Gate, fronts: list[Front]) -> None:
        step(gate, fronts)
        if gate._levels is not None:
            note(
                event="step",
                ledger=gate._levels.ledger,
                version=gate._levels.version,
                taken=not fronts,
                levels=_levels(),
            )

    Gate._wait_for = followed  # type: ignore[method-assign, assignment]


def _levels() -> dict[str, int]:
    return {name: logging.getLogger(name).getEffectiveLevel() for name in LOGGERS}


if __name__ == "__main__":
    found = Crowd(**json.loads(sys.argv[1]))
    run(found) if found.workers else work(found)
