"""structlog, configured as its documentation on performance says; with call site, process and thread; to logbus."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.peers.calls import Calls, Dialect
from benchmarks.peers.logbus import connected
from benchmarks.peers.peer import Peer, Place, into_file
from benchmarks.record import LOGGER


def bare(place: Place) -> Peer:
    """Level, time and fields as JSON by orjson, bytes into a file."""
    path = place.file("lines.jsonl")
    return into_file(_calls([], path), path)


def with_call_site(place: Place) -> Peer:
    """The same with module, function, line, process and thread: what the other JSON lines hold."""
    from structlog.processors import CallsiteParameter, CallsiteParameterAdder

    of_the_call = CallsiteParameterAdder(
        [
            CallsiteParameter.MODULE,
            CallsiteParameter.FUNC_NAME,
            CallsiteParameter.LINENO,
            CallsiteParameter.PROCESS,
            CallsiteParameter.THREAD_NAME,
        ]
    )
    path = place.file("lines.jsonl")
    return into_file(_calls([of_the_call], path), path)


def through_logbus(place: Place) -> Peer:
    """The processor of logbus, after which the event is dropped: nothing else is written."""
    import structlog

    import logbus

    def drop(logger: Any, method: str, event: Any) -> Any:
        raise structlog.DropEvent

    structlog.configure(
        processors=[logbus.StructlogProcessor(endpoint=place.endpoint), drop],
        wrapper_class=logbus.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    return connected(Calls(structlog.get_logger().bind(), Dialect("%s", keywords=True)))


def _calls(more: list[Callable[..., Any]], path: Path) -> Calls:
    import orjson
    import structlog

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *more,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(path.open("wb")),
        cache_logger_on_first_use=True,
    )
    return Calls(structlog.get_logger().bind(logger=LOGGER), Dialect("%s", keywords=True))
