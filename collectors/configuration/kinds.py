"""Kinds of values in a configuration: each checked once, with the words for what would be right.

A kind is a type for pydantic's models (``settings.py``): what it refuses it says in words of its own,
and the pattern by which it decides is the one that JSON Schema shows, so that both accept the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, StrictStr, WithJsonSchema

from logbus.bus import Endpoint
from logbus.errors import EndpointError
from logbus.levels import LEVELS, parse_level
from logbus.rules import MAX_CHARS

#: Rules in ``[levels]``, at most: with those of set-level, all of them travel to every worker at each change.
MAX_LEVELS: Final = 128
#: Sinks, at most: each has a thread and a queue, and looks at every record.
MAX_SINKS: Final = 32
#: Fields that a sink adds to its lines, or has other names for, at most: they are part of each line.
MAX_NAMES: Final = 32
#: Components that a sink names in one list, at most.
MAX_SELECTORS: Final = 128
#: The highest uid; the one above it means "none" to the system.
MAX_UID: Final = 2**32 - 2


def _any_case(name: str) -> str:
    return "".join(f"[{c}{c.lower()}]" for c in name)


_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_SELECTOR = r"^[^\s.]+(\.[^\s.]+)*$"
_LEVEL = rf"^[ \t]*({'|'.join(map(_any_case, LEVELS))}|0{{0,2}}[0-9]|0?[1-9][0-9]|100)[ \t]*$"
# A name that is all digits is a uid in quotes: whoever wrote it meant one or the other, and they may differ.
_USER = r"^(?![0-9]+$)[^\s:/,\x00-\x1f]{1,64}$"

_LEVEL_SCHEMA: Final[dict[str, Any]] = {
    "anyOf": [{"type": "string", "pattern": _LEVEL}, {"type": "integer", "minimum": 0, "maximum": 100}]
}

A_LEVEL = f"a level ({', '.join(LEVELS)}) or an integer from 0 to 100"
A_NAME = "a name of 1 to 64 characters of A-Z a-z 0-9 . _ -, a letter or digit first"
A_SELECTOR = 'a component or a logger\'s dotted name, like "rotator"'
A_USER = "the name of a user, or a uid (a number without quotes)"
AN_ADDRESS = 'HOST:PORT, like "127.0.0.1:9464"'


def _checked_level(value: object) -> int:
    if type(value) is int and 0 <= value <= 100:
        return value
    if isinstance(value, str) and _matches(_LEVEL, value):
        return parse_level(value)
    raise ValueError(f"expected {A_LEVEL}")


def _checked_name(value: str) -> str:
    if not _matches(_NAME, value):
        raise ValueError(f"expected {A_NAME}")
    return value


def _checked_selector(value: str) -> str:
    if not _matches(_SELECTOR, value):
        raise ValueError(f"expected {A_SELECTOR}")
    return value


def _checked_ruled(value: str) -> str:
    if len(value) > MAX_CHARS:
        raise ValueError(f"expected at most {MAX_CHARS} characters")
    return _checked_selector(value)


def _checked_user(value: object) -> str | int:
    if (type(value) is int and 0 <= value <= MAX_UID) or (isinstance(value, str) and _matches(_USER, value)):
        return value
    raise ValueError(f"expected {A_USER}")


def _checked_key(value: str) -> str:
    if not any(c.isalnum() for c in value):  # as the redactor sees it: separators alone match nothing
        raise ValueError("expected the name of a key, with a letter or digit")
    return value


def _checked_url(value: str) -> str:
    try:
        return Endpoint.parse(value).url
    except EndpointError as error:
        # Its own words name the URL already; here the key comes first and the value last.
        raise ValueError(error.problems[0].removeprefix(f"endpoint {value!r}: ")) from error


def _checked_address(value: str) -> str:
    try:
        parts = urlsplit(f"//{value}")
        whole = parts.hostname and parts.port and parts.netloc == value and "@" not in value
    except ValueError:
        whole = False
    if not whole or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"expected {AN_ADDRESS}")
    return value


def home_expanded(path: str | Path) -> str:
    """The path with a ``~`` or ``~USER`` at its beginning replaced; no shell has done it inside a file or an option."""
    return os.path.expanduser(os.fspath(path))


def _checked_path(value: object) -> Path:
    text = os.fspath(value) if isinstance(value, (str, Path)) else ""
    if not text or "\0" in text or text.endswith("/") or os.path.basename(text) in (".", ".."):
        raise ValueError("expected the path of a file")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError("expected the path of a file, in characters that the file system takes") from error
    text = home_expanded(text)
    if text.startswith("~"):
        raise ValueError("expected ~/ or ~USER/ of a user who has a home directory, or ./~ for a name that begins so")
    return Path(text).absolute()


def at_most(number: int) -> BeforeValidator:
    """Refuses a list or a table of more items before any of them is looked at: a file can hold very many."""

    def check(value: object) -> object:
        if isinstance(value, (Mapping, list, tuple)) and len(value) > number:
            raise ValueError  # without words: the description of the field says how many it may be
        return value

    return BeforeValidator(check)


def _matches(pattern: str, value: str) -> bool:
    # A "$" lets a newline follow; a schema knows no other end.
    return re.match(pattern, value) is not None and not value.endswith("\n")


Level: TypeAlias = Annotated[
    int,
    BeforeValidator(_checked_level),
    WithJsonSchema(_LEVEL_SCHEMA),
]
Name: TypeAlias = Annotated[
    StrictStr, AfterValidator(_checked_name), WithJsonSchema({"type": "string", "pattern": _NAME})
]
Url: TypeAlias = Annotated[
    StrictStr, AfterValidator(_checked_url), WithJsonSchema({"type": "string", "pattern": "^(ipc|tcp)://"})
]
Address: TypeAlias = Annotated[
    StrictStr, AfterValidator(_checked_address), WithJsonSchema({"type": "string", "pattern": "^.+:[0-9]+$"})
]
FilePath: TypeAlias = Annotated[
    Path, BeforeValidator(_checked_path), WithJsonSchema({"type": "string", "pattern": "[^/]$"})
]
Selector: TypeAlias = Annotated[
    StrictStr, AfterValidator(_checked_selector), WithJsonSchema({"type": "string", "pattern": _SELECTOR})
]
Ruled: TypeAlias = Annotated[StrictStr, AfterValidator(_checked_ruled)]
User: TypeAlias = Annotated[
    str | int,
    BeforeValidator(_checked_user),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": _USER}, {"type": "integer", "minimum": 0, "maximum": MAX_UID}]}
    ),
]
FieldName: TypeAlias = Annotated[
    StrictStr, AfterValidator(_checked_key), WithJsonSchema({"type": "string", "minLength": 1})
]
LevelRules: TypeAlias = Annotated[
    Mapping[Ruled, Level],
    at_most(MAX_LEVELS),
    AfterValidator(MappingProxyType),
    PlainSerializer(dict, return_type=dict[str, int]),
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": _SELECTOR, "maxLength": MAX_CHARS},
            "additionalProperties": _LEVEL_SCHEMA,
            "maxProperties": MAX_LEVELS,
        }
    ),
]


def level_name(level: int) -> str | int:
    """The level as somebody would write it: its name if it has one, else its number."""
    return next((name for name, number in LEVELS.items() if number == level), level)


def frozen(value: Any) -> Any:
    """A document that nobody can change: its tables and lists, at every depth, as read-only ones."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: frozen(one) for key, one in value.items()})
    return tuple(map(frozen, value)) if isinstance(value, (list, tuple)) else value


def thawed(value: Any) -> Any:
    """The document that :func:`frozen` was given, a new one."""
    if isinstance(value, Mapping):
        return {key: thawed(one) for key, one in value.items()}
    return list(map(thawed, value)) if isinstance(value, (list, tuple)) else value
