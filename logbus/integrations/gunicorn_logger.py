"""The logger class of gunicorn that :mod:`logbus.integrations.gunicorn` names; importing this needs gunicorn."""

from __future__ import annotations

import logging
import traceback
from typing import Any

from gunicorn import glogging

from logbus.integrations.attach import attach
from logbus.integrations.gunicorn import install


class Logger(glogging.Logger):  # type: ignore[misc]
    """For ``--logger-class``: gunicorn's own logger, whose records and whose processes' records go to the collector.

    The collector is found as everywhere: ``LOGBUS_*`` variables, ``[tool.logbus]`` in ./pyproject.toml, the default.
    """

    def setup(self, cfg: Any) -> None:
        """What gunicorn calls at its start, and again when it reloads its configuration."""
        super().setup(cfg)
        if not self.access_log.handlers:
            # Uvicorn's worker gives its own access log these handlers, and makes no record where there are none.
            self.access_log.addHandler(logging.NullHandler())
        install()
        attach()

    @property
    def access_log_enabled(self) -> bool:
        """Whether requests are logged: a matter of the logger's level, with or without a file."""
        return self.access_log.isEnabledFor(logging.INFO)  # type: ignore[no-any-return]

    def access(self, resp: Any, req: Any, environ: Any, request_time: Any) -> None:
        """Logs one request, as the setting ``access_log_format`` says it."""
        if not self.access_log_enabled:
            return
        try:
            atoms = self.atoms_wrapper_class(self.atoms(resp, req, environ, request_time))
            self.access_log.info(self.cfg.access_log_format, atoms, stacklevel=2)
        except Exception:  # a format of the application's, or what it says of the request: as gunicorn does
            self.error(traceback.format_exc())

    # The place in the code that a record shows is gunicorn's, and not that of these methods.

    def critical(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """As a logger's method of this name, on the error log."""
        self.error_log.critical(msg, *args, **_above(kwargs))

    def error(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """As a logger's method of this name, on the error log."""
        self.error_log.error(msg, *args, **_above(kwargs))

    def warning(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """As a logger's method of this name, on the error log."""
        self.error_log.warning(msg, *args, **_above(kwargs))

    def info(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """As a logger's method of this name, on the error log."""
        self.error_log.info(msg, *args, **_above(kwargs))

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """As a logger's method of this name, on the error log."""
        self.error_log.debug(msg, *args, **_above(kwargs))

    def exception(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """As a logger's method of this name, on the error log."""
        self.error_log.exception(msg, *args, **_above(kwargs))

    def log(self, lvl: Any, msg: Any, *args: Any, **kwargs: Any) -> None:
        """As a logger's method of this name, on the error log; the level may be a name."""
        if isinstance(lvl, str):
            lvl = self.LOG_LEVELS.get(lvl.lower(), logging.INFO)
        self.error_log.log(lvl, msg, *args, **_above(kwargs))


def _above(kwargs: dict[str, Any]) -> dict[str, Any]:
    """With a stack level that is one higher: the method which calls this is none of its caller's."""
    return {**kwargs, "stacklevel": kwargs.get("stacklevel", 1) + 1}
