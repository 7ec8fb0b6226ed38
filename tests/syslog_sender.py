"""What a writer does with a syslog sink, and no more: it keeps what has not ended, and counts."""

from __future__ import annotations

from logbus.collectors.sinks.base import Sent, TryAgainError
from logbus.collectors.sinks.syslog.address import parse_address
from logbus.collectors.sinks.syslog.sink import SyslogSink
from logbus.collectors.sinks.tls import TlsFiles
from tests.eventually import eventually


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

    def close(self) -> str | None:
        """Closes the sink; what it finds wrong."""
        self.sink.close()
        self.resent += self.sink.resent()
        return self.sink.trouble

    def until_sent(self, lines: bytes = b"") -> None:
        """Attempts until all have ended."""
        self.send(lines) or eventually(lambda: self.send(b""))
