"""What was sent last: when the other side dies, some of it may not have been read, and it is sent again.

How much that can be the transport knows. More would be doubled for nothing, less would be lost. Of each line is known
how many connections were closed since: a server that closes each of them soon would be sent the same lines for ever.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable
from math import inf


class Tail:
    """The last lines that were sent: ``max_bytes``, ``max_records`` and ``max_s`` seconds of them at most."""

    def __init__(
        self,
        *,
        max_bytes: int = sys.maxsize,
        max_records: int = sys.maxsize,
        max_s: float = inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_bytes = max_bytes
        self._max_records = max_records
        self._max_s = max_s
        self._clock = clock
        #: When they were sent, the lines, how many they are, and how many connections were closed.
        self._sent: deque[tuple[float, bytes, int, int]] = deque()
        self._bytes = 0
        self._records = 0

    def __bool__(self) -> bool:
        return bool(self._sent)

    def add(self, lines: bytes, closed: int = 0) -> None:
        """Notes whole lines that were sent, and how many connections were ``closed`` since they first were."""
        if lines:
            records = lines.count(b"\n")
            self._sent.append((self._clock(), lines, records, closed))
            self._bytes += len(lines)
            self._records += records
            self._forget()

    def take(self, records: int = sys.maxsize) -> bytes:
        """The last lines, ``records`` of them at most; then there are none."""
        return b"".join([lines for lines, _ in self.parcels(records)])

    def parcels(self, records: int = sys.maxsize) -> list[tuple[bytes, int]]:
        """The same, by how many connections were closed since they were first sent."""
        self._forget()
        most, room = min(records, self._max_records), self._max_bytes
        found: list[tuple[bytes, int]] = []
        for _, whole, count, closed in reversed(self._sent):
            lines = whole
            if count > most:
                lines = b"\n".join(lines.split(b"\n", count - most)[count - most :])
            if len(lines) > room:
                lines = lines[lines.find(b"\n", len(lines) - room - 1) + 1 :]
            if lines:
                found.append((lines, closed))
            if lines is not whole:
                break
            most, room = most - count, room - len(lines)
        self.clear()
        return found[::-1]

    def clear(self) -> None:
        """Forgets all: the other side has read it."""
        self._sent.clear()
        self._bytes = self._records = 0

    def _forget(self) -> None:
        """Lets go what can't be asked for any more."""
        oldest = self._clock() - self._max_s
        while self._sent:
            when, lines, records, _ = self._sent[0]
            enough = self._bytes - len(lines) >= self._max_bytes or self._records - records >= self._max_records
            if when >= oldest and not enough:
                return
            self._sent.popleft()
            self._bytes -= len(lines)
            self._records -= records
