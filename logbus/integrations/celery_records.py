"""Celery's own records about tasks, without what must not be in a log.

Celery hands its log handlers more than its lines say, in a field ``data``: the arguments of a task as text, in which no
redaction can tell a password from a quantity, and a second copy of the traceback. Of that nothing stays but what the
line does not say as a number, ``duration_ms``, and ``eta``; ids and names are those of the task's scope. And an
exception that has come from a child is wrapped twice, with its traceback as text: it is unwrapped.

What is changed is a copy (:data:`logbus.producers.take.CLEANERS`): other handlers get the record as celery made it.
"""

from __future__ import annotations

import copy
import logging
from typing import Any, Final

from logbus.producers.take import CLEANERS

#: The loggers that celery tells about tasks with.
LOGGERS: Final = ("celery.app.trace", "celery.worker.request", "celery.worker.strategy")


def clean() -> None:
    """Has the records of these loggers cleaned before they are taken."""
    CLEANERS.update(dict.fromkeys(LOGGERS, cleaned))


def leave() -> None:
    """Has them taken as they are."""
    for name in LOGGERS:
        CLEANERS.pop(name, None)


def cleaned(record: logging.LogRecord) -> logging.LogRecord:
    """The record itself if there is nothing to clean, else a copy. Raises nothing."""
    attributes = vars(record)
    data, raised = attributes.get("data"), attributes.get("exc_info")
    wrapped = raised[1] if isinstance(raised, tuple) and len(raised) == 3 else None
    inner = vars(wrapped).get("exc") if type(wrapped).__name__ == "ExceptionWithTraceback" else None
    if not isinstance(data, dict) and not isinstance(inner, BaseException):
        return record
    record = copy.copy(record)
    if isinstance(data, dict):
        del record.__dict__["data"]
        record.__dict__.update(_kept(data))
    if isinstance(inner, BaseException) and raised is not None:
        record.exc_info = type(inner), inner, raised[2]
    return record


def _kept(data: dict[Any, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    if isinstance(runtime := data.get("runtime"), float):
        kept["duration_ms"] = round(runtime * 1000, 3)
    if (eta := data.get("eta")) is not None:
        kept["eta"] = str(eta)
    return kept
