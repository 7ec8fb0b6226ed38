"""When a writer is to end, and what ends its waits."""

from __future__ import annotations

import threading
import time

import pytest

from logbus.collectors.writing import ending as module
from logbus.collectors.writing.ending import Ending
from tests.bench import ENOUGH


def made(enough: int = 0) -> Ending:
    """An ending that has not begun."""
    return Ending(threading.Condition(threading.Lock()), enough)


def test_the_first_deadline_counts_or_an_earlier_one() -> None:
    """None is in the past, so that what is under way has its moment."""
    ending = made()
    assert (ending.begun, ending.over, ending.gives_up()) == (False, False, False)
    soon = time.monotonic() + ENOUGH
    ending.begin(soon)
    ending.begin(soon + 1.0)
    assert (ending.deadline, ending.begun, ending.over) == (soon, True, False)
    ending.begin(0.0)
    assert ending.deadline is not None
    assert ending.deadline > 1.0
    assert ending.over
    assert ending.gives_up()


def test_failures_count_from_the_beginning_of_the_end() -> None:
    """In a row; an attempt that began before the end is none of them."""
    ending = made(enough=2)
    for _ in range(5):
        ending.tried(ending=False, failed=True)
    ending.begin(time.monotonic() + ENOUGH)
    given_up = []
    for failed in (True, False, True, True):
        ending.tried(ending=True, failed=failed)
        given_up.append(ending.gives_up())
    assert given_up == [False, False, False, True]
    assert ending.given_up


def test_without_a_number_only_the_deadline_ends_it() -> None:
    """A file is tried as long as there is time."""
    ending = made()
    ending.begin(time.monotonic() + ENOUGH)
    for _ in range(100):
        ending.tried(ending=True, failed=True)
    assert not ending.gives_up()


def test_a_wait_is_ended_by_the_end_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt is made at once; those after it are no longer apart than at the end, and end with it."""
    monkeypatch.setattr(module, "LAST_RETRY_S", 0.05)
    ending = made()
    threading.Timer(0.01, ending.begin, (time.monotonic() + ENOUGH,)).start()
    ending.pause(10 * ENOUGH)
    assert ending.begun
    ending.tried(ending=True, failed=True)
    began = time.monotonic()
    ending.pause(10 * ENOUGH)
    assert 0.05 <= time.monotonic() - began < ENOUGH
    threading.Timer(0.01, ending.begin, (0.0,)).start()
    monkeypatch.setattr(module, "LAST_RETRY_S", 10 * ENOUGH)
    ending.pause(10 * ENOUGH)
    assert ending.over


def test_a_wait_is_ended_by_a_call_that_is_then_heeded() -> None:
    """And the next one is not, unless there is another call."""
    ending = made()
    threading.Timer(0.01, ending.call).start()
    ending.pause(10 * ENOUGH)
    assert [ending.called, ending.heed(), ending.called, ending.heed()] == [True, True, False, False]
    began = time.monotonic()
    ending.pause(0.02)
    assert time.monotonic() - began >= 0.02
