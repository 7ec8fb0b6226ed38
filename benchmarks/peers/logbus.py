"""logbus: the handler, the loggers that make a record the short way, and what waits for its collector."""

from __future__ import annotations

import logging
from typing import Any

from benchmarks.peers.calls import CALLS, Calls
from benchmarks.peers.peer import Peer, Place, root_logger
from benchmarks.record import LOGGER
from benchmarks.service import PATIENCE_S


def handler(place: Place) -> Peer:
    """A LogbusHandler on the root logger."""
    import logbus

    return connected(Calls(root_logger(logbus.LogbusHandler(place.endpoint))))


def fast(place: Place) -> Peer:
    """Loggers of logbus's, whose records nobody else sees: none is made."""
    import logbus

    logbus.configure(endpoint=place.endpoint, fast_loggers=True)
    log = logging.getLogger(LOGGER)
    if not isinstance(log, logbus.FastLogger):
        raise RuntimeError(f"expected a FastLogger, found {type(log).__name__}")
    return connected(Calls(log))


def lean(place: Place) -> Peer:
    """The same where the application has a handler beside, which is given a real LogRecord."""
    peer, beside = fast(place), _Beside()
    root_logger(beside)
    peer.calls.log(CALLS)
    if not beside.called:
        raise RuntimeError("expected a LogRecord for the handler beside, found none")
    return peer


def connected(calls: Calls) -> Peer:
    """A peer whose records go to the collector through this process's producer."""
    import logbus

    def drain() -> None:
        if not logbus.flush(PATIENCE_S):
            raise RuntimeError(f"nobody took the records within {PATIENCE_S:g} s")

    def arrived() -> int:
        stats = logbus.stats()
        return stats.sent - sum(stats.dropped.values())

    return Peer(calls, drain, arrived, _Volume())


class _Beside(logging.Handler):
    """Costs what a NullHandler costs; but that is known to want no record."""

    called = False

    def handle(self, record: logging.LogRecord) -> bool:
        self.called = True
        return False


class _Volume:
    """Bytes that have gone to PUSH sockets of this process, since the first question on."""

    def __init__(self) -> None:
        self._bytes: int | None = None

    def __call__(self) -> int:
        if self._bytes is None:
            self._bytes = 0
            self._count()
        return self._bytes

    def _count(self) -> None:
        import zmq

        send: Any = zmq.Socket.send

        def counted(socket: Any, data: Any, *arguments: Any, **options: Any) -> Any:
            sent = send(socket, data, *arguments, **options)
            if socket.type == zmq.PUSH and self._bytes is not None:
                self._bytes += len(data)
            return sent

        setattr(zmq.Socket, "send", counted)  # noqa: B010 (mypy refuses the assignment)
