"""What a collector can be told: the models of the configuration file, frozen, each value checked once.

The description of a field is the answer to "expected what?" in every message about it (``problems.py``), and what
JSON Schema says of it (``schema.py``). The types of sinks are in ``sinks.py``, the tables inside one in ``tables.py``.
What the values are is said in ``kinds.py`` and, for a sink's own, ``sink_kinds.py`` and ``remote_kinds.py``; what can't
stand together, in ``conflicts.py`` and ``remote_conflicts.py``. Where the values come from and which of them wins is
``read.py``.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from logbus.collectors.configuration.kinds import (
    A_USER,
    AN_ADDRESS,
    MAX_LEVELS,
    MAX_SINKS,
    Address,
    FieldName,
    LevelRules,
    Url,
    User,
    at_most,
)
from logbus.collectors.configuration.sink_kinds import Pattern
from logbus.collectors.configuration.sinks import (
    MODELS,
    SINKS,
    AnySink,
    ConsoleSink,
    FileSink,
    HttpSink,
    PluginSink,
    RemoteSink,
    Sink,
    SyslogSink,
)
from logbus.collectors.configuration.sources import default_file
from logbus.collectors.configuration.tables import Sample, Table
from logbus.collectors.redaction.redact import DEFAULT_FIELDS

__all__ = [
    "DEFAULT_LEVEL_KEY",
    "MODELS",
    "SINKS",
    "Bus",
    "ConsoleSink",
    "FileSink",
    "HttpSink",
    "Metrics",
    "PluginSink",
    "Redaction",
    "RemoteSink",
    "Sample",
    "Settings",
    "Sink",
    "SyslogSink",
]

#: The key of ``[levels]`` that speaks of every logger.
DEFAULT_LEVEL_KEY: Final = "default"
#: Users in ``bus.allow``, at most.
MAX_ALLOWED: Final = 64
#: Names of secret keys, and patterns of secrets, at most: each is looked for in every batch.
MAX_FIELDS: Final = 512
MAX_PATTERNS: Final = 64


class Bus(Table):
    """Where a collector listens and who else may send; null, or no word, is a place in the runtime directory."""

    endpoint: Url | None = Field(default=None, description="a URL, ipc://PATH or tcp://127.0.0.1:PORT")
    control: Url | None = Field(default=None, description="a URL, ipc://PATH or tcp://127.0.0.1:PORT")
    durability: Literal["none"] = Field(default="none", description='"none"')
    allow: Annotated[tuple[User, ...], at_most(MAX_ALLOWED)] = Field(
        default=(), max_length=MAX_ALLOWED, description=f"a list of at most {MAX_ALLOWED} items, each {A_USER}"
    )


class Metrics(Table):
    """Where the collector serves its metrics; null, or no word, is nowhere."""

    address: Address | None = Field(default=None, description=AN_ADDRESS)


class Redaction(Table):
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


class Settings(Table):
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
    sinks: Annotated[tuple[AnySink, ...], at_most(MAX_SINKS)] = Field(
        default_factory=lambda: (ConsoleSink(), FileSink.model_validate(default_file())),
        min_length=1,
        max_length=MAX_SINKS,
        description=f"a list of 1 to {MAX_SINKS} tables, each a sink with its type",
    )
    redaction: Redaction = Field(default_factory=Redaction, description="a table")
    metrics: Metrics = Field(default_factory=Metrics, description="a table")
