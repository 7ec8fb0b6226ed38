"""From settings to sinks, filters, samplers and formats: what a collector writes to. Nothing is opened here.

Sinks that send to others are made in :mod:`logbus.collectors.remotes`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from logbus.collectors.configuration.kinds import thawed
from logbus.collectors.configuration.sinks import ConsoleSink, FileSink
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, JsonFormat, make_formatter
from logbus.collectors.plan import Slot
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.remotes import make_remote, remote_slot
from logbus.collectors.retention import parse_retention
from logbus.collectors.rotation import parse_rotation
from logbus.collectors.route import Destination
from logbus.collectors.sample import Sampling
from logbus.collectors.shown import Location, without_secrets
from logbus.collectors.sinks import console, file
from logbus.collectors.sinks.archive import Archive
from logbus.collectors.sinks.base import Sink
from logbus.collectors.sinks.journal import journal_of
from logbus.collectors.where import parse_where
from logbus.collectors.writing.terms import Terms
from logbus.durations import parse_duration
from logbus.errors import ConfigurationError
from logbus.sizes import parse_size

if TYPE_CHECKING:
    from logbus.collectors.configuration import settings


def destinations(
    wanted: settings.Settings,
    state: Path,
    tell: Callable[[str], None] = lambda text: None,
    environ: Mapping[str, str] = os.environ,
    origins: Mapping[str, str] = MappingProxyType({}),
) -> list[Destination]:
    """The sinks of the settings in their order, not yet opened.

    ``state`` is the collector's state directory, in which a sink that rotates keeps its journal; ``tell`` is given what
    goes wrong with rotated files, from any thread; ``environ`` has the variables that settings refer to, ``origins``
    says where they come from (:class:`~logbus.collectors.configuration.read.Configuration`). Raises ConfigurationError
    with every problem: a format that can't be loaded, a variable that is not set.
    """
    redactor = Redactor(wanted.redaction.fields, wanted.redaction.patterns)
    found: list[Destination] = []
    problems: list[str] = []
    for index, sink in enumerate(wanted.sinks):
        try:
            found.append(_destination(sink, ("sinks", index), redactor, state, tell, environ))
        except ConfigurationError as error:
            origin = origins.get(f"sinks[{index}].type")
            problems += [f"{without_secrets(origin)}: {line}" if origin else line for line in error.problems]
    if problems:
        raise ConfigurationError(problems)
    return found


def selectors(wanted: settings.Settings) -> set[str]:
    """The components and loggers that the sinks of the settings name."""
    return {selector for sink in wanted.sinks for selector in (*sink.components, *sink.exclude_components)}


def slot_of(sink: settings.Sink) -> Slot:
    """What makes a sink the one that it is, for :func:`logbus.collectors.plan.plan`.

    The format of a file is part of it: how a torn last line is mended depends on it, so that a file whose format
    changes is closed after the last line of the old and opened again for the first of the new. So are the rules for
    its rotated files, of which one archive and one thread take care while the file is open. The bound of a queue is
    its writer's.
    """
    queue = repr(sink.queue)
    if isinstance(sink, ConsoleSink):
        return Slot(sink.name, f"console {sink.stream}", queue)
    if isinstance(sink, FileSink):
        shape = (sink.format, str(sink.path), sink.rotation, sink.retention, sink.compression, queue)
        return Slot(sink.name, f"file {os.path.realpath(sink.path)}", repr(shape))
    return remote_slot(sink)


def _destination(
    sink: settings.Sink,
    location: Location,
    redactor: Redactor,
    state: Path,
    tell: Callable[[str], None],
    environ: Mapping[str, str],
) -> Destination:
    made: Sink
    if isinstance(sink, ConsoleSink):
        made, formatter, terms = console.ConsoleSink(sink.name, sink.stream), _formatter(sink, redactor), _local(sink)
    elif isinstance(sink, FileSink):
        made, formatter, terms = _file(sink, state, tell), _formatter(sink, redactor), _local(sink)
    else:
        made, formatter, terms = make_remote(sink, location, redactor, environ)
    taken = SinkFilter(
        sink.level,
        sink.components,
        sink.exclude_components,
        parse_where(thawed(sink.where)) if sink.where is not None else None,
    )
    return Destination(made, taken, formatter, slot_of(sink), _sampling(sink.sample), terms)


def _local(sink: ConsoleSink | FileSink) -> Terms:
    return Terms(queue_bytes=parse_size(sink.queue.max_bytes), on_full=sink.queue.on_full)


def _file(sink: FileSink, state: Path, tell: Callable[[str], None]) -> file.FileSink:
    json_lines = sink.format == JsonFormat.name
    if not sink.rotation:
        return file.FileSink(sink.name, sink.path, json_lines=json_lines)
    archive = Archive(
        sink.path,
        name=sink.name,
        journal=journal_of(state, sink.path),
        retention=parse_retention(sink.retention),
        compression=sink.compression,
        tell=tell,
    )
    rotation = parse_rotation(sink.rotation)
    return file.FileSink(sink.name, sink.path, json_lines=json_lines, rotation=rotation, archive=archive)


def _formatter(sink: ConsoleSink | FileSink, redactor: Redactor) -> Formatter:
    # Equal ones are one object: sinks of one format share its encoding, those that a reload has left alone and those
    # that it has brought.
    colour = isinstance(sink, ConsoleSink) and sink.colored()
    # No record has them, so that they pass no other redactor.
    static = redactor.field("", thawed(sink.static_fields))
    return make_formatter(sink.format, rename=sink.rename_fields, static=static, colour=colour)


def _sampling(sample: settings.Sample | None) -> Sampling | None:
    if sample is None:
        return None
    rate = sample.rate
    if rate is None:  # beyond the first ones, none
        rate = 0.0
    return Sampling(
        rate=rate,
        key=sample.key,
        keep=sample.keep,
        first=sample.first,
        interval_s=parse_duration(sample.interval),
        tail=sample.tail,
        window_s=parse_duration(sample.window),
        max_bytes=parse_size(sample.max_bytes),
    )
