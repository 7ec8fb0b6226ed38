"""What every sink does. A sink is used by one thread, its writer (:mod:`logbus.collectors.writer`)."""

from __future__ import annotations

from typing import Protocol

from logbus.collectors.rows import Intent, Range


class Sink(Protocol):
    """A place to write lines to.

    ``checkable`` says whether a look at it after a crash tells how far a write came. ``patient`` says what happens
    when it is slower than the records come: a patient sink makes the collector read less, so that the workers'
    buffers fill; an impatient one (a terminal) has its records dropped, counted. ``trouble`` says what is wrong while
    lines are written all the same; None when nothing is.
    """

    name: str
    type: str
    checkable: bool
    patient: bool
    trouble: str | None

    def open(self) -> None:
        """Opens it. Raises SinkError, OwnedError."""

    def intent(self, count: int, length: int, delivered_before: int, ranges: tuple[Range, ...]) -> Intent:
        """What a write of ``length`` bytes that comes next is going to do."""

    def write(self, data: bytes) -> None:
        """Writes whole lines, all of them or (after :meth:`undo`) none. Raises OSError."""

    def undo(self) -> bool:
        """After a write that failed: True when nothing of it remains, False when nobody can tell."""

    def look(self, first: int = 0) -> int:
        """How many bytes the next write may have at most, ``sys.maxsize`` for any; never less than ``first``.

        ``first`` is the bytes of the line that comes next, 0 when none waits. It stands between writes, and does what
        is due there: opens the sink again where somebody has moved or removed it, begins another file where this one
        has no room for that line, or has lasted long enough. Raises OSError, LogbusError.
        """

    def reopen(self) -> None:
        """Looks at once, on request. Raises OSError, LogbusError."""

    def close(self) -> None:
        """Closes it; idempotent."""
