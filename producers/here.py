"""Conditions at the source: which of them holds for the call that is being made here and now.

A condition looks at the fields of the context: those of :mod:`logbus.producers.context`, and structlog's own context
variables where structlog is loaded. It runs before a record exists, in every call of a logger that a rule with
``--where`` covers, so the way to "none holds" is short.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

from logbus.producers.context import Active, active
from logbus.rules import Where, holds

Conditions = tuple[tuple[Where, int], ...]

#: How structlog names the context variable of a field.
_PREFIX: Final = "structlog_"


def level_here(conditions: Conditions) -> int | None:
    """The level of the first condition that holds here; None when none does. Raises no Exception."""
    now = active()
    structlog = sys.modules.get("structlog.contextvars")
    if now is None and structlog is None:
        return None
    try:
        fields = _fields(now) if now is not None else {}
        if structlog is not None:
            fields = {**_bound(structlog, conditions), **fields}
        for where, level in conditions:
            if holds(where, fields):
                return level
    except Exception:  # a value of the application's, as text: it may raise whatever it likes
        return None
    return None


def _fields(now: Active) -> Mapping[str, Any]:
    scalars, nested, _ = now
    return {**nested, **(scalars or {})} if nested else scalars or {}


def _bound(structlog: Any, conditions: Conditions) -> dict[str, Any]:
    """The fields in question that structlog has. Its public function copies the whole context: ten times the price."""
    variables = getattr(structlog, "_CONTEXT_VARS", {})  # private: without it only our own fields count
    found = {}
    for where, _ in conditions:
        for key, _ in where:
            variable = variables.get(_PREFIX + key)
            if variable is not None and (value := variable.get(None)) is not ...:
                found[key] = value
    return found
