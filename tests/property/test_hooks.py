"""Hooks, applied and reverted in any order beside wrappers of others: what is called is always what is in force."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from logbus.integrations import hooks
from logbus.integrations.hooks import Hook

HOOKS = 3


class Street(RuleBasedStateMachine):
    """A class with one method, three hooks on it, and somebody else who wraps it too and takes theirs off again."""

    def __init__(self) -> None:
        super().__init__()
        street: Any = ModuleType("street")
        self.house: Any = type("House", (), {"ring": lambda self: ""})
        street.House = self.house
        sys.modules["street"] = street
        self.before = dict(vars(self.house))
        self.hooks = [Hook(f"hook-{number}", "street:House.ring", self._maker(str(number))) for number in range(HOOKS)]
        #: From the inside to the outside: hooks in force, and wrappers of others with what they stand on.
        self.order: list[str] = []
        self.foreign: list[tuple[str, Any, Any]] = []

    @staticmethod
    def _maker(letter: str) -> Callable[[Any], Any]:
        return lambda original: lambda self: original(self) + letter

    @rule(number=st.integers(0, HOOKS - 1))
    def apply(self, number: int) -> None:
        """Puts a hook on top, if it is not in force."""
        assert self.hooks[number].apply()
        if str(number) not in self.order:
            self.order.append(str(number))

    @rule(number=st.integers(0, HOOKS - 1))
    def revert(self, number: int) -> None:
        """Takes a hook out of force."""
        self.hooks[number].revert()
        if str(number) in self.order:
            self.order.remove(str(number))

    @precondition(lambda self: len(self.foreign) < 3)
    @rule()
    def wrap(self) -> None:
        """Somebody else wraps what is there."""
        letter = "abc"[len(self.foreign)]
        below = self.house.ring
        above = self._maker(letter)(below)
        self.house.ring = above
        self.foreign.append((letter, below, above))
        self.order.append(letter)

    @precondition(lambda self: self.foreign and vars(self.house)["ring"] is self.foreign[-1][2])
    @rule()
    def unwrap(self) -> None:
        """They take theirs off, where it lies on top."""
        letter, below, _ = self.foreign.pop()
        self.house.ring = below
        self.order.remove(letter)

    @invariant()
    def what_is_in_force_is_called(self) -> None:
        """A call passes every hook in force and every wrapper of others, in their order, and nothing else."""
        assert self.house().ring() == "".join(self.order)
        assert [hook.applied for hook in self.hooks] == [str(number) in self.order for number in range(HOOKS)]

    def teardown(self) -> None:
        """With the others gone, from the top down, and the hooks reverted, the class is what it was."""
        while self.foreign:
            letter, below, above = self.foreign.pop()
            for number, hook in enumerate(self.hooks):
                if str(number) not in self.order:
                    hook.revert()  # takes off what lies on top and is out of force
                elif self.order.index(str(number)) > self.order.index(letter):
                    hook.revert()
                    self.order.remove(str(number))
            assert vars(self.house)["ring"] is above
            self.house.ring = below
            self.order.remove(letter)
        for hook in self.hooks:
            hook.revert()
        assert dict(vars(self.house)) == self.before
        assert hooks._LAYERS == []
        del sys.modules["street"]


TestStreet = Street.TestCase
TestStreet.__doc__ = Street.__doc__
