"""Tasks that failed and were never asked: asyncio's own report, with the fields of the task.

asyncio logs "Task exception was never retrieved" with the exception (logger ``asyncio``, ERROR) when the task is
collected as garbage: somewhere, in the middle of anything. The record would carry the fields of whoever happens to run
there, another request's for example. So while the loop's ``call_exception_handler`` runs, ours are active: those of the
scope that the exception has left, else those of the task's own context (Python 3.12 gives it), else none. No context
variable but ours is changed. Errors of callbacks, which the loop reports in the same way, get those of the callback.
"""

from __future__ import annotations

import functools
import sys
from contextvars import Context
from typing import Any, Final

from logbus.producers.context import Active, acting, active_in
from logbus.producers.origin import origin

#: Classes of event loops; uvloop's is a Python class above the one in C.
_LOOPS: Final = (("asyncio.base_events", "BaseEventLoop"), ("uvloop", "Loop"))
_NAME: Final = "call_exception_handler"


class Unretrieved:
    """The hook of the event loops of this process, which has one: :data:`UNRETRIEVED`."""

    def __init__(self) -> None:
        self._on = False
        #: The classes on which our method stands, whether as their own or as the inherited one, and the method.
        self._hooked: dict[type, tuple[bool, Any, Any]] = {}

    def follow(self) -> None:
        """Takes part in the event loops that are loaded by now. Idempotent."""
        self._on = True
        for module, name in _LOOPS:
            loop: Any = getattr(sys.modules.get(module), name, None)
            if isinstance(loop, type) and loop not in self._hooked and callable(getattr(loop, _NAME, None)):
                self._hook(loop)

    def leave(self) -> None:
        """Gives the method back, unless somebody put his own on top: then ours stays, and does nothing."""
        self._on = False
        for loop, (own, before, ours) in list(self._hooked.items()):
            if loop.__dict__.get(_NAME) is ours:
                del self._hooked[loop]
                if own:
                    setattr(loop, _NAME, before)
                else:
                    delattr(loop, _NAME)

    def _hook(self, loop: type) -> None:
        before: Any = getattr(loop, _NAME)

        @functools.wraps(before)
        def call_exception_handler(this: Any, context: dict[str, Any]) -> Any:
            if not self._on:
                return before(this, context)
            known, fields = _fields_of(context)
            if not known:
                return before(this, context)
            with acting(fields):
                return before(this, context)

        self._hooked[loop] = (_NAME in loop.__dict__, before, call_exception_handler)
        setattr(loop, _NAME, call_exception_handler)


def _fields_of(context: Any) -> tuple[bool, Active | None]:
    """Whether it is known what was active where a loop's report comes from, and what. Raises nothing."""
    try:
        error = context.get("exception")
        fields = origin(error) if isinstance(error, BaseException) else None
        if fields is not None:
            return True, fields
        thing = context.get("task") or context.get("future") or context.get("handle")
        if thing is None:
            return False, None
        own: Any = getattr(thing, "get_context", None)
        found = own() if own is not None else getattr(thing, "_context", None)
        return True, active_in(found) if isinstance(found, Context) else None
    except Exception:  # a loop or a task of another make
        return False, None


#: The event loops belong to the process.
UNRETRIEVED: Final = Unretrieved()
