"""The compiled part of a producer, where this installation has it: :data:`NATIVE`.

It does what the Python beside it does, in a fraction of the time (docs/decisions/0016). Without a compiler at the
installation, in a subinterpreter, or with ``LOGBUS_PURE_PYTHON=1`` in the environment, the Python does it. So it does
in a checkout whose C is other than what the extension was built from (somebody has pulled and not installed): the two
would talk past each other. An installation has no C beside it, and an extension that came with its Python.
"""

from __future__ import annotations

import os
import zlib
from typing import Any, Final

#: The variable that turns it off.
VARIABLE: Final = "LOGBUS_PURE_PYTHON"
#: Any text but this one and the empty one: nothing compiled is used.
_NO: Final = "0"


def unwanted() -> bool:
    """Whether the environment says that nothing compiled is to be used."""
    return os.environ.get(VARIABLE, _NO) not in ("", _NO)


def digest() -> str | None:
    """What setup.py compiles into the extension as its ``SOURCES``: the same for the same C, and for no other.

    None where there is no C to be read, as in an installation.
    """
    place = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "native")
    found = 0
    try:
        names = sorted(name for name in os.listdir(place) if name.endswith((".c", ".h")))
        for name in sorted(names, key=lambda name: name.endswith(".h")):
            with open(os.path.join(place, name), "rb", buffering=0) as source:
                found = zlib.crc32(source.read(), found)
    except OSError:
        return None
    return f"{found:08x}" if names else None


def _load() -> tuple[Any, str]:
    if unwanted():
        return None, ""
    try:
        import logbus.producers._native as _native

        if digest() not in (None, _native.SOURCES):
            return None, "it was built from other C than is here"
    except ModuleNotFoundError:  # none was built
        return None, ""
    except Exception as error:  # whatever is wrong with it, the Python is there
        return None, str(error)
    return _native, ""


_LOADED: Final = _load()
#: The module :mod:`logbus.producers._native`, or None.
NATIVE: Final[Any] = _LOADED[0]
#: What is wrong with the one that is there; an empty text where none is there or wanted, or nothing is wrong.
WRONG: Final = _LOADED[1]
