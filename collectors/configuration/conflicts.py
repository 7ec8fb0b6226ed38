"""What can't stand together in the tables of sinks: what two of them would share, and what in one contradicts itself.

On raw tables, before any model, so that it is reported beside whatever else is wrong with them. A value that is wrong
by itself is for the models to report, and is passed over here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from logbus.collectors.configuration.kinds import MAX_NAMES, MAX_SINKS, home_expanded
from logbus.collectors.configuration.remote_conflicts import remote_conflicts
from logbus.collectors.format.names import Names
from logbus.collectors.shown import Location, inside, path_of, shown
from logbus.collectors.sinks.archive import longest_name
from logbus.collectors.sinks.compress import COMPRESSIONS
from logbus.errors import ConfigurationError

#: Bytes of the longest name that the file systems of Linux take.
MAX_NAME_BYTES: Final = 255
#: The time in the name of a rotated file.
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{6}Z")

Found = tuple[Location, str]


def conflicts(sinks: Sequence[Any]) -> list[Found]:
    """Every conflict in and between the tables, as the location and the line of a problem."""
    # More of them are refused for their number.
    tables = [(index, sink) for index, sink in enumerate(sinks[:MAX_SINKS]) if isinstance(sink, Mapping)]
    found = [*_same("name", tables), *_same("path", tables), *_overlapping(tables)]
    for index, sink in tables:
        found += _names(index, sink)
        found += _idle(index, sink)
        found += _too_long(index, sink)
        found += remote_conflicts(index, sink)
        if isinstance(sample := sink.get("sample"), Mapping):
            found += _sampling(("sinks", index, "sample"), sample)
    return found


def _same(key: str, tables: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Found]:
    """Two sinks of one name (it is their row in the ledger) or on one file (their lines would mix)."""
    seen: dict[str, int] = {}
    for index, sink in tables:
        identity = _real(sink) if key == "path" else sink.get(key)
        if isinstance(identity, str) and (first := seen.setdefault(identity, index)) != index:
            yield _problem(
                ("sinks", index, key), f"expected another {key} than that of sinks[{first}], found {shown(sink[key])}"
            )


def _overlapping(tables: Sequence[tuple[int, Mapping[str, Any]]]) -> Iterator[Found]:
    """A file that has the name of another's rotated ones, or lies below another file as if that were a directory."""
    paths = [(index, path, sink) for index, sink in tables if (path := _real(sink)) is not None]
    for index, path, sink in paths:
        for other, beside, table in paths:
            if other == index:
                continue
            location: Location = ("sinks", index, "path")
            if path.startswith(f"{beside}{os.sep}"):
                yield _problem(
                    location,
                    f"expected a path that is not below the file of sinks[{other}], found {shown(sink['path'])}",
                )
            elif table.get("rotation") is not None and _is_rotated(beside, path):
                yield _problem(
                    location,
                    f"expected another name than the rotated files of sinks[{other}] have, found {shown(sink['path'])}",
                )


def _is_rotated(path: str, other: str) -> bool:
    """Whether the other path could be one of the rotated files of the first, compressed or not."""
    active = Path(path)
    name = os.path.basename(other)
    for ending in ("", *(f".{compression}" for compression in COMPRESSIONS)):
        if name.startswith(f"{active.stem}.") and name.endswith(f"{active.suffix}{ending}"):
            middle = name[len(active.stem) + 1 : len(name) - len(active.suffix) - len(ending)]
            if _TIME.fullmatch(middle):
                return os.path.dirname(other) == os.path.dirname(path)
    return False


def _real(sink: Mapping[str, Any]) -> str | None:
    """The file of a sink with links resolved: two names of one file are one file."""
    path = sink.get("path")
    try:
        return (
            os.path.realpath(home_expanded(path))
            if isinstance(path, (str, Path)) and sink.get("type") == "file"
            else None
        )
    except (OSError, ValueError):
        return None


def _names(index: int, sink: Mapping[str, Any]) -> Iterator[Found]:
    """Fields of one name, names of no field, values that no line can have."""
    renamed, added = sink.get("rename_fields") or {}, sink.get("static_fields") or {}
    if not isinstance(renamed, Mapping) or not isinstance(added, Mapping):
        return
    if max(len(renamed), len(added)) > MAX_NAMES:  # reported as such
        return
    try:
        Names(renamed, added)
    except ConfigurationError as error:
        yield from ((("sinks", index), inside(("sinks", index), line)) for line in error.problems)


def _idle(index: int, sink: Mapping[str, Any]) -> Iterator[Found]:
    """What would do nothing without rotation."""
    if sink.get("type") == "file" and sink.get("rotation") is None:
        for key in ("retention", "compression"):
            if sink.get(key) is not None:
                yield _alone(("sinks", index, key), "rotation")


def _too_long(index: int, sink: Mapping[str, Any]) -> Iterator[Found]:
    """A file whose rotated ones could not have their names: it would grow without end."""
    path, kind = _real(sink), sink.get("compression")
    if path is None:
        return
    name = os.path.basename(path)
    rotates = sink.get("rotation") is not None
    size, added = len(os.fsencode(name)), 0
    if rotates:
        added = longest_name(name, kind if isinstance(kind, str) and kind in COMPRESSIONS else None) - size
    if size + added > MAX_NAME_BYTES:
        reason = f", since rotation adds {added}" if rotates else ""
        yield _problem(
            ("sinks", index, "path"),
            f"expected a name of at most {MAX_NAME_BYTES - added} bytes{reason}, found {shown(sink['path'])}",
        )


def _sampling(location: Location, sample: Mapping[str, Any]) -> Iterator[Found]:
    """A sampler that would leave nothing out, in which one key would do nothing, or that can't be."""
    given = {key: value for key, value in sample.items() if value is not None}
    tail, first, rate = given.get("tail") is True, "first" in given, "rate" in given
    if not (tail or first or rate):
        yield _problem(location, "expected rate, first or tail in it, without which nothing is left out")
    if tail and "key" not in given:
        yield _problem((*location, "tail"), "expected key beside it, the field by which a request is known, found none")
    if tail and not rate:
        yield _problem((*location, "tail"), "expected rate beside it, the share of all other requests, found none")
    if tail and first:
        yield _problem((*location, "first"), "expected no tail beside it, which decides for whole requests")
    if type(given.get("rate")) in (int, float) and given["rate"] == 0 and not (tail or first):
        yield _problem((*location, "rate"), "expected a number above 0 where there is no first or tail, found 0")
    if "key" in given and first and not (rate or tail):
        yield _alone((*location, "key"), "rate")
    for key, other, there in (("interval", "first", first), ("window", "tail", tail), ("max_bytes", "tail", tail)):
        if key in given and not there:
            yield _alone((*location, key), other)


def _alone(location: Location, other: str) -> Found:
    return _problem(location, f"expected {other} beside it, found none; alone it would do nothing")


def _problem(location: Location, reason: str) -> Found:
    return location, f"{path_of(location)}: {reason}"
