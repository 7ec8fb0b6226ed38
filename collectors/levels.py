"""The book of level rules: what configuration and the operator have said, kept on disk, numbered, published.

Every change takes the same way: the next version from the ledger, the rules into ``levels.json`` of the state
directory, the snapshot into the file beside the control socket, and only then the workers hear of it. So what a
worker has confirmed is never lost by a crash of the collector; and where the disk refuses, nothing has changed.

At every start the book is opened again under a new version: rules that ended meanwhile are dropped, those of
configuration are the ones that configuration has now. A book that can't be read is put aside, and the collector
starts without it: levels are no reason to lose records.

A rule with an end is taken out here when its time is over, by a clock that nobody sets; in the file, and in the
workers, stands the time of day.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from logbus.collectors.ledger import Ledger
from logbus.collectors.replace import Replacement, put_aside, read_own
from logbus.control import MAX_CONTROL_BYTES
from logbus.errors import ConfigurationError, LogbusError, PageError, WireError
from logbus.rules import MAX_RULES, Levels, Rule, Where

#: The book in the state directory of a collector.
FILE_NAME: Final = "levels.json"
#: Bytes of all rules as JSON: they travel whole, in a state message of at most MAX_CONTROL_BYTES.
MAX_BYTES: Final = MAX_CONTROL_BYTES // 2
#: Bytes of them that an opening leaves free: rules have no version yet when they are measured.
_SPARE_BYTES: Final = 16 * 1024
#: The key of ``[levels]`` that stands for every logger, as the empty selector does.
DEFAULT: Final = "default"
#: Seconds between attempts to take out a rule whose time is over, while the disk refuses.
RETRY_S: Final = 1.0

#: Versions from which on a book is not believed: half of those that fit in a message.
_LAST_VERSION: Final = 1 << 62
#: Epoch seconds that no honest clock says, some three thousand years from now.
_NEVER_S: Final = 1e11

_Key = tuple[str, str, Where, str]


class LevelBook:
    """The rules of one collector; one thread uses it.

    ``snapshot`` is the file that workers read as they start, readable for ``group`` (an id) if one is given.
    ``publish`` is told every new version once it is on disk; ``tell`` is given sentences for people.
    Raises PageError when the disk refuses, ConfigurationError when there are too many rules.
    """

    def __init__(
        self,
        directory: Path,
        ledger: Ledger,
        *,
        snapshot: Path,
        publish: Callable[[Levels], None],
        tell: Callable[[str], None],
        configured: Mapping[str, int] | None = None,
        group: int | None = None,
    ) -> None:
        self._path = directory / FILE_NAME
        self._ledger = ledger
        self._snapshot = snapshot
        self._publish = publish
        self._tell = tell
        self._group = group
        #: What is in force, as it was published last.
        self.levels = Levels(ledger.id)
        #: When that was, in monotonic seconds.
        self.published_at = time.monotonic()
        #: Rules that ended while no collector ran.
        self.lapsed: tuple[Rule, ...] = ()
        self._kept = b""
        self._due: dict[_Key, float] = {}
        self._failing = False
        found = self._read()
        self._open(found, configured or {})

    @property
    def next_due(self) -> float | None:
        """When :meth:`expire` has something to do, in monotonic seconds; None when no rule has an end."""
        return min(self._due.values(), default=None)

    def remaining(self, rule: Rule) -> float | None:
        """Seconds until a rule in force ends, not below 0; None when it has no end."""
        due = self._due.get(rule.key)
        return None if due is None else max(0.0, due - time.monotonic())

    def set(
        self,
        selector: str,
        level: int,
        *,
        worker: str = "",
        where: Where = (),
        seconds: float | None = None,
        by: str = "",
    ) -> Rule:
        """The operator's rule, in force; it has replaced the one for the same selector, workers and conditions.

        ``seconds`` from now it ends by itself. Raises ConfigurationError when it is one too many, PageError when the
        disk refuses; then nothing has changed.
        """
        now = time.time()
        expires = None if seconds is None else now + seconds
        rule = Rule(selector, level, "set", worker, where, expires, at=now, by=by)
        rules = {found.key: found for found in self.levels.rules} | {rule.key: rule}
        due = {key: at for key, at in self._due.items() if key != rule.key}
        if seconds is not None:
            due[rule.key] = time.monotonic() + seconds
        self._change(rules.values(), due)
        return next(found for found in self.levels.rules if found.key == rule.key)

    def reset(self, selector: str | None, worker: str | None = None) -> tuple[Rule, ...]:
        """The operator's rules that were taken out: of a selector (None: all), and of one worker pattern if given.

        Raises PageError when the disk refuses; then nothing has changed.
        """
        return self._remove(
            rule
            for rule in self.levels.rules
            if rule.rank == "set"
            and (selector is None or rule.selector == selector)
            and (worker is None or rule.worker == worker)
        )

    def configure(self, levels: Mapping[str, int]) -> bool:
        """Whether anything changed when configuration's rules, by selector or "default", became these.

        What the operator has set is not touched. Raises ConfigurationError when they are too many, PageError when the
        disk refuses; then nothing has changed.
        """
        rules = self._configured(levels)
        mine = [rule for rule in self.levels.rules if rule.rank == "configuration"]
        if {(rule.selector, rule.level) for rule in rules} == {(rule.selector, rule.level) for rule in mine}:
            return False
        self._change([*rules, *(rule for rule in self.levels.rules if rule.rank == "set")], self._due)
        return True

    def catch_up(self, version: int, worker: str) -> None:
        """Publishes the rules in force once more, above a ``version`` that a worker has and the ledger lost; tells it.

        Where the disk refuses nothing changes, and that is told.
        """
        text = f"worker {worker!r} has level version {version}, ahead of our {self.levels.version}"
        try:
            self._change(self.levels.rules, self._due, beyond=version)
        except LogbusError as error:
            self._tell(f"{text}, and can't be brought back: {error}")
            return
        self._tell(f"{text}: the state is older than the worker, the rules in force are published again")

    def expire(self) -> tuple[Rule, ...]:
        """The rules taken out because their time is over; while the disk refuses they stay, and that is told."""
        due, now = self.next_due, time.monotonic()
        if due is None or now < due:
            return ()
        over = {key for key, at in self._due.items() if at <= now}
        try:
            removed = self._remove(rule for rule in self.levels.rules if rule.key in over)
        except LogbusError as error:
            if not self._failing:
                self._tell(f"levels that have ended can't be taken out: {error}")
            self._failing = True
            self._due |= dict.fromkeys(over, now + RETRY_S)
            return ()
        self._failing = False
        return removed

    # ── keeping ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _remove(self, rules: Iterable[Rule]) -> tuple[Rule, ...]:
        removed = {rule.key: rule for rule in rules}
        if removed:
            stay = [rule for rule in self.levels.rules if rule.key not in removed]
            self._change(stay, {key: at for key, at in self._due.items() if key not in removed})
        return tuple(removed.values())

    def _change(self, rules: Iterable[Rule], due: dict[_Key, float], *, beyond: int = 0) -> None:
        """Numbers, keeps, shows and publishes new rules; those without a version are of this one."""
        levels = self._numbered(list(rules), beyond)
        self._keep(levels)
        self.levels, self._due = levels, due
        self.published_at = time.monotonic()
        self._publish(levels)

    def _numbered(self, rules: list[Rule], beyond: int = 0) -> Levels:
        """The rules under the next version, above ``beyond`` too."""
        if len(rules) > MAX_RULES:
            raise ConfigurationError([f"level rules: expected at most {MAX_RULES}, this would be {len(rules)}"])
        if self.levels.ledger == self._ledger.id:
            # The book is on disk before its version is out, and a power cut may set the ledger's page back.
            beyond = max(beyond, self.levels.version)
        version = self._ledger.next_version(beyond=beyond)
        numbered = tuple(rule._replace(version=rule.version or version) for rule in rules)
        return Levels(self._ledger.id, version, numbered)

    def _keep(self, levels: Levels) -> None:
        """Puts the rules on disk."""
        data = _packed(levels)
        if len(data) > MAX_BYTES:
            raise ConfigurationError([f"level rules: expected at most {MAX_BYTES} bytes, these are {len(data)}"])
        path = self._path
        try:
            with Replacement(self._path, data) as kept:
                path = self._snapshot
                # It lies in memory, or is written anew at the next start: it need not survive a power cut.
                with Replacement(self._snapshot, data, durable=False, group=self._group) as shown:
                    kept.commit()
                    shown.commit()
        except OSError as error:
            self._restore()
            raise PageError(path, f"level rules can't be written, nothing was changed: {error.strerror}") from error
        self._kept = data

    def _restore(self) -> None:
        """Puts the rules in force back on disk: of two files the first may have been renamed already."""
        with contextlib.suppress(OSError):
            if self._kept and self._path.read_bytes() != self._kept:
                with Replacement(self._path, self._kept) as old:
                    old.commit()

    # ── opening ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self) -> Levels:
        try:
            data = read_own(self._path, max_bytes=MAX_CONTROL_BYTES)
            found = Levels.of(json.loads(data)) if data is not None else Levels(self._ledger.id)
            if not all(0 <= at < _NEVER_S for rule in found.rules for at in (rule.at, rule.expires or 0.0)):
                raise ValueError("a time is beyond the calendar")
            if found.version >= _LAST_VERSION:
                raise ValueError(f"version {found.version} is beyond all that were ever given")
        except (OSError, ValueError, RecursionError, WireError) as error:
            aside = put_aside(self._path)
            self._tell(f"level rules in {self._path} can't be read ({error}): put aside as {aside}, none is in force")
            return Levels(self._ledger.id)
        return found

    def _open(self, found: Levels, configured: Mapping[str, int]) -> None:
        """Makes what an earlier collector left what is in force now."""
        now = time.time()
        mine = sorted((rule for rule in found.rules if rule.rank == "set"), key=lambda rule: rule.version)
        self.lapsed = tuple(rule for rule in mine if rule.expires is not None and rule.expires <= now)
        mine = [rule for rule in mine if rule not in self.lapsed]
        self.levels = found
        rules = self._configured(configured)
        surplus = max(0, len(rules) + len(mine) - MAX_RULES)
        while surplus < len(mine) and len(_packed(Levels(rules=(*rules, *mine[surplus:])))) > MAX_BYTES - _SPARE_BYTES:
            surplus += 1
        if surplus > 0:
            self._tell(f"level rules: {surplus} of set-level make room for those of the configuration")
            mine = mine[surplus:]
        if found.ledger != self._ledger.id:
            # Another ledger numbered them, perhaps far beyond what this one has reached: the newer of two rules
            # must stay the newer, and whatever is set from now on must be newer still.
            mine = [rule._replace(version=self._ledger.next_version()) for rule in mine]
            rules = [rule._replace(version=0) for rule in rules]
        self.levels = self._numbered([*rules, *mine])
        try:
            self._keep(self.levels)
        except PageError as error:
            # Levels are no reason to lose records. It is all said again at the next start, but for what ends here.
            self._tell(f"level rules are in force, and not kept: {error}")
        monotonic = time.monotonic()
        self._due = {rule.key: monotonic + (rule.expires - now) for rule in mine if rule.expires is not None}

    def _configured(self, levels: Mapping[str, int]) -> list[Rule]:
        """The rules of configuration; one that says what it has said before is as old as it was."""
        before = {rule.key: rule for rule in self.levels.rules}
        rules = []
        for key, level in levels.items():
            rule = Rule("" if key == DEFAULT else key, level, "configuration", at=time.time(), by="configuration")
            old = before.get(rule.key)
            rules.append(old if old is not None and old.level == level else rule)
        return rules


def _packed(levels: Levels) -> bytes:
    return json.dumps(levels.document()).encode()
