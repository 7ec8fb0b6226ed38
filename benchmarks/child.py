"""A process of the benchmark's own that is told what to do, a line each, and answers with a line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from benchmarks.service import ROOT, environment


class Child:
    """``python -m module`` with arguments, its files in ``directory``; it is killed at the end of the block."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        directory: Path,
        python: str = sys.executable,
        cwd: Path = ROOT,
        stderr: IO[bytes] | None = None,
    ) -> None:
        self._name = " ".join((module, *arguments))
        self._process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=cwd,
            env=environment(directory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def tell(self, line: str) -> None:
        """Gives it a line, newline included."""
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()

    def hear(self, wanted: Sequence[str] = ()) -> str:
        """The next line that it says, of these lines if there are any. Raises RuntimeError when it has died."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if not wanted or line in wanted:
                return line
        raise RuntimeError(f"{self._name} has died")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
