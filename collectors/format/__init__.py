"""The formats in which sinks write records."""

from __future__ import annotations

from typing import Final

from logbus.collectors.format.base import Formatter, level_name, lines
from logbus.collectors.format.json import JsonFormat
from logbus.collectors.format.text import TextFormat

__all__ = ["FORMATS", "Formatter", "JsonFormat", "TextFormat", "level_name", "lines"]

#: The names that configuration accepts.
FORMATS: Final = (JsonFormat.name, TextFormat.name)
