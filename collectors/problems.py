"""What is wrong with a configuration, in words: one line per problem, with its key and what would be right.

A model's errors say what a parser expected ("Input should be a valid tuple"); the reader of a configuration file
wants to know what to write. So each field's description is the answer to "expected what?", an unknown key gets
its near matches, and what a later version brings is told apart from what nobody knows.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ValidationError

from logbus.collectors.mask import DEFAULT_FIELDS, SecretKeys, mask_pairs, mask_urls

#: Keys and values of the contract that this version does not build; by section, "sinks" for any sink.
KEYS_NOT_YET: Final[Mapping[str, frozenset[str]]] = {
    "sinks": frozenset({"rotation", "retention", "compression", "sample", "where", "spool", "batch", "retry"}),
}
VALUES_NOT_YET: Final[Mapping[str, frozenset[str]]] = {
    "type": frozenset({"syslog", "http", "nats", "otlp"}),
    "format": frozenset({"logfmt"}),
    "durability": frozenset({"process", "collector"}),
}
NOT_YET: Final = "not available yet"

#: Characters of a value or a key that a message shows at most, and of those in which secrets are looked for.
MAX_SHOWN: Final = 80
_MASKED: Final = 4096
_KEYS: Final = SecretKeys(DEFAULT_FIELDS)

#: Errors that only repeat another one: a default that hangs on a wrong field, a list whose every item was refused.
_ECHOES: Final = frozenset({"default_factory_not_called", "too_short"})
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def in_words(
    error: ValidationError, root: type[BaseModel], sinks: Mapping[str, type[BaseModel]]
) -> list[tuple[tuple[str | int, ...], str]]:
    """Every problem of a document as its location and its line, ``sinks[1].path: expected …, found …``.

    ``root`` is the model of the whole document, ``sinks`` has the model of each type of sink.
    """
    found = []
    for entry in error.errors(include_url=False):
        location, model, field = _place(entry["loc"], root, sinks)
        kind, value, context = entry["type"], entry["input"], entry.get("ctx", {})
        if kind in _ECHOES and (kind != "too_short" or value):
            continue
        if location[0] == "levels" and location[-1] == "[key]":  # the parser's word for the key itself
            location = location[:-1]
        if kind.startswith("union_tag"):
            location, field = (*location, "type"), "type"
            value = value.get("type") if isinstance(value, dict) else value
        if kind == "extra_forbidden":
            reason = _unknown(location, model)
        elif isinstance(value, str) and value in VALUES_NOT_YET.get(field, ()):
            reason = f"{shown(value)} is {NOT_YET}"
        elif kind in ("missing", "union_tag_not_found"):
            reason = f"missing; expected {_expected(model, field, sinks)}"
        elif kind == "model_attributes_type":
            reason = f"expected a table, a sink with its type, found {shown(value)}"
        elif kind == "value_error":
            reason = f"{context['error']}, found {shown(value)}"
        else:
            reason = f"expected {_expected(model, field, sinks)}, found {shown(value)}"
        found.append((location, f"{path_of(location)}: {reason}"))
    return found


def path_of(location: Sequence[str | int]) -> str:
    """A location as it is written in messages.

    >>> path_of(("sinks", 1, "path")), path_of(("bus", "a b"))
    ('sinks[1].path', 'bus."a b"')
    """
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += "." * bool(path) + (part if _BARE_KEY.match(part) and len(part) <= MAX_SHOWN else shown(part))
    return path


def shown(value: object) -> str:
    """A value as it stands in the file, nearly, in printable ASCII and cut to :data:`MAX_SHOWN` characters.

    Secrets that it gives away, as the password in a URL, are masked: problems go to the log and into the status.
    """
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, (list, tuple)):
        return "a list" if value else "an empty list"
    if value is None:
        return "null"
    if isinstance(value, (str, bool)):
        text = json.dumps(value if isinstance(value, bool) else _masked(value[:_MASKED])[: MAX_SHOWN + 1])
    else:
        text = str(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _masked(text: str) -> str:
    return mask_pairs(mask_urls(text), _KEYS)


def _place(
    loc: Sequence[str | int], root: type[BaseModel], sinks: Mapping[str, type[BaseModel]]
) -> tuple[tuple[str | int, ...], type[BaseModel], str]:
    """The location as the user wrote it, the model in which the error is, and the name of the field there."""
    if len(loc) > 2 and loc[0] == "sinks":
        # The tag of the union stands in the location, after the index: it is no key of the document.
        location = (*loc[:2], *loc[3:])
        return location, sinks[str(loc[2])], str(loc[3]) if len(loc) > 3 else ""
    field = root.model_fields.get(str(loc[0])) if loc else None
    if len(loc) > 1 and field is not None and isinstance(field.annotation, type):
        return tuple(loc), field.annotation, str(loc[1])
    return tuple(loc), root, str(loc[0]) if loc else ""


def _expected(model: type[BaseModel], field: str, sinks: Mapping[str, type[BaseModel]]) -> str:
    if field == "type":
        return "one of " + ", ".join(json.dumps(name) for name in sinks)
    return model.model_fields[field].description or "another value"


def _unknown(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    key = str(location[-1])
    section = str(location[0]) if len(location) > 1 else ""
    if key in KEYS_NOT_YET.get(section, ()):
        return NOT_YET
    known = list(model.model_fields)
    near = difflib.get_close_matches(key[:MAX_SHOWN], known, n=2, cutoff=0.6)
    if near:
        return f"unknown key; did you mean {' or '.join(near)}?"
    return f"unknown key; expected one of {', '.join(known)}"
