"""A real :class:`logging.LogRecord`, made out of what all records of its place have in common.

Filling a LogRecord takes logging most of a log call, and nearly all of it comes out as it did the last time. Here the
attributes of an earlier record are copied, in their order, and what belongs to one call is written over: message,
arguments, time, thread, process and task, each by the rule of this version of Python.

Whether that is all there is to it is tried once, when this module is loaded: :data:`FITS`. Compiled log methods make
the same record in C (native/record.c).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from typing import Any, Final

from logbus.producers.untouched import MAKE, NOBODYS, RECORD

_LOGGING: Final[Any] = logging
_THREADING: Final[Any] = threading
_TIME: Final[Any] = time
_MODULES: Final[dict[str, Any]] = sys.modules

#: Attributes that belong to one call; those of a task since Python 3.12.
_OF_A_CALL: Final = (
    *("msg", "args", "exc_info", "exc_text", "stack_info", "created", "msecs", "relativeCreated"),
    *("thread", "threadName", "processName", "process", "taskName"),
)
#: Attributes that belong to a place.
_OF_A_PLACE: Final = ("name", "levelname", "levelno", "pathname", "filename", "module", "lineno", "funcName")
#: Whether records of this Python have the attributes that are known here, and no others.
FITS: Final = MAKE is not NOBODYS and {*_OF_A_CALL, *_OF_A_PLACE, "taskName"} == {
    *vars(RECORD("", 0, "", 0, "", (), None)),
    "taskName",
}
#: Whether records know their task, and since when time comes in nanoseconds.
_HAS_TASKS: Final = sys.version_info >= (3, 12)
IN_NS: Final = sys.version_info >= (3, 13)

#: What ``threading`` finds threads with, and in: asked here in fewer steps, as long as nobody has replaced it.
CURRENT_THREAD: Final = threading.current_thread
THREADS: Final[dict[int, Any]] = _THREADING._active
#: Threads whose name is where :class:`threading.Thread` keeps it.
THREAD: Final = threading.Thread
MAIN_THREAD: Final = type(threading.main_thread())

_new: Final = RECORD.__new__


class Process:
    """The id of this process: the system is not asked for each record. None while it forks, when two may ask."""

    id: int | None = os.getpid()


def _before_fork() -> None:
    Process.id = None


def _after_fork() -> None:
    Process.id = os.getpid()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)


def record_of(template: dict[str, Any], msg: Any, args: Any) -> Any:
    """A record of the call that is being made, in the order and with the content that logging would give it.

    ``args`` is what the record gets as such: a mapping that was the only argument has been taken out of its tuple.
    """
    found = template.copy()
    if IN_NS:
        ns = _TIME.time_ns()
        found["created"] = created = ns / 1e9
        msecs = (ns % 1_000_000_000) // 1_000_000 + 0.0
        # Seconds in a float round up, where the milliseconds do not.
        found["msecs"] = 0.0 if msecs == 999.0 and int(created) != ns // 1_000_000_000 else msecs
        found["relativeCreated"] = (ns - _LOGGING._startTime) / 1e6
    else:
        found["created"] = created = _TIME.time()
        found["msecs"] = int((created - int(created)) * 1000) + 0.0
        found["relativeCreated"] = (created - _LOGGING._startTime) * 1000
    found["msg"] = msg
    found["args"] = args
    if _LOGGING.logThreads:
        found["thread"] = ident = _THREADING.get_ident()
        thread: Any = THREADS.get(ident)
        kind = type(thread)
        if (kind is MAIN_THREAD or kind is THREAD) and _THREADING.current_thread is CURRENT_THREAD:
            found["threadName"] = thread._name
        else:
            found["threadName"] = _THREADING.current_thread().name
    else:
        found["thread"] = found["threadName"] = None
    if not _LOGGING.logMultiprocessing:
        found["processName"] = None
    else:
        processes = _MODULES.get("multiprocessing")
        name = "MainProcess"
        if processes is not None:
            try:
                name = processes.current_process().name
            except Exception:  # noqa: S110 (it is being imported just now)
                pass
        found["processName"] = name
    found["process"] = (Process.id or os.getpid()) if _LOGGING.logProcesses else None
    if _HAS_TASKS:
        found["taskName"] = _task_name() if _LOGGING.logAsyncioTasks else None
    record = _new(RECORD)
    record.__dict__ = found
    return record


def _task_name() -> str | None:
    asyncio = _MODULES.get("asyncio")
    if asyncio:
        try:
            # Asked first: where no loop runs current_task() raises, which takes longer than all the rest.
            if asyncio._get_running_loop() is not None:
                name: str = asyncio.current_task().get_name()
                return name
        except Exception:  # noqa: S110 (no task, or asyncio is being imported just now)
            pass
    return None
