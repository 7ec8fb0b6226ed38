"""What ``logbus run`` does inside each Python process of its command: the process becomes a worker, unasked.

:func:`arrange` is called by ``startup/sitecustomize.py`` before the program's first line. It costs some milliseconds,
and leaves two things that wait: a call for when :mod:`logging` has been imported (by the program, by asyncio, by
loguru: nothing is logged before), and a ``sys.excepthook`` for a program that dies without it. What never logs, and
what only helps (multiprocessing's resource tracker), is not burdened with ZeroMQ and a thread.

:func:`attach` is then what ``configure()`` is elsewhere, but leaves the program's logging as it is: records are taken
where they cross (:mod:`logbus.producers.crossing`), at levels of our own (:mod:`logbus.producers.aside`), and loguru's
handler on stderr stays. The producer opens with its first record, or half a second later by itself, so that a worker
that is silent can be reached too. Nothing that goes wrong here stops the program: one line on stderr says it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from functools import partial
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Final

from logbus.producers.below import NO_PROXYWHIRL, PUBLIC_ONLY, VARIABLE
from logbus.producers.imports import when_imported

if TYPE_CHECKING:
    from logbus.producers.producer import Producer

#: Modules after whose import ours sees to it that records of requests have fields, and workers drain.
_ACCESS_LOGS: Final = (
    ("django.utils.log", "django"),
    ("gunicorn.workers.base", "gunicorn"),
    ("uvicorn.config", "uvicorn"),
)
#: How multiprocessing starts the process that forks its children.
_FORKSERVER: Final = "from multiprocessing.forkserver import main"


class _Attachment:
    """What this process has become."""

    def __init__(self) -> None:
        self.done = False
        #: What stood where our excepthook stands.
        self.excepthook: Any = None
        #: The root logger of the tree that was attached to last.
        self.root: Any = None


_HERE: Final = _Attachment()


def arrange() -> None:
    """Has this process attach as soon as it can log. Idempotent."""
    if _HERE.excepthook is not None:
        return
    _HERE.excepthook, sys.excepthook = sys.excepthook, _excepthook
    when_imported("logging", _attach_to)


def attach() -> Producer | None:
    """Makes this process a worker, once; the producer, or None where there is none. Raises nothing."""
    if _HERE.done:
        from logbus.producers.crossing import CROSSING

        return CROSSING.producer
    _HERE.done = True
    if sys.excepthook is _excepthook:
        sys.excepthook = _HERE.excepthook
    if "logbus.cli" in sys.modules:  # a command of ours, a collector for example, is nobody's worker
        return None
    try:
        return _attach()
    except Exception as error:
        for line in str(error).splitlines() or [type(error).__name__]:
            tell(f"{line} (records of this process, pid {os.getpid()}, are not collected)")
        _detach()
        return None


def tell(text: str) -> None:
    """Writes a line to stderr, if there is one."""
    try:
        sys.stderr.write(f"logbus run: {text}\n")
    except (AttributeError, OSError, ValueError):  # none, or closed
        return


def _attach() -> Producer:
    from logbus.producers.aside import ASIDE
    from logbus.producers.configure import open_now, serve, waits
    from logbus.producers.crossing import CROSSING
    from logbus.producers.descriptors import mind_closing
    from logbus.producers.loguru_import import LOGURU_IMPORT
    from logbus.producers.producer import producer_for
    from logbus.producers.settings import resolve

    settings = resolve({})
    producer = producer_for(settings)
    mind_closing()
    CROSSING.begin(producer)
    ASIDE.begin(settings.level)
    serve(producer, uncaught=True, capture_warnings=True, sigterm=True, fast_loggers=settings.fast_loggers)
    if settings.endpoint.path is None:
        # On tcp the rules come with a collector's welcome: a worker has its level before its first record.
        problem = open_now(producer)
    else:
        producer.open_soon(only_children=_forks_only())
        problem = waits(producer)
    if problem is not None:
        tell(problem)
    when_imported("loguru", lambda module: CROSSING.mind_others())
    LOGURU_IMPORT.begin(producer, level=20 if settings.level is None else settings.level, beside=True)
    for module in ("asyncio.base_events", "uvloop"):
        when_imported(module, _follow)
    for module, integration in _ACCESS_LOGS:
        when_imported(module, partial(_install, integration))
    when_imported("celery.app.trace", _clean_celery)
    words = os.environ.get(VARIABLE, "").split(",")
    if NO_PROXYWHIRL not in words:
        public_only = PUBLIC_ONLY in words
        when_imported("proxywhirl", lambda module: _instrument_proxywhirl(public_only))
    return producer


def _detach() -> None:
    """Gives logging back, whatever has begun to take its records."""
    with contextlib.suppress(Exception):  # what can't be imported has begun nothing
        from logbus.producers.aside import ASIDE
        from logbus.producers.crossing import CROSSING

        ASIDE.end()
        CROSSING.end()


def _attach_to(logging: ModuleType) -> None:
    """Attaches to logging, and again to what ``importlib.reload(logging)`` makes of it: classes and loggers are new."""
    known, _HERE.root = _HERE.root, logging.root
    producer = attach()
    if known is not None and known is not logging.root and producer is not None:
        from logbus.producers.aside import ASIDE
        from logbus.producers.crossing import CROSSING
        from logbus.producers.stdlib import STDLIB

        CROSSING.add(logging)
        STDLIB.move()
        ASIDE.move(producer.settings.level)


def _follow(loop: ModuleType) -> None:
    from logbus.producers.uncaught import UNCAUGHT

    UNCAUGHT.follow()


def _install(integration: str, program: ModuleType) -> None:
    importlib.import_module(f"logbus.integrations.{integration}").install()


def _clean_celery(trace: ModuleType) -> None:
    """What celery tells handlers of a task beside its lines has the task's arguments in it, secrets and all."""
    from logbus.integrations import celery_records

    celery_records.clean()


def _instrument_proxywhirl(public_only: bool) -> None:
    from logbus.integrations.proxywhirl import install

    install(public_only=public_only)


def _forks_only() -> bool:
    """Whether this is multiprocessing's fork server, which works for nobody but its children."""
    return any(argument.startswith(_FORKSERVER) for argument in sys.orig_argv[1:])


def _excepthook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """A program dies that has never logged: it becomes a worker for its last word."""
    try:
        if not issubclass(kind, (SystemExit, KeyboardInterrupt)) and attach() is not None:
            from logbus.producers.uncaught import UNCAUGHT

            UNCAUGHT.died(kind, error, traceback)
    finally:
        _HERE.excepthook(kind, error, traceback)
