"""Threads that work while another changes what they work with, and that take turns far more often than usual."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable

#: Seconds after which a thread has to let another one run; Python's own 5 ms would hide most interleavings.
SWITCH_S = 1e-5


def race(work: Callable[[str], object], names: Iterable[str], change: Callable[[], object]) -> None:
    """Runs ``work(name)`` in a thread for each name, and ``change()`` again and again beside them until they end."""
    done = threading.Event()

    def keep_changing() -> None:
        while not done.is_set():
            change()

    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    changer = threading.Thread(target=keep_changing)
    try:
        for thread in (changer, *threads):
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        done.set()
        changer.join()
        sys.setswitchinterval(before)
