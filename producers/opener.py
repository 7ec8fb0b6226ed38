"""A forked child that says nothing is a worker too: this opens its producer soon after the fork.

So does a process below ``logbus run``, soon after its start. Not in the fork's own hook: many a child closes every
descriptor and becomes another program or a daemon, and on a live ZeroMQ context that closing is an abort. What such a
child does it does at once, so the opener waits a moment on a lock, which needs no descriptor. A record that comes
earlier opens the producer as ever.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from logbus import os_threads
from logbus.producers.unsignalled import unsignalled, wait_end

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
        self._going_on = os_threads.Lock()
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
        wait_end(self._thread, _STOP_S)

    def _run(self) -> None:
        if not self._going_on.acquire(timeout=OPEN_AFTER_S):
            self._open()
