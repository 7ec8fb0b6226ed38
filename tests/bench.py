"""Writers on a real ledger without a collector: the books, the turns as calls, and sinks that do as a test says."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from logbus.collectors.histogram import Histogram
from logbus.collectors.ledger import Ledger
from logbus.collectors.route import Destination, Router
from logbus.collectors.sinks.base import Sink
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.spool.spools import Spools
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.errors import SinkError
from tests.frames import producer

A = producer(1)
#: Seconds that a test gives a writer for its end.
ENOUGH = 20.0
#: The terms of a file, but for the waits.
AT_ONCE = Terms(initial_s=0.01, max_interval_s=0.01)


class Held(MemorySink):
    """A sink whose writes wait at a gate, closed at first, and then fail if the test says so."""

    def __init__(self, name: str = "main") -> None:
        super().__init__(name)
        self.gate = threading.Event()
        self.inside = threading.Event()
        self.failure: Exception | None = None

    def write(self, data: bytes) -> None:
        """Waits for the gate, then fails or keeps the lines."""
        self.inside.set()
        assert self.gate.wait(ENOUGH)
        if self.failure is not None:
            raise self.failure
        super().write(data)

    def release(self) -> None:
        """Lets everything through from now on."""
        self.failure = None
        self.gate.set()


class Gated(Held):
    """One that also notes what is done with it, and may refuse to open."""

    def __init__(self, name: str, journal: list[str] | None = None) -> None:
        super().__init__(name)
        self.journal = journal if journal is not None else []
        self.refusals = 0

    def open(self) -> None:
        """Notes it; refuses as often as the test says."""
        if self.refusals:
            self.refusals -= 1
            raise SinkError(self.name, "not yet")
        self.journal.append(f"open {self.name}")

    def write(self, data: bytes) -> None:
        """Notes what got through."""
        super().write(data)
        self.journal.append(f"write {self.name}")

    def close(self) -> None:
        """Notes it."""
        self.journal.append(f"close {self.name}")

    def release(self) -> None:
        """Opens, too."""
        self.refusals = 0
        super().release()


class Bench(ABC):
    """A ledger below a directory for the length of a ``with`` block, at whose end its writers are ended."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ledger = Ledger.open(directory / "state", name="t")

    @property
    @abstractmethod
    def writers(self) -> Sequence[Writer]:
        """The writers that it has to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            for writer in self.writers:
                if hasattr(writer.sink, "release"):
                    writer.sink.release()
            for writer in self.writers:
                writer.finish(time.monotonic() + ENOUGH)
        finally:
            self.ledger.close()


class WriterBench(Bench):
    """Single writers, with what they complain of."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.complaints: list[str] = []
        self.spools = Spools(directory / "state", self.complaints.append)
        self._started: list[Writer] = []

    @property
    def writers(self) -> Sequence[Writer]:
        """Those that were started."""
        return self._started

    def start(self, sink: Sink, *behind: Writer, **options: Any) -> Writer:
        """A writer, running."""
        options.setdefault("terms", AT_ONCE)
        writer = Writer(sink, self.ledger, complain=self.complaints.append, behind=behind, **options)
        writer.start()
        self._started.append(writer)
        return writer

    def give(self, writer: Writer, *lines: str, first: int = 0, level: int = 2) -> bool:
        """Hands lines over as a turn of the collector does, in one delivery. False when they were not let in.

        ``level`` is the bucket of all of them.
        """
        with self.ledger.transaction() as change:
            writer.row.offered += len(lines)
            admitted = writer.admit(len(lines))
            change.sink(writer.row)
        if admitted:
            data = "".join(f"{line}\n" for line in lines).encode()
            writer.put(data, len(lines), ((A, first, len(lines)),), bytes([level]) * len(lines))
        return admitted

    def written(self, writer: Writer) -> bool:
        """Whether nothing is queued any more."""
        return writer.queued == 0

    def law(self, *writers: Writer) -> bool:
        """Whether the law of the row that these writers share holds."""
        with self.ledger.transaction():
            assert writers[0].row.problems(sum(writer.queued for writer in writers)) == []
        return True


class RouterBench(Bench):
    """The writers of a router, as a reload exchanges them."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(directory)
        self.router = Router(clock=clock)

    @property
    def writers(self) -> Sequence[Writer]:
        """Those that have not ended."""
        return self.router.writers

    def make(self, destination: Destination, behind: Sequence[Writer], latency: Histogram) -> Writer:
        """A writer as the collector makes it."""
        return Writer(
            destination.sink,
            self.ledger,
            complain=lambda text: None,
            terms=destination.terms,
            behind=behind,
            latency=latency,
        )
