"""Lines kept in memory, for tests of applications (:mod:`logbus.testing`)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any

from logbus.collectors.rows import Intent, Range


class MemorySink:
    """Lines in a list, which any thread may read."""

    type = "memory"
    checkable = False
    patience_s = 0.0
    trouble: str | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self._lines: list[bytes] = []
        self._changed = threading.Condition()

    def lines(self) -> list[bytes]:
        """Every line so far."""
        with self._changed:
            return list(self._lines)

    def wait(self, count: int, timeout: float) -> bool:
        """Waits for at least ``count`` lines; False when ``timeout`` seconds were too few."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._lines) >= count, timeout)

    def clear(self) -> None:
        """Forgets every line."""
        with self._changed:
            self._lines.clear()

    def open(self) -> None:
        """Nothing to do."""

    def intent(self, count: int, length: int, delivered_before: int, ranges: tuple[Range, ...]) -> Intent:
        """What is about to be written; it dies with the process."""
        return Intent(count, delivered_before, ranges)

    def write(self, data: bytes) -> None:
        """Keeps the lines."""
        with self._changed:
            self._lines += data.splitlines()
            self._changed.notify_all()

    def undo(self) -> bool:
        """True: a write to memory is whole or did not happen."""
        return True

    def look(self, first: int = 0) -> int:
        """Nothing to do: any number of bytes."""
        return sys.maxsize

    def reopen(self) -> None:
        """Nothing to do."""

    def resent(self) -> int:
        """None: nothing is written twice."""
        return 0

    def abort(self) -> None:
        """Nothing to do: no call takes long."""

    def document(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def close(self) -> None:
        """Nothing to do."""
