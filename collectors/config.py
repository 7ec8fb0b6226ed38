"""The settings of a collector: frozen, checked once, whole. Nothing behind this module sees raw input.

Four sources, each a document of one shape: command line over environment over file over default. Each source is
judged by itself, also where a stronger one overrides it, so that a wrong key is reported under the name of the
file, variable or option in which it stands, and all problems of all sources come at once. Then they are merged:
``[bus]`` and ``[redaction]`` key by key, the list of sinks as a whole. What a later version brings is refused
with "not available yet" (:mod:`logbus.collectors.problems`), never ignored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError

from logbus.bus import Endpoint
from logbus.collectors.problems import in_words, path_of, shown
from logbus.collectors.redact import DEFAULT_FIELDS
from logbus.collectors.sources import Source, chosen_file, from_command_line, from_environment, from_file
from logbus.errors import ConfigurationError, EndpointError
from logbus.levels import LEVELS, parse_level

#: The file that a collector writes when nothing says otherwise.
DEFAULT_PATH: Final = Path("logs/logbus.jsonl")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")
_SELECTOR = re.compile(r"[^\s.]+(\.[^\s.]+)*\Z")
_A_LEVEL = f"a level ({', '.join(LEVELS)}) or an integer from 0 to 100"
_A_NAME = "a name of 1 to 64 characters of A-Z a-z 0-9 . _ -, a letter or digit first"
_A_SELECTOR = 'a component or a logger\'s dotted name, like "rotator"'


def _checked_level(value: object) -> int:
    if isinstance(value, str) or (type(value) is int and 0 <= value <= 100):
        try:
            return parse_level(value)
        except ConfigurationError:
            pass
    raise ValueError(f"expected {_A_LEVEL}")


def _checked_name(value: str) -> str:
    if not _NAME.match(value):
        raise ValueError(f"expected {_A_NAME}")
    return value


def _checked_selector(value: str) -> str:
    if not _SELECTOR.match(value):
        raise ValueError(f"expected {_A_SELECTOR}")
    return value


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


def _checked_path(value: object) -> Path:
    text = os.fspath(value) if isinstance(value, (str, Path)) else ""
    if not text or "\0" in text or text.endswith("/") or os.path.basename(text) in (".", ".."):
        raise ValueError("expected the path of a file")
    try:
        os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError("expected the path of a file, in characters that the file system takes") from error
    return Path(text).absolute()


Level: TypeAlias = Annotated[int, BeforeValidator(_checked_level)]
Name: TypeAlias = Annotated[StrictStr, AfterValidator(_checked_name)]
Url: TypeAlias = Annotated[StrictStr, AfterValidator(_checked_url)]
FilePath: TypeAlias = Annotated[Path, BeforeValidator(_checked_path)]
Selector: TypeAlias = Annotated[StrictStr, AfterValidator(_checked_selector)]
FieldName: TypeAlias = Annotated[StrictStr, AfterValidator(_checked_key)]


class _Table(BaseModel):
    # The description of a field is the answer to "expected what?" in every message about it.
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bus(_Table):
    """Where a collector listens; None means the place that :mod:`logbus.bus` derives from its name."""

    endpoint: Url | None = Field(default=None, description="a URL, ipc://PATH or tcp://127.0.0.1:PORT")
    control: Url | None = Field(default=None, description="a URL, ipc://PATH or tcp://127.0.0.1:PORT")
    durability: Literal["none"] = Field(default="none", description='"none"')


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

    type: Literal["console"] = Field(default="console")
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

    type: Literal["file"] = Field(default="file")
    name: Name = Field(default="file", description=_A_NAME)
    path: FilePath = Field(description='the path of a file, like "logs/app.jsonl"')
    format: Literal["json", "text"] = Field(default="json", description='"json" or "text"')


Sink: TypeAlias = ConsoleSink | FileSink
_SINKS: Final[Mapping[str, type[BaseModel]]] = {"console": ConsoleSink, "file": FileSink}


class Redaction(_Table):
    """The keys whose values never leave the collector; a list given replaces the default one."""

    fields: tuple[FieldName, ...] = Field(
        default=tuple(DEFAULT_FIELDS), description='a list of names of keys, like ["password", "token"]'
    )


class Settings(_Table):
    """Everything that a collector is told before it starts."""

    bus: Bus = Field(default_factory=Bus, description="a table")
    sinks: tuple[Annotated[Sink, Field(discriminator="type")], ...] = Field(
        default_factory=lambda: (ConsoleSink(), FileSink(path=DEFAULT_PATH)),
        min_length=1,
        description="a list of at least one table, each a sink with its type",
    )
    redaction: Redaction = Field(default_factory=Redaction, description="a table")


def load(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings after precedence: ``overrides`` (the command line) over ``environ`` over file over default.

    ``config`` is the file; without one ``LOGBUS_CONFIG`` names it, else ./logbus.toml is read if it is there.
    ``overrides`` has the shape of the file; a sink may also be written as on the command line.
    Raises ConfigurationError with every problem of every source.
    """
    sources: list[Source] = []
    problems: list[tuple[str, str]] = []
    path = chosen_file(config, environ)
    if path is not None:
        try:
            sources.append(from_file(path))
        except ConfigurationError as error:
            problems += [(str(path), problem) for problem in error.problems]
    sources += [from_environment(environ), from_command_line(overrides or {})]

    layers = []
    for source in sources:
        problems += [("", problem) for problem in source.problems]
        layer, wrong = _judged(source)
        layers.append(layer)
        problems += wrong
    if problems:
        _refuse(problems)
    settings = _merged([layer for layer in layers if layer is not None])
    if clash := _bus_clash(settings.bus):
        _refuse([("", clash)])
    return settings


def _refuse(problems: Sequence[tuple[str, str]]) -> None:
    origins = {origin for origin, _ in problems}
    if len(origins) == 1:
        raise ConfigurationError([problem for _, problem in problems], source=origins.pop() or None)
    raise ConfigurationError([f"{origin}: {problem}" if origin else problem for origin, problem in problems])


def _judged(source: Source) -> tuple[Settings | None, list[tuple[str, str]]]:
    """The settings that one source makes by itself, and its problems as pairs of origin and line."""
    document = dict(source.document)
    problems = []
    sinks = document.get("sinks")
    if isinstance(sinks, (list, tuple)):
        problems += [(source.origin(location), line) for location, line in _conflicts(sinks)]
        document["sinks"] = _named(sinks)
    try:
        return Settings.model_validate(document), problems
    except ValidationError as error:
        found = in_words(error, Settings, _SINKS)
        return None, [(source.origin(location), line) for location, line in found] + problems


def _conflicts(sinks: Sequence[Any]) -> list[tuple[tuple[str | int, ...], str]]:
    """What two sinks can't share: a name (it is their row in the ledger) or a file (their lines would mix).

    On raw tables, so that it is reported beside whatever else is wrong with them.
    """
    found: list[tuple[tuple[str | int, ...], str]] = []
    seen: dict[tuple[str, str], int] = {}
    for index, sink in enumerate(sinks):
        for key in ("name", "path"):
            value = sink.get(key) if isinstance(sink, Mapping) else None
            if not isinstance(value, str):
                continue
            try:
                # Links resolved: two names of one file are one file.
                identity = os.path.realpath(value) if key == "path" else value
            except (OSError, ValueError):
                continue
            first = seen.setdefault((key, identity), index)
            if first != index:
                location = ("sinks", index, key)
                reason = f"expected another {key} than that of sinks[{first}], found {shown(value)}"
                found.append((location, f"{path_of(location)}: {reason}"))
    return found


def _named(sinks: Sequence[Any]) -> list[Any]:
    """The tables of sinks, each with a name: its own, else its type, numbered from the second of that type on."""
    taken = {sink["name"] for sink in sinks if isinstance(sink, Mapping) and isinstance(sink.get("name"), str)}
    named = []
    for sink in sinks:
        if isinstance(sink, Mapping) and "name" not in sink and sink.get("type") in tuple(_SINKS):
            name, number = sink["type"], 1
            while name in taken:
                number += 1
                name = f"{sink['type']}-{number}"
            taken.add(name)
            sink = {**sink, "name": name}
        named.append(sink)
    return named


def _merged(layers: Sequence[Settings]) -> Settings:
    """One settings of several, the later the stronger; what a layer has not set does not count."""
    bus: dict[str, Any] = {}
    whole: dict[str, Any] = {}
    for layer in layers:
        bus |= {key: getattr(layer.bus, key) for key in layer.bus.model_fields_set}
        whole |= {key: getattr(layer, key) for key in layer.model_fields_set - {"bus"}}
    return Settings(bus=Bus(**bus), **whole)


def _bus_clash(bus: Bus) -> str | None:
    """Why the two endpoints can't both be bound: the control endpoint has its PUB socket beside it."""
    if bus.endpoint is None or bus.control is None:
        return None
    control = Endpoint.parse(bus.control)
    if bus.endpoint not in (control.url, control.publisher.url):
        return None
    return (
        f"bus.control: expected another address than bus.endpoint, for itself and for its PUB socket "
        f"({control.publisher.url}), found {shown(bus.control)} beside {shown(bus.endpoint)}"
    )
