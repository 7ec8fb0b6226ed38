"""One call for a worker: the producer of this process, attached to the standard library and to loguru."""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

from logbus.errors import ConfigurationError
from logbus.producers import tracing
from logbus.producers.crossing import CROSSING
from logbus.producers.fast_tree import FAST_TREE
from logbus.producers.handler import LogbusHandler
from logbus.producers.imports import when_imported
from logbus.producers.loguru_import import LOGURU_IMPORT, Source
from logbus.producers.producer import EXITS, Producer, all_producers, producer_for
from logbus.producers.settings import resolve
from logbus.producers.stdlib import STDLIB
from logbus.producers.structlog_front import STRUCTLOG
from logbus.producers.uncaught import UNCAUGHT
from logbus.producers.warned import WARNED

if TYPE_CHECKING:
    from logbus.producers.stats import Stats

#: Seconds that configure() waits for a collector's welcome, at most, and only where one seems to be.
WELCOME_TIMEOUT: Final = 0.1

#: For its lock, see :mod:`logbus.producers.stdlib`.
_LOGGING: Final[Any] = logging


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
    flight_recorder: bool | str | Mapping[str, Any] | None = None,
    opentelemetry: bool | None = None,
    fast_loggers: bool | None = None,
    loguru: bool | None = None,
    source: Source | None = None,
    sigterm: bool = True,
    uncaught: bool = True,
    capture_warnings: bool | None = None,
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
        flight_recorder: True, or a table of what to keep: ``level`` (default "DEBUG"), ``trigger`` ("ERROR"),
            ``records`` (1000, at most 10,000) and ``seconds`` (60). Off by default.
        opentelemetry: records carry ``trace_id`` and ``span_id`` of the span in which they are logged. By default
            where OpenTelemetry's API is loaded, also later; True loads it now, False never looks.
        fast_loggers: True makes plain loggers of the standard library, those there and those to come, a
            :class:`logbus.FastLogger`; their records and all that sees them stay what they were. Off by default: a call
            without it, anywhere, gives the loggers back.
        loguru: attach to loguru; by default if it has been imported, else as soon as it is. Loguru's own default
            handler (id 0, stderr) is replaced, handlers that the application added stay. True imports it now; False
            gives it back, and leaves it alone.
        source: how loguru's records come. "handler": through loguru. "direct": past it, from the modules that have
            loguru's ``logger`` among their globals; other handlers don't see those. By default directly while there
            is no other handler.
        sigterm: drain on SIGTERM where the application has no handler of its own (main thread only).
        uncaught: what nobody catches, in the main thread, in threads, tasks and multiprocessing children, becomes a
            record of the logger ``uncaught``; stderr shows what it showed. False gives the hooks back.
        capture_warnings: warnings become records of the logger ``py.warnings``, and are shown as before. False gives
            the hook back; by default nothing changes, and at first they are not captured.

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
        "flight_recorder": flight_recorder,
        "opentelemetry": opentelemetry,
        "fast_loggers": fast_loggers,
    }
    settings = resolve(given)
    if source not in (None, *get_args(Source)):
        raise ConfigurationError([f"source= {source!r}: expected one of {', '.join(get_args(Source))}"])
    producer = producer_for(settings)
    if loguru is False:
        LOGURU_IMPORT.end()
    else:
        # Before an earlier producer ends: what is logged meanwhile goes to the one or to the other.
        floor = settings.level if settings.level is not None else logging.INFO
        if loguru:
            from logbus.producers.loguru_front import LOGURU

            LOGURU.begin(producer, level=floor, source=source)
        LOGURU_IMPORT.begin(producer, level=floor, source=source)
    root = logging.getLogger()
    if CROSSING.producer is not None:
        _cross(producer)
    else:
        _attach(root, producer)
    if settings.level is not None:
        root.setLevel(settings.level)
    elif STDLIB.own_level(root) == logging.WARNING:  # what a root logger has when nobody has chosen
        root.setLevel(logging.INFO)
    if capture_warnings is None:
        capture_warnings = WARNED.is_installed
    serve(
        producer,
        uncaught=uncaught,
        capture_warnings=capture_warnings,
        sigterm=sigterm,
        fast_loggers=settings.fast_loggers,
    )
    if refusal := open_now(producer):
        # Last: where warnings are errors the worker is configured all the same.
        warnings.warn(f"logbus: {refusal}", RuntimeWarning, 2)
    return producer


class _Spans:
    """OpenTelemetry's import, at whose end records begin to carry the ids of spans; else the next look finds it."""

    def __init__(self) -> None:
        self._cancel: Callable[[], None] | None = None

    def follow(self) -> None:
        """Waits for it, unless it is there."""
        if self._cancel is None and not tracing.is_loaded():
            self._cancel = when_imported(tracing.API, self._loaded)

    def forget(self) -> None:
        """Waits no more."""
        cancel, self._cancel = self._cancel, None
        if cancel is not None:
            cancel()

    def _loaded(self, _: object) -> None:
        for producer in all_producers():
            producer.look_for_spans()
        self.forget()


_SPANS: Final = _Spans()


def serve(producer: Producer, *, uncaught: bool, capture_warnings: bool, sigterm: bool, fast_loggers: bool) -> None:
    """Leads to a producer what every worker has, whatever made it one: level rules, crashes, warnings, the exits."""
    STRUCTLOG.serve(producer)
    _SPANS.follow()
    producer.gate.attach(STDLIB)
    if fast_loggers:
        FAST_TREE.begin()
    else:
        FAST_TREE.end()
    if uncaught:
        UNCAUGHT.install(producer)
    else:
        UNCAUGHT.uninstall()
    if capture_warnings:
        WARNED.install(producer)
    else:
        WARNED.uninstall()
    if sigterm:
        EXITS.drain_on_sigterm()


def open_now(producer: Producer) -> str | None:
    """Opens it, and waits a moment for a collector's welcome. What is wrong where its records have to wait, or None."""
    producer.reopen()
    if refusal := waits(producer):
        return refusal
    if os.path.exists(producer.settings.endpoint.lock):  # no error where the directory may not be passed
        producer.wait_welcome(WELCOME_TIMEOUT)
    return None


def waits(producer: Producer) -> str | None:
    """Why the records of a producer have to wait in this process, as a sentence; None if they don't."""
    refusal = producer.settings.refusal()
    return None if refusal is None else f"records wait in this process: {refusal}; set LOGBUS_RUNTIME_DIR"


def _cross(producer: Producer) -> None:
    """Below ``logbus run`` every record is taken where it crosses, and no handler is needed."""
    earlier = CROSSING.producer
    CROSSING.begin(producer)
    if earlier is not None and earlier is not producer:
        earlier.drain()


def _attach(root: logging.Logger, producer: Producer) -> None:
    """Gives the root logger one handler of configure(): that of an earlier call with other settings goes.

    The list of handlers is exchanged in one step: what other threads log meanwhile goes to the one or to the other.
    """
    with _LOGGING._lock:
        ours = [handler for handler in root.handlers if isinstance(handler, LogbusHandler)]
        earlier = [handler for handler in ours if handler.configured and handler.producer is not producer]
        handlers = [handler for handler in root.handlers if handler not in earlier]
        if all(handler.producer is not producer for handler in ours):
            handlers.append(LogbusHandler.of(producer))
        if handlers != root.handlers:
            root.handlers = handlers
    for handler in earlier:  # takes its time, and other threads' locks
        handler.producer.drain()


def stats() -> Stats:
    """The counters of this process: emitted, sent, dropped by reason, queued, bytes, level version."""
    from logbus.producers.stats import Stats  # see there

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

    Level rules and hooks end with it: every library is as the application had it. Idempotent; the drain runs by itself
    at exit.
    ``configure()`` begins anew.
    """
    UNCAUGHT.uninstall()
    WARNED.uninstall()
    FAST_TREE.end()
    LOGURU_IMPORT.forget()
    _SPANS.forget()
    for producer in all_producers():
        producer.shutdown(timeout)
        producer.gate.close()
    return stats()
