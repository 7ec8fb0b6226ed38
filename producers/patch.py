"""One attribute of the standard library, replaced in place: without a step more than the replacement itself.

For what stands in the way of every log call. (:mod:`logbus.integrations.hooks`, for other programs, asks at each call
whether it is still in force.) Whoever replaces the attribute after us keeps his wrapper when ours is removed; the
replacement then has to see by itself that it has nothing to do any more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

_MISSING: Final = object()


class Patch:
    """A replacement that is in place. ``make`` gets what stood there and returns what takes its place."""

    __slots__ = ("_found", "_name", "_ours", "_owner")

    def __init__(self, owner: Any, name: str, make: Callable[[Any], Any]) -> None:
        self._owner = owner
        self._name = name
        self._found: Any = vars(owner).get(name, _MISSING)
        self._ours = make(getattr(owner, name))
        setattr(owner, name, self._ours)

    @property
    def stands(self) -> bool:
        """Whether it is in place, and nobody has put anything on top."""
        return vars(self._owner).get(self._name, _MISSING) is self._ours

    def remove(self) -> bool:
        """Puts back what was there; False where somebody has put something on top, through which his calls go on."""
        if not self.stands:
            return False
        if self._found is _MISSING:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._found)
        return True
