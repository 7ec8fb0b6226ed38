"""What a writer does with a syslog sink, and no more: it keeps what has not ended, and counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from logbus.collectors.sinks.base import Sent, TryAgainError
from logbus.collectors.sinks.syslog.address import parse_address
from logbus.collectors.sinks.syslog.sink import SyslogSink
from logbus.collectors.sinks.tls import TlsFiles
from tests.eventually import eventually
from tests.syslog_server import Server, StreamServer, lines_of


class Sender:
    """A sink, and what a writer would keep of it: the lines that have not ended, and how many may be there twice."""

    def __init__(self, address: str, tls: TlsFiles | None = None) -> None:
        self.sink = SyslogSink("logs", parse_address(address), tls)
        self.queue = b""
        self.delivered = 0
        self.resent = 0
        self.failures: list[str] = []

    def send(self, lines: bytes) -> bool:
        """One attempt at what waits and these lines; whether all of them have ended."""
        self.queue += lines
        if not self.queue:
            return True
        try:
            found = self.sink.write(self.queue)
        except TryAgainError as error:
            self.failures.append(str(error))
            self.resent += error.doubtful
            return False
        records = self.queue.count(b"\n") if found is None else found.records
        if isinstance(found, Sent):
            self.resent += found.resent
            assert not found.refused
        self.delivered += records
        self.queue = b"\n".join(self.queue.split(b"\n", records)[records:])
        return not self.queue

    def look(self) -> str | None:
        """What a look between writes finds wrong."""
        try:
            self.sink.look()
        finally:
            self.resent += self.sink.resent()
        return self.sink.trouble

    def trouble(self) -> str:
        """The same, once there is any."""
        return str(eventually(self.look))

    def close(self) -> str | None:
        """Closes the sink; what it finds wrong."""
        self.sink.close()
        self.resent += self.sink.resent()
        return self.sink.trouble

    def until_sent(self, lines: bytes = b"") -> None:
        """Attempts until all have ended."""
        self.send(lines) or eventually(lambda: self.send(b""))

    def until_read(self, server: Server, first: int, count: int) -> None:
        """Attempts until the server has read so many numbered lines, from number ``first`` on."""
        self.until_sent(lines_of(first, count))
        server.wait(first + count)

    def until_held(self, server: StreamServer, count: int, size: int = 0) -> None:
        """Ten lines until the server has read them, and so many until its kernel has them; then it dies of a reset."""
        self.until_read(server, 0, 10)
        server.pause()
        self.until_sent(lines_of(10, count, size))
        server.reset()


class MakeSender(Protocol):
    """Makes a sender to an address; ``files`` are those of TLS."""

    def __call__(self, address: str, **files: str) -> Sender:
        """A new one."""


@contextmanager
def senders(**trusted: str) -> Iterator[MakeSender]:
    """Makes senders, with these files of TLS where there are any, and closes their sinks."""
    made: list[Sender] = []

    def make(address: str, **files: str) -> Sender:
        files = {**trusted, **files}
        made.append(Sender(address, TlsFiles(**files) if files else None))
        return made[-1]

    yield make
    for one in made:
        one.sink.close()
