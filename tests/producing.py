"""A producer of a test, records for it, and the law that its counters keep."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from logbus.producers.producer import Producer, producer_for
from logbus.producers.settings import resolve
from logbus.producers.stats import Stats

INFO, ERROR = 20, 40


def make(**given: Any) -> Producer:
    """A producer with the settings of this test's directories, forgotten when the test ends."""
    return producer_for(resolve({"worker": "w", **given}))


def emit(producer: Producer, message: str = "m", level: int = INFO, created: float = 1.5) -> None:
    """Logs one record."""
    site = ("logger", level, logging.getLevelName(level), "module", "function", 1)
    producer.emit(created, site, threading.current_thread().name, message, None, None, None, 200 + len(message))


def check_law(producer: Producer) -> Stats:
    """Every record is sent, dropped or queued."""
    stats = producer.stats()
    assert stats.emitted == stats.sent + sum(stats.dropped.values()) + stats.queued, stats
    return stats


def page_of(producer: Producer) -> Path:
    """The counter page of a producer that is open."""
    assert producer._life is not None
    path = producer._life.counters.path
    assert path is not None
    return path
