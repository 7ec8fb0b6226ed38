"""Loguru's import, at whose end a worker is attached to it: what a worker without loguru has of it.

The front itself (:mod:`logbus.producers.loguru_front`) and what belongs to it are loaded only then: half a megabyte,
and two milliseconds of a worker's start.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from logbus.producers.imports import when_imported

if TYPE_CHECKING:
    from logbus.producers.producer import Producer

#: How loguru's records come: by our handler alone, or past loguru. None: direct where ours is the only handler.
Source = Literal["direct", "handler"]

#: The module whose end of import is the moment.
_LOGURU: Final = "loguru"
_FRONT: Final = "logbus.producers.loguru_front"


class LoguruImport:
    """Who waits for it in this process: :data:`LOGURU_IMPORT`."""

    def __init__(self) -> None:
        #: What cancels the wait.
        self._forget: Callable[[], None] | None = None

    def begin(self, producer: Producer, *, level: int, source: Source | None = None, beside: bool = False) -> None:
        """As ``LOGURU.begin()``, now if loguru is loaded, else at the end of its import; in place of an earlier call.

        Until the front leaves, it is done again when loguru is loaded anew. Raises nothing.
        """

        def attach(_: object) -> None:
            from logbus.producers.loguru_front import LOGURU

            LOGURU.begin(producer, level=level, source=source, beside=beside)

        earlier = self._forget
        self._forget = when_imported(_LOGURU, attach)
        if earlier is not None:  # last: of two that are called in one import the later one counts
            earlier()

    def forget(self) -> None:
        """Loguru is left alone if it is imported from now on."""
        forget, self._forget = self._forget, None
        if forget is not None:
            forget()

    def end(self) -> None:
        """The same, and a loguru that is attached is given back as the application had it."""
        self.forget()
        if _FRONT in sys.modules:
            from logbus.producers.loguru_front import LOGURU

            LOGURU.end()


#: Loguru's import in this process.
LOGURU_IMPORT: Final = LoguruImport()
