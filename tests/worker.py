"""A worker under test: a script of a few lines in a process of its own, ended whatever becomes of the test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

from logbus.counters import DeadPage, read_page
from tests.collector_command import ROOT, child_environment
from tests.eventually import eventually

#: Seconds that a worker may take to come to its end, unless a test says less.
PATIENCE = 60.0

_PRELUDE = r"""
import json, logging, os, signal, sys, threading, time
import logbus
def say(**values):
    os.write(1, json.dumps(values).encode() + b"\n")  # in one piece: several processes may speak
log = logging.getLogger("shop.till")
"""


class Worker:
    """A process that runs a script, which has ``logbus``, ``log``, the usual modules, and ``say(key=value)``.

    With ``stdin`` it may read from the test, until :meth:`close_stdin`.
    """

    def __init__(
        self, script: str, *arguments: str, options: tuple[str, ...] = (), stdin: bool = False, **environment: str
    ) -> None:
        code = _PRELUDE + textwrap.dedent(script)
        self.process = subprocess.Popen(
            [sys.executable, *options, "-c", code, *arguments],
            env=child_environment(**environment),
            cwd=ROOT,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def hear(self) -> dict[str, Any]:
        """The next thing that the script says; waits for it."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"the worker ended: {self.process.communicate()}"
        said: dict[str, Any] = json.loads(line)
        return said

    def close_stdin(self) -> None:
        """Ends what the script reads from stdin: the sign to go on."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.stdin = None

    def wait(self, timeout: float = PATIENCE) -> float:
        """Seconds from now until the process has ended; its exit status is in ``process.returncode``."""
        begun = time.monotonic()
        try:
            self.stdout, self.stderr = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"the worker hung: {self.stderr}") from None
        return time.monotonic() - begun

    def finish(self) -> dict[str, Any]:
        """The last thing that the script says, after an end without a fault."""
        self.wait()
        assert self.process.returncode == 0, self.stderr
        said: dict[str, Any] = json.loads(self.stdout.splitlines()[-1]) if self.stdout else {}
        return said

    def end(self) -> None:
        """Ends the process, and those that it has forked, if any of them still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.stdout, self.stderr = self.process.communicate()


def page_of(pages: Path, pid: int) -> DeadPage:
    """The page of a process, which has ended: whoever held its lock is gone."""

    def look() -> DeadPage | None:
        found = [page for page in map(read_page, pages.glob("*.page")) if page.meta.pid == pid]
        assert len(found) == 1, found
        return None if found[0].alive else found[0]

    page = eventually(look)
    assert page is not None
    return page
