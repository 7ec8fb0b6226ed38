"""Programs that close every descriptor, as daemons do at their start: ours go first, and come back afterwards.

libzmq aborts a process whose descriptors vanish under it, and whoever holds no lock on his counter page counts as dead.
A child that daemonises closes right after its fork, before it has anything open (:mod:`logbus.producers.opener`); a
program below ``logbus run`` may close all at any time and knows nothing of us. So ``os.closerange``, by which it is
done, ends the life of each producer that it may reach, drained, and has a new one open soon. Nothing is opened in the
meantime, by another thread that logs or by the opener: their records wait. Who closes one descriptor after the other
with ``os.close`` is not seen.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from logbus.producers.patch import Patch
from logbus.producers.producer import all_producers


def mind_closing() -> Callable[[], object]:
    """Has ``os.closerange`` spare what the producers of this process have open; what it returns undoes that."""
    return Patch(os, "closerange", _let_go_first).remove


def _let_go_first(original: Callable[[int, int], None]) -> Callable[[int, int], None]:
    @functools.wraps(original)
    def closerange(fd_low: int, fd_high: int, /) -> None:
        producers = all_producers()
        for producer in producers:
            producer.stay_closed()
        owners = [producer for producer in producers if producer.reaches(fd_high) and producer.let_go()]
        try:
            original(fd_low, fd_high)
        finally:
            for producer in producers:
                producer.may_open(soon=producer in owners)

    return closerange
