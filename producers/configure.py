"""One call for a worker: the producer of this process, attached to the standard library and to loguru."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Final

from logbus.producers.handler import LogbusHandler
from logbus.producers.loguru import attach, is_attached
from logbus.producers.producer import EXITS, Producer, Stats, all_producers, producer_for
from logbus.producers.settings import resolve

#: Seconds that configure() waits for a collector's welcome, at most, and only where one seems to be.
WELCOME_TIMEOUT: Final = 0.1


def configure(
    *,
    endpoint: str | None = None,
    control: str | None = None,
    component: str | None = None,
    level: int | str | None = None,
    worker: str | None = None,
    app_name: str | None = None,
    capacity: int | None = None,
    capacity_bytes: int | None = None,
    on_full: str | None = None,
    shutdown_timeout: float | None = None,
    loguru: bool | None = None,
    sigterm: bool = True,
) -> Producer:
    """Makes this process a worker: its stdlib root logger, and loguru when it is in use, log to the collector.

    Idempotent, and safe to call before fork: each child becomes a worker of its own with its first record. What is
    not given comes from ``LOGBUS_*`` variables, ``[tool.logbus]`` in ./pyproject.toml, or the default.

    Args:
        endpoint: URL of the record socket (default: ``records`` in the runtime directory).
        control: URL of the command socket (default: ``control`` beside an ipc endpoint).
        component: component of records whose logger names none (the root logger, ``__main__``).
        level: level of the root logger; with none given anywhere INFO, if the root logger still has its default.
        worker: name of this worker (default: the application's name and the pid).
        app_name: name of the application (default: the program's).
        capacity: records that wait at most, in this process.
        capacity_bytes: bytes (estimated) that wait at most.
        on_full: "shed_lowest" gives up lower levels first, "drop_newest" the new record, "drop_oldest" the oldest.
        shutdown_timeout: seconds for the drain at exit, at most.
        loguru: attach to loguru; by default if it has been imported. Loguru's own default handler (id 0, stderr)
            is replaced, handlers that the application added stay.
        sigterm: drain on SIGTERM where the application has no handler of its own (main thread only).

    Returns:
        The producer of this process.

    Raises:
        ConfigurationError: when a setting is wrong, whatever its source.
    """
    given: dict[str, Any] = {
        "endpoint": endpoint,
        "control": control,
        "component": component,
        "level": level,
        "worker": worker,
        "app_name": app_name,
        "capacity": capacity,
        "capacity_bytes": capacity_bytes,
        "on_full": on_full,
        "shutdown_timeout": shutdown_timeout,
    }
    settings = resolve(given)
    producer = producer_for(settings)
    root = logging.getLogger()
    _attach(root, producer)
    if settings.level is not None:
        root.setLevel(settings.level)
    elif root.level == logging.WARNING:  # what a root logger has when nobody has chosen
        root.setLevel(logging.INFO)
    if (loguru if loguru is not None else "loguru" in sys.modules) and not is_attached(producer):
        attach(producer, level=settings.level if settings.level is not None else logging.INFO)
    if sigterm:
        EXITS.drain_on_sigterm()
    producer.reopen()
    if settings.endpoint.lock.exists():
        producer.wait_welcome(WELCOME_TIMEOUT)
    return producer


def _attach(root: logging.Logger, producer: Producer) -> None:
    """Gives the root logger one handler of configure(): that of an earlier call with other settings goes."""
    for handler in list(root.handlers):
        if isinstance(handler, LogbusHandler):
            if handler.producer is producer:
                return
            if handler.configured:
                root.removeHandler(handler)
                handler.producer.shutdown()
    root.addHandler(LogbusHandler.of(producer))


def stats() -> Stats:
    """The counters of this process: emitted, sent, dropped by reason, queued, bytes, level version."""
    total = Stats()
    for producer in all_producers():
        total += producer.stats()
    return total


def flush(timeout: float) -> bool:
    """Waits until everything logged before is in a collector's socket. False when ``timeout`` seconds were too few."""
    deadline = time.monotonic() + timeout
    flushed = [producer.flush(max(0.0, deadline - time.monotonic())) for producer in all_producers()]
    return all(flushed)


def shutdown(timeout: float | None = None) -> Stats:
    """Drains for at most ``timeout`` seconds and closes the book; what is logged later is counted as dropped.

    Idempotent; runs by itself at exit. ``configure()`` begins anew.
    """
    for producer in all_producers():
        producer.shutdown(timeout)
    return stats()
