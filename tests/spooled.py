"""Lives of one spool in a directory, one after the other."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final

from logbus.collectors.spool.spool import Spool

TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL = range(6)
#: A line of which a small segment has room for about sixty.
LONG: Final = b"x" * 999 + b"\n"


class Spooled:
    """Makes the spool of a test, opened and configured; each call ends the life before. ``told`` is what it says."""

    def __init__(self, path: Path) -> None:
        self.told: list[str] = []
        self.directory = path / "spools" / "main"
        self._spool: Spool | None = None

    def __call__(self, acked: int = 0, *, size: int = 1 << 20, dialect: str = "own") -> Spool:
        """The next life; records with numbers below ``acked`` have ended."""
        self.close()
        self._spool = spool = Spool("main", self.directory, self.told.append)
        spool.open(acked)
        spool.configure(size, dialect)
        return spool

    @property
    def files(self) -> list[Path]:
        """The segments on disk."""
        return sorted(self.directory.glob("*.seg"))

    def close(self) -> None:
        """Ends the last life."""
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> Spooled:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def rest(spool: Spool) -> list[int]:
    """Reads everything; the numbers."""
    numbers: list[int] = []
    while portion := spool.read(7, 1 << 20):
        numbers += portion.numbers
        spool.done(portion.last_seq)
    return numbers
