"""Celery: one call makes every process of a worker log to the collector, and every task a scope of its own.

::

    app = Celery("shop", …)
    logbus.integrations.celery.install(app)

All of it hangs on celery's signals, which reach every pool (prefork, threads, solo, greenlets) and every start method:

* A worker (its main process, and each child of a prefork pool) and beat become workers of logbus when celery sets its
  logging up. Celery would replace the handlers of the root logger: where the application has put some, it is told not
  to, and they stay; where there is none celery adds its own. Ours joins them. What ``-l`` says is the level of
  celery's own output; it suppresses nothing from INFO on in logbus, whose level is set as ever. Where the application
  has a ``setup_logging`` receiver, celery sets up nothing, and nothing of this is touched; nor is it below
  ``logbus run``, which leaves every program's logging as it is.
* A process that publishes puts ``request_id`` and ``traceparent`` of its context into the messages' headers. It need
  not be a worker of logbus, and does not become one.
* The process that runs a task opens a scope for it (:mod:`logbus.integrations.celery_scopes`). What celery itself says
  about tasks loses their arguments (:mod:`logbus.integrations.celery_records`).

A pool's child ends by ``os._exit``, past every hook of an exit: it drains on ``worker_process_shutdown``, as the last
receiver. So does one that celery terminates (a cold shutdown, a hard time limit). One that is killed drains nothing,
and its page counts what that cost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from logbus.errors import LogbusError
from logbus.integrations import celery_records
from logbus.integrations.celery_scopes import Scopes, close_all
from logbus.producers.configure import configure, shutdown
from logbus.producers.crossing import CROSSING
from logbus.producers.handler import LogbusHandler
from logbus.producers.producer import Producer, all_producers
from logbus.producers.stdlib import STDLIB

#: Loggers to which celery gives handlers of their own, and from which nothing reaches the root logger's.
_APART: Final = ("celery.task", "multiprocessing")
_HIJACK: Final = "worker_hijack_root_logger"


def install(app: Any = None, **settings: Any) -> None:
    """Makes celery's workers log to the collector, and gives each task's records its ids. Idempotent.

    Call it where the application is made, in the module that ``celery -A`` names; it works the same for the processes
    that only publish tasks. It opens nothing: a worker does when it starts.

    Args:
        app: the application whose tasks have scopes, beside those of earlier calls; without one every application's.
        settings: as for :func:`logbus.configure`, which is called with them in the processes of a worker. Without
            any, a producer that the process has by then is kept (an earlier ``configure()``, ``logbus run``).

    Raises:
        LogbusError: celery cannot be imported.
    """
    global _INSTALLED
    try:
        signals = import_module("celery.signals")
    except ImportError as error:
        raise LogbusError(f"logbus.integrations.celery: expected celery to be installed, found: {error}") from error
    apps = () if app is None else (app,)
    if _INSTALLED is not None:
        apps = (*_INSTALLED.apps, *apps) if apps and _INSTALLED.apps else ()
        uninstall()
    _INSTALLED = _Celery(signals, apps, settings)
    _INSTALLED.connect()


def uninstall() -> None:
    """Takes back what :func:`install` did, but for producers that are at work: ``logbus.shutdown()`` ends those."""
    global _INSTALLED
    installed, _INSTALLED = _INSTALLED, None
    if installed is not None:
        installed.disconnect()


class _Celery:
    """What is connected to celery's signals, of which every process has one set."""

    def __init__(self, signals: Any, apps: tuple[Any, ...], settings: dict[str, Any]) -> None:
        self.apps = apps
        self._signals = signals
        self._settings = settings
        self._scopes = Scopes(apps)
        self._receivers: dict[str, Callable[..., object]] = {
            "before_task_publish": self._scopes.publish,
            "task_prerun": self._scopes.begin,
            "task_postrun": self._scopes.end,
            "celeryd_init": self._before_logging,
            "after_setup_logger": self._after_logging,
            "after_setup_task_logger": self._after_task_logging,
            "celeryd_after_setup": self._attach,
            "worker_process_init": self._begin_child,
            "worker_process_shutdown": self._end_child,
        }
        #: Handlers of the root logger before celery looks at it: the application's, and ours, which wait meanwhile.
        self._others: list[logging.Handler] = []
        self._waiting: list[logging.Handler] = []
        #: Handlers that we gave to loggers apart, and the configuration in which celery was told to leave the root.
        self._given: list[tuple[logging.Logger, logging.Handler]] = []
        self._told: Any = None

    def connect(self) -> None:
        """Connects everything. Celery would keep bound methods weakly."""
        for name, receiver in self._receivers.items():
            getattr(self._signals, name).connect(receiver, weak=False, dispatch_uid=f"logbus {name}")
        self._scopes.hook()
        celery_records.clean()

    def disconnect(self) -> None:
        """Takes it back."""
        for name in self._receivers:
            getattr(self._signals, name).disconnect(dispatch_uid=f"logbus {name}")
        self._scopes.unhook()
        celery_records.leave()
        for logger, handler in self._given:
            logger.removeHandler(handler)
        if self._told is not None:
            self._told[_HIJACK] = True

    def _before_logging(self, instance: Any = None, conf: Any = None, **_: Any) -> None:
        """``celeryd_init``: what is on the root logger stays there."""
        if CROSSING.producer is not None or self._signals.setup_logging.receivers or instance.app.log.already_setup:
            return
        root = logging.getLogger()
        self._others = [handler for handler in root.handlers if not isinstance(handler, LogbusHandler)]
        # Celery adds no handler of its own where it finds any: its output on the terminal would be gone.
        self._waiting = [handler for handler in root.handlers if isinstance(handler, LogbusHandler)]
        root.handlers = self._others[:]
        if self._others and conf[_HIJACK]:
            conf[_HIJACK], self._told = False, conf

    def _after_logging(self, logger: Any = None, loglevel: Any = None, **_: Any) -> None:
        """``after_setup_logger``: ours beside celery's, whose level goes for its own."""
        producer = self._attach()
        if CROSSING.producer is not None:
            return
        self._limit(logger, loglevel)
        if producer.settings.level is None and STDLIB.own_level(logger) > logging.INFO:
            logger.setLevel(logging.INFO)

    def _after_task_logging(self, logger: Any = None, loglevel: Any = None, **_: Any) -> None:
        """``after_setup_task_logger``: the same for ``celery.task``, which has a level and a handler of its own."""
        if CROSSING.producer is None:
            self._limit(logger, loglevel)
            logger.setLevel(logging.NOTSET)
            self._attach()

    def _limit(self, logger: logging.Logger, level: Any) -> None:
        """What ``-l`` says goes for celery's own handlers: its loggers let more through, for ours."""
        for handler in logger.handlers:
            ours = isinstance(handler, LogbusHandler)
            if not ours and handler not in self._others and handler.level == logging.NOTSET and level:
                handler.setLevel(level)

    def _attach(self, **_: Any) -> Producer:
        """Makes this process a worker; idempotent."""
        if CROSSING.producer is not None:  # it is one already, and takes every record past the handlers
            return configure(sigterm=False, **self._settings) if self._settings else CROSSING.producer
        root = logging.getLogger()
        waiting, self._waiting = self._waiting, []
        for handler in waiting:
            root.addHandler(handler)
        producer = self._producer(root)
        for logger in map(logging.getLogger, _APART):
            if not logger.propagate and not any(isinstance(handler, LogbusHandler) for handler in logger.handlers):
                handler = LogbusHandler.of(producer)
                logger.addHandler(handler)
                self._given.append((logger, handler))
        return producer

    def _producer(self, root: logging.Logger) -> Producer:
        """The producer that this process has, attached to the root logger; or a new one."""
        attached = [handler.producer for handler in root.handlers if isinstance(handler, LogbusHandler)]
        found = attached or all_producers()
        if self._settings or not found or (len(found) > 1 and not attached):
            return configure(sigterm=False, **self._settings)
        producer = found[0]
        if not attached:  # celery has taken the handler off
            root.addHandler(LogbusHandler.of(producer))
        if producer.settings.level is not None:  # celery has set its own since
            root.setLevel(producer.settings.level)
        return producer

    def _begin_child(self, **_: Any) -> None:
        """``worker_process_init``: a child of the pool, forked in the middle of anything or started anew."""
        close_all()
        self._attach()
        # Last: what other receivers log at the end of a child comes before the drain.
        shutting_down, uid = self._signals.worker_process_shutdown, "logbus worker_process_shutdown"
        shutting_down.disconnect(dispatch_uid=uid)
        shutting_down.connect(self._end_child, weak=False, dispatch_uid=uid)

    def _end_child(self, **_: Any) -> None:
        """``worker_process_shutdown``: the child ends by ``os._exit`` next."""
        shutdown()


_INSTALLED: _Celery | None = None
