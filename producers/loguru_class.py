"""What loguru's ``remove`` and ``add`` do while logbus is attached: our handler stays, and a change is heard at once.

Libraries that set up logging of their own begin with ``logger.remove()``, which takes every handler, and some find
only afterwards that the level they were given is none: nobody logs any more. So both methods are wrapped in loguru's
class, which reaches every logger there is: those that ``bind`` and ``opt`` return, methods inside
``logger.configure()``, ours that stand in modules. ``remove()`` without an id removes all handlers but ours, one after
the other, by loguru's own method and under its lock, so that there is not even a gap. An id that is ours is not
removed either: ``configure(loguru=False)`` is how to be rid of it.

``logger.remove(0)``, with which many programs begin, is no error although the handler that loguru brings is gone
already: once, as if it were still there.

The wrappers are those of one attachment. Undone, they give loguru's methods back where they still stand; where
somebody has put a wrapper on top, they do nothing but call loguru's. Copies of the logger that have a core of their
own are none of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, Protocol

#: The methods that are wrapped.
_REMOVE: Final = "remove"
_ADD: Final = "add"


class Tenant(Protocol):
    """Who has a handler in loguru; all is called in the thread that changes loguru, which holds no lock of it."""

    def own(self) -> int | None:
        """The id of the tenant's handler."""

    def others(self) -> list[int] | None:
        """The ids of all other handlers; None where loguru does not let one know."""

    def added(self, sink: Any) -> None:
        """The application has added a sink; :meth:`changed` follows."""

    def changed(self) -> None:
        """The application has added or removed handlers, or tried to."""


class LoguruClass:
    """The class of loguru's logger ``real``, whose methods are wrapped until :meth:`give_back`."""

    def __init__(self, real: Any, tenant: Tenant) -> None:
        self._real, self._core, self._tenant = real, getattr(real, "_core", None), tenant
        self._active = True
        #: Whether the handler that loguru brings is gone, and the application has not asked for that yet.
        self._took_default = False
        self._undo: list[Callable[[], None]] = []
        #: Loguru's methods, or what somebody else had put there.
        self._remove = self._wrap(_REMOVE, self._removing)
        self._add = self._wrap(_ADD, self._adding)

    def add(self, **arguments: Any) -> int:
        """Adds a handler of ours; the id that loguru gives it."""
        identity: int = self._add(self._real, **arguments)
        return identity

    def remove(self, identity: int) -> None:
        """Removes a handler of ours. Raises ValueError when loguru has it not."""
        self._remove(self._real, identity)

    def take_default(self) -> None:
        """Removes the handler that loguru brings, if it is there still."""
        try:
            self._remove(self._real, 0)
        except ValueError:
            return
        self._took_default = True

    def give_back(self) -> None:
        """Puts back what was there, where it is still ours that stands there. Idempotent."""
        self._active = False
        while self._undo:
            self._undo.pop()()

    def _wrap(self, name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
        owner = next(kind for kind in type(self._real).__mro__ if name in vars(kind))
        original: Callable[..., Any] = vars(owner)[name]

        @functools.wraps(original)
        def wrapper(logger: Any, *args: Any, **kwargs: Any) -> Any:
            if not self._active or getattr(logger, "_core", None) is not self._core:
                return original(logger, *args, **kwargs)
            try:
                return ours(logger, *args, **kwargs)
            finally:
                self._tenant.changed()

        def undo() -> None:
            if vars(owner).get(name) is wrapper:
                setattr(owner, name, original)

        setattr(owner, name, wrapper)
        self._undo.append(undo)
        return original

    def _adding(self, logger: Any, *args: Any, **kwargs: Any) -> Any:
        identity = self._add(logger, *args, **kwargs)
        self._tenant.added(args[0] if args else kwargs.get("sink"))
        return identity

    def _removing(self, logger: Any, *args: Any, **kwargs: Any) -> Any:
        wanted = args[0] if args else kwargs.get("handler_id")
        if wanted is None:
            self._took_default = False
            return self._remove_others(logger)
        if isinstance(wanted, int) and wanted == self._tenant.own():
            return None
        try:
            return self._remove(logger, *args, **kwargs)
        except ValueError:
            if not (wanted == 0 and self._took_default):
                raise
            self._took_default = False
            return None

    def _remove_others(self, logger: Any) -> Any:
        others = self._tenant.others()
        if others is None:
            return self._remove(logger)
        for identity in others:
            try:
                self._remove(logger, identity)
            except ValueError as error:
                # Another thread was faster, which is no error here; that of a sink's stop() is the application's.
                if str(error) != f"There is no existing handler with id {identity}":
                    raise
        return None
