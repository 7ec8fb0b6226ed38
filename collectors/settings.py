"""What a collector can be told: the models of the configuration file, frozen, each value checked once.

The description of a field is the answer to "expected what?" in every message about it
(:mod:`logbus.collectors.problems`), and what JSON Schema says of it (:mod:`logbus.collectors.config_schema`). A
pattern that a check uses is the one that the schema shows, so that both accept the same. Where the values come from
and which of them wins is :mod:`logbus.collectors.config`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictStr,
    WithJsonSchema,
)

from logbus.bus import Endpoint
from logbus.collectors.redact import DEFAULT_FIELDS
from logbus.errors import EndpointError
from logbus.levels import LEVELS, parse_level
from logbus.rules import MAX_CHARS

#: The file that a collector writes when nothing says otherwise.
DEFAULT_PATH: Final = Path("logs/logbus.jsonl")
#: The key of ``[levels]`` that speaks of every logger.
DEFAULT_LEVEL_KEY: Final = "default"
#: Rules in ``[levels]``, at most: with those of set-level, all of them travel to every worker at each change.
MAX_LEVELS: Final = 128
#: Users in ``bus.allow``, at most.
MAX_ALLOWED: Final = 64
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

_A_LEVEL = f"a level ({', '.join(LEVELS)}) or an integer from 0 to 100"
_A_NAME = "a name of 1 to 64 characters of A-Z a-z 0-9 . _ -, a letter or digit first"
_A_SELECTOR = 'a component or a logger\'s dotted name, like "rotator"'
_A_USER = "the name of a user, or a uid (a number without quotes)"
_AN_ADDRESS = 'HOST:PORT, like "127.0.0.1:9464"'


def _checked_level(value: object) -> int:
    if type(value) is int and 0 <= value <= 100:
        return value
    if isinstance(value, str) and _matches(_LEVEL, value):
        return parse_level(value)
    raise ValueError(f"expected {_A_LEVEL}")


def _checked_name(value: str) -> str:
    if not _matches(_NAME, value):
        raise ValueError(f"expected {_A_NAME}")
    return value


def _checked_selector(value: str) -> str:
    if not _matches(_SELECTOR, value):
        raise ValueError(f"expected {_A_SELECTOR}")
    return value


def _checked_ruled(value: str) -> str:
    if len(value) > MAX_CHARS:
        raise ValueError(f"expected at most {MAX_CHARS} characters")
    return _checked_selector(value)


def _checked_user(value: object) -> str | int:
    if (type(value) is int and 0 <= value <= MAX_UID) or (isinstance(value, str) and _matches(_USER, value)):
        return value
    raise ValueError(f"expected {_A_USER}")


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
        raise ValueError(f"expected {_AN_ADDRESS}")
    return value


def _checked_path(value: object) -> Path:
    text = os.fspath(value) if isinstance(value, (str, Path)) else ""
    if not text or "\0" in text or text.endswith("/") or os.path.basename(text) in (".", ".."):
        raise ValueError("expected the path of a file")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError("expected the path of a file, in characters that the file system takes") from error
    return Path(text).absolute()


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
    Field(max_length=MAX_LEVELS),
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


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bus(_Table):
    """Where a collector listens and who else may send; null, or no word, is a place in the runtime directory."""

    endpoint: Url | None = Field(default=None, description="a URL, ipc://PATH or tcp://127.0.0.1:PORT")
    control: Url | None = Field(default=None, description="a URL, ipc://PATH or tcp://127.0.0.1:PORT")
    durability: Literal["none"] = Field(default="none", description='"none"')
    allow: tuple[User, ...] = Field(
        default=(), max_length=MAX_ALLOWED, description=f"a list of at most {MAX_ALLOWED} items, each {_A_USER}"
    )


class Metrics(_Table):
    """Where the collector serves its metrics; null, or no word, is nowhere."""

    address: Address | None = Field(default=None, description=_AN_ADDRESS)


class _Sink(_Table):
    level: Level = Field(default=0, description=_A_LEVEL)
    # An empty list could mean all or none: it is refused where somebody writes it.
    components: tuple[Selector, ...] = Field(
        default=(), min_length=1, description=f"a list of at least one item, each {_A_SELECTOR}"
    )
    exclude_components: tuple[Selector, ...] = Field(default=(), description=f"a list, each item {_A_SELECTOR}")


def _default_encoding(validated: dict[str, Any]) -> Literal["text", "json"]:
    return "text" if _on_terminal(validated.get("stream", "stdout")) else "json"


def _on_terminal(stream: str) -> bool:
    try:
        return os.isatty(1 if stream == "stdout" else 2)
    except OSError:  # closed
        return False


class ConsoleSink(_Sink):
    """Lines on the collector's own stdout or stderr: text when that is a terminal, JSON otherwise."""

    type: Literal["console"] = Field(default="console", description='"console"')
    name: Name = Field(default="console", description=_A_NAME)
    stream: Literal["stdout", "stderr"] = Field(default="stdout", description='"stdout" or "stderr"')
    format: Literal["text", "json"] = Field(default_factory=_default_encoding, description='"text" or "json"')
    color: Literal["auto", "always", "never"] = Field(default="auto", description='"auto", "always" or "never"')

    def colored(self, environ: Mapping[str, str] = os.environ) -> bool:
        """Whether text lines carry colour: as said; with "auto", on a terminal, minding NO_COLOR and FORCE_COLOR."""
        if self.color != "auto":
            return self.color == "always"
        if environ.get("NO_COLOR"):
            return False
        return bool(environ.get("FORCE_COLOR")) or _on_terminal(self.stream)


class FileSink(_Sink):
    """Lines appended to one file; a relative path starts at the working directory."""

    type: Literal["file"] = Field(default="file", description='"file"')
    name: Name = Field(default="file", description=_A_NAME)
    path: FilePath = Field(description='the path of a file, like "logs/app.jsonl"')
    format: Literal["json", "text"] = Field(default="json", description='"json" or "text"')


Sink: TypeAlias = ConsoleSink | FileSink
#: The model of each type of sink.
SINKS: Final[Mapping[str, type[BaseModel]]] = {"console": ConsoleSink, "file": FileSink}


class Redaction(_Table):
    """The keys whose values never leave the collector; a list given replaces the default one."""

    fields: tuple[FieldName, ...] = Field(
        default=tuple(DEFAULT_FIELDS), description='a list of names of keys, like ["password", "token"]'
    )


class Settings(_Table):
    """Everything that a collector is told.

    ``levels`` maps selectors to level numbers, ``default`` to that of every logger; where it says nothing the
    workers' own settings hold, INFO without any.
    """

    bus: Bus = Field(default_factory=Bus, description="a table")
    levels: LevelRules = Field(
        default_factory=dict,
        validate_default=True,
        description=f"a table of at most {MAX_LEVELS} levels, each under a component or a logger's dotted name "
        f'in quotes, or under "{DEFAULT_LEVEL_KEY}"',
    )
    sinks: tuple[Annotated[Sink, Field(discriminator="type")], ...] = Field(
        default_factory=lambda: (ConsoleSink(), FileSink(path=DEFAULT_PATH)),
        min_length=1,
        description="a list of at least one table, each a sink with its type",
    )
    redaction: Redaction = Field(default_factory=Redaction, description="a table")
    metrics: Metrics = Field(default_factory=Metrics, description="a table")


def level_name(level: int) -> str | int:
    """The level as somebody would write it: its name if it has one, else its number."""
    return next((name for name, number in LEVELS.items() if number == level), level)
