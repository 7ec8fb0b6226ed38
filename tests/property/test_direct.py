"""The direct way against its model: which methods of which modules are live is what the rules decide, and nothing else.

Rules come and go in random order, modules are imported and reloaded, handlers of an application are added and removed;
after each step every method of every module is called, and what arrives is what :meth:`logbus.rules.Table.decide` says.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import loguru
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from logbus.producers.context import context
from logbus.producers.direct import METHODS, Direct
from logbus.producers.loguru_front import LOGURU
from logbus.rules import Rule, Table
from tests.kept import Kept

NAMES = ("shop", "shop.till", "shop.till.drawer", "stock.till")
LEVELS = {"trace": 5, "debug": 10, "info": 20, "success": 25, "warning": 30, "error": 40, "critical": 50}
SOURCE = """
from loguru import logger
def call(method, message):
    getattr(logger, method)(message)
def log(level, message):
    logger.log(level, message)
"""

rules = st.builds(
    Rule,
    selector=st.sampled_from(["", "shop", "till", "shop.till", "drawer", "nobody"]),
    level=st.sampled_from([0, 5, 10, 20, 22, 30, 40, 60]),
    where=st.sampled_from([(), (), (("request_id", "7"),), (("request_id", "8"),)]),
)


class DirectMachine(RuleBasedStateMachine):
    """Loguru, a front, and modules that log."""

    def __init__(self) -> None:
        super().__init__()
        loguru.logger.remove()
        self.kept = Kept()
        self.in_force: tuple[Rule, ...] = ()
        self.foreign: list[int] = []
        self.modules: dict[str, Any] = {}
        LOGURU.begin(self.kept.producer, level=20)

    @rule(name=st.sampled_from(NAMES))
    def load(self, name: str) -> None:
        """A module is imported, or reloaded into its old globals."""
        module: Any = self.modules.setdefault(name, ModuleType(name))
        exec(SOURCE, vars(module))
        sys.modules[name] = module

    @rule(found=st.lists(rules, max_size=4))
    def turn(self, found: list[Rule]) -> None:
        """Other rules are in force."""
        self.in_force = tuple(found)
        self.kept.rule(*found)

    @rule()
    def add_foreign(self) -> None:
        """The application adds a handler of its own."""
        self.foreign.append(loguru.logger.add(lambda _: None, format=""))

    @precondition(lambda self: bool(self.foreign))
    @rule()
    def remove_foreign(self) -> None:
        """And takes it away."""
        loguru.logger.remove(self.foreign.pop())

    @rule()
    def remove_all(self) -> None:
        """Or removes everything, ours too."""
        loguru.logger.remove()
        self.foreign.clear()

    @invariant()
    def what_arrives_is_what_the_rules_decide(self) -> None:
        """Method by method, with and without the context that conditions look at."""
        LOGURU.look()
        assert (LOGURU.kind() == "direct") == (not self.foreign)
        table = Table(self.in_force)
        for name, module in self.modules.items():
            assert (type(module.logger) is Direct) == (not self.foreign)
            decision = table.decide(name)
            for fields in ({}, {"request_id": "7"}):
                self.kept.entries.clear()
                with context(**fields):
                    for method, level in LEVELS.items():
                        module.call(method, method)
                        module.log(level, f"log {method}")
                live = [method for method, level in LEVELS.items() if decision.passes(level, fields, otherwise=20)]
                assert self.kept.messages == [text for method in live for text in (method, f"log {method}")]
                assert {entry.site[0] for entry in self.kept.entries} <= {name}

    def teardown(self) -> None:
        """Every module has loguru's logger again."""
        LOGURU.end()
        try:
            for name, module in self.modules.items():
                assert module.logger is loguru.logger
                assert sys.modules.pop(name) is module
        finally:
            loguru.logger.remove()


TestDirect = DirectMachine.TestCase
TestDirect.settings = settings(settings(), stateful_step_count=12)


def test_every_method_is_modelled() -> None:
    """The model knows the methods and their levels."""
    assert set(METHODS) - {"exception"} == set(LEVELS)
