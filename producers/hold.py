"""What the front of the standard library does to one logger, and how that is undone.

A logger may be given a level, other answers to whether it is enabled (:mod:`logbus.producers.answers`) and a filter
(:mod:`logbus.producers.tap`). Whatever the application had in their place is kept, and comes back. Used under
logging's own lock, so that no other thread is in here; a signal handler of this one may be.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from logbus.producers.answers import NOTHING, Answers
from logbus.producers.here import Conditions
from logbus.producers.take import Taker
from logbus.producers.tap import Tap

if TYPE_CHECKING:
    from logbus.producers.recorder import Recorder

#: Levels inside each other that an application may have set for a while, per logger.
_EARLIER_KEPT: Final = 16


class Hold:
    """What this front has done to one logger, and what the application had there."""

    __slots__ = ("_tap", "answers", "earlier", "level", "logger", "own")

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        #: The level that it has from us, and the application's; both are None while it has its own.
        self.level: int | None = None
        self.own: int | None = None
        #: What it had of its own before each level that was put aside, and of us at that time; the last one first.
        self.earlier: tuple[tuple[int, int | None], ...] = ()
        #: Where it looks levels up, if it needs more than a level.
        self.answers: Answers | None = None
        self._tap: Tap | None = None

    def see(self) -> None:
        """A level that somebody wrote over ours is the application's from now on."""
        if self.level is not None and self.logger.level != self.level:
            self.own = self.logger.level

    def put_aside(self, level: int) -> None:
        """What the application sets while the logger has our level, to come back with the end of the rule.

        Whoever sets a level for a while (``before = logger.level``, set, set ``before`` again) has read ours. So ours,
        set after another one, means what the logger had of its own before that.
        """
        own = self.own
        if own is None:
            return
        if self.earlier and level == self.earlier[0][1]:
            self.own, self.earlier = self.earlier[0][0], self.earlier[1:]
        else:
            self.own, self.earlier = level, ((own, self.level), *self.earlier[: _EARLIER_KEPT - 1])

    def set(self, level: int | None) -> bool:
        """Gives the logger this level, or with None its own. True when that changes something.

        The assignments to the logger and to the hold are one step (no call between): a signal handler that sets the
        level finds it either not held or put aside.
        """
        logger = self.logger
        if level is None:
            if self.own is None:
                return False
            logger.level = self.own
            self.own = self.level = None
            self.earlier = ()
            return True
        if self.own is None:
            self.own = logger.level
        elif logger.level == level:
            self.level = level
            return False
        self.level = level
        logger.level = level
        return True

    def open(self, conditions: Conditions, recorder: Recorder | None, taker: Taker | None) -> None:
        """Gives the logger the answers that conditions and recorder need, or logging's own."""
        logger: Any = self.logger
        if not conditions and recorder is None:
            if self.answers is not None:
                if type(logger._cache) is Answers:
                    logger._cache = {}
                self.answers = None
                self._untap()
            return
        answers = self.answers
        if answers is None:
            answers = self.answers = Answers(logger)
        answers.conditions = conditions
        if recorder is not None and taker is not None:
            # First of all: nothing that only the recorder wants may reach a handler.
            self._tap_first(answers, recorder, taker)
            answers.record_from = recorder.level
        if logger._cache is not answers:
            logger._cache = answers
        if recorder is None:
            answers.record_from = NOTHING
            self._untap()

    def _tap_first(self, answers: Answers, recorder: Recorder, taker: Taker) -> None:
        """The filter comes before the application's own: they would see what nobody was to see."""
        if self._tap is None or self._tap.recorder is not recorder:
            self._tap = Tap(self.logger, answers, recorder, taker)
        filters = self.logger.filters
        if not filters or filters[0] is not self._tap:
            # A new list: another thread may be going through the old one, and must not skip a filter.
            self.logger.filters = [self._tap, *(other for other in filters if type(other) is not Tap)]

    def _untap(self) -> None:
        if self._tap is not None:
            self.logger.filters = [other for other in self.logger.filters if type(other) is not Tap]
            self._tap = None
