"""Uvicorn: its records and its access log with fields, by the one setting that all of its processes read.

``uvicorn.run(app, log_config=log_config())``, or on the command line ``--log-config FILE``, with the file that
``python -m logbus.integrations.uvicorn`` prints. Uvicorn's loggers don't propagate, so a handler on the root logger
never sees them; and its workers are spawned, so each has to be configured anew: uvicorn does that, with this.
The application's own logging is left alone: it calls :func:`logbus.configure` itself, or uses ``logbus run``, which
needs nothing of this.

Uvicorn ends on SIGTERM by raising the signal again once it has shut down, with the action that it has found. The
handler makes that the drain, where it is the default.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import logging
import sys
from typing import Any, Final

from logbus.errors import ConfigurationError
from logbus.producers.handler import LogbusHandler
from logbus.producers.producer import EXITS
from logbus.producers.take import CLEANERS

#: The logger of uvicorn's access log.
ACCESS: Final = "uvicorn.access"
#: What uvicorn attaches for a terminal: the message again, with its colours.
_COLOURED: Final = "color_message"
#: The arguments of an access record: client, method, path with query, HTTP version, status.
_ARGUMENTS: Final = 5


def log_config(*, console: bool = True, **options: Any) -> dict[str, Any]:
    """A dictionary for uvicorn's ``log_config``: what uvicorn logs is shown as ever, and goes to the collector.

    Args:
        console: whether uvicorn's lines are written to stderr and stdout too.
        options: those of :class:`logbus.LogbusHandler`; what is not given comes from the environment or a file.

    Raises:
        ConfigurationError: for an option that the handler does not have.
    """
    known = inspect.signature(LogbusHandler).parameters
    if unknown := [f"{name}=: unknown option; one of {', '.join(known)}" for name in options if name not in known]:
        raise ConfigurationError(unknown)
    shown, accessed = (["default"], ["access"]) if console else ([], [])
    return {
        "version": 1,
        "disable_existing_loggers": False,
        # Under these names: uvicorn sets their colours (--use-colors).
        "formatters": {
            "default": {"()": "uvicorn.logging.DefaultFormatter", "fmt": "%(levelprefix)s %(message)s"},
            "access": {
                "()": "uvicorn.logging.AccessFormatter",
                "fmt": '%(levelprefix)s %(client_addr)s - "%(request_line)s" %(status_code)s',
            },
        },
        "handlers": {
            "default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"},
            "access": {"class": "logging.StreamHandler", "formatter": "access", "stream": "ext://sys.stdout"},
            "logbus": {"()": "logbus.integrations.uvicorn.UvicornHandler", **options},
        },
        "loggers": {
            "uvicorn": {"handlers": [*shown, "logbus"], "level": "INFO", "propagate": False},
            "uvicorn.error": {"level": "INFO"},
            ACCESS: {"handlers": [*accessed, "logbus"], "level": "INFO", "propagate": False},
        },
    }


class UvicornHandler(LogbusHandler):
    """A LogbusHandler that knows uvicorn's records: fields for its access log, and no colours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        EXITS.drain_on_sigterm()

    def handle(self, record: logging.LogRecord) -> logging.LogRecord | bool:  # type: ignore[override]
        """Emits a record; one of the access log with its fields. Other handlers have it as it was."""
        return super().handle(cleaned(record))


def cleaned(record: logging.LogRecord) -> logging.LogRecord:
    """The record without colours, and one of the access log with fields; a copy where that changes it. Raises nothing.

    The fields: method, path (without its query), status, client, http_version.
    """
    if _COLOURED in record.__dict__ or record.name == ACCESS:
        record = copy.copy(record)
        record.__dict__.pop(_COLOURED, None)
        add_fields(record)
    return record


def add_fields(record: logging.LogRecord) -> None:
    """Adds them to one record, if it is one of the access log. Raises no Exception."""
    with contextlib.suppress(Exception):  # an application may log there whatever it likes
        arguments = record.args
        if record.name == ACCESS and isinstance(arguments, tuple) and len(arguments) == _ARGUMENTS:
            client, method, target, version, status = arguments
            fields: dict[str, Any] = {
                "method": str(method),
                "path": str(target).partition("?")[0],
                "status": int(str(status)),
                "http_version": str(version),
            }
            if client:
                fields["client"] = str(client).rpartition(":")[0] or str(client)  # without its port
            record.__dict__.update(fields)


def install() -> None:
    """Has every record of uvicorn's loggers taken so, whoever takes it. Idempotent."""
    CLEANERS.update(dict.fromkeys(("uvicorn.error", ACCESS), cleaned))


if __name__ == "__main__":
    json.dump(log_config(), sys.stdout, indent=2)
    sys.stdout.write("\n")
