"""The two records that a web server's request has where they are wanted: that it began, and how it ended.

Ordinary records of the standard library: a level rule for their logger turns them off at the source. The path is
without its query string, which is where secrets are.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import Any, Final

from logbus.producers.text import type_name

#: The logger of access records, and so their component, unless the application names another one.
LOGGER: Final = "requests"
#: What an end is called that nobody has raised: the application has returned, or was closed, in the middle of it.
INCOMPLETE: Final = "incomplete response"
#: The status of a request whose application has raised before it answered: what servers then send.
FAILED: Final = 500


def _without_credentials(path: str) -> str:
    """The path, with a mask for those of a URL in it: there are applications whose resources are named by URLs."""
    at, mark = path.rfind("@"), path.find(":/")
    return f"{path[:mark]}://***{path[at:]}" if 0 <= mark < at else path


class Access:
    """One request. ``client`` is the client's host, ``events`` what the names of both begin with. Raises nothing."""

    __slots__ = ("_begun", "_ended", "_events", "_fields", "_log", "status", "what")

    def __init__(
        self, log: logging.Logger, method: str, path: str, client: str | None, events: str = "request"
    ) -> None:
        self._log = log
        self._events = events
        path = _without_credentials(path)
        self._fields: dict[str, Any] = {"method": method, "path": path}
        if client:
            self._fields["client"] = client
        self.what = f"{method} {path}"
        #: The status that was sent, once one was.
        self.status: int | None = None
        self._ended = False
        self._begun = time.perf_counter()

    def started(self) -> None:
        """Logs the beginning."""
        self._tell(f"{self._events}_started", f"{self.what} started", {})

    def ended(self, error: BaseException | str | None = None) -> None:
        """Logs the end, once: status, milliseconds, and what went wrong."""
        if self._ended:
            return
        self._ended = True
        duration = round((time.perf_counter() - self._begun) * 1000, 3)
        fields: dict[str, Any] = {"duration_ms": duration}
        if isinstance(error, Exception) and self.status is None:
            self.status = FAILED
        if self.status is not None:
            fields["status"] = self.status
        if error is not None:
            fields["error"] = error if isinstance(error, str) else type_name(type(error))
        self._tell(f"{self._events}_ended", f"{self.what} {self.status or '-'} in {duration:.1f} ms", fields)

    def _tell(self, event: str, message: str, fields: dict[str, Any]) -> None:
        with contextlib.suppress(Exception):  # handlers and filters of the application: the request goes on
            if self._log.isEnabledFor(logging.INFO):
                self._log.info(message, extra={"event": event, **self._fields, **fields})
