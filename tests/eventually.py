"""Waiting in tests: for a condition, with a deadline, and never for a length of time that is hoped to be enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds that a condition is waited for unless a test says otherwise: generous, since only a failure takes so long.
PATIENCE = 10.0
#: Seconds between two looks; short, since a test that passes waits for one of these on average.
INTERVAL = 0.005


def eventually(look: Callable[[], T], timeout: float = PATIENCE, *, what: str | None = None) -> T:
    """The first truthy value that ``look()`` gives within ``timeout`` seconds.

    Raises AssertionError with the last value seen. An AssertionError out of ``look`` counts as "not yet", so a
    whole block of asserts may be waited for; any other exception comes out at once.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            seen = look()
            last = repr(seen)
        except AssertionError as error:
            last = f"AssertionError: {error}"
        else:
            if seen:
                return seen
        if time.monotonic() > deadline:
            described = what or getattr(look, "__qualname__", repr(look))
            raise AssertionError(f"not within {timeout:g} s: {described}; last seen: {last}")
        time.sleep(INTERVAL)
