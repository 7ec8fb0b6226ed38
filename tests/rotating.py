"""A file sink that rotates, on a clock of the test's, and what it has written read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from logbus.collectors.retention import Retention
from logbus.collectors.rotation import Moment, parse_rotation
from logbus.collectors.sinks.archive import Archive
from logbus.collectors.sinks.file import FileSink
from logbus.collectors.sinks.journal import journal_of


class Clocks:
    """The two clocks that rotation reads, standing still unless the test moves them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = Moment(1_795_348_800.0, 5000.0)  # 2026-11-22T12:00:00Z
        monkeypatch.setattr(Moment, "now", lambda: self.now)

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        self.now = Moment(self.now.wall + seconds, self.now.steady + seconds)

    def set(self, by: float) -> None:
        """Sets the clock on the wall; no time passes."""
        self.now = Moment(self.now.wall + by, self.now.steady)


class Rotating:
    """Makes file sinks on one path below a directory, each with an archive on the same journal; closes them."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "logs" / "app.jsonl"
        self.state = directory / "state"
        self.told: list[str] = []
        self._made: list[FileSink] = []

    def sink(self, *rotation: str, opened: bool = True, compression: str | None = None) -> FileSink:
        """A sink that rotates so."""
        self.state.mkdir(exist_ok=True)
        archive = Archive(
            self.path,
            name="main",
            journal=journal_of(self.state, self.path),
            retention=Retention(),
            compression=compression,
            tell=self.told.append,
        )
        made = FileSink("main", self.path, json_lines=True, rotation=parse_rotation(rotation), archive=archive)
        self._made.append(made)
        if opened:
            made.open()
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for made in self._made:
            made.close()

    @property
    def rotated(self) -> list[Path]:
        """The rotated files in the order of their names."""
        return rotated(self.path)

    @property
    def contents(self) -> list[bytes]:
        """What is in each file, the oldest first, the present one last."""
        present = [self.path] if self.path.is_file() else []
        return [path.read_bytes() for path in (*self.rotated, *present)]


def rotated(path: Path) -> list[Path]:
    """The files that were rotated from a path, in the order of their names."""
    return sorted(path.parent.glob(f"{path.stem}.*Z{path.suffix}*"))


def write(sink: FileSink, *lines: bytes) -> None:
    """What a writer does, line by line: look, write as much as there is room for."""
    for line in lines:
        assert sink.look(len(line)) >= len(line)
        sink.write(line)


def fill(sink: FileSink, lines: Sequence[bytes]) -> list[int]:
    """What a writer does with many lines; the bytes of each write."""
    sizes = []
    rest = list(lines)
    while rest:
        room = sink.look(len(rest[0]))
        taken = [rest.pop(0)]
        while rest and sum(map(len, taken)) + len(rest[0]) <= room:
            taken.append(rest.pop(0))
        data = b"".join(taken)
        assert len(data) <= room
        sink.write(data)
        sizes.append(len(data))
    return sizes
