"""Level rules: which logger logs from which level on, in which worker, for how long. Plain data, no I/O.

A rule pairs a selector with a level. A selector is a dotted name or any run of its segments (``rotator`` covers
``proxywhirl.rotator.sync``); the empty one covers every logger. Of the rules that cover a logger the most specific
wins: more segments, then a match nearer to the end of the name, then a rule for some workers before one for all,
then a rule with conditions (if they hold) before one without. Between equals ``set-level`` wins over the collector's
configuration, this over the worker's own setting, and the newer rule over the older.

Rules travel as one whole, :class:`Levels`, never as a difference. It is identified by the ledger that numbered it and
by its version there: within one ledger only a newer version counts, and another ledger's is believed only as the
welcome of a new connection (:func:`supersedes`), so that neither a replayed snapshot nor a lost state directory can
set a worker back or wedge it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, NamedTuple, get_args

from logbus.errors import WireError
from logbus.levels import component_of, selects

#: Who made a rule, the stronger first.
Rank = Literal["set", "configuration", "worker"]
_RANKS: Final[Mapping[str, int]] = {rank: at for at, rank in enumerate(reversed(get_args(Rank)))}
#: Rules in force at a time, at most: the whole of them travels to every worker at every change.
MAX_RULES: Final = 256
#: Conditions of one rule, at most.
MAX_CONDITIONS: Final = 8
#: Characters of a selector, a pattern, or a key or value of a condition.
MAX_CHARS: Final = 200
#: Epoch seconds of a time of a rule, at most: beyond it arithmetic with the clock overflows.
MAX_TIME: Final = 1 << 53
#: Loggers whose decision is remembered (150 bytes each). Fronts ask for every one of them each second: with more
#: loggers than this all are forgotten and worked out each time (3 µs each).
_DECISIONS_KEPT: Final = 32_768

#: Conditions on the context of a call, all of which must hold: pairs of a field and its value as text.
Where = tuple[tuple[str, str], ...]


class Rule(NamedTuple):
    """One rule. ``worker`` is a pattern (empty: every worker), ``expires`` and ``at`` are epoch seconds.

    ``version`` is the version of the levels that brought it; ``by`` says, for people, who did.
    """

    selector: str
    level: int
    rank: Rank = "set"
    worker: str = ""
    where: Where = ()
    expires: float | None = None
    version: int = 0
    at: float = 0.0
    by: str = ""

    @property
    def key(self) -> tuple[str, str, Where, Rank]:
        """What two rules have in common of which one replaces the other."""
        return self.selector, self.worker, self.where, self.rank

    def document(self) -> dict[str, Any]:
        """The rule as JSON has it."""
        return {**self._asdict(), "where": dict(self.where)}


class Levels(NamedTuple):
    """Every rule of a collector at one moment."""

    ledger: str = ""
    version: int = 0
    rules: tuple[Rule, ...] = ()

    def document(self) -> dict[str, Any]:
        """The levels as JSON has them."""
        return {
            "ledger": self.ledger,
            "version": self.version,
            "rules": [rule.document() for rule in self.rules],
        }

    @classmethod
    def of(cls, document: object) -> Levels:
        """The levels in a document. Raises WireError("control") on anything else."""
        if not isinstance(document, dict) or type(document.get("rules")) is not list:
            raise WireError("control", "level rules: expected an object with a list of rules")
        ledger, version, rules = document.get("ledger"), document.get("version"), document["rules"]
        if type(ledger) is not str or type(version) is not int or not 0 <= version < 1 << 63:
            raise WireError("control", "level rules: expected a ledger and a version")
        if len(ledger) > MAX_CHARS or not ledger.isascii():  # each MARK says it again
            raise WireError("control", f"level rules: expected a ledger of at most {MAX_CHARS} ASCII characters")
        if len(rules) > MAX_RULES:
            raise WireError("control", f"level rules: at most {MAX_RULES}, found {len(rules)}")
        return cls(ledger, version, tuple(map(_rule, rules)))


def supersedes(offered: Levels, current: Levels | None, *, welcome: bool) -> bool:
    """Whether a worker that has ``current`` takes what it is offered; ``welcome``: as the welcome of a connection."""
    if current is None:
        return True
    return offered.version > current.version if offered.ledger == current.ledger else welcome


def concerns(pattern: str, *, name: str, pid: int, host: str) -> bool:
    """Whether a worker pattern means this worker: its name or its host as a shell pattern, or its pid.

    >>> concerns("api-*", name="api-1", pid=42, host="h"), concerns("42", name="api-1", pid=42, host="h")
    (True, True)
    """
    return not pattern or pattern == str(pid) or fnmatchcase(name, pattern) or fnmatchcase(host, pattern)


class Decision(NamedTuple):
    """What the rules say of one logger.

    ``level`` holds where no condition does; None: nobody has said one. ``named``: the rule behind it names the
    logger, instead of covering all. ``conditions`` are tried in order: the first whose fields all match decides.
    """

    level: int | None = None
    named: bool = False
    conditions: tuple[tuple[Where, int], ...] = ()

    @property
    def lowest(self) -> int | None:
        """The lowest level at which a record of the logger may pass; None where nobody has said one."""
        found = [level for _, level in self.conditions]
        if self.level is not None:
            found.append(self.level)
        return min(found, default=None)

    def passes(self, level_no: int, context: Mapping[str, Any] | None, *, otherwise: int = 0) -> bool:
        """Whether a record passes: ``context`` has the fields of its call, ``otherwise`` is the level of nobody's."""
        if context:
            for where, level in self.conditions:
                if holds(where, context):
                    return level_no >= level
        return level_no >= (otherwise if self.level is None else self.level)


def holds(where: Where, context: Mapping[str, Any]) -> bool:
    """Whether every condition holds: the field is there and its value, as text, is the one given."""
    for key, expected in where:
        value = context.get(key)
        if value != expected and (value is None or str(value) != expected):
            return False
    return True


class Table:
    """The rules that concern one worker now, and what they say of each logger.

    ``component`` is the worker's own: that of loggers which name none.
    """

    def __init__(
        self,
        rules: Iterable[Rule] = (),
        *,
        worker: str = "",
        pid: int = 0,
        host: str = "",
        component: str = "",
        now: float | None = None,
    ) -> None:
        now = time.time() if now is None else now
        concerned = [rule for rule in rules if concerns(rule.worker, name=worker, pid=pid, host=host)]
        self.rules = tuple(rule for rule in concerned if rule.expires is None or rule.expires > now)
        self._component = component
        self._decisions: dict[str, Decision] = {}

    def __bool__(self) -> bool:
        """Whether there is a rule at all."""
        return bool(self.rules)

    @property
    def next_expiry(self) -> float | None:
        """When the first of them ends, in epoch seconds; None when none does."""
        return min((rule.expires for rule in self.rules if rule.expires is not None), default=None)

    @property
    def lowest(self) -> int | None:
        """The lowest level that any rule lets pass anywhere; None without a rule."""
        return min((rule.level for rule in self.rules), default=None)

    def decide(self, logger: str) -> Decision:
        """What the rules say of a logger, remembered."""
        decision = self._decisions.get(logger)
        if decision is None:
            if len(self._decisions) >= _DECISIONS_KEPT:
                self._decisions.clear()
            decision = self._decisions[logger] = self._decide(logger, component_of(logger, self._component))
        return decision

    def _decide(self, logger: str, component: str) -> Decision:
        covering = [rule for rule in self.rules if covers(rule.selector, logger, component)]
        covering.sort(key=lambda rule: _strength(rule, logger), reverse=True)
        conditions: list[tuple[Where, int]] = []
        for rule in covering:
            if not rule.where:
                # What is weaker than a rule that always holds is never asked.
                return Decision(rule.level, bool(rule.selector), tuple(conditions))
            conditions.append((rule.where, rule.level))
        return Decision(conditions=tuple(conditions))


def covers(selector: str, logger: str, component: str) -> bool:
    """Whether a selector covers a logger; the empty one covers every logger."""
    return not selector or selects(selector, logger, component)


def _strength(rule: Rule, logger: str) -> tuple[int, int, bool, int, int, int]:
    segments = rule.selector.count(".") + 1 if rule.selector else 0
    depth = f".{logger}.".rfind(f".{rule.selector}.") if rule.selector else 0
    return segments, depth, bool(rule.worker), len(rule.where), _RANKS[rule.rank], rule.version


_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "selector": (str,),
    "level": (int,),
    "rank": (str,),
    "worker": (str,),
    "where": (dict,),
    "expires": (float, int, type(None)),
    "version": (int,),
    "at": (float, int),
    "by": (str,),
}


def _rule(document: object) -> Rule:
    """A rule out of a document, every value checked. Raises WireError."""
    if not isinstance(document, dict):
        raise WireError("control", f"level rule: expected an object, found {type(document).__name__}")
    values = {name: document[name] for name in Rule._fields if name in document}
    wrong = [key for key, value in values.items() if type(value) not in _KINDS[key]]
    wrong += [key for key in ("selector", "level") if key not in values]
    if wrong:
        raise WireError("control", f"level rule: missing or wrong: {', '.join(wrong)}")
    where = values.get("where", {})
    texts = [values["selector"], values.get("worker", ""), values.get("by", ""), *where, *where.values()]
    if any(type(text) is not str or len(text) > MAX_CHARS for text in texts) or len(where) > MAX_CONDITIONS:
        raise WireError("control", f"level rule: expected texts of at most {MAX_CHARS} characters")
    times = [values.get("at", 0), values.get("expires")]
    if not all(at is None or 0 <= at < MAX_TIME for at in times):
        raise WireError("control", f"level rule: expected times in epoch seconds, below {MAX_TIME}")
    if not 0 <= values["level"] <= 100 or values.get("rank", "set") not in _RANKS:
        raise WireError("control", "level rule: expected a level from 0 to 100 and a known rank")
    return Rule(**{**values, "where": tuple(sorted(where.items()))})
