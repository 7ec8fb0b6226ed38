"""Levels apart, against a plain reading of the rules: who gets a record, whatever is set in whatever order."""

from __future__ import annotations

import io
import logging

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logbus.producers.aside import Aside
from logbus.producers.crossing import CROSSING
from tests.kept import Kept

LEVELS = st.sampled_from([10, 20, 30, 40])
NAMES = st.sampled_from(["", "a", "a.b", "c"])


class Levels(RuleBasedStateMachine):
    """A few loggers, what the application sets on them, and one handler of its own on the root."""

    def __init__(self) -> None:
        super().__init__()
        self.root = logging.getLogger()
        self.before = self.root.level, self.root.handlers
        self.root.handlers, self.root.level = [], logging.WARNING
        self.stream = io.StringIO()
        self.root.addHandler(logging.StreamHandler(self.stream))
        self.kept = Kept()
        CROSSING.begin(self.kept.producer)
        self.aside = Aside(logging.root)
        self.set: dict[str, int] = {}
        self.said: int | None = None

    @initialize(level=st.none() | LEVELS)
    def begin(self, level: int | None) -> None:
        """The level that ``logbus run`` was given, or none."""
        self.said = level
        self.aside.begin(level)

    @rule(name=NAMES, level=st.just(0) | LEVELS)
    def set_level(self, name: str, level: int) -> None:
        """The application sets a level, or takes one back; a root without a level is no case of real life."""
        if name or level:
            self.set[name] = level
            logging.getLogger(f"lb.{name}" if name else None).setLevel(level)

    @invariant()
    def everybody_gets_what_is_his(self) -> None:
        """The handler what its levels say, and we that, and what is open for us alone."""
        for name in ("a", "a.b", "c"):
            own = next((level for above in (name, name[:1]) if (level := self.set.get(above))), 0)
            shown_from = own or self.set.get("", logging.WARNING)
            ours = self.said if self.said is not None else 20 if "" not in self.set else shown_from
            taken_from = own or min(ours, shown_from)
            log = logging.getLogger(f"lb.{name}")
            for level in (10, 20, 30, 40):
                self.stream.truncate(0)
                self.kept.entries.clear()
                assert log.isEnabledFor(level) is (level >= taken_from)
                log.log(level, "x")
                assert len(self.kept.entries) == (level >= taken_from)
                assert bool(self.stream.getvalue()) is (level >= shown_from)
            assert log.getEffectiveLevel() == shown_from

    def teardown(self) -> None:
        """Logging as it was."""
        self.aside.end()
        CROSSING.end()
        for name in ("a", "a.b", "c"):
            logging.getLogger(f"lb.{name}").setLevel(0)
        self.root.level, self.root.handlers = self.before
        self.root.manager._clear_cache()  # type: ignore[attr-defined]


TestLevels = Levels.TestCase
TestLevels.__doc__ = "Sequences of levels, as an application may set them."
