"""logbook, whose records are made when a handler asks for them: with a handler that does not."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.calls import Calls, Dialect
from benchmarks.peers.peer import Peer, Place
from benchmarks.record import LOGGER


def null(place: Place) -> Peer:
    """Nothing is formatted or written."""
    from logbook import NullHandler

    return Peer(logger(NullHandler()))


def logger(handler: Any) -> Calls:
    """The calls to a logger of logbook's with this handler, in the whole process."""
    from logbook import Logger

    handler.push_application()
    return Calls(Logger(LOGGER), Dialect("{0}", keywords=False))
