"""Programs below ``logbus run``, and the same programs by themselves, for tests that compare what they do."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

from logbus.cli.run import worker_environment
from tests.collector_command import child_environment, run_logbus
from tests.peer import Peer

PATIENCE = 60.0
#: Loguru's own handler writes no times, which would never be the same.
SHORT = {"LOGURU_FORMAT": "{level} {name} {function} {line} {message}"}
#: Where no collector is.
ELSEWHERE = {"LOGBUS_RUNTIME_DIR": "/nowhere/logbus"}
#: The shape of a program: it may use these.
PRELUDE = """
import logging, os, signal, sys, time
log = logging.getLogger("shop.till")
"""


def write_program(directory: Path, lines: str) -> str:
    """Where a program of these lines is."""
    path = directory / "shop.py"
    path.write_text(PRELUDE + textwrap.dedent(lines))
    return str(path)


def run(*command: str, options: tuple[str, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    """What the command ``logbus run OPTIONS -- COMMAND`` did."""
    return run_logbus("run", *options, "--", *command, timeout=PATIENCE, env=child_environment(**SHORT, **environment))


def below(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a program did that was started below ``logbus run``: the same, without waiting for the command line."""
    surroundings = worker_environment(
        child_environment(**SHORT, **environment), {}, no_proxywhirl=False, public_only=False
    )
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env=surroundings)


def bare(*command: str) -> subprocess.CompletedProcess[str]:
    """What a command did by itself."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, env=child_environment(**SHORT, **ELSEWHERE)
    )


def arrived(peer: Peer) -> list[tuple[str, str, str]]:
    """Logger, level and message of what has come, in order; each worker's last words are awaited by its exit."""
    return [(record.logger, record.level, record.message) for record in peer.arrivals.records]


def same(mine: subprocess.CompletedProcess[str], other: subprocess.CompletedProcess[str]) -> None:
    """What a program did is what it does without us."""
    assert (mine.returncode, mine.stdout, mine.stderr) == (other.returncode, other.stdout, other.stderr)
