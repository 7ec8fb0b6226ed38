"""What a line's own fields are called, and what a sink adds to each of its lines: ``rename_fields``, ``static_fields``.

A field keeps its name unless a sink has another one for it; extra fields and what is inside an exception have no part
in that. All names at the top of a line, renamed and added ones included, differ, so that no reader has to choose.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final

from logbus.collectors.format.base import PROMOTED, UNSAFE
from logbus.collectors.shown import shown, without_secrets
from logbus.errors import ConfigurationError

#: The fields that a line can have at its top, in the order in which it has them.
FIELDS: Final = (
    *("timestamp", "level", "level_no", "message", "logger", "component", "module", "function", "line", "process_id"),
    *("thread_name", "worker", "host", "app_name", *PROMOTED, "extra", "exception", "sample_rate"),
)
#: Characters of a name, and of a text that is added to each line.
MAX_NAME: Final = 128
MAX_TEXT: Final = 1024

_SCALAR: Final = "a text, a finite number or a boolean"
_A_NAME: Final = f"a name of 1 to {MAX_NAME} printable characters"
_BARE_KEY: Final = re.compile(r"[A-Za-z0-9_-]+\Z")

Scalar = str | int | float | bool


class Names:
    """The names of a line's own fields, and the fields that are added to it, both checked.

    Raises ConfigurationError with every problem, each under ``rename_fields.KEY`` or ``static_fields.KEY``.
    """

    def __init__(self, rename: Mapping[str, str] | None = None, static: Mapping[str, Scalar] | None = None) -> None:
        rename, static = rename or {}, static or {}
        problems = [*_unfit(rename, static), *_clashes(rename, static)]
        if problems:
            raise ConfigurationError(problems)
        self._names = {field: rename.get(field, field) for field in FIELDS}
        #: The fields that are added, in the order given.
        self.static: Mapping[str, Scalar] = dict(static)
        #: The promoted fields and their names.
        self.promoted: Mapping[str, str] = {field: self._names[field] for field in PROMOTED}
        #: Whether the promoted fields have the names under which a record has them.
        self.promoted_as_they_are = all(field == name for field, name in self.promoted.items())

    def __getitem__(self, field: str) -> str:
        return self._names[field]


def _unfit(rename: Mapping[str, str], static: Mapping[str, Scalar]) -> list[str]:
    """What is wrong with the names and values, each for itself."""
    problems = []
    for field, name in rename.items():
        if field not in FIELDS:
            near = difflib.get_close_matches(field[:MAX_NAME], FIELDS, n=2, cutoff=0.6)
            hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(FIELDS)}"
            problems.append(f"rename_fields.{_key(field)}: no field of a line; {hint}")
        elif not _is_name(name):
            problems.append(f"rename_fields.{field}: expected {_A_NAME}, found {_shown(name)}")
    for name, value in static.items():
        if not _is_name(name):
            problems.append(f"static_fields.{_key(name)}: expected {_A_NAME}")
        elif wrong := _unfit_value(value):
            problems.append(f"static_fields.{_key(name)}: {wrong}")
    return problems


def _unfit_value(value: Any) -> str | None:
    """What is wrong with the value of a static field. Its text is not shown: it may be what redaction masks."""
    if type(value) is str:
        if len(value) > MAX_TEXT:
            return f"expected at most {MAX_TEXT} characters, found {len(value)}"
        half = any("\ud800" <= character <= "\udfff" for character in value)
        return "expected characters that UTF-8 has, found half a surrogate pair" if half else None
    if type(value) is bool:
        return None
    if type(value) is int:
        return None if -(2**63) <= value < 2**64 else "expected an integer of at most 64 bits"
    if type(value) is float:
        return None if math.isfinite(value) else f"expected {_SCALAR}, found {value}"
    return f"expected {_SCALAR}, found {type(value).__name__}"


def _clashes(rename: Mapping[str, str], static: Mapping[str, Scalar]) -> list[str]:
    """Where two fields of a line would have one name."""
    problems = []
    owner = {field: field for field in FIELDS if field not in rename}
    for field, name in rename.items():
        if field in FIELDS and type(name) is str:
            if name in owner:
                problems.append(f"rename_fields.{field}: {_shown(name)} is the name of {_called(owner[name], rename)}")
            owner.setdefault(name, field)
    problems += [
        f"static_fields.{_key(name)}: that is the name of {_called(owner[name], rename)}"
        for name in static
        if name in owner
    ]
    # Formats without nesting write what is inside a field under a dotted name.
    inside = {f"{name}.": field for name, field in owner.items() if field in ("extra", "exception")}
    names = [(f"rename_fields.{_key(field)}", name) for field, name in rename.items()]
    names += [(f"static_fields.{_key(name)}", name) for name in static]
    for key, name in names:
        within = next((inside[prefix] for prefix in inside if type(name) is str and name.startswith(prefix)), None)
        if within is not None:
            problems.append(f"{key}: {_shown(name)} is the name of a field inside {within}")
    return problems


def _called(field: str, rename: Mapping[str, str]) -> str:
    return f"the renamed field {field}" if field in rename else "another field of a line"


def _is_name(name: Any) -> bool:
    return type(name) is str and 0 < len(name) <= MAX_NAME and not UNSAFE.search(name) and not name.isspace()


def _key(key: str) -> str:
    """A key as messages write it: in quotes unless TOML takes it without."""
    return key[:MAX_NAME] if _BARE_KEY.match(key) else _shown(key)


def _shown(value: Any) -> str:
    """A name as it was written, without secrets: what is pasted into the wrong place goes to the log."""
    if type(value) is not str:
        return shown(value)
    text = json.dumps(without_secrets(value[:MAX_TEXT])[:MAX_NAME])
    return text if len(text) <= 2 * MAX_NAME else f"{text[: 2 * MAX_NAME]}…"
