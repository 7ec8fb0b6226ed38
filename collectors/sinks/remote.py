"""What sinks have in common that send to somebody else: a server, a service, code that is not ours.

Nobody can look there after a crash, so what was in hand is unknown, or sent again where it stands in a spool. A write
that failed is tried again: whether it has arrived the sink says with each failure
(:class:`~logbus.collectors.sinks.base.TryAgainError`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from logbus.collectors.rows import Intent, Range
from logbus.collectors.sinks.base import Sent

#: Seconds that a call may take where nobody knows better.
PATIENCE_S: Final = 30.0


class RemoteSink:
    """A sink of which only :meth:`write` is missing; what else it needs to do its class says."""

    type: str
    checkable = False
    trouble: str | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def patience_s(self) -> float:
        """What a server may take that answers at last."""
        return PATIENCE_S

    def open(self) -> None:
        """Nothing to do: a server that is down when the collector starts is one that fails later."""

    def intent(self, count: int, length: int, delivered_before: int, ranges: tuple[Range, ...]) -> Intent:
        """What is about to be sent; where it goes nobody can look."""
        return Intent(count, delivered_before, ranges)

    def write(self, data: bytes) -> Sent | None:
        """Sends whole lines. Raises TryAgainError, and whatever else is to be tried again."""
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
        """None: what is sent again is sent by writes."""
        return 0

    def abort(self) -> None:
        """Nothing to do."""

    def document(self) -> Mapping[str, Any]:
        """Nothing."""
        return {}

    def close(self) -> None:
        """Nothing to do."""
