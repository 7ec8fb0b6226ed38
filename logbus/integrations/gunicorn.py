"""Gunicorn: its error log and its access log as records with fields, and every process of it a worker.

One setting, ``--logger-class logbus.integrations.gunicorn.Logger``, does for the master and its workers what ``logbus
run`` does: the application's records come too, its own logging stays as it is, and what gunicorn writes it writes still
(stderr, ``--error-logfile``, ``--access-logfile``, ``logconfig``). In addition each request is a record of the logger
``gunicorn.access``, also without an access log file; a level rule turns them off at the source.

The fields of an access record come from the atoms of the access log format, which gunicorn hands to the logger, its
own logger class as well. They are on a copy: what gunicorn's handlers and the application's print is as it was.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from logbus.errors import ConfigurationError
from logbus.integrations.hooks import Hook
from logbus.producers.producer import EXITS
from logbus.producers.request import client_request_id
from logbus.producers.take import CLEANERS

if TYPE_CHECKING:
    from logbus.integrations.gunicorn_logger import Logger

__all__ = ["ACCESS", "Logger", "access_fields", "cleaned", "install"]

#: The logger of gunicorn's access log.
ACCESS: Final = "gunicorn.access"
#: The atom of the response header that the middleware of this package sets.
_REQUEST_ID: Final = "{x-request-id}o"
#: Fields by the atoms that they are texts of (https://docs.gunicorn.org/en/stable/settings.html#access-log-format).
_TEXTS: Final = {"method": "m", "path": "U", "client": "h", "user_agent": "a"}


def __getattr__(name: str) -> Any:
    """``Logger``, which needs gunicorn: it is not imported before somebody asks for the class."""
    if name != "Logger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from logbus.integrations.gunicorn_logger import Logger
    except ImportError as error:
        raise ConfigurationError(
            [f"{__name__}.Logger: expected the package gunicorn to be installed, found: {error}"]
        ) from error
    return Logger


def cleaned(record: logging.LogRecord) -> logging.LogRecord:
    """A copy of a record of the access log with its fields; any other as it is. Raises nothing."""
    with contextlib.suppress(Exception):  # atoms of a subclass may be anything
        if isinstance(record.args, dict) and "status" not in record.__dict__:
            fields = access_fields(record.args)
            record = copy.copy(record)
            record.__dict__.update(fields)
    return record


def access_fields(atoms: dict[str, Any]) -> dict[str, Any]:
    """The fields that the atoms of one request give. Those that have no value ("-") are left out."""
    fields: dict[str, Any] = {}
    for name, atom in _TEXTS.items():
        value = atoms.get(atom)
        if isinstance(value, str) and value not in ("", "-"):
            fields[name] = value.replace('\\"', '"')  # as it was, before it was made fit to stand in quotes
    if "path" not in fields:  # a request that has failed: gunicorn knows only its first line
        target = str(atoms.get("r", "")).partition(" ")[2].rpartition(" ")[0].partition("?")[0]
        if target:
            fields["path"] = target
    if isinstance(atoms.get("H"), str):
        fields["http_version"] = atoms["H"].removeprefix("HTTP/")
    status = str(atoms.get("s", ""))
    if status.isdecimal():
        fields["status"] = int(status)
    if isinstance(atoms.get("B"), int):
        fields["bytes"] = atoms["B"]
    if isinstance(atoms.get("D"), int):
        fields["duration_ms"] = atoms["D"] / 1000
    request_id = atoms.get(_REQUEST_ID)
    if isinstance(request_id, str) and (known := client_request_id(request_id)):
        fields["request_id"] = known  # the scope of the request has ended: this is what is left of it
    return fields


def install() -> None:
    """Has every record of gunicorn's access log taken with its fields, and workers drain at SIGTERM. Idempotent."""
    CLEANERS[ACCESS] = cleaned
    if not _AT_FORK:
        _AT_FORK.append(_in_child)
        os.register_at_fork(after_in_child=_in_child)
    _LOAD_WSGI.apply()


#: What runs in forked children, once it is registered.
_AT_FORK: Final[list[Callable[[], None]]] = []


def _draining(load_wsgi: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @functools.wraps(load_wsgi)
    def load(worker: Any) -> Any:
        EXITS.drain_on_sigterm()
        return load_wsgi(worker)

    return load


#: The step of a worker that follows its signal handlers. Uvicorn's worker puts the default actions there, and raises a
#: SIGTERM again, with what it has found, when it has shut down.
_LOAD_WSGI: Final = Hook(
    "the start of a worker",
    "gunicorn.workers.base:Worker.load_wsgi",
    _draining,
    parameters=("self",),
    gives="the last records of a worker that ends by SIGTERM's default action",
)


#: By which a master tells its workers to end: gently, and at once.
_ENDS: Final = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)


def _in_child() -> None:
    """A worker that was forked just now has the master's signal handlers, and would note a signal where nobody looks.

    It would then serve on until the master kills it (``graceful_timeout``, 30 seconds). The window is short, but a
    record in it ("Booting worker") opens the producer, which makes it longer. A worker that has not begun just ends,
    by whichever signal, as by SIGTERM: the default action of SIGQUIT would leave a core behind.
    """
    arbiter: Any = getattr(sys.modules.get("gunicorn.arbiter"), "Arbiter", None)
    if not isinstance(arbiter, type):
        return
    for number in _ENDS:
        if isinstance(getattr(signal.getsignal(number), "__self__", None), arbiter):
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else _end)
            if number == signal.SIGTERM:
                EXITS.drain_on_sigterm()


def _end(number: int, frame: FrameType | None) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
