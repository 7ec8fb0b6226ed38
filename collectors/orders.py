"""Orders about levels: what ``set-level``, ``reset-level`` and ``levels`` ask of a collector, and what they are told.

An order is checked against the names that are known, goes into the book (:mod:`logbus.collectors.levels`), and is
answered once every worker has confirmed its version (:mod:`logbus.collectors.confirm`), or when the asker's time is
over. What the operator might else wonder about stands in ``notes``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from logbus.collectors.audit import Audit, Author
from logbus.collectors.authority import Authority
from logbus.collectors.commands import Answer, Asker, Handler, Wait
from logbus.collectors.components import Components
from logbus.collectors.confirm import Confirmation, is_stopped
from logbus.collectors.levels import DEFAULT, LevelBook
from logbus.collectors.mark import Mark
from logbus.collectors.overlap import outranking
from logbus.collectors.publisher import Publisher
from logbus.collectors.roll import Roll
from logbus.collectors.rows import gates_of, weakest_gate
from logbus.durations import MAX_S, format_duration
from logbus.errors import ConfigurationError
from logbus.levels import LEVELS, parse_level
from logbus.rules import MAX_CHARS, MAX_CONDITIONS, Rule, Where, concerns

#: Seconds for which an answer waits at most, and where the asker does not say how long.
MAX_WAIT_S: Final = 86_400.0
WAIT_S: Final = 4.5
#: Versions by which a worker may be ahead of us, in our own ledger: what a power cut, or a backup that was played back,
#: can take from it. One that says more is lying.
MAX_AHEAD: Final = 1_000_000
#: Seconds between two leaps beyond what a worker has: a liar costs no more, and never gets near the last version.
LEAP_S: Final = 10.0
#: Seconds after which a worker that says it follows older rules is told of the newest again.
REMIND_S: Final = 1.0
#: Seconds for which confirmations go before records, where the records are more than can be read.
EAGER_S: Final = 2.5
#: Rules that are named in the notes; the others are counted.
_NAMED: Final = 5

_SELECTOR = re.compile(r"[^\s.]+(\.[^\s.]+)*\Z")


class LevelOrders:
    """Takes orders on the collector's thread; ``host`` is the name of this machine."""

    def __init__(
        self,
        book: LevelBook,
        components: Components,
        roll: Roll,
        publisher: Publisher,
        *,
        audit: Audit,
        authority: Authority,
        host: str,
    ) -> None:
        self._book = book
        self._components = components
        self._roll = roll
        self._publisher = publisher
        self._audit = audit
        self._authority = authority
        self._host = host
        self._open: list[Confirmation] = []
        #: The highest version, above our own, that a worker has confirmed under our ledger, and who that is.
        self._ahead = (0, "")
        self._leap_at = 0.0
        for rule in book.lapsed:
            audit.expired(_in_words(rule), version=book.levels.version)

    def handlers(self) -> dict[str, Handler]:
        """The commands by name."""
        guard = self._authority.guard
        return {"set_level": guard(self._set_level), "reset_level": guard(self._reset_level), "levels": self._levels}

    def configure(self, levels: Mapping[str, int], selectors: Iterable[str]) -> bool:
        """Whether configuration's rules, by selector or "default", changed when they became these.

        ``selectors`` are other names that configuration has used, in sinks. Raises what :meth:`LevelBook.configure`
        raises, and then nothing has changed.
        """
        changed = self._book.configure(levels)
        self._components.configure({*selectors, *levels} - {DEFAULT})
        return changed

    def heard(self, producer: bytes, mark: Mark) -> None:
        """Takes in a MARK, which the roll has already."""
        levels = self._book.levels
        ahead = mark.level_version - levels.version if mark.ledger == levels.ledger else -1
        if ahead > 0:  # of rules that we know nothing of: no confirmation of ours
            if ahead <= MAX_AHEAD:
                self._ahead = max(self._ahead, (mark.level_version, mark.source.worker))
            return
        if ahead < 0 and time.monotonic() - self._book.published_at > REMIND_S:
            # It was stopped, and what it was told meanwhile did not fit in the queue of its connection.
            self._publisher.remind(producer)
        # Of another ledger: nothing of ours is in force there.
        self.confirmed(producer, mark.level_version if mark.ledger == levels.ledger else 0)

    def confirmed(self, producer: bytes, version: int) -> None:
        """Takes in that a version of our rules is in force in a worker; one that is not ours says nothing."""
        if version > self._book.levels.version:
            return
        self._roll.confirm(producer, self._book.levels.ledger, version)
        for confirmation in self._open:
            confirmation.heard(producer, version)

    @property
    def eager(self) -> bool:
        """Whether somebody waits for confirmations of what was published less than :data:`EAGER_S` ago."""
        return bool(self._open) and time.monotonic() - self._book.published_at < EAGER_S

    def tick(self) -> None:
        """What time brings: rules that end, names to keep, and the leap beyond a version that a worker has of us."""
        self._catch_up()
        for rule in self._book.expire():
            self._audit.expired(_in_words(rule), version=self._book.levels.version)
        self._components.write()

    def _catch_up(self) -> None:
        """Publishes beyond the version that a worker is ahead of us by: it would take nothing from us till then."""
        (version, worker), now = self._ahead, time.monotonic()
        if not version or now < self._leap_at:
            return
        self._ahead, self._leap_at = (0, ""), now + LEAP_S
        if version <= self._book.levels.version:
            return
        self._book.catch_up(version, worker[:MAX_CHARS])

    # ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _set_level(self, document: dict[str, Any], asker: Asker) -> Answer | Wait:
        selector = _selector(document) or ""
        level = document.get("level")
        if not isinstance(level, (int, str)):
            raise ConfigurationError([f"level {level!r}: expected a name or an integer"])
        number = parse_level(level)
        worker, where = _text(document, "worker") or "", _where(document)
        seconds = _seconds(document, "for_seconds", None)
        wait = _seconds(document, "wait_seconds", WAIT_S)
        forced = document.get("force") is True
        # What a rule names was known, or forced, when that was made.
        if selector and not forced and all(rule.selector != selector for rule in self._book.levels.rules):
            self._components.check(selector)
        rule = self._book.set(
            selector,
            number,
            worker=worker,
            where=where,
            seconds=seconds,
            by=str(Author.of(asker, document))[:MAX_CHARS],
        )
        notes = [*self._notes(rule), *self._about_workers((worker,))]
        return self._confirmed({"rule": self._document(rule), "notes": notes}, (worker,), wait)

    def _reset_level(self, document: dict[str, Any], asker: Asker) -> Answer | Wait:
        selector, everything = _selector(document), document.get("all") is True
        worker, wait = _text(document, "worker"), _seconds(document, "wait_seconds", WAIT_S)
        if selector and everything:
            raise ConfigurationError(["expected a component or all, found both"])
        removed = self._book.reset(None if everything else selector or "", worker)
        patterns = tuple({rule.worker for rule in removed}) or ("",)
        answer: Answer = {"removed": [self._document(rule) for rule in removed], "notes": []}
        if removed:
            answer["notes"] = self._about_workers(patterns)
            return self._confirmed(answer, patterns, wait)
        of = "" if everything else f" of {selector or DEFAULT}"
        answer["notes"] = [f"no level{of} was set" + (f" for workers {worker!r}" if worker else "")]
        nobody = {"confirmed": 0, "workers": 0, "milliseconds": 0.0, "unconfirmed": []}
        levels = self._book.levels
        return {**answer, "ledger": levels.ledger, "version": levels.version, **nobody}

    def _levels(self, document: dict[str, Any], asker: Asker) -> Answer:
        self._authority.check_name(document)
        levels = self._book.levels
        listeners = self._publisher.listeners
        workers = []
        for producer, member in self._roll.standing(listeners).items():
            if member is None:
                continue
            row, (ledger, version) = member.row, member.confirmed
            gates = gates_of(row.gate)
            stopped = row.host == self._host and is_stopped(row.pid)
            workers.append(
                {
                    "worker": row.worker,
                    "pid": row.pid,
                    "host": row.host,
                    "state": "stopped" if stopped else "connected" if producer in listeners else "silent",
                    "level_version": version if ledger == levels.ledger else None,
                    "current": (ledger, version) == (levels.ledger, levels.version),
                    "gate": weakest_gate(gates),
                    "gates": gates,
                }
            )
        return {
            "collector": self._authority.name,
            "ledger": levels.ledger,
            "version": levels.version,
            "rules": [self._document(rule) for rule in levels.rules],
            "workers": sorted(workers, key=lambda row: (row["worker"], row["pid"])),
        }

    def _confirmed(self, answer: Answer, patterns: Sequence[str], wait: float | None) -> Wait:
        """The answer, once the newest version is confirmed by the workers that these patterns mean."""
        confirmation = Confirmation(
            self._book.levels,
            self._roll,
            self._publisher.listeners,
            patterns=patterns,
            published_at=self._book.published_at,
            host=self._host,
        )
        self._open.append(confirmation)

        def end() -> Answer:
            self._open.remove(confirmation)
            return {**answer, **confirmation.document()}

        patience = WAIT_S if wait is None else min(wait, MAX_WAIT_S)
        return Wait(time.monotonic() + patience, confirmation.ready, end)

    # ── words ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _document(self, rule: Rule) -> dict[str, Any]:
        remaining = self._book.remaining(rule)
        seconds = None if remaining is None else round(remaining, 1)
        return {**rule.document(), "level_name": _level_name(rule.level), "remaining_seconds": seconds}

    def _notes(self, rule: Rule) -> list[str]:
        notes = []
        if rule.selector and not self._components.spoke(rule.selector):
            notes.append(f"nothing of {rule.selector} has logged anything yet")
        stronger = outranking(rule, self._book.levels.rules, self._components.covered(rule.selector), self._together)
        notes += [
            f"another rule stays in force over a part of this: {describe(other)}, by {other.by}"
            for other in stronger[:_NAMED]
        ]
        if len(stronger) > _NAMED:
            notes.append(f"and so do {len(stronger) - _NAMED} more")
        return notes

    def _about_workers(self, patterns: Sequence[str]) -> list[str]:
        standing = self._roll.standing(self._publisher.listeners).values()
        rows = [None if member is None else member.row for member in standing]
        if not rows:
            return ["no worker is running: it applies to those that come"]
        if any(row is None or _means(patterns, row.worker, row.pid, row.host) for row in rows):
            return []
        words = ", ".join(repr(pattern) for pattern in patterns)
        return [f"no running worker matches {words}: it applies to those that come"]

    def _together(self, one: str, other: str) -> bool:
        members = (member for member in self._roll.standing(self._publisher.listeners).values() if member is not None)
        return any(
            all(concerns(pattern, name=row.worker, pid=row.pid, host=row.host) for pattern in (one, other))
            for row in (member.row for member in members)
        )


def describe(rule: Rule) -> str:
    """The rule in words, without who made it."""
    words = [f"{rule.selector or DEFAULT} = {_level_name(rule.level)}"]
    if rule.worker:
        words.append(f"workers {rule.worker}")
    words += [f"where {key}={value}" for key, value in rule.where]
    return ", ".join(words)


def _level_name(number: int) -> str:
    return next((name for name, value in LEVELS.items() if value == number), str(number))


def _in_words(rule: Rule) -> dict[str, Any]:
    what: dict[str, Any] = {"selector": rule.selector or DEFAULT, "level": rule.level}
    if rule.worker:
        what["worker"] = rule.worker
    if rule.where:
        what["where"] = dict(rule.where)
    return {**what, "by": rule.by}


def _means(patterns: Sequence[str], name: str, pid: int, host: str) -> bool:
    return any(concerns(pattern, name=name, pid=pid, host=host) for pattern in patterns)


def _text(document: dict[str, Any], key: str) -> str | None:
    value = document.get(key)
    if value is not None and not _is_text(value):
        raise ConfigurationError([f"{key} {value!r}: expected a text of at most {MAX_CHARS} characters"])
    return value


def _is_text(value: object) -> bool:
    if not isinstance(value, str) or len(value) > MAX_CHARS:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _selector(document: dict[str, Any]) -> str | None:
    """The selector, "" for the one that covers every logger; None where there is none."""
    selector = _text(document, "selector")
    if selector in (None, "", DEFAULT):
        return None if selector is None else ""
    if not _SELECTOR.match(selector or ""):
        raise ConfigurationError([f"component {selector!r}: expected a component or a logger's dotted name"])
    return selector


def _where(document: dict[str, Any]) -> Where:
    where = document.get("where") or {}
    if not isinstance(where, dict) or len(where) > MAX_CONDITIONS:
        raise ConfigurationError([f"where: expected at most {MAX_CONDITIONS} pairs of a field and its value"])
    if not all(key and _is_text(key) and _is_text(value) for key, value in where.items()):
        raise ConfigurationError([f"where: expected fields and values of at most {MAX_CHARS} characters"])
    return tuple(sorted(where.items()))


def _seconds(document: dict[str, Any], key: str, default: float | None) -> float | None:
    value = document.get(key)
    if value is None:
        return default
    if type(value) not in (int, float) or not 0 < value <= MAX_S:
        raise ConfigurationError([f"{key} {value!r}: expected seconds, above 0 and at most {format_duration(MAX_S)}"])
    return float(value)
