"""logbus: a multiprocess logging service.

Workers push their records over ZeroMQ to a collector, which writes them; a log call never waits, and every record
is accounted for. ``logbus.configure()`` makes a process a worker; ``logbus collector start`` runs a collector.

The names below are loaded when they are first used, so that ``import logbus`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from logbus.errors import ConfigurationError, LogbusError, RefusedError
    from logbus.producers.carry import carry, carrying
    from logbus.producers.configure import configure, flush, shutdown, stats
    from logbus.producers.context import bind, clear_context, context, current_context
    from logbus.producers.fast_logger import FastLogger
    from logbus.producers.handler import LogbusHandler
    from logbus.producers.intercept import InterceptHandler
    from logbus.producers.loguru import loguru_handler, loguru_sink
    from logbus.producers.producer import Producer
    from logbus.producers.request import new_request_id, request_scope
    from logbus.producers.stats import Stats
    from logbus.producers.structlog import StructlogProcessor
    from logbus.producers.structlog_front import make_filtering_bound_logger

__version__ = "0.1.0"

__all__ = [
    "ConfigurationError",
    "FastLogger",
    "InterceptHandler",
    "LogbusError",
    "LogbusHandler",
    "Producer",
    "RefusedError",
    "Stats",
    "StructlogProcessor",
    "__version__",
    "bind",
    "carry",
    "carrying",
    "clear_context",
    "configure",
    "context",
    "current_context",
    "flush",
    "loguru_handler",
    "loguru_sink",
    "make_filtering_bound_logger",
    "new_request_id",
    "request_scope",
    "shutdown",
    "stats",
]

_HOMES = {
    "ConfigurationError": "logbus.errors",
    "FastLogger": "logbus.producers.fast_logger",
    "InterceptHandler": "logbus.producers.intercept",
    "LogbusError": "logbus.errors",
    "LogbusHandler": "logbus.producers.handler",
    "Producer": "logbus.producers.producer",
    "RefusedError": "logbus.errors",
    "Stats": "logbus.producers.stats",
    "StructlogProcessor": "logbus.producers.structlog",
    "bind": "logbus.producers.context",
    "carry": "logbus.producers.carry",
    "carrying": "logbus.producers.carry",
    "clear_context": "logbus.producers.context",
    "configure": "logbus.producers.configure",
    "context": "logbus.producers.context",
    "current_context": "logbus.producers.context",
    "flush": "logbus.producers.configure",
    "loguru_handler": "logbus.producers.loguru",
    "loguru_sink": "logbus.producers.loguru",
    "make_filtering_bound_logger": "logbus.producers.structlog_front",
    "new_request_id": "logbus.producers.request",
    "request_scope": "logbus.producers.request",
    "shutdown": "logbus.producers.configure",
    "stats": "logbus.producers.configure",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
