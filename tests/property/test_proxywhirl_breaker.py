"""Any life of a circuit breaker: the events are the changes of its state, each once and in order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, strategies as st

from logbus.integrations.proxywhirl import install, uninstall
from tests.real_proxywhirl import events, needs_proxywhirl

pytestmark = needs_proxywhirl

#: What happens to a breaker; "wait" is the end of its time, as far as an open one has any.
ACTS = ("record_failure", "record_success", "should_attempt_request", "reset", "wait")
NAMES = {"open": "circuit_opened", "half_open": "circuit_half_open", "closed": "circuit_closed"}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("public_only", [False, True], ids=["private", "public"])
@given(acts=st.lists(st.sampled_from(ACTS), max_size=30), threshold=st.integers(1, 3))
def test_every_change_is_told_once_in_order(
    asynchronous: bool, public_only: bool, acts: list[str], threshold: int
) -> None:
    """A witness that looks at the state after each act sees what the events say: before, after, how many failures."""
    from proxywhirl.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker

    kind: Any = AsyncCircuitBreaker if asynchronous else CircuitBreaker

    async def live() -> list[tuple[str, str, int]]:
        breaker = kind(proxy_id="p", failure_threshold=threshold)
        seen = []
        for act in acts:
            before, failures = breaker.state.value, breaker.failure_count
            if act == "wait":
                breaker.next_test_time = breaker.next_test_time and 1.0
            elif asynchronous:
                await getattr(breaker, act)()
            else:
                getattr(breaker, act)()
            after = breaker.state.value
            if after != before:
                seen.append((NAMES[after], before, failures if after == "closed" else breaker.failure_count))
        return seen

    install(public_only=public_only)
    try:
        with events("circuit_breaker") as kept:
            witnessed = asyncio.run(live())
    finally:
        uninstall()
    told: list[Any] = kept.records
    assert [(record.event, record.before, record.failures) for record in told] == witnessed
