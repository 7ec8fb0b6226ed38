"""Loggers that are written in another language: picologging (C++) and logxide (Rust).

Neither writes JSON by itself or prints fields that it isn't told of by name: what they write natively is text of level,
logger, call site and message. picologging's call site is that of its caller's caller, and it knows no thread's name.
logxide leaves its native way for a time in the text, and shows a formatter in Python neither fields nor call site.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from benchmarks.peers.calls import Calls
from benchmarks.peers.peer import Peer, Place, into_file
from benchmarks.record import LOGGER, JsonLine

_TEXT: Final = "%(levelname)s %(name)s %(module)s:%(funcName)s:%(lineno)d %(process)d %(threadName)s %(message)s"


def picologging_null(place: Place) -> Peer:
    """The logger and the NullHandler of picologging."""
    import picologging

    return Peer(Calls(_picologging(picologging.NullHandler())))


def picologging_file(place: Place) -> Peer:
    """The FileHandler of picologging with a text, and a time in it."""
    import picologging

    path = place.file("lines.log")
    handler = picologging.FileHandler(str(path))
    # With the default format of a time it writes bytes that are no text.
    handler.setFormatter(picologging.Formatter(f"%(asctime)s {_TEXT}", "%Y-%m-%d %H:%M:%S"))
    return into_file(Calls(_picologging(handler)), path)


def logxide_text(place: Place) -> Peer:
    """The FileHandler of logxide, native: a text without time or fields."""
    return _logxide(place, logging.Formatter(_TEXT))


def logxide_json(place: Place) -> Peer:
    """The FileHandler of logxide with the formatter that makes the line of the others."""
    return _logxide(place, JsonLine())


def _picologging(handler: Any) -> Any:
    import picologging

    root = picologging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    return picologging.getLogger(LOGGER)


def _logxide(place: Place, formatter: logging.Formatter) -> Peer:
    import logxide
    from logxide.logger_wrapper import getLogger

    logxide.uninstall()  # from the standard library's loggers, on which the floor stands
    path = place.file("lines.log")
    handler = logxide.FileHandler(str(path))
    handler.setFormatter(formatter)
    log = getLogger(LOGGER)  # logxide's own; its ``logging.getLogger`` would install it again
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)

    def drain() -> None:
        logxide.flush()
        handler.flush()

    return into_file(Calls(log), path, drain)
