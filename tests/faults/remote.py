"""A collector with a file, an HTTP and a syslog sink under faults, and the court that compares the ledger with servers.

The witnesses are the workers' own counts, what the servers have got (real ones, in processes and threads of their own),
and the spools as a ``kill -9`` has left them. Every record carries its worker, its thread and its number.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from logbus.collectors.spool.spools import DIRECTORY, Spools
from tests.eventually import eventually
from tests.faults.scenario import SETTLE, Scenario
from tests.integration.watch import sink_of, status_of
from tests.programs.load import witnessed
from tests.servers.faulty_http import FaultyHttp
from tests.syslog_server import StreamServer

#: The sinks: two servers beside a file.
SINKS = """
[[sinks]]
name = "file"
type = "file"
path = "{path}"
{syslog}
[[sinks]]
name = "web"
type = "http"
url = "{url}/in"
timeout = "{timeout}"
{web}
"""
SYSLOG = """
[[sinks]]
name = "log"
type = "syslog"
address = "tcp://127.0.0.1:{port}"
format = "json"
{log}
"""


@dataclass
class Remote(Scenario):
    """A collector whose configuration is the test's, with the servers of its sinks.

    ``web`` and ``log_keys`` are more keys of these sinks; without ``syslog`` there is only the first. ``timeout`` is
    that of a request, from the next start on.
    """

    http: FaultyHttp = field(kw_only=True)
    syslog: Syslog | None = field(default=None, kw_only=True)
    timeout: str = field(default="1 s", kw_only=True)
    web: str = field(default="", kw_only=True)
    log_keys: str = field(default="", kw_only=True)
    #: By the name of a sink, lines that its spool held when the collector was killed.
    spooled: dict[str, set[bytes]] = field(default_factory=lambda: {"web": set(), "log": set()}, init=False)

    def start(self) -> None:
        """Starts the collector (again)."""
        syslog = "" if self.syslog is None else SYSLOG.format(port=self.syslog.port, log=self.log_keys)
        path = self.directory / "logbus.toml"
        keys = {"url": self.http.url, "timeout": self.timeout, "web": self.web}
        path.write_text(SINKS.format(path=self.log, syslog=syslog, **keys))
        self.collector = self.start_collector("--config", str(path), directory=self.directory)

    def kill_collector(self) -> None:
        """SIGKILL, and a look at what it leaves on disk."""
        super().kill_collector()
        copy = self.directory / "post-mortem"
        state = Path(os.environ["LOGBUS_STATE_DIR"])
        found = [path for path in state.rglob(DIRECTORY) if path.is_dir()]
        for directory in found:
            shutil.copytree(directory, copy / DIRECTORY)
            told: list[str] = []
            spools = Spools(copy, told.append)
            for name in spools.names():
                spool = spools.of(name)
                spool.open(0)
                while portion := spool.read(1000, 1 << 20):
                    self.spooled[name].update(portion.data.splitlines())
                    spool.done(portion.last_seq)
            spools.close()
            shutil.rmtree(copy)

    def row(self, name: str) -> dict[str, Any]:
        """The row of a sink."""
        return sink_of(status_of(self.collector), name)

    def returned(self) -> int:
        """How many calls of the workers have returned."""
        return sum(witnessed(worker.witness)[1] for worker in self.workers)

    def settled(self) -> dict[str, Any]:
        """The status once every worker has ended and is closed, and nothing is queued or spooled."""

        def look() -> dict[str, Any]:
            status = status_of(self.collector)
            assert all(row["state"] != "live" for row in status["workers"] if row["worker"] != "logbus")
            waiting = {row["name"]: (row["queued"], row["spooled"], row["last_error"]) for row in status["sinks"]}
            assert not any(queued or spooled for queued, spooled, _ in waiting.values()), waiting
            return status

        return eventually(look, 4 * SETTLE)

    def judge(self) -> dict[str, Any]:
        """Holds the ledger against the servers, after every worker has ended. Returns the status.

        Of a sink that is killed with a write in hand nobody can say what became of that: so much the counts may lie
        apart, and no more.
        """
        status = self.settled()
        assert status["balanced"], status["problems"]
        collected = sum(row["collected"] for row in status["workers"])
        for worker in self.workers:
            [row] = [row for row in status["workers"] if row["worker"] == worker.name]
            begun, returned = witnessed(worker.witness)
            assert returned <= row["emitted"] <= begun, (row, begun, returned)
        arrived = {"file": self.log.read_bytes().splitlines(), "web": self.http.lines}
        if self.syslog is not None:
            arrived["log"] = self.syslog.lines()
        for name, lines in arrived.items():
            row = sink_of(status, name)
            found = Counter(lines)
            here = f"{name}: {len(found)} of {len(lines)} lines are different ones; {row}"
            assert row["offered"] == collected, here
            assert row["offered"] == (
                row["delivered"] + row["filtered"] + sum(row["dropped"].values()) + row["unknown"]
            ), here
            assert set(row["dropped"]) <= {"collector_lost"}, here
            lost = row["dropped"].get("collector_lost", 0)
            # TCP: what a server's kernel has acknowledged is delivered. The sink sends it again where the server dies
            # before it has read that; unless it is itself killed just then.
            gone = self.syslog.unread() if name == "log" and self.syslog is not None else set()
            assert row["delivered"] <= len(found.keys() | gone), here
            assert len(found) <= row["delivered"] + row["unknown"] + lost, here
            assert len(lines) - len(found) <= row["duplicated"], here
            missing = self.spooled.get(name, set()) - found.keys() - gone
            assert not missing, f"{here}; {len(missing)} that were spooled have not arrived: {sorted(missing)[:3]}"
        return status


class MortalServer(StreamServer):
    """A server that leaves a testament: what its kernel had acknowledged when it died, and it had not read."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(port=port)
        self.unread: list[bytes] = []

    def _may_read(self) -> bool:
        return super()._may_read() and not self._ending.is_set()  # the dead don't read

    def _converse(self, sock: socket.socket) -> None:
        with sock.dup() as held:  # the connection is over when this is closed
            super()._converse(sock)
            if self._ending.is_set():
                self._remember((self.wrong.pop() if self.wrong else b"") + drained(held))
                while select.select([self._listener], [], [], 0)[0]:
                    with self._listener.accept()[0] as other:
                        self._remember(drained(other))

    def _remember(self, data: bytes) -> None:
        read, self.messages = self.messages, self.unread
        self._parse(data)
        self.messages = read


class Syslog:
    """A syslog server on one port, which dies and comes again; what all of its lives have got is kept."""

    def __init__(self) -> None:
        self._lives = [MortalServer()]
        self.port = self._lives[0].port
        self._lives[0].__enter__()
        self._up = True

    def start(self) -> None:
        """A new life, on the same port, unless it lives."""
        if not self._up:
            self._lives.append(MortalServer(self.port))
            self._lives[-1].__enter__()
            self._up = True

    def stop(self, *, reset: bool, client: subprocess.Popen[bytes] | None = None) -> None:
        """Ends it, as a daemon that is told to, or as one that is killed. ``client`` sends nothing meanwhile."""
        if not self._up:
            return
        self._up = False
        if client is not None:
            client.send_signal(signal.SIGSTOP)
        try:
            self._lives[-1].reset() if reset else self._lives[-1].end()
        finally:
            if client is not None:
                client.send_signal(signal.SIGCONT)

    def stall(self) -> None:
        """Reads nothing, if it lives."""
        self._lives[-1].stall()

    def resume(self) -> None:
        """Reads again."""
        self._lives[-1].resume()

    def lines(self) -> list[bytes]:
        """What it has read, in all lives."""
        return [message for life in self._lives for message in life.messages]

    def unread(self) -> set[bytes]:
        """What died with its lives: acknowledged by the kernel, and not read."""
        return {message for life in self._lives for message in life.unread}


def drained(sock: socket.socket) -> bytes:
    """What a connection holds, and whatever its client's kernel still has for it; the client itself stands still."""
    data = b""
    while select.select([sock], [], [], 0.05)[0] and (more := sock.recv(1 << 16)):
        data += more
    return data


class Delays:
    """Seconds from the call to the line, of each line that comes to a file meanwhile; a thread that looks each 1 ms."""

    def __init__(self, path: Path) -> None:
        self.seconds: list[float] = []
        self._path = path
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Delays:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def at(self, part: float) -> float:
        """The delay that this part of the lines does not exceed."""
        return sorted(self.seconds)[int(part * (len(self.seconds) - 1))]

    def _follow(self) -> None:
        with self._path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            rest = b""
            while not self._over.wait(0.001):
                lines = (rest + file.read()).split(b"\n")
                now, rest = time.time(), lines.pop()
                for line in lines[bool(not self.seconds) :]:  # the first may have begun before
                    called = json.loads(line)["timestamp"]
                    self.seconds.append(now - datetime.fromisoformat(called).timestamp())


def resident_bytes(pid: int) -> int:
    """The memory of a process that is in use now (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{pid} has no memory")
