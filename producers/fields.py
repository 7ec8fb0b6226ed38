"""What the fields of a call mean, whatever library it came through: conditions look at them, one is an exception."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from logbus.producers.context import active
from logbus.producers.text import text_of

#: Bytes that an entry takes beside its texts: tuple, floats, references.
ENTRY_BYTES: Final = 200
#: Bytes (estimated) of a record from which on each of its parts is held against its limit.
USUAL_BYTES: Final = 8192
#: Types of values, beside str, that travel as they are.
PLAIN: Final = frozenset({int, float, bool, type(None)})
#: The keyword of the standard library for an exception.
EXC_INFO: Final = "exc_info"
#: Characters of a name of a logger, module, function, level or thread.
_MAX_WORD_CHARS: Final = 1024


def fields_now(*own: Mapping[str, Any]) -> dict[str, Any]:
    """What conditions look at: the fields of the context, and a record's own, of which later ones win."""
    fields: dict[str, Any] = {}
    scope = active()
    if scope is not None:
        scalars, nested, _ = scope
        fields.update(scalars or {})
        fields.update(nested or {})
    for part in own:
        fields.update(part)
    return fields


def take_exception(extra: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What ``exc_info=`` among the fields of a call means (None: nothing), and the fields without it.

    True is the exception that is being handled; an exception or a triple is itself; anything else is a field.
    """
    given = extra[EXC_INFO]
    if isinstance(given, (bool, int)) or given is None:
        raised: Any = sys.exc_info() if given else None
    elif isinstance(given, BaseException) or (type(given) is tuple and len(given) == 3):
        raised = given
    else:
        return None, dict(extra)
    return raised, {key: value for key, value in extra.items() if key != EXC_INFO}


def word(value: Any) -> str:
    """A name of a logger, module, function, level or thread: any value as a short text."""
    return value if type(value) is str and len(value) <= _MAX_WORD_CHARS else text_of(value, _MAX_WORD_CHARS)
