"""The front of the standard library: level rules become levels of loggers, which is where :mod:`logging` gates.

A logger that a rule names has the rule's level while the rule is in force, and so has everything below it; what the
application had set there is kept aside, and comes back with the end of the rule. A rule for all sets the root logger
only: loggers on which the application has set a level of its own keep it, the others inherit. A suppressed call is
then one that the standard library suppresses, at its price. Other handlers of the application see what a level lets
through: a logger has one level for all of them.

The application goes on as if nothing were there. While a rule is in force, ``Logger.setLevel`` puts the level of a
covered logger aside instead of setting it (``dictConfig`` after ``configure()``, a server's start), and one that sets
back what it has read there means the level that it had set before (:meth:`Hold.put_aside`); new loggers get
theirs before anybody else has them, in a step of ``Manager.getLogger`` that runs under logging's lock; and what is
changed without either (``logger.level = …``) is seen by :meth:`StdlibFront.look` within a second. Both hooks are
there only while something is in force.

Conditions and the flight recorder need more than a level: such loggers answer differently when they are asked whether
they are enabled, which is before a record exists (:mod:`logbus.producers.answers`). A condition of a rule for all
opens loggers with a level of their own too, while it holds.

One thing to know of the root: where a rule names the component of this worker itself, the root logger has its level,
and every logger that would inherit from it is given the level that it had.

Everything here happens under logging's own lock. The sender thread waits for it only for a moment: its holder may be
waiting for the sender, in a flush.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from logbus import os_threads
from logbus.levels import APPLICATION_PACKAGES
from logbus.producers.aside import ASIDE
from logbus.producers.hold import Hold
from logbus.producers.take import Taker
from logbus.rules import Decision, Table

if TYPE_CHECKING:
    from logbus.producers.gate import Gate
    from logbus.producers.recorder import Recorder

#: Seconds that a thread waits for logging's lock, at most; then it is asked again.
LOCK_S: Final = 0.005
#: Seconds to wait for it in order to leave: nobody asks again.
LEAVE_S: Final = 0.1

#: For what is private there, but the same in Python 3.11 to 3.14 (and long before): ``_lock``, looked up anew each time
#: since gevent replaces it, ``_checkLevel``, which makes a level a number, and ``Manager._fixupParents``.
_LOGGING: Final[Any] = logging


class StdlibFront:
    """The tree of loggers of this process, which belongs to one gate at a time. Used through :data:`STDLIB`."""

    name = "stdlib"

    def __init__(self, root: logging.Logger) -> None:
        self._root = root
        #: The gate that it serves.
        self.gate: Gate | None = None
        self._table = Table()
        self._recorder: Recorder | None = None
        self._taker: Taker | None = None
        #: By id, since loggers of the application's own classes may be equal to each other; a hold keeps its logger.
        self._holds: dict[int, Hold] = {}
        #: Whether the root's level is that of a rule that names it, so that the others must not inherit it.
        self._apart = False
        #: What our two hooks stand in front of, while they are there, and the hooks.
        self._set_level: Any = None
        self._our_set_level: Any = None
        self._fix_up: Any = None
        self._our_fix_up: Any = None

    def kind(self) -> str:
        """A suppressed call is stopped by the logger's level."""
        return "source"

    def join(self, gate: Gate) -> None:
        """The gate that it serves from now on; an earlier one loses it."""
        earlier, self.gate = self.gate, gate
        if earlier is not None and earlier is not gate:
            earlier.detach(self)

    def leave(self) -> None:
        """Gives every logger back as the application had it, or would have it by now."""
        self.gate = None
        with _locked(LEAVE_S):
            self._turn(Table(), None)

    def move(self) -> None:
        """Has the tree that logging has now, after ``importlib.reload(logging)``, obey what is in force."""
        with _locked(LEAVE_S):
            if self._root is not logging.root:
                table, recorder = self._table, self._recorder
                self._turn(Table(), None)
                self._set_level = self._fix_up = None  # the hooks stay in the old classes, and do nothing there
                self._root = logging.root
                self._turn(table, recorder)

    def apply(self, table: Table) -> bool:
        """Puts rules into force, in every logger. False where logging's lock is not free."""
        with _locked(LOCK_S) as free:
            if free:
                self._turn(table, self.gate.recorder if self.gate is not None else None)
            return free

    def look(self) -> None:
        """Asserts again what was changed without our hooks; what was written there is the application's from now on."""
        if self._in_force():
            with _locked(LOCK_S) as free:
                if free:
                    self._settle()

    def names(self) -> Iterable[str]:
        """Every logger, and every module of an application whose modules are components: they may be silent so far."""
        yield from (logger.name for logger in self._loggers())
        modules = [name for name in list(sys.modules) if type(name) is str]
        yield from (name for name in modules if name.partition(".")[0] in APPLICATION_PACKAGES)

    def own_level(self, logger: logging.Logger) -> int:
        """The level that the application has given a logger, whatever is in force there."""
        hold = self._holds.get(id(logger))
        return logger.level if hold is None or hold.own is None else hold.own

    def _in_force(self) -> bool:
        return bool(self._table) or self._recorder is not None

    def _loggers(self) -> list[logging.Logger]:
        known = list(self._root.manager.loggerDict.values())
        return [self._root, *(logger for logger in known if isinstance(logger, logging.Logger))]

    def _turn(self, table: Table, recorder: Recorder | None) -> None:
        self._table = table
        if recorder is not self._recorder:
            self._recorder, self._taker = recorder, None if recorder is None else Taker.into(recorder.keep)
        self._settle()

    def _settle(self) -> None:
        """Makes every logger what the table says. Under logging's lock, which a signal handler gets past."""
        if self._in_force():
            self._hook()
        root = self._table.decide(self._root.name)
        self._apart = root.named and root.level is not None
        ASIDE.ruled = root.level is not None
        for hold in list(self._holds.values()):
            hold.see()
        loggers = self._loggers()
        changed = [logger for logger in loggers if self._try_fit(logger)]
        if self._holds:
            here = {id(logger) for logger in loggers}
            for hold in [hold for key, hold in list(self._holds.items()) if key not in here]:
                self._free(hold)  # it was taken out of logging
        if changed:
            for logger in loggers:
                logger._cache.clear()  # type: ignore[attr-defined]
        if not self._in_force():
            for hold in list(self._holds.values()):
                self._free(hold)
            self._unhook()

    def _try_fit(self, logger: logging.Logger) -> bool:
        try:
            return self._fit(logger)
        except Exception:  # a logger of the application's own class may be anything
            return True

    def _fit(self, logger: logging.Logger) -> bool:
        """Makes one logger what the table says. True when its level changed."""
        decision, recorder = self._table.decide(logger.name), self._recorder
        level = self._level(logger, decision)
        hold = self._holds.get(id(logger))
        if hold is None:
            if level is None and recorder is None and not decision.conditions:
                return False
            hold = self._holds[id(logger)] = Hold(logger)
        changed = hold.set(level)
        hold.open(decision.conditions, recorder, self._taker)
        if hold.own is None and hold.answers is None:
            self._holds.pop(id(logger), None)
        return changed

    def _pass_on(self, logger: logging.Logger) -> None:
        """Where nobody inherits from the root, a logger and those below it are given the level that it would have."""
        if self._apart:
            below = f"{logger.name}."
            for other in self._loggers():
                concerned = logger is self._root or other is logger or str(other.name).startswith(below)
                if concerned and self._try_fit(other):
                    other._cache.clear()  # type: ignore[attr-defined]

    def _free(self, hold: Hold) -> None:
        self._holds.pop(id(hold.logger), None)
        with contextlib.suppress(Exception):  # as in _try_fit
            hold.set(None)
            hold.open((), None, None)
            hold.logger._cache.clear()  # type: ignore[attr-defined]

    def _level(self, logger: logging.Logger, decision: Decision) -> int | None:
        """The level that the rules give a logger; None where it has its own. 0 would mean to inherit one."""
        if decision.named and decision.level is not None:
            return max(1, decision.level)
        if logger is self._root:
            return decision.level
        return max(1, self._inherited(logger, decision.level)) if self._apart else None

    def _inherited(self, logger: logging.Logger, of_all: int | None) -> int:
        """The level that a logger would have without the rule that names the root; ``of_all`` is that for all."""
        above: logging.Logger | None = logger
        while above is not None and above is not self._root:
            if own := self.own_level(above):
                return own
            above = above.parent
        return self.own_level(self._root) if of_all is None else of_all

    def _hook(self) -> None:
        """Takes part in ``Logger.setLevel`` and in the making of loggers."""
        if self._set_level is None:
            original = self._set_level = logging.Logger.setLevel

            @functools.wraps(original)
            def set_level(logger: logging.Logger, level: int | str) -> None:
                with _LOGGING._lock:
                    hold = self._holds.get(id(logger))
                    if hold is None or hold.own is None:
                        original(logger, level)
                    else:
                        hold.put_aside(_LOGGING._checkLevel(level))
                        self._pass_on(logger)

            self._our_set_level = set_level
            logging.Logger.setLevel = set_level  # type: ignore[method-assign,assignment]
        if self._fix_up is None:
            manager = cast("Any", self._root.manager)
            fix_up = self._fix_up = manager._fixupParents

            def fixup_parents(logger: logging.Logger) -> None:
                fix_up(logger)
                self._try_fit(logger)
                self._pass_on(logger)

            self._our_fix_up = manager._fixupParents = fixup_parents

    def _unhook(self) -> None:
        """Takes the hooks off again, unless somebody put one on top: then they stay, and do nothing."""
        manager = cast("Any", self._root.manager)
        if self._set_level is not None and logging.Logger.setLevel is self._our_set_level:
            logging.Logger.setLevel = self._set_level  # type: ignore[method-assign]
            self._set_level = None
        if self._fix_up is not None and manager._fixupParents is self._our_fix_up:
            if getattr(self._fix_up, "__self__", None) is self._root.manager:
                del manager._fixupParents
            else:
                manager._fixupParents = self._fix_up
            self._fix_up = None


@contextlib.contextmanager
def _locked(timeout: float) -> Iterator[bool]:
    """Logging's lock, if it can be had within ``timeout`` seconds; says whether it could."""
    lock = _LOGGING._lock
    free = os_threads.acquire(lock, timeout)
    try:
        yield free
    finally:
        if free:
            lock.release()


#: The tree of loggers belongs to the process, and so does its front.
STDLIB: Final = StdlibFront(logging.root)
