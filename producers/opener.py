"""A forked child that says nothing is a worker too: this opens its producer soon after the fork.

So does a process below ``logbus run``, soon after its start. Not in the fork's own hook: many a child closes every
descriptor and becomes another program or a daemon, and on a live ZeroMQ context that closing is an abort. What such a
child does it does at once, so the opener waits a moment on a lock, which needs no descriptor. A record that comes
earlier opens the producer as ever.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Final

from logbus.producers.unsignalled import unsignalled

#: Seconds from a fork until the child opens by itself.
OPEN_AFTER_S: Final = 0.5
#: Seconds that a fork or an exit waits for the opener, at most: it has to wake up, or to finish what it has begun.
_STOP_S: Final = 0.25


class Opener:
    """A thread that calls ``open_producer`` once, :data:`OPEN_AFTER_S` after :meth:`start`, unless it is stopped."""

    def __init__(self, open_producer: Callable[[], None]) -> None:
        self._open = open_producer
        # Held until it is stopped. No Event: a signal handler that stops it in the middle of another stop (SIGTERM at
        # the exit of a pool's process) would wait in there for itself.
        self._going_on = threading.Lock()
        self._going_on.acquire()
        self._thread = unsignalled(self._run, "logbus-opener")

    def start(self) -> None:
        """Starts to wait. Where the system has no thread to give, the first record opens."""
        with contextlib.suppress(RuntimeError):
            self._thread.start()

    def stop(self) -> None:
        """Ends it, before a fork for example."""
        with contextlib.suppress(RuntimeError):  # somebody was quicker
            self._going_on.release()
        thread = self._thread
        if thread.ident is not None and thread is not threading.current_thread():
            until = time.monotonic() + _STOP_S
            thread.join(_STOP_S)
            # join() may return while the system still counts the thread, and Python 3.12 warns of a fork beside one.
            while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < until:
                time.sleep(0.0001)

    def _run(self) -> None:
        if not self._going_on.acquire(timeout=OPEN_AFTER_S):
            self._open()
