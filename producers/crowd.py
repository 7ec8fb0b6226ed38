"""How large a frame may be: the more workers there are, the smaller, since all their frames meet in one collector.

Its socket holds so many frames of *each* worker (:data:`logbus.bus.ARRIVED_FRAMES`), whatever their size is: ZeroMQ
counts messages. Of 200 workers that log flat out these were 80 MiB. A shorter queue is no remedy: of a worker that is
killed everything is lost that has not left the kernel yet, which with a queue of two was a third of its last words. So
the queue stays, and the workers share what may be in it. How many they are each sees by itself: every one has a counter
page in the directory beside the socket.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from logbus.counters import SUFFIX
from logbus.producers.pack import FRAME_BYTES

#: Bytes (estimated, as those of a frame) that one frame of every worker may take together: up to 60 workers notice
#: nothing. In frames of 100 records instead of 160 a record costs a collector 7 % more, in frames of 50 a third.
CROWD_BYTES: Final = 60 * FRAME_BYTES
#: Bytes of a frame, however many workers there are: some ten records.
LEAST_BYTES: Final = 8 * 1024
#: Seconds between two counts. One of 200 workers takes 0.1 ms.
COUNT_S: Final = 5.0


class Crowd:
    """The workers of one collector, by their counter pages. For the sender's thread only."""

    def __init__(self, pages: Path) -> None:
        self._pages = pages
        self._count_at = 0.0
        self._frame_bytes = FRAME_BYTES

    def frame_bytes(self, waiting: int) -> int:
        """Bytes of the next frame at most, where ``waiting`` bytes are to be sent. Never raises."""
        if waiting <= LEAST_BYTES:  # it fits however many there are
            return FRAME_BYTES
        now = time.monotonic()
        if now >= self._count_at:
            self._count_at = now + COUNT_S
            self._frame_bytes = max(LEAST_BYTES, min(FRAME_BYTES, CROWD_BYTES // max(1, self._count())))
        return self._frame_bytes

    def _count(self) -> int:
        """How many there are; those too that have died and that nobody has removed yet."""
        try:
            return sum([name.endswith(SUFFIX) for name in os.listdir(self._pages)])
        except OSError:
            return 1
