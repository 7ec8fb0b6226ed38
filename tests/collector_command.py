"""The real ``logbus collector start`` as a child process, for the tests that need the whole of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.eventually import eventually

ROOT = Path(__file__).resolve().parent.parent

#: Seconds from start to the ready line; on a busy machine with two cores the imports alone may take some.
START_TIMEOUT = 20.0
#: Seconds from SIGTERM to the end of the process: the drain has a deadline of its own below this.
STOP_TIMEOUT = 20.0

_READY = re.compile(
    r"^collector (?P<name>\S+) ready: records (?P<records>\S+), control (?P<control>\S+)$", re.MULTILINE
)


def child_environment(**changes: str) -> dict[str, str]:
    """The environment of this test with the checkout first on the import path, whatever is installed."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def run_logbus(*arguments: str, timeout: float = START_TIMEOUT, **options: Any) -> subprocess.CompletedProcess[str]:
    """What ``python -m logbus ARGUMENTS`` did, its output as text. Options are those of subprocess.run."""
    options.setdefault("env", child_environment())
    command = [sys.executable, "-m", "logbus", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout, **options)


class CollectorCommand:
    """A collector in a process of its own; ``endpoint`` and ``control`` are URLs, known once it is ready."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self.process = process
        self.output = output
        self.errors = errors
        self.name = ""
        self.endpoint = ""
        self.control = ""

    @classmethod
    def start(cls, *arguments: str, directory: Path, number: int, env: dict[str, str]) -> CollectorCommand:
        """The process, just started in ``directory``. Its output goes to files: nobody has to read a pipe in time."""
        output, errors = directory / f"collector-{number}.out", directory / f"collector-{number}.err"
        with output.open("wb") as out, errors.open("wb") as err:
            command = [sys.executable, "-m", "logbus", "collector", "start", *arguments]
            process = subprocess.Popen(
                command, cwd=directory, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        return cls(process, output, errors)

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self.errors.read_text(errors="replace")

    @property
    def stdout(self) -> str:
        """What it has written to stdout so far."""
        return self.output.read_text(errors="replace")

    def wait_ready(self, timeout: float = START_TIMEOUT) -> CollectorCommand:
        """Itself, once a worker can connect. Raises AssertionError with its stderr if it ends or takes too long."""

        def ready() -> re.Match[str] | None:
            found = _READY.search(self.stderr)
            if found is None and self.process.poll() is not None:
                raise RuntimeError(f"the collector ended with {self.process.returncode}: {self.stderr}")
            return found

        try:
            found = eventually(ready, timeout, what="the collector's ready line")
        except RuntimeError as error:
            raise AssertionError(str(error)) from None
        assert found is not None
        self.name, self.endpoint, self.control = found["name"], found["records"], found["control"]
        return self

    def status(self) -> dict[str, Any]:
        """The document of ``logbus status --json``, balanced or not."""
        done = run_logbus("status", "--json", "--control", self.control)
        assert done.returncode in (0, 1), f"status ended with {done.returncode}: {done.stderr}"
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def stop(self, timeout: float = STOP_TIMEOUT) -> int:
        """The exit code after SIGTERM and the drain that it starts."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """Ends it as a crash would: SIGKILL, nothing drained, nothing cleaned up."""
        self.process.kill()
        self.process.wait(STOP_TIMEOUT)
