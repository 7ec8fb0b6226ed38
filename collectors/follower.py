"""One who follows with ``logbus tail``: what he wants to see, and which records of a batch that is.

Level and component are decided once per call site, as for a sink. A condition (``--where``) is about a field by
the name under which a line shows it, as for a sink too; but what it says is a text, so that it is compared with the
text of the value, and a line's own field may also be an extra one of that name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Final

from logbus.collectors.decode import Batch, Raised
from logbus.collectors.fields import MISSING, OWN, Field, find_field
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import FORMATS, Formatter, make_formatter
from logbus.collectors.where import ALIASES
from logbus.errors import ConfigurationError
from logbus.rules import MAX_CHARS, MAX_CONDITIONS, Where

#: Components that one follower may name.
MAX_COMPONENTS: Final = 32

_FORMATS: Final[Mapping[tuple[str, bool], Formatter]] = {
    (name, colour): make_formatter(name, colour=colour) for name in FORMATS for colour in (False, True)
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a follower wants: ``components`` are selectors, ``where`` pairs of a field and its value as text."""

    components: tuple[str, ...] = ()
    level: int = 0
    where: Where = ()
    format: str = "text"
    colour: bool = False

    def document(self) -> dict[str, Any]:
        """The command that asks for it."""
        return {
            "command": "tail",
            "components": list(self.components),
            "level": self.level,
            "where": dict(self.where),
            "format": self.format,
            "colour": self.colour,
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Question:
        """The question in a command. Raises ConfigurationError with all that is wrong with it."""
        components, level = document.get("components", []), document.get("level", 0)
        where = document.get("where", {})
        form, colour = document.get("format", "text"), document.get("colour", False)
        problems = []
        if not _texts(components, MAX_COMPONENTS) or not all(components):
            problems.append(f"tail: components: expected at most {MAX_COMPONENTS} names, found {_short(components)}")
        if type(level) is not int or not 0 <= level <= 100:
            problems.append(f"tail: level: expected an integer from 0 to 100, found {_short(level)}")
        if type(where) is not dict or len(where) > MAX_CONDITIONS or not _texts([*where, *where.values()]):
            expected = f"at most {MAX_CONDITIONS} fields and their values, texts of at most {MAX_CHARS} characters"
            problems.append(f"tail: where: expected {expected}, found {_short(where)}")
        else:
            for key in where:
                try:
                    _fields(key)
                except ConfigurationError as error:
                    problems.append(f"tail: where: {error.problems[0]}")
        if type(form) is not str or type(colour) is not bool or (form, colour) not in _FORMATS:
            names = " or ".join(f'"{name}"' for name in FORMATS)
            problems.append(f"tail: format: expected {names}, found {_short(form)}")
        if problems:
            raise ConfigurationError(problems)
        return cls(tuple(components), level, tuple(sorted(where.items())), form, colour)


class Follower:
    """Somebody who follows on the connection ``identity``: his question, and the counts of what he got."""

    def __init__(self, identity: bytes, question: Question, *, now: float, deadline: float, allowance: float) -> None:
        self.identity = identity
        self.formatter = _FORMATS[question.format, question.colour]
        #: When his lease ends, in monotonic seconds.
        self.deadline = deadline
        #: Messages sent, and records skipped because his queue was full, and because they were beyond the bound.
        self.number = self.slow = self.beyond = 0
        #: What he knows of the two.
        self.told = (0, 0)
        #: Records that he may still get now, and when (monotonic seconds) that was so.
        self.allowance = allowance
        self.allowance_at = now
        self._filter = SinkFilter(question.level, question.components)
        self._where = [[_asking(field, expected) for field in _fields(key)] for key, expected in question.where]

    def candidates(self, batch: Batch) -> Sequence[int]:
        """The records that he may want by level and component: their indices, in order. Cheap."""
        chosen = self._filter.select(batch)
        return range(len(batch.records)) if chosen is None else chosen

    def wanted(self, batch: Batch, candidates: Sequence[int]) -> Sequence[int]:
        """Those of the candidates for which his conditions hold, looked at one by one."""
        for own, *others in self._where:
            held = own.column(batch, candidates)
            for other in others:
                if not all(held):
                    held = [one or more for one, more in zip(held, other.column(batch, candidates), strict=True)]
            candidates = list(compress(candidates, held))
        return candidates


def _fields(key: str) -> tuple[Field, ...]:
    """Which fields a condition may mean: a line's own, and an extra one that is called the same."""
    return (find_field(key), find_field(f"extra.{key}")) if key in OWN else (find_field(key),)


def _asking(field: Field, expected: str) -> Field:
    """The field whose value is whether that field's is the one given: what call sites share is asked once for each."""
    read = field.read
    if field.name == "level":  # in any case, as it is typed everywhere
        level = _level(expected)
        return Field(field.name, field.place, lambda owner: _level(read(owner)) == level)
    return Field(field.name, field.place, lambda owner: _is(read(owner), expected))


def _level(name: str) -> str:
    capitals = name.strip().upper()
    return ALIASES.get(capitals, capitals)


def _is(value: object, expected: str) -> bool:
    """Whether a value is the one given as text: as a line shows it, or as Python does."""
    if type(value) is str:
        return value == expected
    if value is MISSING or isinstance(value, (dict, list, Raised)):
        return False
    if value is None or type(value) is bool:
        return expected in ({None: "null", True: "true", False: "false"}[value], str(value))
    return str(value) == expected


def _texts(values: object, most: int = 2 * MAX_CONDITIONS) -> bool:
    return (
        type(values) is list
        and len(values) <= most
        and all(type(value) is str and len(value) <= MAX_CHARS for value in values)
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}…"
