"""A real server as a child process in the foreground: its files in a directory of its own, and its end made sure.

The programs come from scripts/servers (``make test`` unpacks them). Where they are not there, tests are skipped on a
laptop and fail in CI.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.servers import place
from tests.eventually import eventually
from tests.group import end_group

#: Seconds from start until a server listens, and from SIGTERM to its end: generous, only a failure takes so long.
PATIENCE = 20.0
#: Where ports of servers are looked for: below those that the kernel gives to clients, so that a server that is
#: started again finds its port free.
PORTS = range(20000, 32000)
#: The zone in which servers live: not UTC, so that local times show themselves.
ZONE = "CET-1"

_given: set[int] = set()


def requires(program: str) -> None:
    """Skips a test whose program is not there; in CI it fails, so that none is passed by being left out."""
    if program in place.missing():
        reason = f"{program} is not there: python -m scripts.servers"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def free_port() -> int:
    """A port on which nothing listens or receives, by either protocol, and which was not given before."""
    for port in random.SystemRandom().sample(PORTS, 200):  # tests beside these may run with the same seed
        if port in _given:
            continue
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind(("127.0.0.1", port))
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise AssertionError("no free port among 200")


class Daemon:
    """A server's process, started by :meth:`start` as often as it has ended; what it says is in ``output``."""

    def __init__(self, command: list[str], directory: Path, listens: Callable[[], bool]) -> None:
        self.command = command
        self.output = directory / "output"
        self.process: subprocess.Popen[bytes] | None = None
        self._listens = listens

    @property
    def pid(self) -> int:
        """The pid of the process that runs."""
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Starts it and waits until it listens. Raises AssertionError with what it says if it does not."""
        with self.output.open("ab") as output:
            self.process = process = subprocess.Popen(
                self.command,
                env={**place.environment(), "TZ": ZONE},
                cwd=self.output.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        def listens() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"ended with {process.returncode}")
            return self._listens()

        try:
            eventually(listens, PATIENCE)
        except (AssertionError, RuntimeError) as error:
            self.kill()
            raise AssertionError(f"{self.command[0]}: {error}: {self.output.read_text(errors='replace')}") from None

    def freeze(self) -> None:
        """Stops it where it stands (SIGSTOP): its sockets stay, and nobody reads them."""
        os.killpg(self.pid, signal.SIGSTOP)

    def stop(self) -> None:
        """Ends it as an administrator would, by SIGTERM, and waits for its end."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"{self.command[0]} did not end: {self.output.read_text()}") from None
        self.kill()

    def kill(self) -> None:
        """Ends it and its children by SIGKILL; nothing happens to one that has ended."""
        if self.process is None:
            return
        end_group(self.process)
        self.process = None


def accepts(port: int) -> bool:
    """Whether somebody listens on a TCP port of this machine. Read from the kernel: nothing is connected."""
    return _has("/proc/net/tcp", port, "0A")


def receives(port: int) -> bool:
    """Whether somebody has bound a UDP port of this machine."""
    return _has("/proc/net/udp", port, "07")


def unread(port: int) -> int:
    """Bytes that connections to a TCP port of this machine hold for a server that has not read them."""
    fields = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(
        int(each[4].partition(":")[2], 16)
        for each in fields
        if each[1].endswith(f":{port:04X}") and each[3] == "01"  # ESTABLISHED
    )


def _has(table: str, port: int, state: str) -> bool:
    fields = (line.split() for line in Path(table).read_text().splitlines()[1:])
    return any(each[1].endswith(f":{port:04X}") and each[3] == state for each in fields)
