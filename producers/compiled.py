"""The compiled part of a producer, where this installation has it: :data:`NATIVE`.

Where it is used, and where the Python beside it, is decided in :mod:`logbus.compiled`.
"""

from __future__ import annotations

from typing import Any, Final

from logbus import compiled

#: The variable that turns it off.
VARIABLE: Final = compiled.VARIABLE
#: Where its C is in a checkout.
FOLDER: Final = "native"


def digest() -> str | None:
    """The digest of its C that is here; None where none is."""
    return compiled.digest(FOLDER)


_LOADED: Final = compiled.load("logbus.producers._native", FOLDER)
#: The module :mod:`logbus.producers._native`, or None.
NATIVE: Final[Any] = _LOADED[0]
#: What is wrong with the one that is there; an empty text where none is there or wanted, or nothing is wrong.
WRONG: Final = _LOADED[1]
