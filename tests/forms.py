"""Both forms of what exists twice: the Python of a producer or a collector, the reference, and the compiled part."""

from __future__ import annotations

from typing import Any, Final

import msgpack
import pytest

from logbus.collectors.compiled import NATIVE as LINES
from logbus.producers.buffer import Buffer, Entry
from logbus.producers.compiled import NATIVE
from logbus.producers.handler import LogbusHandler
from logbus.producers.pack import CompiledPacker, Packer
from logbus.producers.take import Taker

#: On what needs the compiled part. That it is there wherever it can be built is what ``unit/test_compiled.py`` holds.
needs_compiled = pytest.mark.skipif(NATIVE is None, reason="no compiled part here, or LOGBUS_PURE_PYTHON is set")

#: The same of the collector's.
needs_lines = pytest.mark.skipif(LINES is None, reason="no compiled part here, or LOGBUS_PURE_PYTHON is set")

#: For ``pytest.mark.parametrize`` and for ``params=``: the names are the ids by which ``make sanitize`` finds tests.
FORMS: Final = ("python", pytest.param("compiled", marks=needs_compiled))

#: ``LogbusHandler.handle`` in each form.
HANDLES: Final[dict[str, Any]] = {"python": Taker.handle, "compiled": LogbusHandler.handle}


def buffer_type(form: str) -> Any:
    """The buffer in one form."""
    return Buffer if form == "python" else NATIVE.Buffer


def packer_type(form: str) -> type[Packer]:
    """The packer for what that buffer hands over."""
    return Packer if form == "python" else CompiledPacker


def rows(taken: Any) -> list[Entry]:
    """What a buffer of either form has handed over, as the entries of the one in Python."""
    if isinstance(taken, list):
        return taken
    found: list[Entry] = []
    for *own, rest in taken.entries():
        if isinstance(rest, bytes):  # four values in a row: an array of four but for its head
            rest = msgpack.unpackb(b"\x94" + rest, use_list=True, strict_map_key=True)
        found.append((*own, *rest))
    return found
