"""Standard library records into loguru: for applications whose log is loguru and whose libraries use logging.

The usual recipe counts stack frames to find the caller, which fails behind a queue or with ``stacklevel``. A record
knows its caller already, so here a patcher writes it into loguru's record, together with what else loguru would lose:
the logger's name, the time of the call, thread and process, a level that loguru does not know, and the extra fields.
Frames are counted still, because ``logger.disable("name")`` looks at the caller's module.

With ``logbus.configure()`` it is not needed: both libraries lead to the bus. A record that takes this way beside the
other is taken once (:mod:`logbus.producers.relay`).
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Final

from logbus.errors import ConfigurationError
from logbus.producers.sanitise import safe_message

if TYPE_CHECKING:
    from loguru import Record

#: Attributes of every LogRecord, and those that formatters of other handlers leave on it: what is not extra.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
#: Where the frames of logging itself come from.
_LOGGING_FILE: Final = logging.addLevelName.__code__.co_filename


class InterceptHandler(logging.Handler):
    """A handler that passes records on to loguru: ``logging.basicConfig(handlers=[InterceptHandler()], level=0)``.

    Raises ConfigurationError when loguru is not installed.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        try:
            from loguru import logger
        except ImportError as error:
            raise ConfigurationError(["InterceptHandler: expected loguru, which is not installed"]) from error
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Logs one record with loguru. What goes wrong there goes to ``handleError``, as in every handler."""
        try:
            message = safe_message(record.msg, record.args)
            if record.exc_text and not record.exc_info:  # it came from another process as text
                message = f"{message}\n{record.exc_text}"
            exception = record.exc_info if record.exc_info and record.exc_info[1] is not None else None
            depth = 1
            frame = sys._getframe(1)
            while frame.f_code.co_filename == _LOGGING_FILE and frame.f_back is not None:
                frame = frame.f_back
                depth += 1
            logger = self._logger.opt(depth=depth, exception=exception).patch(lambda to: _carry_over(record, to))
            logger.log(self._level_of(record), message)
        except Exception:
            self.handleError(record)

    def _level_of(self, record: logging.LogRecord) -> str | int:
        """The name of the level if loguru has the same one (with its colour and icon), else its number."""
        try:
            if self._logger.level(record.levelname).no == record.levelno:
                return record.levelname
        except (ValueError, TypeError):
            pass
        return max(0, record.levelno)


def _carry_over(record: logging.LogRecord, to: Record) -> None:
    """Writes into loguru's record what logging's knows better. Loguru's own classes, since its formats need them."""
    fields: dict[str, Any] = dict(to)
    to["name"] = record.name
    to["function"] = record.funcName or ""
    to["line"] = record.lineno
    to["module"] = record.module
    to["file"] = type(fields["file"])(record.filename, record.pathname)
    to["time"] = type(fields["time"]).fromtimestamp(record.created, fields["time"].tzinfo)
    if to["level"].name != record.levelname:
        to["level"] = type(fields["level"])(record.levelname, to["level"].no, to["level"].icon)
    if record.thread is not None and to["thread"].id != record.thread:
        to["thread"] = type(fields["thread"])(record.thread, record.threadName)
    if record.process is not None and to["process"].id != record.process:
        to["process"] = type(fields["process"])(record.process, record.processName)
    to["extra"].update({str(key): value for key, value in vars(record).items() if key not in _STANDARD})
    if record.stack_info:
        to["extra"]["stack_info"] = record.stack_info
