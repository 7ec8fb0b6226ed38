"""The opener opens once, later, unless somebody was quicker."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from types import FrameType

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
    assert not os.path.exists(f"/proc/self/task/{opener._thread.native_id}")
    assert opener._thread.ended.is_set()
    assert not opened.is_set()


def test_one_that_never_started_can_be_stopped() -> None:
    """The system had no thread to give."""
    Opener(threading.Event().set).stop()


def test_a_stop_may_come_in_the_middle_of_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that drains interrupts an exit that drains, wherever that is, and neither hangs."""
    monkeypatch.setattr(module, "_STOP_S", 0.0)

    def stopped_at(line: int) -> bool:
        """Whether there was a line with this number, counted from the begin of the stop, in which another came."""
        opener = Opener(threading.Event().set)
        lines = itertools.count()
        came = False

        def trace(frame: FrameType, event: str, argument: object) -> object:
            nonlocal came
            if event == "line" and next(lines) == line:
                came = True
                sys.settrace(None)
                opener.stop()
            return trace

        def stop() -> None:
            sys.settrace(trace)  # type: ignore[arg-type]
            opener.stop()
            sys.settrace(None)

        stopping = threading.Thread(target=stop, daemon=True)
        stopping.start()
        stopping.join(10)
        assert not stopping.is_alive(), f"hangs at line {line}"
        return came

    assert not all(stopped_at(line) for line in range(60))
