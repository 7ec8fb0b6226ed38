"""A producer that keeps what it is given, with a real gate: for fronts and sinks without sockets and threads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from logbus.producers.gate import Gate
from logbus.producers.producer import Producer
from logbus.producers.recorder import Flight, Recorder
from logbus.rules import Levels, Rule


class Entry(NamedTuple):
    """What a producer is given."""

    created: float
    site: tuple[str, int, str, str, str, int]
    thread: str
    message: str
    extra: dict[str, Any] | None
    nested: dict[str, Any] | None
    exception: Any
    size: int


class Kept:
    """Stands where a producer would."""

    def __init__(self, *, level: int | None = None, flight: Flight | None = None) -> None:
        self.gate = Gate()
        self.gate.recorder = Recorder(flight) if flight is not None else None
        self.settings = SimpleNamespace(level=level)
        self.entries: list[Entry] = []
        self.flushed = 0

    @property
    def producer(self) -> Producer:
        """This, where a producer is asked for."""
        return cast("Producer", self)

    def emit(self, *arguments: Any) -> None:
        """Keeps one record."""
        self.entries.append(Entry(*arguments))

    def flush_soon(self) -> bool:
        """Counts: there is nothing to wait for."""
        self.flushed += 1
        return True

    @property
    def last(self) -> Entry:
        """The newest record."""
        return self.entries[-1]

    @property
    def messages(self) -> list[str]:
        """The message of every record."""
        return [entry.message for entry in list(self.entries)]

    def rule(self, *rules: Rule) -> None:
        """Puts rules into force, as a collector does that says them, in place of those before."""
        version = self.gate._levels.version + 1 if self.gate._levels is not None else 1
        assert self.gate.take(Levels("ledger", version, rules), welcome=True)

    def confirmed(self) -> bool:
        """Whether every front has taken the newest rules."""
        levels = self.gate._levels
        return levels is None or self.gate.confirmed()[0] == levels.version
