"""Syslog servers that end, die, stop and come back in any order, and a witness who counts what each of them got."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from logbus.collectors.sinks.syslog import connection, datagram, stream
from logbus.collectors.sinks.syslog.wait import AbortedError
from tests.eventually import eventually
from tests.syslog_sender import Sender
from tests.syslog_server import DatagramServer, StreamServer, duplicates, lines_of, numbers

#: Lines of a kilobyte that stand on the way in one step, at most.
MOST = 400


class Servers:
    """One server after the other at one address, and all that they got."""

    def __init__(self, kind: str, path: Path) -> None:
        self._kind = kind
        self._path = path
        self._came: list[bytes] = []
        self._port = 0
        self.now = self._start()

    @property
    def address(self) -> str:
        """Where they are."""
        return f"tcp://127.0.0.1:{self._port}" if self._kind == "tcp" else str(self._path)

    @property
    def came(self) -> list[bytes]:
        """What they got."""
        return self._came + self.now.messages

    def next(self, *, reset: bool) -> None:
        """The one at hand ends or dies, and another takes its place."""
        if reset and isinstance(self.now, StreamServer):
            self.now.reset()
        else:
            self.now.end()
        self._came += self.now.messages
        self.now = self._start()

    def _start(self) -> StreamServer | DatagramServer:
        if self._kind == "datagrams":
            return DatagramServer(path=self._path).__enter__()
        if self._kind == "stream":
            return StreamServer(path=self._path).__enter__()
        server = StreamServer(port=self._port).__enter__()
        self._port = server.port
        return server


@pytest.mark.parametrize("kind", ["tcp", "stream", "datagrams"])
def test_nothing_is_lost_and_what_is_doubled_is_counted(
    kind: str, directories: Path, monkeypatch: pytest.MonkeyPatch, scale: Callable[[int, int], int]
) -> None:
    """Whatever happens to servers, each line arrives, and no fewer are counted as possibly there twice than are."""
    monkeypatch.setattr(connection, "STALL_S", 0.1)
    monkeypatch.setattr(datagram, "STALL_S", 0.1)
    monkeypatch.setattr(stream, "PROOF_S", 0.03)
    monkeypatch.setattr(stream, "TAIL_S", 60.0)
    for seed in range(scale(30, 1)):
        servers = Servers(kind, directories / f"log{seed}")
        one = Sender(servers.address)
        try:
            sent = _steps(one, servers, random.Random(f"{kind} {seed}"))
            one.until_sent(lines_of(sent, 1))
            one.sink.close()
            eventually(partial(_all_there, servers, sent + 1), what=f"{sent + 1} lines with seed {seed}")
            assert duplicates(servers.came) <= one.resent, seed
        finally:
            one.sink.close()
            servers.now.end()


def _all_there(servers: Servers, count: int) -> bool:
    return set(numbers(servers.came)) == set(range(count))


def _steps(one: Sender, servers: Servers, chance: random.Random) -> int:
    """A dozen things that happen; gives how many lines were sent."""
    sent = 0
    for _ in range(12):
        count = chance.choice([1, 5, MOST])
        what = chance.choice(["end", "die", "end unread", "die unread", "stop", "abort", "look", "nothing", "nothing"])
        if what in ("end unread", "die unread", "stop"):
            servers.now.pause()
        if what == "abort":
            threading.Timer(chance.random() / 50, one.sink.abort).start()
        one.send(lines_of(sent, count, 1000))
        sent += count
        if what.startswith(("end", "die")):
            servers.next(reset=what.startswith("die"))
        elif what == "stop":
            servers.now.resume()
        elif what == "look":
            try:
                one.sink.look()
            except AbortedError:  # the word was late
                pass
    return sent
