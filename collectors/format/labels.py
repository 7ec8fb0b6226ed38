"""The labels of a stream in Loki: a table of names and values, a value being a text or ``"{field}"``.

A stream is what has the same labels, and Loki keeps an index and files for each: a label whose value is another one for
every request makes a stream of every request, which is what brings Loki down. Labels are for what has few values, as
the level and the component have; the rest stands in the line, where queries find it.

A field is any that a line has before a sink renames some (:mod:`logbus.collectors.fields`). What a record doesn't have,
what is null or empty is left out: an empty label is no label to Loki. A record without any label would be refused, so
it gets the label ``job="logbus"``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from logbus.collectors.decode import Batch
from logbus.collectors.fields import MISSING, Field, find_key
from logbus.collectors.format.json import safe_lines
from logbus.collectors.shown import path_of, shown
from logbus.errors import ConfigurationError

#: The labels of a sink that names none.
DEFAULT_LABELS: Final[Mapping[str, str]] = {"job": "logbus", "level": "{level}"}
#: Labels of a stream, characters of a name, and bytes of a value: what Loki takes unless it is configured otherwise
#: (``max_label_names_per_series``, ``max_label_name_length``, ``max_label_value_length`` in its limits). It refuses
#: streams that have more, so longer values are cut.
MAX_LABELS: Final = 15
MAX_NAME: Final = 1024
MAX_VALUE: Final = 2048

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*\Z")
_FIELD: Final = re.compile(r"\{([^{}]+)\}\Z")
_CUT: Final = "…"
_encode: Final = msgspec.json.Encoder().encode


class Labels:
    """A table of labels, checked: for each record its labels as the JSON object that a push has."""

    def __init__(self, table: Mapping[str, str]) -> None:
        """Raises ConfigurationError with every problem, each under ``labels`` or ``labels.NAME``."""
        problems = []
        if not 1 <= len(table) <= MAX_LABELS:
            problems.append(f"labels: expected 1 to {MAX_LABELS} labels, found {len(table)}")
        self._literals: dict[str, str] = {}
        self._fields: dict[str, Field] = {}
        for name, value in table.items():
            try:
                self._add(name, value)
            except ConfigurationError as error:
                problems += [f"{path_of(('labels', name))}: {problem}" for problem in error.problems]
        if problems:
            raise ConfigurationError(problems)
        # In the order given: every record's labels have it, so that equal labels are equal texts.
        self._order = tuple(table)

    def of(self, batch: Batch) -> list[bytes]:
        """The labels of each record of the batch; the same labels are the same bytes."""
        total = len(batch.records)
        if not self._fields:
            return [self._object({})] * total
        columns = [_texts(field.column(batch, range(total))) for field in self._fields.values()]
        known: dict[tuple[str, ...], bytes] = {}
        found = []
        for values in zip(*columns, strict=True):
            labels = known.get(values)
            if labels is None:
                labels = known[values] = self._object(dict(zip(self._fields, values, strict=True)))
            found.append(labels)
        return found

    def _add(self, name: str, value: Any) -> None:
        if not _NAME.match(name) or name.startswith("__") or len(name) > MAX_NAME:
            what = "a name of letters, digits, _ and :, without a digit at its beginning or __"
            raise ConfigurationError([f"expected {what}, found {shown(name)}"])
        if type(value) is not str or not value:
            raise ConfigurationError([f'expected a text or "{{FIELD}}", found {shown(value)}'])
        if found := _FIELD.match(value):
            self._fields[name] = find_key(found[1])
        elif "{" in value or "}" in value:
            raise ConfigurationError([f'expected a text without braces, or "{{FIELD}}" alone, found {shown(value)}'])
        elif any("\ud800" <= character <= "\udfff" for character in value) or len(value.encode()) > MAX_VALUE:
            raise ConfigurationError([f"expected at most {MAX_VALUE} bytes of UTF-8, found {shown(value)}"])
        else:
            self._literals[name] = value

    def _object(self, values: Mapping[str, str]) -> bytes:
        found = {name: self._literals.get(name) or values[name] for name in self._order}
        labels = {name: _short(value) for name, value in found.items() if value}
        return safe_lines(_encode(labels or {"job": "logbus"}) + b"\n")[:-1]


def _texts(values: list[Any]) -> list[str]:
    return [value if type(value) is str else _text(value) for value in values]


def _text(value: Any) -> str:
    """A value that is no text as a label has it: its JSON; empty for what is none."""
    return "" if value is None or value is MISSING else _encode(value).decode()


def _short(value: str) -> str:
    if len(value) * 4 <= MAX_VALUE:
        return value
    data = value.encode()
    if len(data) <= MAX_VALUE:
        return value
    return data[: MAX_VALUE - len(_CUT.encode())].decode(errors="ignore") + _CUT
