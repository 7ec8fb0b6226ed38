"""A forked child that says nothing is a worker too: this opens its producer soon after the fork.

Not in the fork's own hook: many a child closes every descriptor and becomes another program or a daemon, and on a live
ZeroMQ context that closing is an abort. What such a child does it does at once, so the opener waits a moment on a lock,
which needs no descriptor. A record that comes earlier opens the producer as ever.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Final

#: Seconds from a fork until the child opens by itself.
OPEN_AFTER_S: Final = 0.5
#: Seconds that a fork waits for the opener of a child that forks again: it only has to wake up.
_STOP_S: Final = 0.05


class Opener:
    """A thread that calls ``open_producer`` once, :data:`OPEN_AFTER_S` after :meth:`start`, unless it is stopped."""

    def __init__(self, open_producer: Callable[[], None]) -> None:
        self._open = open_producer
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logbus-opener", daemon=True)

    def start(self) -> None:
        """Starts to wait. Where the system has no thread to give, the first record opens."""
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def stop(self) -> None:
        """Ends it, before a fork for example."""
        self._stopped.set()
        if self._thread.ident is not None and self._thread is not threading.current_thread():
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        if not self._stopped.wait(OPEN_AFTER_S):
            self._open()
