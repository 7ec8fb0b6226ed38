"""The opener opens once, later, unless somebody was quicker."""

from __future__ import annotations

import threading

import pytest

from logbus.producers import opener as module
from logbus.producers.opener import Opener


def test_it_opens_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, in a thread of its own, which then ends."""
    monkeypatch.setattr(module, "OPEN_AFTER_S", 0.01)
    opened = threading.Event()
    opener = Opener(opened.set)
    opener.start()
    assert opened.wait(10)
    opener.stop()


def test_it_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it never opens, and its thread has ended: a fork may follow."""
    monkeypatch.setattr(module, "OPEN_AFTER_S", 600.0)
    opened = threading.Event()
    opener = Opener(opened.set)
    opener.start()
    opener.stop()
    opener._thread.join(10)
    assert not opener._thread.is_alive()
    assert not opened.is_set()


def test_one_that_never_started_can_be_stopped() -> None:
    """The system had no thread to give."""
    Opener(threading.Event().set).stop()
