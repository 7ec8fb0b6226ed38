"""The compiled part of a producer, where this installation has it: :data:`NATIVE`.

It does what the Python beside it does, in a tenth of the time (docs/decisions/0016). Without a compiler at the
installation, in a subinterpreter, or with ``LOGBUS_PURE_PYTHON=1`` in the environment, the Python does it.
"""

from __future__ import annotations

import os
from typing import Any, Final

#: The variable that turns it off.
VARIABLE: Final = "LOGBUS_PURE_PYTHON"
#: Any text but this one and the empty one: nothing compiled is used.
_NO: Final = "0"


def unwanted() -> bool:
    """Whether the environment says that nothing compiled is to be used."""
    return os.environ.get(VARIABLE, _NO) not in ("", _NO)


def _load() -> Any:
    if unwanted():
        return None
    try:
        from logbus.producers import _native
    except Exception:  # whatever is wrong with it, the Python is there
        return None
    return _native


#: The module :mod:`logbus.producers._native`, or None.
NATIVE: Final[Any] = _load()
