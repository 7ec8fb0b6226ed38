"""The breaker of a sink: when it opens, for how long, and what gets through."""

from __future__ import annotations

import pytest

from logbus.collectors.writing.breaker import OPEN_S, Breaker
from logbus.collectors.writing.terms import RETRY_AFTER_S, Terms


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


def opened(clock: Clock, failures: int = 3, max_open_s: float = 60.0) -> Breaker:
    """A breaker that has just opened."""
    breaker = Breaker(failures, max_open_s, clock)
    for _ in range(failures):
        assert breaker.allows()
        breaker.failed()
    assert breaker.state == "open"
    return breaker


def test_it_opens_after_failures_in_a_row_only(clock: Clock) -> None:
    """A success between them begins the count anew."""
    breaker = Breaker(3, 60.0, clock)
    for outcome in ("failed", "failed", "succeeded", "failed", "failed"):
        assert breaker.allows()
        getattr(breaker, outcome)()
        assert (breaker.state, breaker.wait_s, breaker.max_records) == ("closed", 0.0, None)
    breaker.failed()
    assert (breaker.state, breaker.wait_s, breaker.allows()) == ("open", OPEN_S, False)


def test_one_record_shows_whether_the_other_side_is_back(clock: Clock) -> None:
    """After the open time one attempt of one record is allowed; when it has got through, everything is."""
    breaker = opened(clock)
    clock.now += OPEN_S
    assert (breaker.state, breaker.wait_s, breaker.allows()) == ("open", 0.0, True)
    assert (breaker.state, breaker.max_records, breaker.allows()) == ("half_open", 1, False)
    breaker.succeeded()
    assert (breaker.state, breaker.max_records, breaker.allows(), breaker.failed_attempts) == ("closed", None, True, 0)


def test_each_single_record_that_fails_doubles_the_open_time_to_its_bound(clock: Clock) -> None:
    """5, 10, 20 seconds and so on up to the bound; once it has closed, 5 again."""
    breaker = opened(clock, 1, 17.0)
    waits = []
    for _ in range(4):
        waits.append(breaker.wait_s)
        clock.now += breaker.wait_s
        assert breaker.allows()
        breaker.failed()
    assert waits == [OPEN_S, 2 * OPEN_S, 17.0, 17.0]
    breaker.succeeded()
    breaker.failed()
    assert breaker.wait_s == OPEN_S


def test_it_is_open_no_longer_than_attempts_are_apart(clock: Clock) -> None:
    """A sink whose attempts are a second apart is looked at each second, whatever the breaker's own time is."""
    breaker = Breaker.of(Terms(breaker_failures=1, initial_s=0.1, max_interval_s=1.0), clock)
    breaker.failed()
    assert breaker.wait_s == 1.0


@pytest.mark.parametrize(("asked", "kept"), [(1.0, OPEN_S), (40.0, 40.0), (1e9, RETRY_AFTER_S), (float("nan"), OPEN_S)])
def test_what_the_other_side_asks_for_is_kept_to_within_an_hour(clock: Clock, asked: float, kept: float) -> None:
    """A Retry-After makes the open time longer, never shorter."""
    breaker = Breaker(1, 60.0, clock)
    breaker.failed(asked)
    assert breaker.wait_s == kept


def test_an_attempt_of_which_nothing_is_heard_does_not_hold_it_up_for_ever(clock: Clock) -> None:
    """Another one is allowed after the open time."""
    breaker = opened(clock)
    clock.now += OPEN_S
    assert breaker.allows()
    assert not breaker.allows()
    clock.now += breaker.wait_s
    assert breaker.allows()


def test_attempts_that_nobody_asked_for_count_too(clock: Clock) -> None:
    """At the end a writer tries without asking: what gets through closes it, what fails does not double its time."""
    breaker = opened(clock)
    breaker.failed()
    breaker.failed()
    assert (breaker.state, breaker.wait_s, breaker.failed_attempts) == ("open", OPEN_S, 5)
    breaker.succeeded()
    assert breaker.state == "closed"


def test_without_a_number_of_failures_it_never_opens(clock: Clock) -> None:
    """It counts them, and lets everything through."""
    breaker = Breaker.of(Terms(), clock)
    for _ in range(100):
        breaker.failed(30.0)
    assert (breaker.allows(), breaker.wait_s, breaker.state, breaker.failed_attempts) == (True, 0.0, "closed", 100)
