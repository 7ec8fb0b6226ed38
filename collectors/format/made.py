"""Formatters that are made once: sinks of one format share its encoding, which is made once per batch for all of them.

Those that a reload has left alone share with those that it has brought: a formatter is known for as long as some sink
has it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar, cast
from weakref import WeakValueDictionary

F = TypeVar("F")

_made: Final[WeakValueDictionary[Hashable, Any]] = WeakValueDictionary()


def shared(key: Hashable, make: Callable[[], F]) -> F:
    """The formatter of this key, made when nobody has it."""
    formatter = _made.get(key)
    if formatter is None:
        formatter = _made[key] = make()
    return cast("F", formatter)
