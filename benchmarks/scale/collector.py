"""The real ``logbus collector start``, which may be stopped, killed and started again in one place.

Sockets, ledger and files stay in its directory through all of that, as they do where a supervisor restarts it.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.record import LOGGER
from benchmarks.scale.memory import Memory, peak_mib
from benchmarks.service import PATIENCE_S, cpu_seconds, environment
from logbus.bus import Endpoint
from logbus.cli.client import fetch_status, request

#: Seconds between looks.
_LOOK_S: Final = 0.01
#: Bytes of a file that are read at a time.
_CHUNK: Final = 1 << 20

#: The worker of the collector's own records.
_OWN_WORKER: Final = "logbus"

_READY = re.compile(r"ready: records (\S+), control (\S+)$", re.MULTILINE)
_MARK: Final = f'"logger":"{LOGGER}"'.encode()


class Collector:
    """A collector of one place; ``configuration`` (TOML) is what it does with records.

    It is not running before :meth:`start`, and is ended with the block however it stands.
    """

    def __init__(self, directory: Path, configuration: str, *, python: str = sys.executable) -> None:
        self._directory = directory
        self._python = python
        (directory / "logbus.toml").write_text(configuration)
        self._errors = directory / "collector.err"
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""
        self._control = ""

    @property
    def pid(self) -> int:
        """Its process. Raises RuntimeError when it has none."""
        if self._process is None:
            raise RuntimeError("expected a collector that runs, found none")
        return self._process.pid

    def start(self) -> None:
        """Starts it, and returns when it serves. Raises RuntimeError, with what it said, when it does not start."""
        with self._errors.open("wb") as file:
            self._process = subprocess.Popen(
                [self._python, "-m", "logbus", "collector", "start"],
                cwd=self._directory,
                env=environment(self._directory),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                process_group=0,  # Ctrl-C is for the one who ends it
            )
        deadline = time.monotonic() + PATIENCE_S
        while (found := _READY.search(self._errors.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the collector did not start: {self._errors.read_text()}")
            time.sleep(_LOOK_S)
        self.endpoint, self._control = found[1], found[2]

    def stop(self) -> None:
        """Ends it as an operator does: it drains, and nothing is lost. Raises RuntimeError when it does not end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a crash does; its socket files stay."""
        self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Stops it where it stands: its sockets are there, and nobody reads them."""
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE_S
        while self._state() != "T" and time.monotonic() < deadline:
            time.sleep(_LOOK_S)

    def resume(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """CPU time of this process so far."""
        return cpu_seconds(self.pid)

    def memory(self) -> Memory:
        """What memory it takes now."""
        return Memory.of(self.pid)

    def peak_mib(self) -> float:
        """The largest resident set that it has had."""
        return peak_mib(self.pid)

    def status(self) -> dict[str, Any]:
        """The document of ``logbus status``, after a fresh MARK of every worker."""
        return fetch_status(Endpoint.parse(self._control), name=None, timeout=PATIENCE_S)

    def order(self, command: dict[str, Any]) -> dict[str, Any]:
        """The answer to a command over the control socket."""
        return request(command, control=Endpoint.parse(self._control), timeout=2 * PATIENCE_S)

    def wait_workers(self, workers: int) -> None:
        """Waits until it has heard of so many live workers. Raises RuntimeError when time is up."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := sum(row["state"] == "live" for row in worker_rows(self.status()))) < workers:
            if time.monotonic() > deadline:
                raise RuntimeError(f"expected {workers} live workers, found {found}")
            time.sleep(5 * _LOOK_S)

    def wait_collected(self, records: int) -> dict[str, Any]:
        """The status, once so many records in all are in the ledger and have ended in every sink, or time is up."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            status = self.status()
            ended = status["total"]["collected"] >= records and not any(
                sink["queued"] or sink["spooled"] for sink in status["sinks"]
            )
            if ended or time.monotonic() > deadline:
                return status
            time.sleep(5 * _LOOK_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self.resume()
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise RuntimeError(f"the collector did not end within {PATIENCE_S:g} s") from None

    def _state(self) -> str:
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]


def worker_rows(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of a status that are workers': the collector has one too, for its audit and its reports of gaps."""
    return [row for row in status["workers"] if row["worker"] != _OWN_WORKER]


def reference_lines(*paths: Path) -> int:
    """How many reference records these files hold together, whatever their format is as long as it is JSON lines."""
    found = 0
    for path in paths:
        rest = b""
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                whole, newline, rest = (rest + data).rpartition(b"\n")
                found += (whole + newline).count(_MARK)
    return found
