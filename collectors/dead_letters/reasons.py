"""Masks secrets in the reasons of dead letters, on the threads of writers: a redactor is of one thread.

So it has one of its own, with the same rules, and another one once a reload has changed these.
"""

from __future__ import annotations

from collections.abc import Callable

from logbus.collectors.redaction.redact import Redactor


class Reasons:
    """Masks a text by the rules of the redactor that ``current`` gives; one thread at a time."""

    def __init__(self, current: Callable[[], Redactor]) -> None:
        self._current = current
        self._known: tuple[Redactor, Redactor] | None = None

    def __call__(self, text: str) -> str:
        """The text, masked."""
        redactor = self._current()
        if self._known is None or self._known[0] is not redactor:
            self._known = redactor, redactor.twin()
        return str(self._known[1].field("", text))
