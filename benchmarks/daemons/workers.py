"""The workers of the family ``end_to_end``: how each logs, in processes of their own that are spawned.

A worker sets up its logging as the documentation of the way says, makes a few calls, and says that it is ready. When it
is told to, it makes its calls flat out, waits until they have left the process, and says what CPU time that took, the
threads in its background included. Nothing is imported here that not every worker needs: CPU time and memory are those
of the way alone.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.queues import Queue
from typing import Any, Final

from benchmarks.peers.calls import Calls, Dialect
from benchmarks.record import LOGGER, JsonLine
from benchmarks.service import PURE_PYTHON

#: Calls of a worker before the clock starts, at most: threads and buffers come to life, and CPython fits the code to
#: the types that it meets, as in every worker that has been there for a moment.
WARM_UP: Final = 1000
#: Seconds for the records to leave.
_DRAIN_S: Final = 60.0
#: Messages that fluent-logger's queue holds: all of a worker's. By default 100, whereupon calls wait for a thread.
_QUEUED: Final = 20_000
#: Attributes of a LogRecord that a logbus line has no field for.
_NOT_SENT: Final = (
    "args msg exc_info exc_text stack_info created msecs relativeCreated levelno pathname filename thread taskName "
    "message asctime"
).split()

Drain = Callable[[], object]
#: Sets logging up in this process; the calls to make, and what waits until they have left.
Attach = Callable[[Any], tuple[Calls, Drain]]


def work(pipe: Connection, attach: Attach, destination: Any, warm: int, count: int) -> None:
    """Makes ``warm`` calls in a worker, then, as told through the pipe, ``count``; says what CPU seconds these took.

    When it is ready it says the form of logbus's log calls, if it has loaded logbus: what it really runs.
    """
    calls, drain = attach(destination)
    calls.log(warm)
    pipe.send(_form())
    pipe.recv()
    before = time.process_time()
    calls.log(count)
    drain()
    pipe.send(time.process_time() - before)
    pipe.recv()


def handler(endpoint: str) -> tuple[Calls, Drain]:
    """A LogbusHandler on the root logger."""
    import logbus

    return _stdlib(logbus.LogbusHandler(endpoint)), _flush


def fast(endpoint: str) -> tuple[Calls, Drain]:
    """Loggers of logbus's, which make no LogRecord where nobody else would see it."""
    import logbus

    logbus.configure(endpoint=endpoint, fast_loggers=True)
    log = logging.getLogger(LOGGER)
    if not isinstance(log, logbus.FastLogger):
        raise RuntimeError(f"expected a FastLogger, found {type(log).__name__}")
    return Calls(log), _flush


def handler_in_python(endpoint: str) -> tuple[Calls, Drain]:
    """A LogbusHandler without the compiled part."""
    os.environ[PURE_PYTHON] = "1"
    return handler(endpoint)


def fast_in_python(endpoint: str) -> tuple[Calls, Drain]:
    """Loggers of logbus's without the compiled part."""
    os.environ[PURE_PYTHON] = "1"
    return fast(endpoint)


def queue_handler(waiting: Queue[Any]) -> tuple[Calls, Drain]:
    """A QueueHandler, whose queue pickles and writes in a thread."""

    def drain() -> None:
        waiting.close()
        waiting.join_thread()

    return _stdlib(logging.handlers.QueueHandler(waiting)), drain


def socket_handler(port: int) -> tuple[Calls, Drain]:
    """A SocketHandler, which pickles and sends in the call."""
    return _stdlib(logging.handlers.SocketHandler("127.0.0.1", port)), _sent


def syslog_handler(path: str) -> tuple[Calls, Drain]:
    """A SysLogHandler on a Unix socket, JSON text; it sends in the call, and waits where the daemon is behind."""
    made = logging.handlers.SysLogHandler(path)
    made.append_nul = False  # as its documentation says for daemons that keep the byte
    made.setFormatter(JsonLine())
    return _stdlib(made), _sent


def fluent(port: int) -> tuple[Calls, Drain]:
    """fluent-logger's asynchronous handler, which packs in the call and sends in a thread."""
    from fluent.asynchandler import FluentHandler
    from fluent.handler import FluentRecordFormatter

    made = FluentHandler("app.bench", host="127.0.0.1", port=port, queue_maxsize=_QUEUED)
    made.setFormatter(FluentRecordFormatter(exclude_attrs=_NOT_SENT, format_json=False))
    return _stdlib(made), made.close


def loguru(logger: Any) -> tuple[Calls, Drain]:
    """The logger that came from the process with the sink; ``complete`` waits until that has written all."""
    return Calls(logger, Dialect("{}", keywords=True)), logger.complete


def _form() -> str:
    if "logbus" not in sys.modules:
        return ""
    from benchmarks.compiled import form

    return form()


def _stdlib(made: logging.Handler) -> Calls:
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    root.addHandler(made)
    return Calls(logging.getLogger(LOGGER))


def _flush() -> None:
    import logbus

    if not logbus.flush(_DRAIN_S):
        raise RuntimeError(f"nobody took the records within {_DRAIN_S:g} s")


def _sent() -> None:
    """Each call has sent its record."""
