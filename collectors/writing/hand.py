"""What a writer has in hand: the lines of one write, from memory or from the spool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from logbus.collectors.rows import Range, coalesced
from logbus.collectors.writing.lines import Lines


class Hand(NamedTuple):
    """Whole lines, how many records they are, which, and the number of the last.

    Those from memory are ``lines``, and ``came`` is when the oldest of them did, in monotonic seconds. Those from the
    spool have their ``numbers``, and the name of another dialect (``foreign``) where they are not for this sink.
    """

    data: bytes
    records: int
    ranges: tuple[Range, ...]
    last: int
    came: float = 0.0
    lines: tuple[Lines, ...] = ()
    numbers: Sequence[int] = ()
    foreign: str | None = None

    @property
    def spooled(self) -> bool:
        """Whether it stands in the spool."""
        return not self.lines

    @classmethod
    def of(cls, lines: Sequence[Lines]) -> Hand | None:
        """What was taken out of the queue; None when that is nothing."""
        if not lines:
            return None
        if len(lines) == 1:
            [one] = lines
            return cls(one.data, one.records, one.ranges, one.last, one.came, (one,))
        return cls(
            b"".join([one.data for one in lines]),
            sum([one.records for one in lines]),
            coalesced(found for one in lines for found in one.ranges),
            lines[-1].last,
            lines[0].came,
            tuple(lines),
        )

    def last_of(self, records: int) -> int:
        """The number of the last of the first ``records``, one or more."""
        if self.numbers:
            return self.numbers[records - 1]
        for one in self.lines:
            if records <= one.records:
                return one.first + records - 1
            records -= one.records
        return self.last
