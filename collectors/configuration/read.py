"""The configuration of a collector: where its settings come from, which of them wins, and what is wrong with them.

Five sources, each a document of one shape: command line over environment over file over what a deployment of
proxywhirl sets already over default. Each source is judged by itself, also where a stronger one overrides it, so that
a wrong key is reported under the name of the file, variable or option in which it stands, and all problems of all
sources come at once. Then they are merged: tables key by key, the list of sinks as a whole. What a later version
brings is refused with "not available yet" (``problems.py``), never ignored. Nothing behind this
module sees raw input.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from logbus.bus import Endpoint
from logbus.collectors.configuration.conflicts import conflicts
from logbus.collectors.configuration.kinds import MAX_SINKS
from logbus.collectors.configuration.problems import MAX_PROBLEMS, in_words
from logbus.collectors.configuration.settings import (
    MODELS,
    Bus,
    ConsoleSink,
    FileSink,
    Metrics,
    Redaction,
    Settings,
    Sink,
)
from logbus.collectors.configuration.sources import (
    DEFAULT_PATH,
    Source,
    chosen_file,
    from_command_line,
    from_deployment,
    from_environment,
    from_file,
)
from logbus.collectors.configuration.spec import ARGUMENTS
from logbus.collectors.shown import Location, path_of, shown, without_secrets
from logbus.errors import ConfigurationError

__all__ = [
    "DEFAULT_PATH",
    "Bus",
    "Configuration",
    "ConsoleSink",
    "FileSink",
    "Metrics",
    "Redaction",
    "Settings",
    "Sink",
    "load",
    "read",
]

#: Where a setting comes from that nobody has made.
DEFAULT_ORIGIN: Final = "default"
#: Of a file without a byte.
_OF_NOTHING: Final = hashlib.sha256(b"").hexdigest()
#: What no name of a sink has in it, and how many characters of a type one has at most, so that it can be numbered.
_NO_NAME: Final = re.compile(r"[^A-Za-z0-9._-]")
_BASE_CHARS: Final = 60


@dataclass(frozen=True)
class Configuration:
    """Settings, where they came from, and what it takes to read them again.

    ``file`` is the one that was read, None without one; ``sha256`` is of its bytes. ``origins`` has the file, variable
    or option of each setting that somebody has made, under its path (``bus.endpoint``, ``sinks[0].path``).
    """

    settings: Settings
    file: Path | None = None
    sha256: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    config: Path | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict)

    def origin(self, path: str) -> str:
        """Where the setting at a path came from: a file, a variable, an option, or "default"."""
        return self.origins.get(path, DEFAULT_ORIGIN)

    def chosen(self) -> Path | None:
        """The file that counts by now; one that was read counts still when it has gone."""
        return chosen_file(self.config, self.environ) or self.file

    def again(self) -> Configuration:
        """The configuration as the same sources have it now.

        Raises ConfigurationError, also for a file that has become empty: that is how a full disk leaves one, and
        without its settings secrets would go to other files, unmasked.
        """
        found = _read(self.chosen(), self.config, self.overrides, self.environ)
        if found.sha256 == _OF_NOTHING and self.sha256 not in (None, _OF_NOTHING):
            raise ConfigurationError(
                ["expected settings, or a comment where none are meant, found an empty file: was it cut off?"],
                source=str(found.file),
            )
        return found


def load(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings alone of what :func:`read` reads. Raises ConfigurationError."""
    return read(config, overrides, environ).settings


def read(
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Configuration:
    """The configuration after precedence: ``overrides`` (the command line) over ``environ`` over file over default.

    ``config`` is the file; without one ``LOGBUS_CONFIG`` names it, else ./logbus.toml is read if it is there.
    ``overrides`` has the shape of the file; a sink may also be written as on the command line.
    Raises ConfigurationError with every problem of every source.
    """
    return _read(chosen_file(config, environ), config, overrides or {}, environ)


def _read(
    path: Path | None, config: Path | None, overrides: Mapping[str, Any], environ: Mapping[str, str]
) -> Configuration:
    sources = [from_deployment(environ)]
    problems: list[tuple[str, str]] = []
    sha256 = None
    if path is not None:
        try:
            source = from_file(path)
        except ConfigurationError as error:
            problems += [(str(path), problem) for problem in error.problems]
        else:
            sources.append(source)
            sha256 = source.sha256
    options = from_command_line(overrides)
    options.problems = [without_secrets(problem) for problem in options.problems]  # they repeat what was written
    sources += [from_environment(environ), options]

    layers: list[tuple[Source, Settings]] = []
    for source in sources:
        problems += [("", problem) for problem in source.problems]
        layer, wrong = _judged(source)
        problems += wrong
        if layer is not None:
            layers.append((source, layer))
    if problems:
        _refuse(problems)
    try:
        settings = _merged([layer for _, layer in layers])
    except ValidationError as error:  # each is right by itself, and together they say too much
        found, _ = in_words(error, Settings, MODELS)
        _refuse([("", line) for _, line in found])
        raise
    if clash := _bus_clash(settings.bus):
        _refuse([("", clash)])
    return Configuration(settings, path, sha256, _origins(layers), config, overrides, environ)


def _refuse(problems: Sequence[tuple[str, str]]) -> None:
    origins = {origin for origin, _ in problems}
    if len(origins) == 1:
        raise ConfigurationError([problem for _, problem in problems], source=origins.pop() or None)
    raise ConfigurationError([f"{origin}: {problem}" if origin else problem for origin, problem in problems])


def _judged(source: Source) -> tuple[Settings | None, list[tuple[str, str]]]:
    """The settings that one source makes by itself, and its problems as pairs of origin and line."""
    document = dict(source.document)
    shared: list[tuple[Location, str]] = []
    sinks = document.get("sinks")
    if isinstance(sinks, (list, tuple)):
        shared = conflicts(sinks)
        document["sinks"] = _named(sinks)
    settings, more = None, 0
    found: list[tuple[Location, str]] = []
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        found, more = in_words(error, Settings, MODELS)
    found = sorted([*found, *shared], key=_sink_of)
    more += max(0, len(found) - MAX_PROBLEMS)
    problems = [(without_secrets(source.origin(location)), line) for location, line in found[:MAX_PROBLEMS]]
    return settings, problems + [(source.label, f"and {more} more problems")] * (more > 0)


def _sink_of(problem: tuple[Location, str]) -> int:
    """Which sink a problem is about: those of one stand together, and what is about no sink comes first."""
    location, _ = problem
    return location[1] if location[:1] == ("sinks",) and len(location) > 1 and isinstance(location[1], int) else -1


def _named(sinks: Sequence[Any]) -> list[Any]:
    """The tables of sinks, each with a name: its own, else its type, numbered from the second of that type on."""
    if len(sinks) > MAX_SINKS:  # refused for their number
        return list(sinks)
    taken = {sink["name"] for sink in sinks if isinstance(sink, Mapping) and isinstance(sink.get("name"), str)}
    named = []
    for sink in sinks:
        if isinstance(sink, Mapping) and "name" not in sink and isinstance(type_ := sink.get("type"), str):
            # Of a type of somebody else its last word: "package.module:Name" is no name of a sink.
            base = type_ if type_ in ARGUMENTS else _NO_NAME.sub("-", type_.rpartition(":")[2]).strip("-._") or "plugin"
            name, number = base[:_BASE_CHARS], 1
            while name in taken:
                number += 1
                name = f"{base[:_BASE_CHARS]}-{number}"
            taken.add(name)
            sink = {**sink, "name": name}
        named.append(sink)
    return named


def _merged(layers: Sequence[Settings]) -> Settings:
    """One settings of several, the later the stronger; what a layer has not set does not count."""
    tables: dict[str, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    for layer in layers:
        for key in layer.model_fields_set:
            value = getattr(layer, key)
            if isinstance(value, BaseModel):
                tables.setdefault(key, {}).update({name: getattr(value, name) for name in value.model_fields_set})
            elif isinstance(value, Mapping):
                tables.setdefault(key, {}).update(value)
            else:
                whole[key] = value
    return Settings.model_validate({**whole, **tables})


def _origins(layers: Sequence[tuple[Source, Settings]]) -> dict[str, str]:
    """Where each setting of the merged layers came from, by its path."""
    origins: dict[str, str] = {}
    locations: list[Location]
    for source, layer in layers:
        for key in layer.model_fields_set:
            value = getattr(layer, key)
            if key == "sinks":
                origins = {path: origin for path, origin in origins.items() if not path.startswith("sinks[")}
                locations = []
                for index, table in enumerate(source.document["sinks"]):
                    for name, one in table.items():
                        locations.append(("sinks", index, name))
                        # Only the tables that have keys of ours: a condition is one setting.
                        if isinstance(one, Mapping) and name != "where":
                            locations += [("sinks", index, name, inner) for inner in one]
            else:
                names = value.model_fields_set if isinstance(value, BaseModel) else value
                locations = [(key, name) for name in names]
            origins |= {path_of(location): source.origin(location) for location in locations}
    return origins


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
