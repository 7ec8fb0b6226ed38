"""A thread that does what a disk may take its time for, a thing after the other, so that the collector's thread waits
for nothing. It begins with the first thing there is to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Final, TypeVar

#: Seconds for which the end waits for what is being done: a disk may hang for good.
CLOSE_S: Final = 1.0

_Result = TypeVar("_Result")


class Clerk:
    """Does what it is given, in order. For one thread."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def do(self, call: Callable[[], _Result]) -> Future[_Result]:
        """Has something done; the future has its result, or its error."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="logbus-dead-letters", daemon=True)
            self._thread.start()
        task: Future[_Result] = Future()
        self._tasks.put((task, call))
        return task

    def close(self) -> None:
        """Ends it when all is done, or :data:`CLOSE_S` has passed; idempotent."""
        if self._thread is not None:
            self._tasks.put(None)
            self._thread.join(CLOSE_S)
            self._thread = None

    def _run(self) -> None:
        while (item := self._tasks.get()) is not None:
            task, call = item
            try:
                task.set_result(call())
            except BaseException as error:
                task.set_exception(error)
