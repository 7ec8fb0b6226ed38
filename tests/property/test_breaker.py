"""The breaker against a plain account of what it was told, and that nothing wedges it."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from logbus.collectors.writing.breaker import OPEN_S, Breaker
from logbus.collectors.writing.terms import RETRY_AFTER_S


class Circuits(RuleBasedStateMachine):
    """A breaker that is told anything in any order, and what is known of it."""

    @initialize(failures=st.integers(0, 4), longest=st.floats(0.5, 300.0))
    def begin(self, failures: int, longest: float) -> None:
        """A closed one."""
        self.now = 5.0
        self.failures = failures
        self.longest = longest
        self.breaker = Breaker(failures, longest, lambda: self.now)
        self.in_a_row = 0
        #: Single records that were allowed and have failed since it was last closed; when it opened, and for how long.
        self.probes_failed = 0
        self.probing = False
        self.until = 0.0

    @property
    def closed(self) -> bool:
        """Whether the account says that everything is let through."""
        return not self.failures or self.in_a_row < self.failures

    def open_s(self) -> float:
        """The open time of the account."""
        return min(self.longest, max(min(self.longest, OPEN_S) * 2.0**self.probes_failed, min(self.longest, OPEN_S)))

    @rule(seconds=st.floats(0.0, 400.0))
    def time_passes(self, seconds: float) -> None:
        """By any amount."""
        self.now += seconds

    @rule()
    def ask(self) -> None:
        """Everything while it is closed, else one record when its time has come."""
        expected = self.closed or self.now >= self.until
        assert self.breaker.allows() == expected
        if expected and not self.closed:
            self.probing = True
            self.until = self.now + self.open_s()

    @rule()
    def succeed(self) -> None:
        """Closes it, whether it was asked or not."""
        self.breaker.succeeded()
        self.in_a_row = self.probes_failed = 0
        self.probing = False

    @rule(asked=st.one_of(st.just(0.0), st.floats(0.0, 10_000.0)))
    def fail(self, asked: float) -> None:
        """Opens it when there were enough; a single record that was allowed makes it longer."""
        self.breaker.failed(asked)
        self.in_a_row += 1
        if self.closed:
            return
        if self.probing:
            self.probes_failed += 1
        self.probing = False
        self.until = self.now + max(self.open_s(), min(asked, RETRY_AFTER_S))

    @invariant()
    def says_so(self) -> None:
        """Its state, its wait and the size of an attempt are those of the account, and the wait has an end."""
        if self.closed:
            assert (self.breaker.state, self.breaker.wait_s, self.breaker.max_records) == ("closed", 0.0, None)
        else:
            assert self.breaker.state == ("half_open" if self.probing else "open")
            assert self.breaker.max_records == 1
            assert math.isclose(self.breaker.wait_s, max(0.0, self.until - self.now), abs_tol=1e-6)
            assert self.breaker.wait_s <= max(self.longest, RETRY_AFTER_S) + 1e-6

    def teardown(self) -> None:
        """Whatever it was told, it allows an attempt when its wait is over, and closes when that gets through."""
        if not hasattr(self, "breaker"):
            return
        self.now = math.nextafter(self.now + self.breaker.wait_s, math.inf)
        assert self.breaker.allows()
        self.breaker.succeeded()
        assert self.breaker.state == "closed"


TestCircuits = Circuits.TestCase
TestCircuits.__doc__ = "It opens, half opens and closes as it is told, and no order of events holds it up for ever."
