"""Loguru's inside, as far as the front needs more than loguru documents: its handlers, their levels, its lock.

Loguru has no public way to see its handlers, to change a level or to put back what was removed. The names used here
are checked first, by :meth:`Core.of`; of a loguru that has others nothing here is used.

Handlers are changed as loguru does it: a new dict takes the place of the old in one step, so that a log call under way
ends with those that it began with. Nothing here waits for loguru's lock. Whoever holds it may be in the ``stop()`` of
a sink, waiting for the sender in a flush, or in a fork, waiting for the sender's end: the caller comes back later.
"""

from __future__ import annotations

from typing import Any, Final

#: What is used of loguru's core, here and in the direct way.
_INSIDE: Final = ("handlers", "min_level", "lock", "levels", "extra", "patcher", "activation_list")

#: The level of a handler that gets no record at all.
CLOSED: Final = float("inf")


class Core:
    """The core behind one logger of loguru."""

    def __init__(self, core: Any) -> None:
        self._core = core

    @classmethod
    def of(cls, real: Any) -> Core | None:
        """The core of a logger, if it has what is used of it; else None."""
        core: Any = getattr(real, "_core", None)
        known = all(hasattr(core, name) for name in _INSIDE)
        return cls(core) if known and all(hasattr(each, "_levelno") for each in core.handlers.values()) else None

    @property
    def handlers(self) -> dict[int, Any]:
        """The handlers by id. Nobody changes this dict: loguru makes a new one."""
        found: dict[int, Any] = self._core.handlers
        return found

    def put(self, identity: int, handler: Any) -> bool:
        """Puts a handler back that was removed. False when the lock is not free.

        A handler that was stopped takes records all the same if it takes them in its filter, as ours does: it asks
        whether it was stopped only before it writes.
        """
        if not self._core.lock.acquire(blocking=False):
            return False
        try:
            handlers = {**self._core.handlers, identity: handler}
            self._core.min_level = _lowest(handlers)
            self._core.handlers = handlers
        finally:
            self._core.lock.release()
        return True

    def open(self, identity: int, level: float) -> bool:
        """Gives a handler this level, in place. False when the lock is not free."""
        handler = self._core.handlers.get(identity)  # another thread may have removed it just now
        if handler is None or handler.levelno == level:
            return True
        if not self._core.lock.acquire(blocking=False):
            return False
        try:
            handler._levelno = level
            self._core.min_level = _lowest(self._core.handlers)
        finally:
            self._core.lock.release()
        return True


def _lowest(handlers: dict[int, Any]) -> float:
    return min((each.levelno for each in handlers.values()), default=CLOSED)
