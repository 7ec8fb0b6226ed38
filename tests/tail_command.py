"""The real ``logbus tail`` as a child process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.collector_command import STOP_TIMEOUT, child_environment
from tests.eventually import eventually


class TailCommand:
    """A tail whose stderr goes to a file; its stdout too, unless it was given another place."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self.process = process
        self._output = output
        self._errors = errors

    @property
    def stdout(self) -> str:
        """What it has written to stdout so far."""
        return self._output.read_text()

    @property
    def lines(self) -> list[str]:
        """The whole lines of it."""
        return [line for line in self.stdout.splitlines(keepends=True) if line.endswith("\n")]

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        return self._errors.read_text()

    def wait_following(self, times: int = 1) -> TailCommand:
        """Itself, once a collector has taken it in (so often)."""
        eventually(lambda: self.stderr.count("following collector") >= times, what="a tail that follows")
        return self

    def wait(self) -> int:
        """Its exit code."""
        return self.process.wait(STOP_TIMEOUT)

    def end(self, number: int = signal.SIGINT) -> int:
        """Its exit code after a signal, Ctrl-C's by default."""
        self.process.send_signal(number)
        return self.wait()


@contextmanager
def tail_command(
    directory: Path, *arguments: str, number: int = 0, stdout: IO[bytes] | int | None = None, ready: bool = True
) -> Iterator[TailCommand]:
    """A tail that has been started in a directory, and is killed at the end if it still runs."""
    output, errors = directory / f"tail-{number}.out", directory / f"tail-{number}.err"
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "logbus", "tail", *arguments],
            cwd=directory,
            env=child_environment(),
            stdin=subprocess.DEVNULL,
            stdout=out if stdout is None else stdout,
            stderr=err,
        )
    tail = TailCommand(process, output, errors)
    try:
        yield tail.wait_following() if ready else tail
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert "Traceback" not in tail.stderr, tail.stderr
