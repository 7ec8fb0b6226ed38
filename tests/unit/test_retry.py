"""When a failed attempt is made again, and when no more."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from logbus.collectors.sinks.base import TryAgainError
from logbus.collectors.writing.breaker import OPEN_S, Breaker
from logbus.collectors.writing.retry import retrying
from logbus.collectors.writing.terms import RETRY_AFTER_S, Terms


class Naps:
    """Sleeps that take no time, and how long they would have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        """Notes it."""
        self.seconds.append(float(seconds))


def failing(times: int, make: Callable[[], BaseException] = lambda: OSError("not yet")) -> Callable[[], int]:
    """An attempt that fails so many times and then returns how often it was made."""
    attempts = count(1)

    def attempt() -> int:
        number = next(attempts)
        if number <= times:
            raise make()
        return number

    return attempt


def naps(terms: Terms, failures: int, make: Any = None, **more: Any) -> list[float]:
    """Between how many attempts there was what wait."""
    nap = Naps()
    attempt = failing(failures) if make is None else failing(failures, make)
    assert retrying(terms, sleep=nap, ended=lambda: False, **more)(attempt) == failures + 1
    return nap.seconds


def test_a_local_sink_is_tried_again_each_half_second() -> None:
    """For ever, and at fixed intervals."""
    assert naps(Terms(), 50) == [0.5] * 50


def test_without_jitter_each_wait_is_twice_the_last_one_up_to_its_bound() -> None:
    """Exponential backoff."""
    assert naps(Terms(initial_s=0.5, max_interval_s=6.0), 6) == [0.5, 1.0, 2.0, 4.0, 6.0, 6.0]


def test_with_jitter_each_wait_is_a_random_part_of_that() -> None:
    """Full jitter: anywhere from nothing to the whole, so that clients which failed together do not come together."""
    terms = Terms(initial_s=0.5, max_interval_s=8.0, jitter=True)
    random.seed(5)
    found = [naps(terms, 8) for _ in range(200)]
    for at, most in enumerate([0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]):
        waits = sorted(one[at] for one in found)
        assert 0 <= waits[0] < most * 0.1
        assert most * 0.9 < waits[-1] <= most
        assert most * 0.35 < waits[100] < most * 0.65


def test_thousands_of_failures_do_not_overflow() -> None:
    """The wait stays at its bound."""
    assert naps(Terms(initial_s=0.1, max_interval_s=30.0), 3000)[-1] == 30.0


@pytest.mark.parametrize(
    ("asked", "kept"), [(7.0, 7.0), (1e9, RETRY_AFTER_S), (0.01, 0.01), (0.0, 0.5), (-5.0, 0.5), (float("nan"), 0.5)]
)
def test_the_word_of_the_other_side_takes_the_place_of_ours(asked: float, kept: float) -> None:
    """Its Retry-After is waited for, an hour at most; nonsense is not minded."""
    terms = Terms(initial_s=0.5, max_interval_s=30.0)
    assert naps(terms, 1, lambda: TryAgainError("busy", after_s=asked)) == [kept]


def test_never_sooner_than_asked_and_not_all_at_once() -> None:
    """With jitter, clients that were told the same moment come within the first interval after it."""
    terms = Terms(initial_s=0.5, max_interval_s=30.0, jitter=True)
    random.seed(5)
    waits = sorted(naps(terms, 200, lambda: TryAgainError("busy", after_s=7.0)))
    assert 7.0 <= waits[0] < 7.1
    assert 7.4 < waits[-1] <= 7.5


def test_an_open_breaker_is_waited_for() -> None:
    """The next attempt comes when it may be made, not in the middle."""
    breaker = Breaker(2, 60.0, lambda: 100.0)

    def told() -> OSError:
        breaker.failed()
        return OSError("no")

    assert naps(Terms(), 3, told, breaker=breaker) == [0.5, OPEN_S, OPEN_S]


def test_it_ends_when_its_caller_says_so() -> None:
    """The last failure is raised, and nothing is waited for any more."""
    nap = Naps()
    with pytest.raises(OSError, match="not yet"):
        retrying(Terms(), sleep=nap, ended=lambda: len(nap.seconds) == 2)(failing(9))
    assert nap.seconds == [0.5, 0.5]


def test_terms_that_give_up_raise_the_last_failure() -> None:
    """Once the first attempt is longer ago than ``max_elapsed_s``."""
    nap = Naps()
    with pytest.raises(TryAgainError, match="busy"):
        retrying(Terms(max_elapsed_s=1e-9), sleep=nap, ended=lambda: False)(failing(9, lambda: TryAgainError("busy")))
    assert nap.seconds == []


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_is_no_failure_of_the_sink_is_raised_at_once(kind: type[BaseException]) -> None:
    """An interrupt is not tried again."""
    nap = Naps()
    with pytest.raises(kind):
        retrying(Terms(), sleep=nap, ended=lambda: False)(failing(1, kind))
    assert nap.seconds == []


def test_it_begins_anew_with_each_call() -> None:
    """The waits of one batch do not grow on those of another."""
    nap = Naps()
    again = retrying(Terms(initial_s=0.5, max_interval_s=30.0), sleep=nap, ended=lambda: False)
    assert (again(failing(2)), again(failing(2))) == (3, 3)
    assert nap.seconds == [0.5, 1.0, 0.5, 1.0]
