"""Every way out of a process: what drains the buffer at exit, in multiprocessing children and on SIGTERM.

``atexit`` does not run in multiprocessing children on Python 3.11 and 3.12, ``multiprocessing.util.Finalize`` does;
both are used, and nothing is started there (a thread can't start inside ``atexit`` on 3.12). billiard, which is
celery's multiprocessing, has a Finalize of its own, and the workers of its pools end by ``os._exit`` past that: they
drain as the last thing before it. SIGTERM is taken only where the application left the default action, or gives it
back, and ends the process by the same signal after the drain.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any, Final

from logbus.os_threads import in_main_thread
from logbus.producers.patch import Patch

#: Modules with children that run finalizers of their own instead of atexit's.
_UTILS: Final = ("multiprocessing.util", "billiard.util")


class Exits:
    """The ways out of this process and of its children.

    ``drain`` is idempotent, and keeps its own deadline as ``flush`` does, which closes nothing.
    """

    def __init__(self, drain: Callable[[], None], flush: Callable[[], None]) -> None:
        self._drain = drain
        self._flush = flush
        #: The modules with which this process, or one that it was forked from, has registered.
        self._followed: set[str] = set()
        self._pools: list[Any] = []
        #: Our step in ``signal.signal``, while another handler of SIGTERM is there.
        self._awaited: Patch | None = None

    def install(self) -> None:
        """Registers the drain for a normal exit; forked children inherit it."""
        atexit.register(self._drain)
        os.register_at_fork(after_in_child=self._follow)
        self._follow()

    def _follow(self) -> None:
        """Registers with multiprocessing and billiard where they are loaded, now and again when a child begins.

        A child of theirs clears its finalizers first, under every start method, and then runs these hooks.
        """
        if "billiard.process" in sys.modules:
            import_module("billiard.util")  # its children load it too late for us, before their first line
        for name in _UTILS:
            util: Any = sys.modules.get(name)
            if util is not None and name not in self._followed:
                self._followed.add(name)
                util.register_after_fork(self, Exits._finalize)
        self._finalize()
        pool: Any = sys.modules.get("billiard.pool")
        if pool is not None and pool not in self._pools and hasattr(pool.Worker, "_do_exit"):
            self._pools.append(pool)
            self._drain_before_exit(pool.Worker)
            self._flush_before_last_result(pool.Worker)

    def _finalize(self) -> None:
        for name in _UTILS:
            util: Any = sys.modules.get(name)
            if util is not None:
                util.Finalize(None, self._drain, exitpriority=-100)

    def _drain_before_exit(self, worker: Any) -> None:
        """Drains in the workers of billiard's pools, between what the application does at their end and the end."""
        do_exit = worker._do_exit

        @functools.wraps(do_exit)
        def drain_first(self: Any, pid: int, exitcode: int, exc: BaseException | None = None) -> None:
            on_exit = self.on_exit

            def last(pid: int, exitcode: int) -> None:
                try:
                    if on_exit is not None:
                        on_exit(pid, exitcode)
                finally:
                    drain()

            self.on_exit = last
            do_exit(self, pid, exitcode, exc)

        drain, worker._do_exit = self._drain, drain_first

    def _flush_before_last_result(self, worker: Any) -> None:
        """Flushes in the workers of billiard's pools as soon as the last of their tasks is done, if they may do few."""
        workloop = worker.workloop

        @functools.wraps(workloop)
        def flush_last(self: Any, *arguments: Any, **options: Any) -> Any:
            tasks, prepare_result = itertools.count(1), self.prepare_result

            def prepare(*result: Any, **more: Any) -> Any:
                prepared = prepare_result(*result, **more)
                if next(tasks) == self.maxtasks:
                    flush()
                return prepared

            self.prepare_result = prepare
            return workloop(self, *arguments, **options)

        flush, worker.workloop = self._flush, flush_last

    def drain_on_sigterm(self) -> bool:
        """Drains on SIGTERM where its action is the default one, and once it is again: False until then.

        Servers have a handler of their own while they serve. uvicorn, which loads the application meanwhile, gives the
        default action back when it has shut down, and raises the signal again. False off the main thread, too.
        """
        if not in_main_thread():
            return False
        found = signal.getsignal(signal.SIGTERM)
        if found is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)
            return True
        if found != self._on_sigterm and self._awaited is None:
            self._awaited = Patch(signal, "signal", self._await_default)
        return bool(found == self._on_sigterm)

    def _await_default(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def set_action(number: int, action: Any) -> Any:
            if number == signal.SIGTERM and action == signal.SIG_DFL and self._awaited is not None:
                self._awaited.remove()
                self._awaited, action = None, self._on_sigterm
            return original(number, action)

        return set_action

    def _on_sigterm(self, number: int, frame: FrameType | None) -> None:
        try:
            self._drain()
        finally:  # whatever another signal's handler raises in the middle: who was told to end ends
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
