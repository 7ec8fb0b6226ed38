"""A producer whose calls are interrupted, by signal handlers that log or raise."""

from __future__ import annotations

import itertools
import random
import signal
from collections.abc import Callable
from typing import Any

import pytest

from logbus.counters import read_page
from logbus.producers.stats import Stats
from tests.peer import Peer
from tests.producing import check_law, emit, make, page_of


class Raised(BaseException):
    """What a signal handler raises here, as KeyboardInterrupt is raised."""


@pytest.mark.uncovered
def test_a_signal_handler_may_log(peer: Peer, timer: Any, scale: Callable[[int, int], int]) -> None:
    """A handler that logs while the main thread logs is never in its way: every record of both arrives."""
    producer = make()
    wanted = scale(2000, 60)
    nested = itertools.count()
    last = 0

    def handle() -> None:
        nonlocal last
        number = next(nested) + 1
        last = max(last, number)
        emit(producer, f"handler {number}")

    timer(handle, 0.001)
    count = 0
    while last < wanted:
        emit(producer, f"main {count}")
        count += 1
        if count % 2000 == 0:
            producer.flush(5)
    signal.setitimer(signal.ITIMER_PROF, 0)
    assert producer.shutdown() == Stats(count + last, count + last)
    messages = peer.arrivals.messages
    assert [m for m in messages if m.startswith("main")] == [f"main {number}" for number in range(count)]
    # On a busy machine the next signal comes while the handler runs: a record may overtake the one that it interrupts.
    handled = [m for m in messages if m.startswith("handler")]
    assert sorted(handled) == sorted(f"handler {number + 1}" for number in range(last))


@pytest.mark.uncovered
def test_a_log_call_may_be_interrupted_anywhere(peer: Peer, timer: Any, scale: Callable[[int, int], int]) -> None:
    """An exception out of a signal handler ends the call wherever it was, and the ledger stays exact."""
    producer = make(capacity=200)
    emit(producer)
    wanted = scale(3000, 100)
    interrupted = calls = 0
    armed = True

    def interrupt() -> None:
        if armed:
            raise Raised

    while interrupted < wanted:
        try:
            timer(interrupt, 0.0007)
            armed = True
            while True:
                emit(producer, level=random.choice((10, 20, 30)))
                calls += 1
        except Raised:
            interrupted += 1
        finally:
            armed = False
            signal.setitimer(signal.ITIMER_PROF, 0)
    stats = producer.shutdown()
    assert calls <= stats.emitted - 1 <= calls + interrupted
    assert stats.queued == 0
    assert check_law(producer).sent == len(peer.arrivals.records)
    page = read_page(page_of(producer)).totals
    assert page.emitted == page.settled == page.sent + sum(page.dropped)
    assert set(stats.dropped) <= {"high_water_mark", "unencodable"}
