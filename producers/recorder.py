"""The flight recorder: what was below the level in force, kept for a while in case that something goes wrong.

A front hands over what its gate suppresses, made plain as for :attr:`Producer.emit`: :meth:`Recorder.keep`. It stays
in a ring of bounded length, bytes and age. When a record at the trigger's level or above is emitted,
:meth:`Recorder.behind` emits first, oldest first and once only, what the same request had logged: those that carry
the same ``request_id``. A trigger without one brings back what its thread had logged, of whatever request: it comes
from outside of the request's scope as often as not (a server that logs what a handler raised). Asyncio tasks without a
``request_id`` share their thread.

No lock, so that a call never waits and a signal handler may log in the middle of one. An entry holds its record in a
cell; whoever takes the record out of the cell counts it, as replayed or as discarded. Statements between which CPython
can't switch (no call among them, see docs/decisions/0002) keep the law:
``recorded = replayed + discarded + held``, at every moment between two steps.

An entry whose record was replayed keeps its place until newer ones push it out, so the ring is "the last N recorded".
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from logbus.errors import ConfigurationError
from logbus.levels import parse_level
from logbus.producers.sanitise import FIELD_BYTES

if TYPE_CHECKING:
    from logbus.producers.producer import Emit

#: Bytes (estimated) that the ring holds at most.
MAX_BYTES: Final = 8 * 1024 * 1024
#: Records that it may be set to hold: a trigger looks at each of them (25 µs per thousand).
MAX_RECORDS: Final = 10_000
#: Seconds that it may be set to look back.
MAX_SECONDS: Final = 3600.0
#: The extra field that a replayed record carries.
MARK: Final = "flight_recorder"
#: The field that says which request a record belongs to.
REQUEST: Final = "request_id"
#: Bytes that an entry takes beside its record: tuples, cell, numbers.
_ENTRY_BYTES: Final = 250

_ON: Final = frozenset({"1", "on", "true", "yes"})
_OFF: Final = frozenset({"0", "off", "false", "no"})


@dataclass(frozen=True, slots=True)
class Flight:
    """The settings of a recorder: levels as numbers, ``records`` and ``seconds`` are what it holds at most."""

    level: int = 10
    trigger: int = 40
    records: int = 1000
    seconds: float = 60.0

    @classmethod
    def of(cls, value: object) -> Flight | None:
        """Settings out of True, a mapping, or a text ("on", "level=DEBUG,records=200"); None where they say off.

        Raises ConfigurationError, naming every part that is wrong.
        """
        if isinstance(value, bool):
            return cls() if value else None
        if isinstance(value, str):
            word = value.strip().lower()
            if word in _ON or word in _OFF:
                return cls() if word in _ON else None
            parts = [part.partition("=") for part in value.split(",")]
            value = {key.strip(): text.strip() for key, _, text in parts}
        if not isinstance(value, Mapping):
            raise ConfigurationError([f"flight_recorder {value!r}: expected true, false or a table of {_KEYS}"])
        return cls._from(value)

    @classmethod
    def _from(cls, given: Mapping[Any, Any]) -> Flight:
        problems = [f"flight_recorder: unknown key {key!r}, expected {_KEYS}" for key in given if key not in _CHECKS]
        checked: dict[str, Any] = {}
        for key, (check, expected) in _CHECKS.items():
            if key in given:
                try:
                    checked[key] = check(given[key])
                except (ConfigurationError, TypeError, ValueError, OverflowError):
                    problems.append(f"flight_recorder.{key} {given[key]!r}: expected {expected}")
        if not problems:
            found = cls(**checked)
            if found.trigger > found.level:
                return found
            problems = [
                f"flight_recorder.trigger {given.get('trigger', found.trigger)!r}: expected a level above that of "
                f"the records it brings back, {given.get('level', found.level)!r}"
            ]
        raise ConfigurationError(problems)


def _level(value: object) -> int:
    if not isinstance(value, (str, int)):
        raise TypeError
    return parse_level(value)


def _records(value: object) -> int:
    number = int(value) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= MAX_RECORDS:
        raise ValueError
    return number


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    number = float(value)
    if not 0 < number <= MAX_SECONDS:
        raise ValueError
    return number


_LEVEL: Final = (_level, "a level name or an integer from 0 to 100")
_CHECKS: Final[dict[str, tuple[Callable[[object], Any], str]]] = {
    "level": _LEVEL,
    "trigger": _LEVEL,
    "records": (_records, f"a number of records from 1 to {MAX_RECORDS}"),
    "seconds": (_seconds, f"a number of seconds above 0, at most {MAX_SECONDS:g}"),
}
_KEYS: Final = ", ".join(_CHECKS)

#: One place in the ring: when it was kept (monotonic seconds), request, thread's ident and name, bytes, and the cell,
#: which is empty once somebody has taken the record.
#: Extra or nested fields of a record.
_Fields = dict[str, Any] | None
_Entry = tuple[float, Any, int, str, int, list[tuple[Any, ...]]]


class Recorder:
    """The ring of one producer. Every method may be called in every thread and in signal handlers; none waits."""

    __slots__ = (
        "_bytes",
        "_discarded",
        "_recorded",
        "_replayed",
        "_ring",
        "level",
        "records",
        "seconds",
        "spans",
        "trigger",
    )

    def __init__(self, flight: Flight) -> None:
        #: The lowest level that is kept: fronts look at it before they make anything.
        self.level = flight.level
        #: The lowest level that brings back what was kept.
        self.trigger = flight.trigger
        self.records = flight.records
        self.seconds = flight.seconds
        #: What adds the ids of a span to the fields of a record, where spans are in use (logbus.producers.tracing).
        self.spans: Callable[[_Fields, _Fields, int], tuple[_Fields, _Fields, int]] | None = None
        self.after_fork()

    def after_fork(self) -> None:
        """A child begins with nothing: what its parent kept is the parent's."""
        self._ring: deque[_Entry] = deque()
        self._bytes = 0
        self._recorded = 0
        self._replayed = 0
        self._discarded = 0

    def keep(
        self,
        created: float,
        site: tuple[Any, ...],
        thread: str,
        message: str,
        extra: dict[str, Any] | None,
        nested: dict[str, Any] | None,
        exception: Any,
        size: int,
    ) -> None:
        """Takes in a record that the gate suppressed. The arguments are those of Producer.emit; raises nothing.

        The caller has seen to it that the level is at least :attr:`level`, and has added the context's fields.
        """
        if self.spans is not None:
            extra, nested, size = self.spans(extra, nested, size)
        request = extra.get(REQUEST) if extra else None
        size += _ENTRY_BYTES
        cell = [(created, site, thread, message, extra, nested, exception)]
        # An iterator made here, for the reason given in Buffer.put: nothing that is tracked is made inside the step.
        entry = iter(((time.monotonic(), request, get_ident(), thread, size, cell),))
        ring = self._ring
        ring += entry  # one step to the end: no call between
        self._bytes += size
        self._recorded += 1
        self.trim()

    def trim(self) -> None:
        """Discards what is too old, or beyond the limits of the ring. Called once a second where nobody logs."""
        ring, since = self._ring, time.monotonic() - self.seconds
        while True:
            try:
                entry = ring[0]
                if entry[0] >= since and len(ring) <= self.records and self._bytes <= MAX_BYTES:
                    return
                cell = entry[5]
                if ring[0] is entry:  # one step to the end: no call between
                    del ring[0]
                    if cell:
                        del cell[0]  # plain values: nothing of the application runs as they go
                        self._bytes -= entry[4]
                        self._discarded += 1
            except IndexError:  # empty
                return

    def behind(self, put: Emit) -> Emit:
        """The same as ``put``, but a record at the trigger's level or above has those emitted first that it explains.

        Costs every emitted record one call more (about 0.1 µs).
        """
        trigger = self.trigger

        def emit(
            created: float,
            site: tuple[str, int, str, str, str, int],
            thread: str,
            message: str,
            extra: dict[str, Any] | None,
            nested: dict[str, Any] | None,
            exception: Any,
            size: int,
        ) -> None:
            if site[1] >= trigger and self._bytes:
                self.replay(put, thread, extra)
            put(created, site, thread, message, extra, nested, exception, size)

        return emit

    def replay(self, put: Emit, thread: str, extra: dict[str, Any] | None) -> int:
        """Emits, with ``put``, what belongs to the request in ``extra``, or else to the calling thread, of this name.

        Returns how many there were. A thread is known by its number and its name: numbers are used again.
        """
        request = extra.get(REQUEST) if extra else None
        ident, since, found = get_ident(), time.monotonic() - self.seconds, 0
        for entry in self._entries():
            if entry[0] < since or not entry[5]:
                continue
            if entry[1] != request if request is not None else entry[2] != ident or entry[3] != thread:
                continue
            cell, size = entry[5], entry[4]
            try:
                record = cell[0]  # one step to the count: no call between
                del cell[0]
                self._bytes -= size
                self._replayed += 1
            except IndexError:  # somebody else has it
                continue
            created, site, name, message, fields, nested, exception = record
            fields = {**fields, MARK: True} if fields else {MARK: True}
            if nested and MARK in nested:
                nested = {key: value for key, value in nested.items() if key != MARK}
            put(created, site, name, message, fields, nested, exception, size + FIELD_BYTES)
            found += 1
        return found

    def discard(self) -> None:
        """Gives up everything that is held: the process ends, and nothing has gone wrong."""
        for entry in self._entries():
            cell = entry[5]
            if cell:  # one step to the end: no call between
                del cell[0]
                self._bytes -= entry[4]
                self._discarded += 1

    def counts(self) -> tuple[int, int, int]:
        """How many were recorded, replayed and discarded; the rest is held."""
        return self._recorded, self._replayed, self._discarded

    @property
    def held(self) -> int:
        """How many records are in the ring now."""
        return sum(1 for entry in self._entries() if entry[5])

    def _entries(self) -> tuple[_Entry, ...]:
        """The ring as it is now, oldest first."""
        while True:
            try:
                return tuple(self._ring)
            except RuntimeError:  # another thread went on in the middle: only where a finalizer let it in
                continue
