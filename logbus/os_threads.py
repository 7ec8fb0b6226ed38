"""Threads of the system, and locks that hold them, also in a program whose threads are greenlets.

gevent and eventlet put their own functions into ``_thread``, ``threading``, ``time`` and ``select``. A thread that is
begun with those is a greenlet: it shares the system's thread with the program, and where it waits in ZeroMQ the
whole program waits. Locks of theirs belong to a greenlet, and their sleep begins a loop of events in a thread of ours.
So what logbus does beside the program is done with what stands here, which is the interpreter's own, whether logbus was
imported before such a patch or after it. Where a *caller* waits, in ``flush()``, other greenlets run meanwhile.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
import time
from collections.abc import Callable
from types import BuiltinFunctionType
from typing import Any, Final

#: Seconds between two looks of a greenlet that waits: at first, and at most.
_LOOK_S: Final = 0.001
_LOOK_MAX_S: Final = 0.01
#: How gevent and eventlet refuse to switch from where they run signal handlers, too: their loop itself.
_IN_THE_LOOP: Final = ("Impossible to call blocking function", "do not call blocking functions")
_FOR_EVER_S: Final = 1e6


def are_greenlets() -> bool:
    """Whether a thread that is begun now, by :mod:`threading`, is none of the system."""
    return not isinstance(_thread.start_new_thread, BuiltinFunctionType)


def _own() -> Any:
    """``_thread`` as it is in the interpreter: a patch is in the module that everybody imports, not in a new one."""
    if not are_greenlets():
        return _thread
    from importlib.machinery import BuiltinImporter
    from importlib.util import module_from_spec

    spec = BuiltinImporter.find_spec("_thread")
    if spec is None or spec.loader is None:
        return _thread
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_OWN: Final = _own()
# Now, since a patch may come later.
_get_native_id: Final = _OWN.get_native_id
_start: Final = _OWN.start_new_thread

#: The number of the calling thread, as the system's locks know it; greenlets of one thread have one.
get_ident: Final[Callable[[], int]] = _OWN.get_ident
Lock: Final = _OWN.allocate_lock
#: Two greenlets of one thread both have it, as a function and a signal handler that interrupts it have.
RLock: Final = _OWN.RLock


def in_main_thread() -> bool:
    """Whether this is the thread in which Python runs signal handlers, in any greenlet of it."""
    if are_greenlets():
        return bool(_get_native_id() == os.getpid())
    return threading.current_thread() is threading.main_thread()


def sleep(seconds: float) -> None:
    """Has the calling thread wait, with all of its greenlets."""
    never = Lock()
    never.acquire()
    never.acquire(True, max(0.0, seconds))


def acquire(lock: Any, timeout: float) -> bool:
    """Takes a lock of the program's, which may be one of greenlets; whether it could be had in ``timeout`` seconds.

    A thread of ours never waits in gevent's: that asks the loop of the thread that has the lock, for as long as its
    greenlets leave it no turn, whatever the timeout.
    """
    if not are_greenlets():
        return bool(lock.acquire(timeout=timeout))
    until = time.monotonic() + timeout
    wait: Callable[[float], object] = Event().wait if in_main_thread() else sleep
    while not lock.acquire(False):
        if time.monotonic() >= until:
            return False
        wait(_LOOK_S)
    return True


class Event:
    """Something that happens once. :meth:`set` is safe in a signal handler, even one that interrupts another."""

    __slots__ = ("_happened", "_lock")

    def __init__(self) -> None:
        self._happened = False
        self._lock = Lock()
        self._lock.acquire()

    def set(self) -> None:
        """It has happened; idempotent."""
        self._happened = True
        self._release()

    def is_set(self) -> bool:
        """Whether it has happened."""
        return self._happened

    def wait(self, timeout: float) -> bool:
        """Waits for at most ``timeout`` seconds; whether it has happened. Other greenlets run meanwhile."""
        if not are_greenlets():
            return self.wait_alone(timeout)
        until, look = time.monotonic() + timeout, _LOOK_S
        while not self._happened and (left := until - time.monotonic()) > 0:
            try:
                time.sleep(min(left, look))
            except Exception as error:
                if not str(error).startswith(_IN_THE_LOOP):
                    raise
                return self.wait_alone(left)
            look = min(2 * look, _LOOK_MAX_S)
        return self._happened

    def wait_alone(self, timeout: float) -> bool:
        """As :meth:`wait`, and no other greenlet of this thread runs meanwhile: where a process forks or ends."""
        if not self._happened and self._lock.acquire(True, max(0.0, timeout)):
            self._release()  # whoever else waits is next
        return self._happened

    def _release(self) -> None:
        with contextlib.suppress(RuntimeError):  # another was quicker
            self._lock.release()


class Thread:
    """A daemon of the system beside greenlets. It has its numbers once it has started; ``ended`` is set at its end."""

    daemon: Final = True

    def __init__(self, run: Callable[[], object], name: str) -> None:
        self.name = name
        self.ident: int | None = None
        self.native_id: int | None = None
        self.ended = Event()
        self._run = run
        self._begun = Event()

    def start(self) -> None:
        """Starts it, once. Raises RuntimeError where the system or the interpreter has no more threads to give."""
        _start(self._through, ())
        self._begun.wait_alone(_FOR_EVER_S)

    def _through(self) -> None:
        self.ident, self.native_id = get_ident(), _get_native_id()
        self._begun.set()
        try:
            self._run()
        finally:
            self.ended.set()
