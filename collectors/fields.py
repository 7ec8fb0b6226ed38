"""A field of a record, by the name under which a JSON line shows it: for conditions, for sampling keys, for the tail.

Names are those of the line before a sink renames any. What a line has of its own (``worker``, ``message``) goes first;
any other name is a promoted field's (``request_id``) or one of ``extra``, so that ``kind`` and ``extra.kind`` are the
same, and an extra field that happens to be called ``worker`` is ``extra.worker``. A dotted name leads into nested
tables; since keys may have dots too, the longest key that leads to a value is taken at each level. Lists have no names
inside.

Some fields are the same for all records of a batch, of a call site or of a thread; :class:`Field` says so, and what a
stage decides by them it need not decide for each record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final, Literal

from logbus.collectors.decode import Batch, Record, Site
from logbus.collectors.format.base import EMPTY_MESSAGE, PROMOTED, level_name
from logbus.collectors.shown import shown
from logbus.errors import ConfigurationError

#: What a record is asked for and does not have; a null that it has is None.
MISSING: Final[Any] = type("Missing", (), {"__repr__": lambda _: "MISSING", "__slots__": ()})()
#: Characters of a name, and levels of a path.
MAX_NAME: Final = 200
MAX_LEVELS: Final = 16
#: Characters that the names of a call site may have together to be kept as they are: a worker may send names of 200 kB.
SITE_CHARS: Final = 512

#: What has the field: the process (Source), the call site (Site), the thread (its name), or the Record itself.
Place = Literal["source", "site", "thread", "record"]

_OF_SOURCE: Final[Mapping[str, str]] = {"worker": "worker", "process_id": "pid", "host": "host", "app_name": "app_name"}
_OF_SITE: Final = ("logger", "component", "level_no", "module", "function", "line")
#: Names that every line has of its own, and for each whether its value is a number.
OWN: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("level", "message", "logger", "component", "module", "function"), False),
    **dict.fromkeys(("level_no", "line", "process_id"), True),
    **dict.fromkeys(("thread_name", "worker", "host", "app_name"), False),
}


@dataclass(frozen=True, slots=True)
class Field:
    """A field by its name. ``read`` takes what has it, by ``place``, and gives the value, or :data:`MISSING`.

    A value is a scalar, a nested list or dict as it was sent, or a Raised.
    """

    name: str
    place: Place
    read: Callable[[Any], Any] = field(repr=False, compare=False)

    def of(self, batch: Batch, record: Record) -> Any:
        """The value that a record of the batch has; MISSING if it has none."""
        if self.place == "record":
            return self.read(record)
        if self.place == "site":
            return self.read(batch.sites[record.site])
        return self.read(batch.source if self.place == "source" else batch.threads[record.thread])

    def column(self, batch: Batch, indices: Sequence[int]) -> list[Any]:
        """The values of these records of the batch, as :meth:`of` gives them."""
        read, records = self.read, batch.records
        if self.place == "record":
            return [read(records[index]) for index in indices]
        if self.place == "site":
            values = [read(site) for site in batch.sites]
            return [values[records[index].site] for index in indices]
        if self.place == "thread":
            values = [read(thread) for thread in batch.threads]
            return [values[records[index].thread] for index in indices]
        return [read(batch.source)] * len(indices)


def is_short(site: Site) -> bool:
    """Whether the names of a call site are short enough for a table that keeps many."""
    names = (site.logger, site.level_name, site.module, site.function, site.component)
    return sum(map(len, names)) <= SITE_CHARS


def find_field(name: str) -> Field:
    """The field of that name. Raises ConfigurationError with one problem, ``expected …, found …``, that names no place.

    Any name may be an extra field's, so that few are wrong: those that no record can have.
    """
    if name in _OF_SOURCE:
        return Field(name, "source", attrgetter(_OF_SOURCE[name]))
    if name == "level":
        return Field(name, "site", level_name)
    if name in _OF_SITE:
        return Field(name, "site", attrgetter(name))
    if name == "thread_name":
        return Field(name, "thread", str)
    if name == "message":
        return Field(name, "record", _message)
    if expected := _unfit(name):
        raise ConfigurationError([f"expected {expected}, found {shown(name)}"])
    if name == "exception" or name.startswith("exception."):
        return Field(name, "record", _raised(name))
    return Field(name, "record", _extra(name))


def find_key(name: str) -> Field:
    """The field of that name, whose values may tell records apart. Raises ConfigurationError as :func:`find_field`."""
    if is_exception(name):
        expected = f"{name}.type or {name}.message: an exception is no value"
        raise ConfigurationError([f"expected {expected}, found {shown(name)}"])
    return find_field(name)


def is_exception(name: str) -> bool:
    """Whether it is the name of an exception, and not of what one holds."""
    first, *links = name.split(".")
    return first == "exception" and {"cause", "context"}.issuperset(links)


def _unfit(name: str) -> str | None:
    """What would be right instead of a name that is none."""
    if not name or len(name) > MAX_NAME or name.count(".") >= MAX_LEVELS:
        return f"a name of 1 to {MAX_NAME} characters and at most {MAX_LEVELS} levels"
    if name == "timestamp":
        return "another field: the time is every record's own"
    if name in ("extra", "extra."):
        return "the name of an extra field, extra.NAME"
    head, dot, rest = name.partition(".")
    if head == "extra" and rest in PROMOTED:
        return f"{rest}, which stands at the top of a line"
    if head == "exception" and dot:
        *links, last = rest.split(".")
        if last not in ("type", "message", "cause", "context") or not {"cause", "context"}.issuperset(links):
            return "exception.type or exception.message, or those of exception.cause or exception.context"
    return None


def _message(record: Record) -> str:
    return record.message or EMPTY_MESSAGE


def _raised(name: str) -> Callable[[Record], Any]:
    """How to read an exception, one that it hangs on, or the type or message of either."""
    steps = name.split(".")[1:]

    def read(record: Record) -> Any:
        value: Any = record.exception
        for step in steps:
            if value is None:
                return MISSING
            value = getattr(value, step)
        return MISSING if value is None else value

    return read


def _extra(name: str) -> Callable[[Record], Any]:
    """How to read a promoted field, an extra one, or what is inside one."""
    promoted = name in PROMOTED
    key = name.removeprefix("extra.")
    dotted = "." in key

    def read(record: Record) -> Any:
        scalars, nested = record.extra, record.nested
        # A line has promoted scalars at its top; of two that are called alike below extra it has the nested one.
        if promoted and scalars is not None and key in scalars:
            return scalars[key]
        if nested is not None:
            if key in nested:
                return nested[key]
            if dotted and (scalars is None or key not in scalars):
                return _inside(nested, key)
        return MISSING if scalars is None else scalars.get(key, MISSING)

    return read


def _inside(table: Mapping[str, Any], path: str) -> Any:
    """What a path leads to; the longest key that leads to a value first. Tables are trees, so no table is met twice."""
    at = path.rfind(".")
    while at >= 0:
        inner, rest = table.get(path[:at]), path[at + 1 :]
        if type(inner) is dict:
            value = inner[rest] if rest in inner else _inside(inner, rest)
            if value is not MISSING:
                return value
        at = path.rfind(".", 0, at)
    return MISSING
