"""Threads of ours that are no target for signals: what is sent to a process finds the threads that it had without us.

The system gives a signal to any thread that does not block it. A program that has blocked one where it runs, to fetch
it by ``sigwait()``, or because it must not be ended just now (a worker of billiard's pool while it holds the lock that
all of them share), means the whole process: a thread more that lets it through would end the program in spite of it,
also while the thread is on its way out and ``join()`` has returned already. ZeroMQ's threads block theirs themselves.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Final

#: Those that the system raises in a thread for its own mistake, which blocking only hides from ``faulthandler``.
_OWN: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT}


def unsignalled(run: Callable[[], None], name: str) -> threading.Thread:
    """A daemon thread, not started yet, that runs a function and takes no signal that is sent to the process."""

    def quietly() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _OWN)
        run()

    return threading.Thread(target=quietly, name=name, daemon=True)
