"""One who follows with ``logbus tail``: what he wants to see, and which records of a batch that is.

Level and component are decided once per call site, as for a sink. A condition (``--where``) is looked up in the
fields of the line: those of the worker and the call site once per batch, the record's own ones record by record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from logbus.collectors.decode import Batch, Record
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import Formatter, JsonFormat, TextFormat, level_name
from logbus.errors import ConfigurationError
from logbus.rules import MAX_CHARS, MAX_CONDITIONS, Where

#: Components that one follower may name.
MAX_COMPONENTS: Final = 32

_FORMATS: Final[Mapping[tuple[str, bool], Formatter]] = {
    ("json", False): JsonFormat(),
    ("json", True): JsonFormat(),
    ("text", False): TextFormat(),
    ("text", True): TextFormat(colour=True),
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
        if type(form) is not str or type(colour) is not bool or (form, colour) not in _FORMATS:
            problems.append(f'tail: format: expected "text" or "json", found {_short(form)}')
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
        self._where = question.where

    def candidates(self, batch: Batch) -> Sequence[int]:
        """The records that he may want by level and component: their indices, in order. Cheap."""
        chosen = self._filter.select(batch)
        return range(len(batch.records)) if chosen is None else chosen

    def wanted(self, batch: Batch, candidates: Sequence[int]) -> Sequence[int]:
        """Those of the candidates for which his conditions hold, looked at one by one."""
        if not self._where:
            return candidates
        left = [_unmet(self._where, batch, site) for site in range(len(batch.sites))]
        records, threads = batch.records, batch.threads
        return [
            index
            for index in candidates
            if _holds(left[(record := records[index]).site], record, threads[record.thread])
        ]


def _unmet(where: Where, batch: Batch, at: int) -> Where:
    """The conditions that neither the worker nor a call site meets."""
    source, site = batch.source, batch.sites[at]
    place = {
        "worker": source.worker,
        "process_id": str(source.pid),
        "host": source.host,
        "app_name": source.app_name,
        "logger": site.logger,
        "component": site.component,
        "level": level_name(site),
        "level_no": str(site.level_no),
        "module": site.module,
        "function": site.function,
        "line": str(site.line),
    }
    return tuple((key, expected) for key, expected in where if place.get(key) != expected)


def _holds(where: Where, record: Record, thread: str) -> bool:
    for key, expected in where:
        for fields in (record.extra, record.nested):
            if fields is not None and key in fields and _is(fields[key], expected):
                break
        else:
            if key != "thread_name" or thread != expected:
                return False
    return True


def _is(value: object, expected: str) -> bool:
    """Whether a value is the one given as text: as a line shows it, or as Python does."""
    if type(value) is str:
        return value == expected
    if isinstance(value, (dict, list)):
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
