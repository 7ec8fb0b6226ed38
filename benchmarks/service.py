"""The collector under measurement: the real ``logbus collector start`` in a process of its own.

One serves a whole run, as a collector does: what a repetition costs is the difference of its CPU clock before and
after, so that its start is in no figure.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from benchmarks.record import LOGGER

ROOT: Final = Path(__file__).resolve().parent.parent
#: Seconds for a collector to start, to write what it was sent, and to end.
PATIENCE_S: Final = 30.0
#: Seconds between looks.
_LOOK_S: Final = 0.01
#: The variable with which a process does without the compiled parts of logbus.
PURE_PYTHON: Final = "LOGBUS_PURE_PYTHON"

_READY = re.compile(r"ready: records (\S+), control (\S+)$", re.MULTILINE)
_MARK: Final = f'"logger":"{LOGGER}"'.encode()


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, all its threads, user and system (Linux: the clock of a process by its pid)."""
    return time.clock_gettime(~pid << 3 | 2)


def environment(directory: Path, *, pure: bool = False) -> dict[str, str]:
    """The environment of a child: this checkout first on its path, sockets and state in the run's own directory.

    ``pure``: all of logbus is in Python there, whatever is built here.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOGBUS_")}
    # An installed package has its bytecode. Without it each process compiles what it imports: a start takes twice as
    # long, and what the compiler took stays in the resident set, 1 to 2 MiB.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    if pure:
        kept[PURE_PYTHON] = "1"
    return {
        **kept,
        "PYTHONPATH": str(ROOT),
        "LOGBUS_RUNTIME_DIR": str(directory / "runtime"),
        "LOGBUS_STATE_DIR": str(directory / "state"),
    }


def answer(python: Path, module: str, directory: Path) -> str:
    """What a module of this checkout prints below an interpreter. Raises RuntimeError, with its stderr, if it fails."""
    done = subprocess.run(
        [str(python), "-m", module],
        cwd=directory,
        env=environment(directory),
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{python} -m {module} failed: {done.stderr}")
    return done.stdout


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a server: kindly, or by force where that takes too long."""
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Service:
    """A collector, started and ready, with one JSON file or with what ``configuration`` says (TOML).

    ``lines`` is how many reference records its one file holds, as far as read; ``directory`` is where its files are.
    ``python`` is its interpreter.
    """

    def __init__(self, directory: Path, configuration: str | None = None, *, python: str = sys.executable) -> None:
        self.lines = 0
        self.directory = directory
        self._python = python
        self._log = directory / "service.jsonl"
        self._rest = b""
        self._offset = 0
        errors = directory / "service.err"
        command = [python, "-m", "logbus", "collector", "start"]
        if configuration is None:
            command += ["--sink", f"file:{self._log}"]
        else:
            (directory / "logbus.toml").write_text(configuration)
        with errors.open("wb") as file:
            self._process = subprocess.Popen(command, cwd=directory, env=environment(directory), stderr=file)
        deadline = time.monotonic() + PATIENCE_S
        while (found := _READY.search(errors.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                self._process.wait()
                raise RuntimeError(f"the collector did not start: {errors.read_text()}")
            time.sleep(_LOOK_S)
        self.endpoint, self.control = found[1], found[2]

    def cpu_seconds(self) -> float:
        """CPU time of the collector so far."""
        return cpu_seconds(self._process.pid)

    def written_bytes(self) -> int:
        """Bytes that the collector has given to the system for its files so far."""
        return int(Path(f"/proc/{self._process.pid}/io").read_text().split("wchar: ")[1].split()[0])

    def wait_lines(self, lines: int) -> bool:
        """Waits until its file holds so many reference records in all; whether it holds exactly these."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read() < lines and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return self.lines == lines

    def status(self) -> dict[str, Any]:
        """The ledger, as ``logbus status --json`` prints it."""
        command = [self._python, "-m", "logbus", "status", "--json", "--control", self.control]
        done = subprocess.run(
            command, env=environment(self.directory), cwd=self.directory, capture_output=True, check=False
        )
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end(self._process)

    def _read(self) -> int:
        """Counts what the file has got since the last look."""
        with self._log.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        whole, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        self.lines += (whole + newline).count(_MARK)
        return self.lines
