"""The lives of a file sink and its archive, one after the other, without threads: what a test calls happens, at once.

:class:`Life` is what a sink does with an archive, and what the archive's thread does, a turn at a time. A life that
died is left by :meth:`Life.bury`, which closes what the kernel would have closed.
"""

from __future__ import annotations

import fcntl
import gzip
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.retention import parse_retention
from logbus.collectors.rotation import Moment
from logbus.collectors.sinks.archive import Archive
from logbus.collectors.sinks.journal import journal_of
from logbus.collectors.sinks.shelf import Shelf

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class StillArchive(Archive):
    """An archive whose thread ends at once: turns are taken by :meth:`Life.turn`."""

    def _run(self, end: threading.Event) -> None:
        return


class Life:
    """A sink that logs to ``logs/app.jsonl`` in a directory, and its archive."""

    def __init__(self, directory: Path, *, retention: str | Sequence[str] = (), compression: str | None = "gz") -> None:
        self.path = directory / "logs" / "app.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        (directory / "state").mkdir(exist_ok=True)
        self.journal = journal_of(directory / "state", self.path)
        self.told: list[str] = []
        rules = [retention] if isinstance(retention, str) else retention
        self.archive = StillArchive(
            self.path,
            name="main",
            journal=self.journal,
            retention=parse_retention(rules),
            compression=compression,
            tell=self.told.append,
        )
        self._fd = -1

    @property
    def shelf(self) -> Shelf:
        """The slow side of the archive."""
        return self.archive._shelf

    @property
    def identity(self) -> tuple[int, int]:
        """Of the open file."""
        info = os.fstat(self._fd)
        return info.st_dev, info.st_ino

    def open(self) -> Life:
        """Opens the file as a sink does that starts."""
        self._open(0)
        self.archive.recover(self.identity)
        return self

    def write(self, line: str) -> None:
        """A line, whole or not at all: that call is no part of what is under test, and kills nobody."""
        os.writev(self._fd, [line.encode() + b"\n"])

    def rotate(self) -> Path:
        """Rotates, and opens the next file."""
        rotated = self.archive.rotate(self.path, self.identity)
        self._open(os.O_EXCL)
        return rotated

    def turn(self, end: threading.Event | None = None) -> float:
        """A turn of the archive's thread."""
        return self.shelf.turn(end or threading.Event())

    def rest(self) -> None:
        """Turns until there is nothing to do at once."""
        for _ in range(10_000):
            if self.turn():
                return
        raise AssertionError("its archive never comes to rest")

    def close(self) -> None:
        """Ends it in order."""
        self.archive.close()
        self.bury()

    def bury(self) -> None:
        """Closes what a dead process had open."""
        self.archive._journal._close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, extra: int) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | extra, 0o640)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd


def rotated(
    directory: Path,
    files: int,
    *,
    retention: str | Sequence[str] = (),
    compression: str | None = "gz",
    line: str = "line {}",
) -> Life:
    """A life with so many rotated files of one line each, its number in it, and an active one."""
    life = Life(directory, retention=retention, compression=compression).open()
    for number in range(files):
        life.write(line.format(number))
        life.rotate()
    life.write("active")
    return life


def archived(directory: Path) -> list[Path]:
    """What lies beside the active file, by name."""
    return sorted(path for path in (directory / "logs").iterdir() if path.name != "app.jsonl")


def lines_of(path: Path) -> list[str]:
    """The lines of a file, plain or compressed. Raises when a compressed one is not whole."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zst":
        data = zstd.decompress(data)
    assert not data or data.endswith(b"\n"), f"{path.name} ends in the middle of a line"
    return data.decode().splitlines()


def lines_in(directory: Path) -> list[list[str]]:
    """The lines of each file beside the active one, by name."""
    return [lines_of(path) for path in archived(directory)]


def refusing(number: int) -> Callable[..., Any]:
    """A system call that fails with this number."""

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


class Clock:
    """Both clocks, moved by the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = Moment.now()
        monkeypatch.setattr(Moment, "now", classmethod(lambda cls: self.now))

    def set_by(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.now = Moment(self.now.wall + seconds, self.now.steady)

    def go(self, seconds: float) -> None:
        """Time passes."""
        self.now = Moment(self.now.wall + seconds, self.now.steady + seconds)


def _copied(path: Path) -> None:
    data = path.read_bytes()
    path.rename(path.with_suffix(".moved"))
    path.write_bytes(data)


def _linked(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def _directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


#: What others may put in the place of a file, each by a function that does so.
REPLACEMENTS = (_copied, _linked, _directory, _fifo)
