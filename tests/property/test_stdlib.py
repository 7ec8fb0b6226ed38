"""The front of the standard library under any sequence of rules, looks and things that an application does.

Beside the tree of loggers that the front holds stands a second one to which the application does the same. Whatever is
in force, each logger lets pass what the rules say, on top of what it lets pass there; when nothing is in force any
more, the two trees are equal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logbus.producers.context import clear_context, context
from logbus.producers.gate import Gate
from logbus.producers.recorder import Flight, Recorder
from logbus.producers.stdlib import StdlibFront
from logbus.rules import Rule, Table, holds

NAMES = st.sampled_from(
    ["shop", "shop.till", "shop.till.drawer", "till", "lib", "lib.http", "billing", "__main__", "proxywhirl.api.core"]
)
SELECTORS = st.sampled_from(["", "shop", "till", "shop.till", "http", "billing", "api", "root", "__main__"])
LEVELS = st.sampled_from([0, 5, 10, 20, 25, 30, 50])
WHERE: st.SearchStrategy[tuple[tuple[str, str], ...]] = st.sampled_from([(), (), (("request_id", "r1"),)])
RULES = st.lists(
    st.builds(lambda selector, level, where: Rule(selector, level, where=where), SELECTORS, LEVELS, WHERE), max_size=4
)
CONTEXTS: list[dict[str, Any]] = [{}, {"request_id": "r1"}, {"request_id": "r2"}]
ASKED = (1, 5, 10, 15, 20, 30, 50)


def tree() -> logging.Logger:
    """A root logger with a manager of its own."""
    root = logging.RootLogger(logging.WARNING)
    root.manager = logging.Manager(root)
    return root


class Verbose(logging.Logger):
    """A logger class of an application, with a level from the start and a setLevel that says more."""

    def __init__(self, name: str) -> None:
        super().__init__(name, 10)
        self.told: list[Any] = []

    def setLevel(self, level: Any) -> None:  # noqa: N802 (logging's name)
        """Remembers what it was told."""
        self.told.append(level)
        super().setLevel(level)


class AnyUse(RuleBasedStateMachine):
    """Rules that come and go, and an application that does not know of them."""

    @initialize()
    def begin(self) -> None:
        """Two equal trees; the gate attaches its front to the first."""
        self.root, self.alone = tree(), tree()
        self.original = logging.Logger.setLevel
        self.gate = Gate(component="billing")
        self.front = StdlibFront(self.root)
        self.gate.attach(self.front)
        self.table = Table()

    def teardown(self) -> None:
        """Everything goes, and everything is as the application alone would have left it."""
        if hasattr(self, "front"):
            self.front.leave()
            self._check_untouched()
        clear_context()

    def _both(self, action: Callable[[logging.Logger], Any], name: str) -> None:
        for root in (self.root, self.alone):
            action(self._named(root, name))

    def _readable(self, name: str) -> set[int]:
        """The levels that a logger has now, or had from us when the application set one: to set them is to go back."""
        logger = self._named(self.root, name)
        hold = self.front._holds.get(id(logger))
        return {logger.level, *(ours for _, ours in hold.earlier if ours is not None)} if hold else {logger.level}

    def _named(self, root: logging.Logger, name: str) -> logging.Logger:
        return root if name == "root" else root.manager.getLogger(name)

    @rule(name=NAMES)
    def create(self, name: str) -> None:
        """Somebody asks for a logger."""
        self._both(lambda logger: None, name)

    @rule(name=NAMES)
    def create_another_kind(self, name: str) -> None:
        """Somebody asks for a logger while the application has a class of its own.

        Logging itself does not notice that loggers below it inherit another level now, until it forgets what it knew.
        """
        for root in (self.root, self.alone):
            root.manager.setLoggerClass(Verbose)
            root.manager.getLogger(name)
            root.manager.setLoggerClass(logging.Logger)
            cast("Any", root.manager)._clear_cache()

    @rule(name=NAMES | st.just("root"), level=LEVELS)
    def set_level(self, name: str, level: int) -> None:
        """The application chooses a level. Not one of ours that it may have read there, to be set back."""
        self.create(name)
        if level not in self._readable(name):
            self._both(lambda logger: logger.setLevel(level), name)

    @rule(name=NAMES | st.just("root"), levels=st.lists(LEVELS, min_size=1, max_size=3))
    def set_for_a_while(self, name: str, levels: list[int]) -> None:
        """The application sets levels inside each other, each until the next one outside is set back."""

        def set_and_set_back(logger: logging.Logger) -> None:
            read = []
            for level in levels:
                read.append(logger.level)
                logger.setLevel(level)
            for level in reversed(read):
                logger.setLevel(level)

        self.create(name)
        if self._readable(name).isdisjoint(levels):
            self._both(set_and_set_back, name)

    @rule(name=NAMES | st.just("root"), level=LEVELS)
    def write_level(self, name: str, level: int) -> None:
        """The application chooses a level behind everybody's back; the look of the next second takes it in.

        Not that which is in force there: it can't be told from ours.
        """

        def write(logger: logging.Logger) -> None:
            logger.level = level
            cast("Any", logger.manager)._clear_cache()

        self.create(name)
        if self._named(self.root, name).level != level:
            self._both(write, name)
        self.front.look()

    @rule(name=NAMES, disabled=st.booleans())
    def disable_one(self, name: str, disabled: bool) -> None:
        """As fileConfig does to loggers that it does not know."""

        def disable(logger: logging.Logger) -> None:
            logger.disabled = disabled

        self._both(disable, name)

    @rule(level=st.sampled_from([0, 0, 10, 20]))
    def disable_all(self, level: int) -> None:
        """``logging.disable``."""
        for root in (self.root, self.alone):
            root.manager.disable = level
            cast("Any", root.manager)._clear_cache()

    @rule(rules=RULES)
    def turn(self, rules: list[Rule]) -> None:
        """The operator says something, or time ends something."""
        self.table = Table(rules, component="billing")
        assert self.front.apply(self.table)

    @rule(level=st.none() | st.sampled_from([5, 15]))
    def record(self, level: int | None) -> None:
        """A flight recorder begins or ends."""
        self.gate.recorder = None if level is None else Recorder(Flight(level=level))
        assert self.front.apply(self.table)

    @rule()
    def look(self) -> None:
        """A second has passed."""
        self.front.look()

    @rule(name=NAMES)
    def forget(self, name: str) -> None:
        """Somebody takes a logger out of the tree, as tests do."""
        for root in (self.root, self.alone):
            if name in root.manager.loggerDict and not any(
                other.startswith(f"{name}.") for other in root.manager.loggerDict
            ):
                del root.manager.loggerDict[name]

    @invariant()
    def passes_what_it_should(self) -> None:
        """Each logger, asked for each level in each context, says what the rules make of it."""
        recorder = self.gate.recorder
        for logger in self._loggers(self.root):
            alone = self._alone(logger)
            decision = self.table.decide(logger.name)
            level = self._level(alone)
            assert logger.getEffectiveLevel() == level, logger
            for fields in CONTEXTS if decision.conditions else CONTEXTS[:1]:
                here = next((at for where, at in decision.conditions if holds(where, fields)), level)
                if recorder is not None:
                    here = min(here, recorder.level)
                least = max(here, logger.manager.disable + 1)
                with context(**fields):
                    passed = [asked for asked in ASKED if logger.isEnabledFor(asked)]
                assert passed == [asked for asked in ASKED if asked >= least and not logger.disabled], (logger, fields)

    def _level(self, alone: logging.Logger) -> int:
        """The level of a logger, out of the rules and of what the application did."""
        decision = self.table.decide(alone.name)
        if decision.named and decision.level is not None:
            return max(1, decision.level)
        above: logging.Logger | None = alone
        while above is not None and above is not self.alone:
            if above.level:
                return above.level
            above = above.parent
        # Nobody on the way: what the root has, or would have without the rule that names it.
        of_root = self.alone.level if decision.level is None else decision.level
        apart = self.table.decide("root").named and alone is not self.alone
        return max(1, of_root) if apart else of_root

    @invariant()
    def hooks_are_there_only_when_needed(self) -> None:
        """Without a rule and a recorder nothing of ours is in the way."""
        if not self.table and self.gate.recorder is None:
            self._check_untouched()

    def _check_untouched(self) -> None:
        assert logging.Logger.setLevel is self.original
        assert vars(self.root.manager).keys() == vars(self.alone.manager).keys()
        for logger in self._loggers(self.root):
            alone = self._alone(logger)
            assert vars(logger).keys() == vars(alone).keys()
            assert type(cast("Any", logger)._cache) is dict
            assert (logger.level, logger.filters, logger.disabled) == (alone.level, alone.filters, alone.disabled)
            assert logger.getEffectiveLevel() == alone.getEffectiveLevel()
            assert [logger.isEnabledFor(asked) for asked in ASKED] == [alone.isEnabledFor(asked) for asked in ASKED]

    def _loggers(self, root: logging.Logger) -> list[logging.Logger]:
        known = root.manager.loggerDict.values()
        return [root, *(logger for logger in known if isinstance(logger, logging.Logger))]

    def _alone(self, logger: logging.Logger) -> logging.Logger:
        if logger is self.root:
            return self.alone
        return cast("logging.Logger", self.alone.manager.loggerDict[logger.name])


TestAnyUse = AnyUse.TestCase
