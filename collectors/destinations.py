"""From settings to sinks, filters, samplers and formats: what a collector writes to. Nothing is opened here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from logbus.collectors.configuration.kinds import thawed
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, JsonFormat, make_formatter
from logbus.collectors.plan import Slot
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.retention import parse_retention
from logbus.collectors.rotation import parse_rotation
from logbus.collectors.route import Destination
from logbus.collectors.sample import Sampling
from logbus.collectors.sinks import console, file
from logbus.collectors.sinks.archive import Archive
from logbus.collectors.sinks.base import Sink
from logbus.collectors.sinks.journal import journal_of
from logbus.collectors.where import parse_where
from logbus.durations import parse_duration
from logbus.sizes import parse_size

if TYPE_CHECKING:
    from logbus.collectors.configuration import settings


def destinations(
    wanted: settings.Settings, state: Path, tell: Callable[[str], None] = lambda text: None
) -> list[Destination]:
    """The sinks of the settings in their order, not yet opened.

    ``state`` is the collector's state directory, in which a sink that rotates keeps its journal; ``tell`` is given what
    goes wrong with rotated files, from any thread. Raises ConfigurationError for a format that can't be loaded.
    """
    redactor = Redactor(wanted.redaction.fields, wanted.redaction.patterns)
    return [_destination(sink, redactor, state, tell) for sink in wanted.sinks]


def selectors(wanted: settings.Settings) -> set[str]:
    """The components and loggers that the sinks of the settings name."""
    return {selector for sink in wanted.sinks for selector in (*sink.components, *sink.exclude_components)}


def slot_of(sink: settings.Sink) -> Slot:
    """What makes a sink the one that it is, for :func:`logbus.collectors.plan.plan`.

    The format of a file is part of it: how a torn last line is mended depends on it, so that a file whose format
    changes is closed after the last line of the old and opened again for the first of the new. So are the rules for
    its rotated files, of which one archive and one thread take care while the file is open.
    """
    if sink.type == "console":
        return Slot(sink.name, f"console {sink.stream}", "")
    shape = (sink.format, str(sink.path), sink.rotation, sink.retention, sink.compression)
    return Slot(sink.name, f"file {os.path.realpath(sink.path)}", repr(shape))


def _destination(sink: settings.Sink, redactor: Redactor, state: Path, tell: Callable[[str], None]) -> Destination:
    made: Sink
    if sink.type == "console":
        made = console.ConsoleSink(sink.name, sink.stream)
    else:
        made = _file(sink, state, tell)
    taken = SinkFilter(
        sink.level,
        sink.components,
        sink.exclude_components,
        parse_where(thawed(sink.where)) if sink.where is not None else None,
    )
    return Destination(made, taken, _formatter(sink, redactor), slot_of(sink), _sampling(sink.sample))


def _file(sink: settings.FileSink, state: Path, tell: Callable[[str], None]) -> file.FileSink:
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


def _formatter(sink: settings.Sink, redactor: Redactor) -> Formatter:
    # Equal ones are one object: sinks of one format share its encoding, those that a reload has left alone and those
    # that it has brought.
    colour = sink.type == "console" and sink.colored()
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
