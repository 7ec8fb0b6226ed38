"""Every way out of a process: what drains the buffer at exit, in multiprocessing children and on SIGTERM.

``atexit`` does not run in multiprocessing children on Python 3.11 and 3.12, ``multiprocessing.util.Finalize`` does;
both are used, and nothing is started there (a thread can't start inside ``atexit`` on 3.12). SIGTERM is taken only
where the application left the default action, and ends the process by the same signal after the drain.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType


class Exits:
    """The ways out of this process and of its children; ``drain`` is idempotent and keeps its own deadline."""

    def __init__(self, drain: Callable[[], None]) -> None:
        self._drain = drain

    def install(self) -> None:
        """Registers the drain for a normal exit; forked children inherit it."""
        atexit.register(self._drain)
        os.register_at_fork(after_in_child=self._follow)
        self._follow()

    def _follow(self) -> None:
        """Registers with multiprocessing where it is loaded, now and again when a child begins.

        A multiprocessing child clears its finalizers first, under every start method, and then runs these hooks.
        """
        multiprocessing_util = sys.modules.get("multiprocessing.util")
        if multiprocessing_util is not None:
            multiprocessing_util.register_after_fork(self, Exits._finalize)
            self._finalize()

    def _finalize(self) -> None:
        sys.modules["multiprocessing.util"].Finalize(None, self._drain, exitpriority=-100)

    def drain_on_sigterm(self) -> bool:
        """Drains on SIGTERM where its action is the default one. False when it isn't, or off the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return False
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return False
        signal.signal(signal.SIGTERM, self._on_sigterm)
        return True

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        try:
            self._drain()
        finally:  # whatever another signal's handler raises in the middle: who was told to end ends
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
