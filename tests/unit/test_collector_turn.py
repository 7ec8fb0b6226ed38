"""A turn of the collector's loop: how long it sleeps, and how much of it the next one takes in."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.bus import Endpoint
from logbus.collectors.collector import GATHER_MUCH_S, GATHER_S, MUCH_BYTES, Collector
from logbus.collectors.control import Control
from logbus.collectors.receiver import Turn
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.route import Router
from tests.property.batches import batch_of, payload_of


class Naps:
    """A poller to which nothing comes: how many milliseconds it was asked to wait."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def modify(self, socket: object, flags: int) -> None:
        """Nothing."""

    def poll(self, milliseconds: int) -> list[Any]:
        """Nothing has come."""
        self.asked.append(milliseconds)
        return []


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector without a sink, which nobody serves."""
    with tempfile.TemporaryDirectory() as directory:
        collector = Collector(
            "t",
            endpoint=Endpoint.parse(f"ipc://{directory}/records"),
            control=Endpoint.parse(f"ipc://{directory}/control"),
            state=Path(directory, "state"),
            destinations=[],
            redactor=Redactor(),
            tell=lambda text: None,
        )
        yield collector
        collector.close()


@pytest.mark.parametrize(("due_in", "milliseconds"), [(math.inf, 250), (0.05, 50), (0.0, 0), (-7.0, 0)])
def test_it_wakes_when_sampling_has_something_to_do(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, due_in: float, milliseconds: int
) -> None:
    """Though nothing comes: a window that has ended is not decided in portions of a look each."""
    naps = Naps()
    with monkeypatch.context() as patch:
        patch.setattr(Router, "due_in", property(lambda router: due_in))
        patch.setattr(collector, "_poller", naps)
        collector._turn(0.25)
    assert naps.asked == [milliseconds]


def test_a_turn_sets_the_pace_of_the_next(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the time that the thread has spent on it, what the sinks cost included."""
    seconds: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr(Router, "due_in", property(lambda router: 0.0))
        patch.setattr(collector, "_poller", Naps())
        patch.setattr(collector._receiver, "pace", lambda turn, took: seconds.append(took))
        patch.setattr(collector, "_enter", lambda turn: sum(range(100_000)))
        collector._turn(0.25)
    assert len(seconds) == 1
    assert seconds[0] > 0


def test_what_has_gathered_is_taken_in_once_its_time_is_over(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the turn that waited for it; and where nothing has come, the next frame is waited for, not gathered."""
    taken: list[Turn] = []

    class Over(Naps):
        def poll(self, milliseconds: int) -> list[Any]:
            collector._receive_at = time.monotonic()
            return super().poll(milliseconds)

    def receive() -> Turn:
        taken.append(Turn([]))
        return taken[-1]

    naps = Over()
    with monkeypatch.context() as patch:
        patch.setattr(collector, "_poller", naps)
        patch.setattr(collector._receiver, "receive", receive)
        collector._receive_at = time.monotonic() + 0.1
        collector._turn(0.25)
        assert len(taken) == 1
        assert naps.asked[0] <= 100
        collector._turn(0.25)
        assert len(taken) == 1
        assert naps.asked[1] == 250


@pytest.mark.parametrize(
    ("size", "full", "seconds"), [(1000, False, GATHER_S), (MUCH_BYTES, False, GATHER_MUCH_S), (MUCH_BYTES, True, 0.0)]
)
def test_frames_gather_for_as_long_as_few_come(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, size: int, full: bool, seconds: float
) -> None:
    """After a turn that took in much the next is not waited for as long, and after a full one not at all."""

    class Ready(Naps):
        def poll(self, milliseconds: int) -> list[Any]:
            super().poll(milliseconds)
            return [(collector._receiver.socket, 1)] if len(self.asked) == 1 else []

    naps = Ready()
    clock = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setattr("logbus.collectors.collector.time.monotonic", lambda: clock)
        patch.setattr(collector, "_poller", naps)
        patch.setattr(collector._receiver, "receive", lambda: Turn([], full, size))
        collector._turn(0.25)
        collector._turn(0.25)
    assert naps.asked[1] == pytest.approx(1000 * (seconds or 0.25), abs=1)


def test_it_looks_at_what_no_sink_takes_only_for_who_follows(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver asks the sinks which records they may want; all are wanted while somebody follows."""
    batch = batch_of(payload_of())
    with monkeypatch.context() as patch:
        patch.setattr(Router, "wants", lambda router, batch: [False])
        assert collector._receiver.wants is not None
        assert collector._receiver.wants(batch) == [False]
        patch.setattr(Control, "followed", True)
        assert collector._receiver.wants(batch) is None
