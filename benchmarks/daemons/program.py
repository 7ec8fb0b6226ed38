"""A daemon of a benchmark: a child process in the foreground, its CPU time and memory, and its end."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from benchmarks.scale.memory import peak_mib
from benchmarks.service import PATIENCE_S, cpu_seconds, end

#: Seconds between looks at whether it is ready.
_LOOK_S: Final = 0.01


class Program:
    """A command, started in a directory; ``output`` has what it says. It is ready when ``ready`` says so.

    Raises RuntimeError, with what it said, when it ends before that or takes too long.
    """

    def __init__(
        self, command: Sequence[str], directory: Path, environment: Mapping[str, str], ready: Callable[[], bool]
    ) -> None:
        self.output = directory / "output"
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                end(self._process)
                raise RuntimeError(f"{command[0]} did not start: {self.said()}")
            time.sleep(_LOOK_S)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """CPU time so far."""
        return cpu_seconds(self.pid)

    def peak_mib(self) -> float:
        """The largest resident set so far."""
        return peak_mib(self.pid)

    def said(self) -> str:
        """What it has written on stdout and stderr."""
        return self.output.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end(self._process)


def free_port() -> int:
    """A TCP port at which nobody listens just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def listens(port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection(("127.0.0.1", port), 1.0).close()
    except OSError:
        return False
    return True
