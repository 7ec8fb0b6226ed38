"""Lines kept in memory, for tests of applications (:mod:`logbus.testing`)."""

from __future__ import annotations

import threading

from logbus.collectors.sinks.plain import PlainSink


class MemorySink(PlainSink):
    """Lines in a list, which any thread may read. A write is whole or did not happen."""

    type = "memory"

    def __init__(self, name: str) -> None:
        super().__init__(name)
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

    def write(self, data: bytes) -> None:
        """Keeps the lines."""
        with self._changed:
            self._lines += data.splitlines()
            self._changed.notify_all()
