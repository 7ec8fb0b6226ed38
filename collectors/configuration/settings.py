"""What a collector can be told: the models of the configuration file, frozen, each value checked once.

The description of a field is the answer to "expected what?" in every message about it (``problems.py``), and what
JSON Schema says of it (``schema.py``). What the values are is said in ``kinds.py`` and, for a sink's own,
``sink_kinds.py``; what can't stand together, in ``conflicts.py``. Where the values come from and which of them wins is
``read.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from logbus.collectors.configuration.kinds import (
    A_LEVEL,
    A_NAME,
    A_SELECTOR,
    A_USER,
    AN_ADDRESS,
    MAX_LEVELS,
    MAX_NAMES,
    MAX_SELECTORS,
    MAX_SINKS,
    Address,
    FieldName,
    FilePath,
    Level,
    LevelRules,
    Name,
    Selector,
    Url,
    User,
    at_most,
)
from logbus.collectors.configuration.sink_kinds import (
    A_COMPRESSION,
    A_CONDITION,
    A_COUNT,
    A_FORMAT,
    A_HELD,
    A_RATE,
    A_RETENTION,
    A_ROTATION,
    A_SPAN,
    Added,
    Compression,
    Conditions,
    Count,
    FieldPath,
    FormatName,
    Held,
    Pattern,
    Rate,
    Renamed,
    RetentionRules,
    RotationRules,
    Span,
)
from logbus.collectors.configuration.sources import default_file
from logbus.collectors.redaction.redact import DEFAULT_FIELDS

#: The key of ``[levels]`` that speaks of every logger.
DEFAULT_LEVEL_KEY: Final = "default"
#: Users in ``bus.allow``, at most.
MAX_ALLOWED: Final = 64
#: Names of secret keys, and patterns of secrets, at most: each is looked for in every batch.
MAX_FIELDS: Final = 512
MAX_PATTERNS: Final = 64


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bus(_Table):
    """Where a collector listens and who else may send; null, or no word, is a place in the runtime directory."""

    endpoint: Url | None = Field(default=None, description="a URL, ipc://PATH or tcp://127.0.0.1:PORT")
    control: Url | None = Field(default=None, description="a URL, ipc://PATH or tcp://127.0.0.1:PORT")
    durability: Literal["none"] = Field(default="none", description='"none"')
    allow: Annotated[tuple[User, ...], at_most(MAX_ALLOWED)] = Field(
        default=(), max_length=MAX_ALLOWED, description=f"a list of at most {MAX_ALLOWED} items, each {A_USER}"
    )


class Metrics(_Table):
    """Where the collector serves its metrics; null, or no word, is nowhere."""

    address: Address | None = Field(default=None, description=AN_ADDRESS)


class Sample(_Table):
    """What a sink leaves out; ``interval`` goes with ``first``, ``window`` and ``max_bytes`` go with ``tail``."""

    rate: Rate | None = Field(default=None, description=A_RATE)
    key: FieldPath | None = Field(default=None, description='the name of a field, like "request_id"')
    keep: Level = Field(default=30, description=A_LEVEL)
    first: Count | None = Field(default=None, description=A_COUNT)
    interval: Span = Field(default="1 s", description=A_SPAN)
    tail: StrictBool = Field(default=False, description="true or false")
    window: Span = Field(default="30 s", description=A_SPAN)
    max_bytes: Held = Field(default="16 MiB", description=A_HELD)


class _Sink(_Table):
    level: Level = Field(default=0, description=A_LEVEL)
    # An empty list could mean all or none: it is refused where somebody writes it.
    components: Annotated[tuple[Selector, ...], at_most(MAX_SELECTORS)] = Field(
        default=(),
        min_length=1,
        max_length=MAX_SELECTORS,
        description=f"a list of 1 to {MAX_SELECTORS} items, each {A_SELECTOR}",
    )
    exclude_components: Annotated[tuple[Selector, ...], at_most(MAX_SELECTORS)] = Field(
        default=(), max_length=MAX_SELECTORS, description=f"a list of at most {MAX_SELECTORS} items, each {A_SELECTOR}"
    )
    where: Conditions | None = Field(default=None, description=A_CONDITION)
    sample: Sample | None = Field(default=None, description="a table")
    rename_fields: Renamed = Field(
        default_factory=dict,
        validate_default=True,
        description=f"a table of at most {MAX_NAMES} other names, each under the name of a field of the line",
    )
    static_fields: Added = Field(
        default_factory=dict,
        validate_default=True,
        description=f"a table of at most {MAX_NAMES} texts, numbers or booleans, each under its name in the line",
    )


def _default_encoding(validated: dict[str, Any]) -> str:
    return "text" if _on_terminal(validated.get("stream", "stdout")) else "json"


def _on_terminal(stream: str) -> bool:
    try:
        return os.isatty(1 if stream == "stdout" else 2)
    except OSError:  # closed
        return False


class ConsoleSink(_Sink):
    """Lines on the collector's own stdout or stderr: text when that is a terminal, JSON otherwise."""

    type: Literal["console"] = Field(default="console", description='"console"')
    name: Name = Field(default="console", description=A_NAME)
    stream: Literal["stdout", "stderr"] = Field(default="stdout", description='"stdout" or "stderr"')
    format: FormatName = Field(default_factory=_default_encoding, description=A_FORMAT)
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
    name: Name = Field(default="file", description=A_NAME)
    path: FilePath = Field(description='the path of a file, like "logs/app.jsonl"')
    format: FormatName = Field(default="json", description=A_FORMAT)
    rotation: RotationRules = Field(default=(), description=A_ROTATION)
    retention: RetentionRules = Field(default=(), description=A_RETENTION)
    compression: Compression | None = Field(default=None, description=A_COMPRESSION)


Sink: TypeAlias = ConsoleSink | FileSink
#: The model of each type of sink.
SINKS: Final[Mapping[str, type[BaseModel]]] = {"console": ConsoleSink, "file": FileSink}


class Redaction(_Table):
    """What never leaves the collector: the values of keys (a list given replaces the default one), and patterns."""

    fields: Annotated[tuple[FieldName, ...], at_most(MAX_FIELDS)] = Field(
        default=tuple(DEFAULT_FIELDS),
        max_length=MAX_FIELDS,
        description=f'a list of at most {MAX_FIELDS} items, each the name of a key, like "password"',
    )
    patterns: Annotated[tuple[Pattern, ...], at_most(MAX_PATTERNS)] = Field(
        default=(),
        max_length=MAX_PATTERNS,
        description=f'a list of at most {MAX_PATTERNS} items, each a pattern of RE2, like "acct-[0-9]{{8}}"',
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
    sinks: Annotated[tuple[Annotated[Sink, Field(discriminator="type")], ...], at_most(MAX_SINKS)] = Field(
        default_factory=lambda: (ConsoleSink(), FileSink.model_validate(default_file())),
        min_length=1,
        max_length=MAX_SINKS,
        description=f"a list of 1 to {MAX_SINKS} tables, each a sink with its type",
    )
    redaction: Redaction = Field(default_factory=Redaction, description="a table")
    metrics: Metrics = Field(default_factory=Metrics, description="a table")
