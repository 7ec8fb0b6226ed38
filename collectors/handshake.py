"""The handshake of a graceful end: every worker holds its records, and everything that was sent is read.

"draining" is published; each worker stops sending and says in a MARK how much it has sent. Once the last MARK is there
nothing is under way any more. Workers that connect meanwhile are told too.
"""

from __future__ import annotations

import time
from typing import Final

from logbus.collectors.publisher import Publisher
from logbus.collectors.roll import Roll

#: Seconds that a drain waits for the workers' last MARKs, at most.
DRAIN_S: Final = 2.0
#: Seconds between repetitions of "draining", for workers that connect meanwhile.
REPEAT_S: Final = 0.05
#: Seconds that a drain lasts at least, and from the last worker that comes: one that was welcomed a moment before, as
#: by a collector that serves, is not on the list of those who listen yet and may send what nobody would read.
GRACE_S: Final = 0.1


class Handshake:
    """One end, begun when it is made; between two calls of :meth:`over` the collector reads on."""

    def __init__(self, publisher: Publisher, roll: Roll) -> None:
        self._publisher = publisher
        self._roll = roll
        publisher.say("draining", ask=True)
        self._request = publisher.state.request
        self._listening = len(publisher.listeners)
        now = time.monotonic()
        self._deadline = now + DRAIN_S
        self._repeat_at = now + REPEAT_S
        self._settled_at = now + GRACE_S

    def over(self, *, busy: bool) -> bool:
        """Whether nothing is under way any more, or the time is over; ``busy``: the last turn brought records."""
        now = time.monotonic()
        listeners = self._publisher.listeners
        if len(listeners) > self._listening:
            self._settled_at = now + GRACE_S
        self._listening = len(listeners)
        if now >= self._repeat_at:
            self._repeat_at = now + REPEAT_S
            self._publisher.repeat()
        if now >= self._deadline:
            return True
        return not busy and now >= self._settled_at and not self._roll.unanswered(self._request, listeners)
