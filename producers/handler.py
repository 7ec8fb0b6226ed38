"""The standard library's door: a :class:`logging.Handler` that hands records to the producer of its process."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from logbus.producers.crossing import CROSSING
from logbus.producers.producer import Producer, producer_for
from logbus.producers.settings import resolve
from logbus.producers.stdlib import STDLIB
from logbus.producers.take import Taker, compiled_handle


class LogbusHandler(Taker):
    """A handler that never blocks, never raises and opens nothing before its first record.

    Every argument may come from JSON, so ``logging.config.dictConfig`` can build it; what is not given comes from
    the environment, a file or the default (see :func:`logbus.configure`).

    Args:
        endpoint: URL of the record socket, ``ipc://PATH`` or ``tcp://127.0.0.1:PORT``.
        level: as for every handler.
        control, component, worker, app_name, capacity, capacity_bytes, on_full, shutdown_timeout, flight_recorder,
            opentelemetry: as for :func:`logbus.configure`.

    Below ``logbus run``, which takes every record already, one for the same endpoint says nothing.

    Raises:
        ConfigurationError: when a setting is wrong.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        *,
        level: int | str = logging.NOTSET,
        control: str | None = None,
        component: str | None = None,
        worker: str | None = None,
        app_name: str | None = None,
        capacity: int | None = None,
        capacity_bytes: int | None = None,
        on_full: str | None = None,
        shutdown_timeout: float | None = None,
        flight_recorder: bool | str | Mapping[str, Any] | None = None,
        opentelemetry: bool | None = None,
    ) -> None:
        super().__init__(level)
        #: Whether configure() made this handler, and may replace it.
        self.configured = False
        given: dict[str, Any] = {
            "endpoint": endpoint,
            "control": control,
            "component": component,
            "worker": worker,
            "app_name": app_name,
            "capacity": capacity,
            "capacity_bytes": capacity_bytes,
            "on_full": on_full,
            "shutdown_timeout": shutdown_timeout,
            "flight_recorder": flight_recorder,
            "opentelemetry": opentelemetry,
        }
        self._places = {}
        settings = resolve(given)
        if (instead := CROSSING.instead(settings)) is not None:
            # Below `logbus run`: every record is taken before it comes here.
            self.producer = instead
            self._change()
            self.__dict__["handle"] = _say_nothing
            return
        self.producer = producer_for(settings)
        if STDLIB.gate is None:  # the levels of this process are configure()'s, or those of its first handler
            self.producer.gate.attach(STDLIB)

    def __setattr__(self, name: str, value: Any) -> None:
        """Sets an attribute; with a method of its own it is no longer what it was, for who looks at its type."""
        if name in ("handle", "emit"):
            self._change()
        object.__setattr__(self, name, value)

    def _change(self) -> None:
        if type(self) is LogbusHandler:
            self.__class__ = _Changed

    @classmethod
    def of(cls, producer: Producer) -> LogbusHandler:
        """A handler for a producer that is there already."""
        handler = cls.__new__(cls)
        logging.Handler.__init__(handler)
        handler.producer = producer
        handler.configured = True
        handler._places = {}
        return handler

    def flush(self) -> None:
        """Waits until what was logged is in a collector's ledger, for at most the shutdown timeout.

        Where no collector seems to exist, shortly: logging itself flushes handlers, in ``dictConfig`` for example.
        """
        producer = getattr(self, "producer", None)  # logging flushes handlers whose constructor failed, too
        if producer is not None:
            producer.flush_soon()


class _Changed(LogbusHandler):
    """A handler on which somebody has put a method: no record may go past that (:mod:`logbus.producers.shortcut`)."""


_Changed.__name__, _Changed.__qualname__ = LogbusHandler.__name__, LogbusHandler.__qualname__


if (_compiled := compiled_handle(LogbusHandler)) is not None:
    LogbusHandler.handle = _compiled  # type: ignore[method-assign]


def _say_nothing(record: logging.LogRecord) -> bool:
    """In the place of a handler's ``handle``."""
    return False
