"""The types of sinks that a collector can be told of, each a table with keys of its own.

What a type is called stands in ``type``: one of ours, or the name of somebody else's, which is that of an entry point
or ``"package.module:Name"`` (:mod:`logbus.collectors.sinks.plugin`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from logbus.collectors.configuration.kinds import (
    A_LEVEL,
    A_NAME,
    A_SELECTOR,
    MAX_NAMES,
    MAX_SELECTORS,
    FilePath,
    Level,
    Name,
    Selector,
    at_most,
    thawed,
)
from logbus.collectors.configuration.problems import parsed
from logbus.collectors.configuration.remote_kinds import (
    A_FACILITY,
    A_MESSAGE,
    A_SPOOL,
    A_TIMEOUT,
    A_TYPE,
    A_URL,
    AN_ADDRESS,
    AN_APP_NAME,
    HEADERS,
    LABELS,
    OPTIONS,
    AppName,
    Facility,
    Headers,
    HttpUrl,
    Labels,
    MessageBytes,
    Options,
    PluginType,
    SpoolBytes,
    SyslogAddress,
    Timeout,
    is_plugin,
)
from logbus.collectors.configuration.sink_kinds import (
    A_COMPRESSION,
    A_CONDITION,
    A_FORMAT,
    A_RETENTION,
    A_ROTATION,
    Added,
    Compression,
    Conditions,
    FormatName,
    Renamed,
    RetentionRules,
    RotationRules,
)
from logbus.collectors.configuration.tables import (
    Auth,
    Batch,
    ConsoleQueue,
    FileQueue,
    HttpRetry,
    Queue,
    Retry,
    Sample,
    Table,
    Tls,
)
from logbus.collectors.format.labels import DEFAULT_LABELS
from logbus.collectors.format.syslog_head import Protocol
from logbus.collectors.sinks.plugin import check_options, load
from logbus.collectors.sinks.syslog.address import STREAM_MESSAGE, parse_address
from logbus.sizes import format_size

A_TABLE: Final = "a table"


class _Sink(Table):
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
    sample: Sample | None = Field(default=None, description=A_TABLE)
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
    queue: ConsoleQueue = Field(default_factory=ConsoleQueue, description=A_TABLE)

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
    queue: FileQueue = Field(default_factory=FileQueue, description=A_TABLE)


class _RemoteSink(_Sink):
    queue: Queue = Field(default_factory=Queue, description=A_TABLE)
    spool: SpoolBytes | None = Field(default=None, description=A_SPOOL)


def _default_protocol(validated: dict[str, Any]) -> Protocol:
    return parse_address(validated["address"]).protocol if "address" in validated else "rfc5424"


def _default_message(validated: dict[str, Any]) -> str:
    if not {"address", "protocol"} <= validated.keys():
        return format_size(STREAM_MESSAGE)
    return format_size(parse_address(validated["address"]).max_message(validated["protocol"]))


class SyslogSink(_RemoteSink):
    """Messages to a syslog daemon or server.

    Without ``format`` the message is the record's own, with its fields as structured data (RFC 5424) or as logfmt
    behind it (RFC 3164); with one it is that line. A daemon's socket gets RFC 3164 unless ``protocol`` says otherwise,
    a server RFC 5424; how long a message may be depends on the way too.
    """

    type: Literal["syslog"] = Field(default="syslog", description='"syslog"')
    name: Name = Field(default="syslog", description=A_NAME)
    address: SyslogAddress = Field(description=AN_ADDRESS)
    facility: Facility = Field(default="user", description=A_FACILITY)
    protocol: Literal["rfc5424", "rfc3164"] = Field(
        default_factory=_default_protocol, description='"rfc5424" or "rfc3164"'
    )
    format: FormatName | None = Field(default=None, description=A_FORMAT)
    app_name: AppName | None = Field(default=None, description=AN_APP_NAME)
    max_message: MessageBytes = Field(default_factory=_default_message, description=A_MESSAGE)
    tls: Tls | None = Field(default=None, description=A_TABLE)
    retry: Retry = Field(default_factory=Retry, description=A_TABLE)


def _default_format(validated: dict[str, Any]) -> str | None:
    return None if validated.get("body") == "otlp" else "json"


def _default_labels(validated: dict[str, Any]) -> dict[str, str]:
    return dict(DEFAULT_LABELS) if validated.get("body") == "loki" else {}


class HttpSink(_RemoteSink):
    """Requests to a server; ``labels`` go with the body "loki"."""

    type: Literal["http"] = Field(default="http", description='"http"')
    name: Name = Field(default="http", description=A_NAME)
    url: HttpUrl = Field(description=A_URL)
    method: Literal["POST", "PUT"] = Field(default="POST", description='"POST" or "PUT"')
    body: Literal["ndjson", "json", "loki", "otlp"] = Field(
        default="ndjson", description='"ndjson", "json", "loki" or "otlp"'
    )
    format: FormatName | None = Field(default_factory=_default_format, description=A_FORMAT)
    labels: Labels = Field(default_factory=_default_labels, validate_default=True, description=LABELS)
    compression: Literal["gzip", "zstd"] | None = Field(default=None, description='"gzip" or "zstd"')
    headers: Headers = Field(default_factory=dict, validate_default=True, description=HEADERS)
    auth: Auth | None = Field(default=None, description=A_TABLE)
    tls: Tls | None = Field(default=None, description=A_TABLE)
    timeout: Timeout = Field(default="30 s", description=A_TIMEOUT)
    batch: Batch = Field(default_factory=Batch, description=A_TABLE)
    retry: HttpRetry = Field(default_factory=HttpRetry, description=A_TABLE)


class PluginSink(_RemoteSink):
    """A sink of somebody else, made with ``options`` as its keyword arguments."""

    type: PluginType = Field(description=A_TYPE)
    name: Name = Field(default="plugin", description=A_NAME)
    format: FormatName = Field(default="json", description=A_FORMAT)
    options: Options = Field(default_factory=dict, validate_default=True, description=OPTIONS)
    batch: Batch = Field(default_factory=Batch, description=A_TABLE)
    retry: Retry = Field(default_factory=Retry, description=A_TABLE)

    @model_validator(mode="after")
    def _fits(self) -> PluginSink:
        """Its options are arguments of what makes it; whether that likes their values shows when it is made."""
        parsed(lambda options: check_options(load(self.type), options), thawed(self.options))
        return self


#: The model of each type of sink that is ours.
SINKS: Final[Mapping[str, type[BaseModel]]] = {
    "console": ConsoleSink,
    "file": FileSink,
    "syslog": SyslogSink,
    "http": HttpSink,
}
#: The tag of all others.
PLUGIN: Final = "plug-in"
#: The same, and that of all others by its tag.
MODELS: Final[Mapping[str, type[BaseModel]]] = {**SINKS, PLUGIN: PluginSink}


def _tag(table: Any) -> str | None:
    """Which model judges a table of a sink; none of them for a type that nobody has."""
    type_ = table.get("type") if isinstance(table, Mapping) else getattr(table, "type", None)
    if not isinstance(type_, str):
        return None if type_ is None else repr(type(type_))
    return PLUGIN if type_ not in SINKS and is_plugin(type_) else type_


RemoteSink: TypeAlias = SyslogSink | HttpSink | PluginSink
Sink: TypeAlias = ConsoleSink | FileSink | RemoteSink
AnySink: TypeAlias = Annotated[
    Annotated[ConsoleSink, Tag("console")]
    | Annotated[FileSink, Tag("file")]
    | Annotated[SyslogSink, Tag("syslog")]
    | Annotated[HttpSink, Tag("http")]
    | Annotated[PluginSink, Tag(PLUGIN)],
    Discriminator(_tag),
]
