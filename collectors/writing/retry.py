"""When a failed attempt on a sink is made again: tenacity's loop, by the terms of the sink.

Waits grow from failure to failure. With jitter each is a random part of what it would be without: "full jitter", by
which clients that failed together do not come back together, and which needs the fewest attempts in all (Marc Brooker,
"Exponential Backoff And Jitter", AWS Architecture Blog, 2015). Where the other side has said how long it wants to be
left alone (Retry-After, RFC 9110 §10.2.3), or the breaker is open, that takes the place of our guess: never sooner, and
with jitter up to the first interval later. It is kept to for :data:`logbus.collectors.writing.terms.RETRY_AFTER_S` at
most.

The loop ends with the success, with a failure once the terms give it up, or when its caller says so. Between attempts
it sleeps as its caller does, who may be woken.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import tenacity

from logbus.collectors.sinks.base import TryAgainError
from logbus.collectors.writing.breaker import Breaker
from logbus.collectors.writing.terms import RETRY_AFTER_S, Terms


def retrying(
    terms: Terms, *, sleep: Callable[[float], None], ended: Callable[[], bool], breaker: Breaker | None = None
) -> tenacity.Retrying:
    """A callable that calls what it is given until that returns, and returns the same; for one thread.

    ``sleep`` waits for so many seconds, and may return sooner: the next attempt is made at once. ``ended`` is asked
    after each failure. If it says yes, or the terms give up (``max_elapsed_s`` since the first attempt, at the end of
    one), the last failure is raised. An error that is no Exception is raised at once. What an attempt tells the breaker
    it has to tell before it fails.
    """
    grown = tenacity.wait_random_exponential if terms.jitter else tenacity.wait_exponential
    backoff = grown(multiplier=terms.initial_s, max=terms.max_interval_s)
    given_up = tenacity.stop_after_delay(terms.max_elapsed_s)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = min(error.after_s, RETRY_AFTER_S) if isinstance(error, TryAgainError) else 0.0
        apart = max(0.0, asked, breaker.wait_s if breaker is not None else 0.0)
        if not apart:
            return backoff(state)
        return apart + random.uniform(0.0, terms.initial_s) if terms.jitter else apart  # noqa: S311  # it hides nothing

    def stop(state: tenacity.RetryCallState) -> bool:
        return ended() or given_up(state)

    return tenacity.Retrying(
        sleep=sleep,
        wait=wait,
        stop=stop,
        retry=tenacity.retry_if_exception_type(Exception),
        reraise=True,
    )
