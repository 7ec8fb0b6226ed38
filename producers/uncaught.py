"""What nobody caught: the last words of a process, a thread or a task, as a record.

Python tells of such an exception on stderr, by hooks that may be replaced: ``sys.excepthook`` (the main thread, and so
the process), ``threading.excepthook``, ``sys.unraisablehook`` (destructors, callbacks from C). Ours make a record and
call the one that they found, so stderr is what it was; who comes after us calls ours. Where somebody put a hook of his
own in our place and calls nobody (``rich.traceback.install()``), the interpreter still keeps what it died of in
``sys.last_value``: the exit looks there. Two more have no hook. A task whose exception nobody asked for
(:mod:`logbus.producers.unretrieved`), which asyncio logs itself. And the main function of a multiprocessing child,
which prints and swallows it. Up to Python 3.12 (and in billiard) it is in flight while the child runs its finalizers,
of which ours is the first; from 3.13 on those come later, and the only public place is ``traceback.print_exc``, on
which we stand in such a child. A wrapper of ``Process.run`` would stand in the traceback that is printed.

The records (:mod:`logbus.producers.crash`) are CRITICAL where a process ends by it, and ERROR where it goes on.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import traceback as traceback_module
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import Any, Final

from logbus.producers.crash import LOGGER, tell
from logbus.producers.gate import Gate
from logbus.producers.producer import Producer
from logbus.producers.text import text_of, type_name
from logbus.producers.unretrieved import UNRETRIEVED

#: Seconds that a process which dies waits for its last record to be in the collector's socket, at most: what comes
#: after our hook may end it at once. The exit's own drain comes as well.
FLUSH_S: Final = 0.25
#: Characters of the name of what Python ignored an exception of.
_NAME_CHARS: Final = 256
#: Above every priority of the standard library's: before anything is drained.
_FIRST: Final = 1000
#: Whoever ends a program by these means it.
_MEANT: Final = (KeyboardInterrupt, SystemExit)
#: Where children have their names; billiard's use the finalizers of multiprocessing.
_PROCESSES: Final = ("multiprocessing.process", "billiard.process")
#: The name of a process that is nobody's child.
_MAIN_PROCESS: Final = "MainProcess"


class Uncaught:
    """The hooks of this process, which has one: :data:`UNCAUGHT`."""

    def __init__(self) -> None:
        self._producer: Producer | None = None
        self._once = False
        #: Our hooks, and what they stand in front of.
        self._main: _Hook | None = None
        self._thread: _Hook | None = None
        self._unraisable: _Hook | None = None
        #: What is being told just now, by the number of its thread or greenlet: a chain may lead to us twice.
        self._telling: dict[int, Any] = {}
        self._print_exc: _Hook | None = None
        #: The exception (its id) that has been told last of those that end a process.
        self._told = 0
        #: The gates that look for us too.
        self._gates: weakref.WeakSet[Gate] = weakref.WeakSet()
        #: Whether children of multiprocessing register with us.
        self._followed = False

    def install(self, producer: Producer) -> None:
        """Tells this producer of what nobody catches, from now on. Idempotent."""
        logging.getLogger(LOGGER)  # so that levels can be set for it before it is needed
        if self._producer is None:
            self._hook()
        self._producer = producer
        if not self._once:
            self._once = True
            atexit.register(self._at_exit)  # later than the drain's, so it runs before that
            os.register_at_fork(after_in_child=self._in_child)
        if producer.gate not in self._gates:
            # Once a second: the application may import asyncio or multiprocessing at any time.
            self._gates.add(producer.gate)
            producer.gate.look_too = partial(self._look, producer.gate.look_too)
        self.follow()

    def uninstall(self) -> None:
        """Gives every hook back; where somebody has put his own on top of ours, ours stays and does nothing."""
        self._producer = None
        for module, name, ours in (
            (sys, "excepthook", self._main),
            (threading, "excepthook", self._thread),
            (sys, "unraisablehook", self._unraisable),
            (traceback_module, "print_exc", self._print_exc),
        ):
            if ours is not None and getattr(module, name) is ours:
                setattr(module, name, ours.before)
        UNRETRIEVED.leave()

    def follow(self) -> None:
        """Takes part in multiprocessing and asyncio as far as they are loaded by now."""
        if self._producer is None:
            return
        spawned = "--multiprocessing-fork" in sys.orig_argv
        if spawned:
            import multiprocessing.util  # noqa: F401 (a spawned child before its first line: it is about to load this)
        util: Any = sys.modules.get("multiprocessing.util")
        if util is not None and not self._followed:
            with contextlib.suppress(AttributeError):  # half-way through its import, in another thread
                util.register_after_fork(self, Uncaught._register)
                self._followed = True
                if spawned:
                    self._register()  # has begun already, and runs no such hook
        UNRETRIEVED.follow()

    def _look(self, others: Callable[[], object]) -> None:
        others()
        self.follow()

    def died(self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        """Tells of what ends the main thread, for an excepthook that was there before ours. Raises nothing."""
        with self._for_the_first_time(error) as first:
            if first:
                self._end_by(kind, error, traceback)

    def tell(
        self,
        error: BaseException | None,
        kind: type[BaseException],
        traceback: TracebackType | None,
        *,
        level: int,
        where: str,
        thread: str | None = None,
        **fields: Any,
    ) -> None:
        """Makes the record. Raises nothing: it is called where something has gone wrong already."""
        producer = self._producer
        with contextlib.suppress(BaseException):  # whoever interrupts a process that dies gets what he wants
            if producer is not None and not issubclass(kind, _MEANT):
                tell(producer, error, kind, traceback, level, thread, {"uncaught_in": where, **fields})

    def _hook(self) -> None:
        if sys.excepthook is not self._main:
            self._main = _Hook(sys.excepthook, self._on_main)
            sys.excepthook = self._main
        if threading.excepthook is not self._thread:
            self._thread = _Hook(threading.excepthook, self._on_thread)
            threading.excepthook = self._thread
        if sys.unraisablehook is not self._unraisable:
            self._unraisable = _Hook(sys.unraisablehook, self._on_unraisable)
            sys.unraisablehook = self._unraisable

    def _on_main(self, before: Callable[..., Any], *arguments: Any) -> None:
        kind, error, traceback = arguments
        with self._for_the_first_time(error) as first:
            if first:
                self._end_by(kind, error, traceback)
            before(kind, error, traceback)

    def _end_by(self, kind: Any, error: Any, traceback: Any) -> None:
        if not hasattr(sys, "ps1"):  # at a prompt each mistake comes here, and nothing ends by it
            self._told = id(error)
            self.tell(error, kind, traceback, level=logging.CRITICAL, where="main")
            self._flush()

    def _on_thread(self, before: Callable[..., Any], arguments: threading.ExceptHookArgs, /) -> None:
        thread = getattr(arguments.thread, "name", None)
        with self._for_the_first_time(arguments.exc_value) as first:
            if first:
                self.tell(
                    arguments.exc_value,
                    arguments.exc_type,
                    arguments.exc_traceback,
                    level=logging.ERROR,
                    where="thread",
                    thread=thread if type(thread) is str else None,
                )
            before(arguments)

    def _on_unraisable(self, before: Callable[..., Any], unraisable: Any, /) -> None:
        with self._for_the_first_time(unraisable.exc_value) as first:
            if first:
                self.tell(
                    unraisable.exc_value,
                    unraisable.exc_type,
                    unraisable.exc_traceback,
                    level=logging.ERROR,
                    where="unraisable",
                    unraisable=f"{unraisable.err_msg or 'Exception ignored in'}: {_named(unraisable.object)}",
                )
            before(unraisable)

    @contextlib.contextmanager
    def _for_the_first_time(self, error: Any) -> Iterator[bool]:
        caller = threading.get_ident()
        earlier = self._telling.get(caller)
        self._telling[caller] = error
        try:
            yield error is None or error is not earlier
        finally:
            if earlier is None:
                self._telling.pop(caller, None)
            else:
                self._telling[caller] = earlier

    def _at_exit(self) -> None:
        """What a hook in our place has kept from us."""
        error: Any = getattr(sys, "last_value", None)
        untold = isinstance(error, BaseException) and id(error) != self._told and not hasattr(sys, "ps1")
        if untold and sys.excepthook is not self._main and _left_everything(error):
            self.tell(error, type(error), error.__traceback__, level=logging.CRITICAL, where="main")

    def _in_child(self) -> None:
        self._telling = {}
        if self._producer is not None:
            self.follow()

    def _register(self) -> None:
        """In a child that begins: it has cleared its finalizers just now, unless it was spawned."""
        sys.modules["multiprocessing.util"].Finalize(None, self._on_child, exitpriority=_FIRST)
        if traceback_module.print_exc is not self._print_exc:
            self._print_exc = _Hook(traceback_module.print_exc, self._on_print_exc)
            setattr(traceback_module, "print_exc", self._print_exc)  # noqa: B010 (a function, to type checkers)

    def _on_print_exc(self, before: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        caller = sys._getframe(2)  # behind the hook itself
        if caller.f_code.co_name == "_bootstrap" and caller.f_globals.get("__name__") == "multiprocessing.process":
            self._on_child()
        before(*arguments, **options)

    def _on_child(self) -> None:
        error = sys.exc_info()[1]
        if error is not None and id(error) != self._told and _left_its_process(error):
            self._told = id(error)
            self.tell(
                error,
                type(error),
                error.__traceback__,
                level=logging.CRITICAL,
                where="process",
                process_name=_process_name(),
            )

    def _flush(self) -> None:
        with contextlib.suppress(BaseException):  # as in tell()
            if self._producer is not None:
                self._producer.flush(FLUSH_S)


class _Hook:
    """One of our hooks: a callable that knows what stood there before it."""

    __slots__ = ("_ours", "before")

    def __init__(self, before: Any, ours: Callable[..., None]) -> None:
        self.before = before
        self._ours = ours

    def __call__(self, *arguments: Any, **options: Any) -> None:
        self._ours(self.before, *arguments, **options)


def _left_everything(error: BaseException) -> bool:
    """Whether nothing could have caught it; test runners and debuggers put what they have caught there, too."""
    traceback = error.__traceback__
    return traceback is None or traceback.tb_frame.f_back is None


def _left_its_process(error: BaseException) -> bool:
    """Whether it came out of a child's main function: one that was forked in an ``except`` block sees its parent's."""
    traceback = error.__traceback__
    frame = None if traceback is None else traceback.tb_frame
    return frame is not None and frame.f_code.co_name == "_bootstrap" and frame.f_globals.get("__name__") in _PROCESSES


def _process_name() -> str:
    """The name of this child."""
    for module in _PROCESSES:
        process: Any = sys.modules.get(module)
        name = _MAIN_PROCESS if process is None else process.current_process().name
        if name != _MAIN_PROCESS:
            return str(name)
    return _MAIN_PROCESS


def _named(thing: Any) -> str:
    """The name of a function; for anything else that something ignored came from, its type: a repr may lead back."""
    name = getattr(thing, "__qualname__", None)
    return text_of(name, _NAME_CHARS) if type(name) is str else f"<{type_name(type(thing))}>"


#: The hooks belong to the process.
UNCAUGHT: Final = Uncaught()
install: Final = UNCAUGHT.install
uninstall: Final = UNCAUGHT.uninstall
follow: Final = UNCAUGHT.follow
