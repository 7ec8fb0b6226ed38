"""The compiled part of a collector, where this installation has it: :data:`NATIVE`. A worker never loads it.

Where it is used, and where the Python beside it, is decided in :mod:`logbus.compiled`.
"""

from __future__ import annotations

from typing import Any, Final

from logbus import compiled

#: Where its C is in a checkout.
FOLDER: Final = "native/collector"


def digest() -> str | None:
    """The digest of its C that is here; None where none is."""
    return compiled.digest(FOLDER)


_LOADED: Final = compiled.load("logbus.collectors._native", FOLDER)
#: The module :mod:`logbus.collectors._native`, or None.
NATIVE: Final[Any] = _LOADED[0]
#: What is wrong with the one that is there; an empty text where none is there or wanted, or nothing is wrong.
WRONG: Final = _LOADED[1]
