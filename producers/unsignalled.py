"""Threads of ours that are no target for signals: what is sent to a process finds the threads that it had without us.

The system gives a signal to any thread that does not block it. A program that has blocked one where it runs, to fetch
it by ``sigwait()``, or because it must not be ended just now (a worker of billiard's pool while it holds the lock that
all of them share), means the whole process: a thread more that lets it through would end the program in spite of it,
also while the thread is on its way out and ``join()`` has returned already. ZeroMQ's threads block theirs themselves.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

from logbus import os_threads

#: Those that the system raises in a thread for its own mistake, which blocking only hides from ``faulthandler``.
_OWN: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}


class Thread(threading.Thread):
    """A daemon that may end after gevent or eventlet have come. ``ended`` is set at its end.

    Who waits for it waits for that: gevent puts a ``join()`` into each thread that it finds, for greenlets only, and
    signal handlers run where there is none. Its numbers for threads are others, too.
    """

    def __init__(self, run: Callable[[], object], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.ended = os_threads.Event()
        self._function = run

    def run(self) -> None:
        """Runs the function."""
        try:
            self._function()
        finally:
            self.ended.set()

    def _delete(self) -> None:
        try:
            super()._delete()  # type: ignore[misc]
        except KeyError:
            threading._active.pop(self.ident, None)  # type: ignore[attr-defined]


def unsignalled(run: Callable[[], object], name: str) -> Thread | os_threads.Thread:
    """A daemon thread, not started yet, that runs a function and takes no signal that is sent to the process.

    It is one of the system, also where :mod:`threading` has greenlets.
    """

    def quietly() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _OWN)
        run()

    return (os_threads.Thread if os_threads.are_greenlets() else Thread)(quietly, name)


def wait_end(thread: Thread | os_threads.Thread, timeout: float) -> bool:
    """Waits for the end of a thread, at most ``timeout`` seconds; whether it has ended.

    Not at all for one that was never started, nor in the thread itself, where a finalizer may come here.
    """
    if thread.ident in (None, os_threads.get_ident()):
        return False
    until = time.monotonic() + timeout
    ended = thread.ended.wait_alone(timeout)
    # The system counts it for a moment still, and Python 3.12 warns of a fork beside another thread.
    while ended and os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < until:
        os_threads.sleep(0.0001)
    return ended
