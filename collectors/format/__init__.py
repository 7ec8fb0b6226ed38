"""The formats in which sinks write records: ``json``, ``logfmt``, ``text``, and those of other people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from logbus.collectors.format.base import EachFormatter, Formatter, level_name, lines
from logbus.collectors.format.json import JsonFormat
from logbus.collectors.format.logfmt import LogfmtFormat
from logbus.collectors.format.made import shared
from logbus.collectors.format.names import Names, Scalar
from logbus.collectors.format.plugin import PluginFormat, load
from logbus.collectors.format.text import TextFormat

__all__ = [
    "FORMATS",
    "EachFormatter",
    "Formatter",
    "JsonFormat",
    "LogfmtFormat",
    "Names",
    "PluginFormat",
    "Scalar",
    "TextFormat",
    "check_format",
    "level_name",
    "lines",
    "make_formatter",
]

#: The names of the formats that are ours; no plug-in takes one of them.
FORMATS: Final = (JsonFormat.name, LogfmtFormat.name, TextFormat.name)

_BUILT_IN: Final[Mapping[str, Callable[[Names, bool], Formatter]]] = {
    JsonFormat.name: lambda names, _colour: JsonFormat(names),
    LogfmtFormat.name: lambda names, _colour: LogfmtFormat(names),
    TextFormat.name: lambda names, colour: TextFormat(names, colour=colour),
}


def check_format(name: str) -> None:
    """Nothing, if there is a format of that name. Raises ConfigurationError, with near matches, if there is none.

    A name that is not ours is looked up among the installed plug-ins, and loaded.
    """
    if name not in FORMATS:
        load(name, FORMATS)


def make_formatter(
    name: str,
    *,
    rename: Mapping[str, str] | None = None,
    static: Mapping[str, Scalar] | None = None,
    colour: bool = False,
) -> Formatter:
    """The format of that name with ``rename_fields`` and ``static_fields``; the same object for equal arguments.

    ``colour`` is for text. Raises ConfigurationError, each problem under its key.
    """
    rename, static = dict(rename or {}), dict(static or {})
    names = Names(rename, static)
    typed = tuple((key, type(value), value) for key, value in static.items())
    key = (name, frozenset(rename.items()), typed, colour and name == TextFormat.name)

    def made() -> Formatter:
        make = _BUILT_IN.get(name)
        return make(names, colour) if make else PluginFormat(name, load(name, FORMATS), names)

    return shared(key, made)
