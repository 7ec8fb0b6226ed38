"""Durations in buckets."""

from __future__ import annotations

import threading

import pytest

from logbus.collectors.histogram import BOUNDS_S, Histogram


def test_a_duration_counts_in_every_bucket_that_holds_it() -> None:
    """Buckets are cumulative, a bound belongs to its own, and the last has no bound."""
    histogram = Histogram()
    for seconds in (0.0, BOUNDS_S[0], 0.002, BOUNDS_S[-1], 1e9):
        histogram.observe(seconds)
    found = histogram.now()
    assert found.cumulative == (2, *[3] * (len(BOUNDS_S) - 2), 4, 5)
    assert found.count == 5
    assert found.seconds == pytest.approx(0.003 + 60 + 1e9)


def test_nothing_is_lost_between_threads() -> None:
    """Two writers of one sink may observe at the same time."""
    histogram = Histogram()

    def observe() -> None:
        for _ in range(20_000):
            histogram.observe(0.5)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert histogram.now().count == 80_000
    assert histogram.now().seconds == 40_000
