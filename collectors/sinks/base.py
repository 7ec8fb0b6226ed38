"""What every sink does. A sink is used by one thread, its writer (:mod:`logbus.collectors.writing.writer`).

A local sink (a file, the console) takes a write whole or not at all. A remote one has an answer for it: some of its
first records have ended, delivered or refused for good, and the others come again; or nothing has, and it is tried
again. So that a restart loses nothing that the other side has not got, what nobody can tell is tried again and counted
as possibly there twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from logbus.collectors.rows import Intent, Range
from logbus.errors import LogbusError


class Refusal(NamedTuple):
    """Whole lines that the other side refuses for good, how many records they are, and why."""

    lines: bytes
    records: int
    reason: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a write: its first ``records`` have ended, and the others stay in the queue.

    ``refused`` are those of them that will never be delivered, the others are. ``resent`` counts records, of this
    write or of earlier ones, that the other side may have twice.
    """

    records: int
    refused: tuple[Refusal, ...] = ()
    resent: int = 0


class TryAgainError(LogbusError):
    """Raised by a write of which nothing has ended, and which is to be tried again.

    ``after_s`` is how many seconds the other side wants to be left alone, 0 for no word about it. ``doubtful`` records
    of the write may have arrived all the same, and will then be there twice.
    """

    def __init__(self, message: str, *, after_s: float = 0.0, doubtful: int = 0) -> None:
        super().__init__(message)
        self.after_s = after_s
        self.doubtful = doubtful


class Sink(Protocol):
    """A place to write lines to.

    ``checkable`` says whether a look at it after a crash tells how far a write came. ``patience_s`` says how many
    seconds the call under way may take before it is called one that hangs, and the sink failing; 0 leaves that to the
    writer. It is read from any thread. ``trouble`` says what is wrong while lines are written all the same; None when
    nothing is.
    """

    name: str
    type: str
    checkable: bool
    trouble: str | None

    @property
    def patience_s(self) -> float:
        """Seconds that a call may take."""

    def open(self) -> None:
        """Opens it. Raises SinkError, OwnedError."""

    def intent(self, count: int, length: int, delivered_before: int, ranges: tuple[Range, ...]) -> Intent:
        """What a write of ``length`` bytes that comes next is going to do."""

    def write(self, data: bytes) -> Sent | None:
        """Writes whole lines: all of them (None), or what it says. Raises OSError, TryAgainError."""

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

    def resent(self) -> int:
        """Records that the other side may have twice, and that no answer to a write has told of; then there are none.

        It is asked after each look and after the close: a sink may send there again what was delivered and lost.
        """

    def abort(self) -> None:
        """Has the call under way end soon if it can, with TryAgainError; from any thread."""

    def document(self) -> Mapping[str, Any]:
        """What this sink adds to its row of the status, for programs; from any thread."""

    def close(self) -> None:
        """Closes it; idempotent."""
