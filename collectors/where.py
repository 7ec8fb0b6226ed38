"""Conditions on the fields of records, ``where`` of a sink, as data: read from configuration here, checked in whole.

A table of conditions holds if all of them do; a list of tables holds if any of them does. What stands under a field's
name is a value (equality), a list (one of these) or a table of operators, all of which hold::

    where = { status_code = { ge = 500 }, strategy = ["a", "b"], "extra.kind" = "x" }
    where = [{ level = { ge = "ERROR" } }, { logger = { matches = "^proxywhirl\\\\.rotator" }, request_id = "7" }]

Values are typed, as configuration is: 500 is 500.0, but it is neither "500" nor a boolean; comparisons are between
numbers, or between texts by code point; patterns are looked for in texts. Any other pair is unequal, and no comparison
of it holds. A field that a record does not have meets ``ne``, ``not_in``, ``not_matches`` and ``exists = false`` only;
one that is null is there. Levels are compared by rank and named in any case.

A condition that could never hold is a mistake, and is refused where that can be known: a number for a field that is
always a text, a level that is nearly one.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from logbus.collectors.fields import OWN, find_field, is_exception
from logbus.collectors.patterns import compile_pattern
from logbus.collectors.shown import Location, path_of, shown
from logbus.errors import ConfigurationError
from logbus.levels import LEVELS, parse_level

#: Operators, in the order in which messages name them.
OPERATORS: Final = ("eq", "ne", "in", "not_in", "lt", "le", "gt", "ge", "matches", "not_matches", "exists")
#: Conditions of one ``where``, patterns among them, values in all its lists, and characters of a text.
MAX_CONDITIONS: Final = 64
MAX_PATTERNS: Final = 16
MAX_VALUES: Final = 1000
MAX_TEXT: Final = 1000

#: Names of levels that mean another one.
ALIASES: Final[Mapping[str, str]] = {"WARN": "WARNING", "FATAL": "CRITICAL"}
#: Likeness from which on the name of a level is taken for a slip of the finger.
_LIKE: Final = 0.85
_SCALAR: Final = "a text, a number or a boolean"

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition, checked. ``operand`` is a tuple for ``in`` and ``not_in``.

    Levels are given as ranks where they are compared, and else as ranks or names in capitals.
    """

    name: str
    operator: str
    operand: Scalar | tuple[Scalar, ...]
    #: Types of the operand: True and 1 are equal in Python, and not the same condition.
    kinds: tuple[type, ...] = field(init=False)

    def __post_init__(self) -> None:
        operands = self.operand if type(self.operand) is tuple else (self.operand,)
        object.__setattr__(self, "kinds", tuple(map(type, operands)))


@dataclass(frozen=True, slots=True)
class Where:
    """Tables of conditions: it holds where all conditions of any table do. Equal if it says the same."""

    tables: tuple[tuple[Condition, ...], ...]


def parse_where(raw: object) -> Where:
    """The conditions in a table or a list of tables of configuration.

    Raises ConfigurationError with all that is wrong: each problem begins with its path inside ``where``, as
    ``status_code.ge: expected …, found …`` or ``[1].status_code: …``, or with ``:`` where it is about the whole.
    """
    reader = _Reader()
    tables = []
    try:
        if isinstance(raw, Mapping):
            tables.append(reader.table(raw, ()))
        elif isinstance(raw, (list, tuple)) and raw:
            for index, table in enumerate(raw):
                if isinstance(table, Mapping):
                    tables.append(reader.table(table, (index,)))
                else:
                    reader.count()
                    reader.wrong((index,), "a table of conditions", table)
        else:
            reader.wrong((), "a table of conditions, or a list of such tables", raw)
    except _TooManyError:
        reader.problems.append(f": expected at most {MAX_CONDITIONS} conditions, found more")
    if reader.problems:
        raise ConfigurationError(reader.problems)
    return Where(tuple(tables))


class _TooManyError(Exception):
    """Raised where reading on would only take time."""


class _Reader:
    """Reads tables of conditions, and gathers what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._conditions = self._patterns = self._values = 0

    def count(self) -> None:
        """Counts what is or was meant as a condition. Raises _TooManyError beyond the bound."""
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            raise _TooManyError

    def wrong(self, location: Location, expected: str, found: object) -> None:
        """Notes a problem with a value."""
        self.problems.append(f"{path_of(location)}: expected {expected}, found {shown(found)}")

    def table(self, table: Mapping[str, Any], location: Location) -> tuple[Condition, ...]:
        """The conditions of a table that are right, in an order that does not depend on the file's."""
        if not table:
            self.count()
            self.problems.append(f"{path_of(location)}: expected at least one condition, found an empty table")
        found = []
        for name, value, place in _entries(table, location):
            try:
                if place[-2:-1] == ("extra",) and place[-1] in OPERATORS and not isinstance(value, Mapping):
                    expected = f"the name of an extra field (one that is called so stands in quotes: {shown(name)})"
                    raise ConfigurationError([f"expected {expected}, found an operator"])
                find_field(name)
            except ConfigurationError as error:
                self.count()
                self.problems.append(f"{path_of(place)}: {error.problems[0]}")
                continue
            for operator, operand, at in self._operations(name, value, place):
                if (checked := self._operand(name, operator, operand, at)) is not None:
                    found.append(Condition(name, operator, checked))
        return tuple(sorted(found, key=lambda condition: (condition.name, condition.operator)))

    def _operations(self, name: str, value: Any, location: Location) -> Iterator[tuple[str, Any, Location]]:
        """What stands under a field's name: operators, their operands, and where each of them is."""
        if not isinstance(value, Mapping):
            self.count()
            yield "in" if isinstance(value, (list, tuple)) else "eq", value, location
            return
        if not value:
            self.count()
            self.problems.append(f"{path_of(location)}: expected a value, a list or operators, found an empty table")
        for operator, operand in value.items():
            self.count()
            if operator in OPERATORS:
                yield operator, operand, (*location, operator)
            else:
                near = difflib.get_close_matches(str(operator)[:20], OPERATORS, n=2, cutoff=0.6)
                hint = f"did you mean {' or '.join(near)}?" if near else f"expected one of {', '.join(OPERATORS)}"
                if not near and name not in OWN:
                    hint += f"; the path to a nested value stands in quotes: {shown(f'{name}.{operator}')}"
                self.problems.append(f"{path_of((*location, str(operator)))}: unknown operator; {hint}")

    def _operand(self, name: str, operator: str, operand: Any, location: Location) -> Any:
        """The operand of a condition; None if it is wrong, which is noted."""
        count = len(self.problems)
        if operator == "exists":
            if type(operand) is not bool:
                self.wrong(location, "true or false", operand)
        elif is_exception(name):
            expected = f'"{name}.type", "{name}.message" or {{ exists = true }}: an exception is no value'
            self.problems.append(f"{path_of(location)}: expected {expected}")
        elif operator in ("matches", "not_matches"):
            self._pattern(name, operand, location)
        elif operator in ("in", "not_in"):
            if not isinstance(operand, (list, tuple)) or not operand:
                self.wrong(location, "a list of at least one value", operand)
            elif self._values + len(operand) > MAX_VALUES:
                problem = f"expected at most {MAX_VALUES} values in all lists, found more"
                self.problems.append(f"{path_of(location)}: {problem}")
            else:
                self._values += len(operand)
                operand = tuple(self._scalar(name, one, (*location, at)) for at, one in enumerate(operand))
        elif operator in ("eq", "ne"):
            operand = self._scalar(name, operand, location)
        else:
            operand = self._bound(name, operand, location)
        return operand if len(self.problems) == count else None

    def _pattern(self, name: str, operand: Any, location: Location) -> None:
        self._patterns += 1
        if OWN.get(name):
            self.wrong(location, f"a comparison with a number, which {name} is", operand)
        elif self._patterns == MAX_PATTERNS + 1:
            self.problems.append(f": expected at most {MAX_PATTERNS} patterns, found more")
        elif self._patterns <= MAX_PATTERNS:
            try:
                compile_pattern(operand)
            except ConfigurationError as error:
                self.problems.append(f"{path_of(location)}: {error.problems[0]}")

    def _scalar(self, name: str, value: Any, location: Location) -> Any:
        """A value to be equal to."""
        if name == "level":
            return self._level(value, location)
        if type(value) is str and len(value) > MAX_TEXT:
            self.problems.append(f"{path_of(location)}: expected at most {MAX_TEXT} characters, found {len(value)}")
        elif (numeric := OWN.get(name)) is not None and numeric is not _is_number(value):
            self.wrong(location, f"{'a number' if numeric else 'a text'}, which {name} is", value)
        elif numeric is False and type(value) is not str:
            self.wrong(location, f"a text, which {name} is", value)
        elif not _is_number(value) and type(value) not in (str, bool):
            hint = "; { exists = false } means that a field is not there" if value is None else ""
            self.wrong(location, _SCALAR + hint, value)
        return value

    def _level(self, value: Any, location: Location) -> Any:
        """A level to be equal to: names are any that a record may have."""
        if type(value) is int:
            return value
        if type(value) is not str or not value.strip() or len(value) > MAX_TEXT:
            self.wrong(location, "the name or the number of a level", value)
            return value
        capitals = value.strip().upper()
        near = difflib.get_close_matches(capitals[:20], LEVELS, n=1, cutoff=_LIKE) if capitals.isalpha() else []
        if near and capitals not in LEVELS:
            self.problems.append(f"{path_of(location)}: unknown level {shown(value)}; did you mean {near[0]}?")
        return ALIASES.get(capitals, capitals)

    def _bound(self, name: str, value: Any, location: Location) -> Any:
        """A value to be compared with."""
        if name == "level":
            try:
                return parse_level(value if type(value) is int else str(value) if type(value) is str else "")
            except ConfigurationError:
                self.wrong(location, f"a level, {', '.join(LEVELS)} or an integer from 0 to 100", value)
        elif type(value) is bool or not (_is_number(value) or type(value) is str):
            self.wrong(location, "a number or a text to compare with", value)
        else:
            self._scalar(name, value, location)
        return value


def _entries(table: Mapping[str, Any], location: Location, prefix: str = "") -> Iterator[tuple[str, Any, Location]]:
    """Names of fields, what stands under them, and where: ``extra.kind`` may be written with quotes or without."""
    for key, value in table.items():
        name, place = f"{prefix}{key}", (*location, str(key))
        if isinstance(value, Mapping) and name == "extra":
            for inner, what in value.items():
                yield f"extra.{inner}", what, (*place, str(inner))
        elif isinstance(value, Mapping) and value and is_exception(name):
            if about := {inner: what for inner, what in value.items() if inner in OPERATORS}:
                yield name, about, place
            yield from _entries({inner: what for inner, what in value.items() if inner not in about}, place, f"{name}.")
        else:
            yield name, value, place


def _is_number(value: object) -> bool:
    """Whether it is a number that a record can have; a boolean is none."""
    return type(value) is int or (type(value) is float and math.isfinite(value))
