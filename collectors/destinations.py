"""From settings to sinks, filters and formats: what a collector writes to. Nothing is opened here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, JsonFormat, TextFormat
from logbus.collectors.plan import Slot
from logbus.collectors.route import Destination
from logbus.collectors.sinks import console, file
from logbus.collectors.sinks.base import Sink

if TYPE_CHECKING:
    from logbus.collectors import settings

# Sinks of one format share its encoding, those that a reload has left alone and those that it has brought.
_JSON: Final[Formatter] = JsonFormat()
_TEXT: Final[Formatter] = TextFormat()
_COLOURED: Final[Formatter] = TextFormat(colour=True)


def destinations(wanted: settings.Settings) -> list[Destination]:
    """The sinks of the settings in their order, not yet opened."""
    return [_destination(sink) for sink in wanted.sinks]


def selectors(wanted: settings.Settings) -> set[str]:
    """The components and loggers that the sinks of the settings name."""
    return {selector for sink in wanted.sinks for selector in (*sink.components, *sink.exclude_components)}


def slot_of(sink: settings.Sink) -> Slot:
    """What makes a sink the one that it is, for :func:`logbus.collectors.plan.plan`.

    The format of a file is part of it: how a torn last line is mended depends on it, so that a file whose format
    changes is closed after the last line of the old and opened again for the first of the new.
    """
    if sink.type == "console":
        return Slot(sink.name, f"console {sink.stream}", "")
    return Slot(sink.name, f"file {os.path.realpath(sink.path)}", f"{sink.format} {sink.path}")


def _destination(sink: settings.Sink) -> Destination:
    made: Sink
    formatter = _JSON if sink.format == "json" else _TEXT
    if sink.type == "console":
        made = console.ConsoleSink(sink.name, sink.stream)
        if formatter is _TEXT and sink.colored():
            formatter = _COLOURED
    else:
        made = file.FileSink(sink.name, sink.path, json_lines=sink.format == "json")
    taken = SinkFilter(sink.level, sink.components, sink.exclude_components)
    return Destination(made, taken, formatter, slot_of(sink))
