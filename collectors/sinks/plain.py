"""What a sink does that has nothing of its own to do: each sink is made of this one, and says what it does otherwise.

The least is :meth:`PlainSink.write`. Nobody can look at where such a sink writes, neither after a crash nor between
writes, and a write that failed is tried again.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from logbus.collectors.rows import Intent, Range
from logbus.collectors.sinks.base import Sent


class PlainSink:
    """A sink (:class:`~logbus.collectors.sinks.base.Sink`) of which only :meth:`write` is missing."""

    type: str
    checkable = False
    trouble: str | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def patience_s(self) -> float:
        """Nothing is known about it: the writer decides."""
        return 0.0

    def open(self) -> None:
        """Nothing to do: what can't be written to fails later."""

    def intent(self, count: int, length: int, delivered_before: int, ranges: tuple[Range, ...]) -> Intent:
        """What is about to be written; where it goes nobody can look."""
        return Intent(count, delivered_before, ranges)

    def write(self, data: bytes) -> Sent | None:
        """Takes whole lines. Raises TryAgainError, and whatever else is to be tried again."""
        raise NotImplementedError

    def undo(self) -> bool:
        """True: what failed is tried again."""
        return True

    def look(self, first: int = 0) -> int:
        """Nothing to do: any number of bytes."""
        return sys.maxsize

    def reopen(self) -> None:
        """Nothing to do."""

    def resent(self) -> int:
        """None: what was delivered stays, and what is sent again is sent by writes."""
        return 0

    def abort(self) -> None:
        """Nothing to do: no call can be ended."""

    def document(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def close(self) -> None:
        """Nothing to do."""
