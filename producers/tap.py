"""Where the flight recorder takes records out of the standard library: a filter on the logger itself.

A recorder wants what the level suppresses, and the other handlers of the application must not see it. So a logger is
opened down to the recorder's level (:mod:`logbus.producers.answers`), and this filter, which runs in
``Logger.handle`` before any handler, takes into the ring what nobody else would have got, and ends it there. What the
level or a condition lets pass goes on as always, and so does what never was at the gate: a record made elsewhere and
given to ``Logger.handle``, as servers of socket handlers do, whatever its level.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from logbus.producers.answers import Answers
from logbus.producers.crossing import CROSSING
from logbus.producers.take import Taker

if TYPE_CHECKING:
    from logbus.producers.recorder import Recorder


class Tap:
    """The filter of one logger. ``taker`` makes plain what it is given and puts it into the ring."""

    __slots__ = ("_answers", "_logger", "_taker", "recorder")

    def __init__(self, logger: logging.Logger, answers: Answers, recorder: Recorder, taker: Taker) -> None:
        self._logger = logger
        self._answers = answers
        self.recorder = recorder
        self._taker = taker

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record goes on to the handlers. Raises no Exception."""
        try:
            level = record.levelno
            if level < self.recorder.level or self._answers.passes(level) or not _came_through_the_gate():
                return True
            if self._would_arrive():
                self._taker.handle(record)
            return False
        except Exception:  # a record made by hand, of anything
            return True

    def _would_arrive(self) -> bool:
        """Whether it could have reached a handler of this producer: what an application keeps apart stays so."""
        if CROSSING.producer is not None and CROSSING.producer.gate.recorder is self.recorder:
            return True
        logger: logging.Logger | None = self._logger
        while logger is not None:
            for handler in logger.handlers:
                if isinstance(handler, Taker) and handler.producer.gate.recorder is self.recorder:
                    return True
            logger = logger.parent if logger.propagate else None
        return False


def _came_through_the_gate() -> bool:
    """Whether the call that is being filtered began at a log method, and not at ``Logger.handle``."""
    frame = sys._getframe(2)
    while frame.f_code.co_name in ("filter", "handle") and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name == "_log"
