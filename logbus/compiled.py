"""The compiled parts of logbus, each where this installation has it: one of a producer, and one of a collector.

They do what the Python beside them does, in a fraction of the time (docs/decisions/0016). Without a compiler at the
installation, in a subinterpreter, or with ``LOGBUS_PURE_PYTHON=1`` in the environment, the Python does it. So it does
in a checkout whose C is other than what the extension was built from (somebody has pulled and not installed): the two
would talk past each other. An installation has no C beside it, and extensions that came with their Python.

Each is loaded by the ``compiled`` of its package, and by nobody else: a worker has that of a producer alone.
"""

from __future__ import annotations

import os
import zlib
from importlib import import_module
from typing import Any, Final

#: The variable that turns them off.
VARIABLE: Final = "LOGBUS_PURE_PYTHON"
#: Any text but this one and the empty one: nothing compiled is used.
_NO: Final = "0"


def unwanted() -> bool:
    """Whether the environment says that nothing compiled is to be used."""
    return os.environ.get(VARIABLE, _NO) not in ("", _NO)


def digest(folder: str) -> str | None:
    """What setup.py compiles into an extension as its ``SOURCES``: the same for the same C, and for no other.

    ``folder`` is where the C is, below the root of a checkout, without what is in folders below it. None where there is
    no C to be read, as in an installation.
    """
    # In a checkout logbus/producers is a link to what stands beside native/. In an installation it is a folder of ours,
    # and what stands beside it is ours as well: a native/ of somebody else's is beside logbus, and is not looked at.
    beside = os.path.realpath(os.path.join(os.path.dirname(__file__), "producers"))
    place = os.path.join(os.path.dirname(beside), folder)
    found = 0
    try:
        names = sorted(name for name in os.listdir(place) if name.endswith((".c", ".h")))
        for name in sorted(names, key=lambda name: name.endswith(".h")):
            with open(os.path.join(place, name), "rb", buffering=0) as source:
                found = zlib.crc32(source.read(), found)
    except OSError:
        return None
    return f"{found:08x}" if names else None


def load(module: str, folder: str) -> tuple[Any, str]:
    """The extension of this name, or None; and what is wrong with the one that is there.

    An empty text where none is there or wanted, or nothing is wrong. ``folder`` is that of :func:`digest`.
    """
    if unwanted():
        return None, ""
    try:
        found: Any = import_module(module)
        if digest(folder) not in (None, found.SOURCES):
            return None, "it was built from other C than is here"
    except ModuleNotFoundError:  # none was built
        return None, ""
    except Exception as error:  # whatever is wrong with it, the Python is there
        return None, str(error)
    return found, ""
