"""Loguru: into a file as text, as JSON, and as JSON through its queue; and through logbus."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.peers.calls import Calls, Dialect
from benchmarks.peers.logbus import connected
from benchmarks.peers.peer import Peer, Place, into_file
from benchmarks.record import LOGGER


def file(place: Place) -> Peer:
    """Loguru's own text, without the fields."""
    return _into_file(place)


def serialize(place: Place) -> Peer:
    """Loguru's JSON."""
    return _into_file(place, serialize=True)


def enqueue(place: Place) -> Peer:
    """Loguru's JSON through the queue that makes it fit for several processes; a thread of this one writes."""
    return _into_file(place, serialize=True, enqueue=True)


def through_logbus(place: Place) -> Peer:
    """A handler of loguru's that is logbus's."""
    import logbus

    calls = _calls()
    calls.module.logger.add(**logbus.loguru_handler(endpoint=place.endpoint))
    return connected(calls)


def past_loguru(place: Place) -> Peer:
    """The direct way: the module's ``logger`` is logbus's."""
    import logbus

    calls = _calls()
    theirs = calls.module.logger
    sys.modules[LOGGER] = calls.module
    logbus.configure(endpoint=place.endpoint, loguru=True, source="direct")
    if calls.module.logger is theirs:
        raise RuntimeError("expected logbus's logger in the module, found loguru's")
    return connected(calls)


def _calls() -> Calls:
    from loguru import logger

    logger.remove()
    return Calls(logger, Dialect("{}", keywords=True))


def _into_file(place: Place, **options: Any) -> Peer:
    path = place.file("lines.log")
    calls = _calls()
    logger = calls.module.logger
    logger.add(path, **options)
    place.stack.callback(logger.remove)
    return into_file(calls, path, logger.complete)
