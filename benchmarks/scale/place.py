"""Where one run happens: a directory of its own, its collector, its workers, and the count of what came out."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.scale.collector import Collector, reference_lines, worker_rows
from benchmarks.scale.crew import Crew
from benchmarks.scale.work import Task

#: A collector with one JSON file and the default redaction.
PLAIN: Final = '[[sinks]]\nname = "file"\ntype = "file"\npath = "0.jsonl"\n'


class Place:
    """A directory, the interpreter of what is measured, and the collector that runs there."""

    def __init__(self, directory: Path, python: str = sys.executable) -> None:
        self.directory = directory
        self.python = python
        self._running: Collector | None = None

    @property
    def running(self) -> Collector:
        """The collector. Raises RuntimeError where there is none."""
        if self._running is None:
            raise RuntimeError("expected a collector that runs here, found none")
        return self._running

    @contextlib.contextmanager
    def collector(self, configuration: str = PLAIN) -> Iterator[Collector]:
        """A collector that serves here, for the length of the block."""
        with Collector(self.directory, configuration, python=self.python) as collector:
            collector.start()
            self._running = collector
            try:
                yield collector
            finally:
                self._running = None

    @contextlib.contextmanager
    def crew(self, task: Task) -> Iterator[Crew]:
        """Workers of that collector, welcomed, for the length of the block."""
        with Crew(task, self.directory, python=self.python) as crew:
            yield crew

    @contextlib.contextmanager
    def beside(self) -> Iterator[Place]:
        """Another place, for the length of the block: for a collector that has nothing to do with the one here."""
        with place(self.directory, self.python) as other:
            yield other

    def lost(self, status: Mapping[str, Any], records: int, *, dropped: int = 0) -> int:
        """How many of the records logged are not there once: in the ledger, and in each of the JSON files here.

        ``dropped`` of them were given up by their workers, and have to be counted as that. A ledger that does not
        balance has lost one at least.
        """
        rows = worker_rows(status)
        expected = records - dropped
        off: list[int] = [
            abs(sum(row["collected"] for row in rows) - expected),
            abs(sum(sum(row["dropped"].values()) for row in rows) - dropped),
            sum(row["duplicated"] for row in rows),
            0 if status["balanced"] is True else 1,
        ]
        return max(*off, *(abs(reference_lines(path) - expected) for path in self.directory.glob("*.jsonl")))


@contextlib.contextmanager
def place(base: Path, python: Path | str = sys.executable) -> Iterator[Place]:
    """A place below ``base`` (a short path), gone with the block."""
    with tempfile.TemporaryDirectory(prefix="s", dir=base) as name:
        yield Place(Path(name), str(python))
