"""The scopes of celery's tasks: from the message that asks for one to the last record about it.

A publisher's ``request_id`` travels in the message's headers, and so does ``traceparent``, the header of W3C Trace
Context (§3.2), which other instrumentation reads and writes as well: what stands there already is left alone. A task
whose message says no id has its workflow's, which is what celery calls ``root_id``.

Celery tells of a task's begin and end by two signals, so a scope is opened in one function and closed in another. Those
that are open are kept on a context variable of ours, with the task's id: one for each thread or greenlet. A worker runs
one task at a time there, so whatever is still open when a message's task begins was left by something that never
came to its end, or by the fork of a child in the middle of another task, and is closed. Only an eager task runs inside
another: it joins the request of whoever calls it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Final

from logbus.errors import LogbusError
from logbus.integrations.hooks import Hook
from logbus.producers.context import REQUEST_ID, active
from logbus.producers.imports import when_imported
from logbus.producers.request import RequestScope, request_scope
from logbus.producers.tracing import SPAN_ID, TRACE_ID, span_ids
from logbus.traceparent import Traceparent

#: Names in a message's headers, and so attributes of ``task.request``.
ID_HEADER: Final = "request_id"
TRACE_HEADER: Final = "traceparent"

#: The scopes that are open here, outermost first, each with its task's id.
_OPEN: Final[ContextVar[tuple[tuple[Any, RequestScope], ...]]] = ContextVar("logbus_celery_scopes", default=())


class Scopes:
    """What happens at the signals of a task: of those of ``apps``, or of all where none is given."""

    def __init__(self, apps: Sequence[Any] = ()) -> None:
        self._apps = apps
        self._hooks = [
            Hook("celery.received", "celery.worker.strategy:default", self._receiving, parameters=("task",)),
            Hook("celery.failed", "celery.worker.request:Request.on_failure", _about, parameters=("self",)),
            Hook("celery.timed out", "celery.worker.request:Request.on_timeout", _about, parameters=("self",)),
        ]
        self._cancels: list[Callable[[], None]] = []

    def hook(self) -> None:
        """Gives ids to what the main process of a worker logs about a task: received, lost, out of time."""
        for hook in self._hooks:
            self._cancels.append(when_imported(hook.module, functools.partial(_apply, hook)))

    def unhook(self) -> None:
        """Ends that, and what may be open here."""
        for cancel in self._cancels:
            cancel()
        self._cancels.clear()
        for hook in self._hooks:
            hook.revert()
        close_all()

    def publish(self, headers: Any = None, **_: Any) -> None:
        """``before_task_publish``: the active request's id, and its trace, go along."""
        if not isinstance(headers, dict):
            return
        fields = _fields()
        request_id = fields.get(REQUEST_ID)
        if request_id is not None:
            headers.setdefault(ID_HEADER, str(request_id))
        trace_id, span_id = span_ids() or (fields.get(TRACE_ID), fields.get(SPAN_ID))
        # Flags: somebody has recorded the caller's part, as far as we know; 00 would make most tracers drop the rest.
        header = f"00-{trace_id}-{span_id}-01"
        if Traceparent.parse(header) is not None:
            headers.setdefault(TRACE_HEADER, header)

    def begin(self, task_id: Any = None, task: Any = None, **_: Any) -> None:
        """``task_prerun``: opens the scope of a task."""
        if not self._serves(task):
            return
        request = task.request
        if not request.is_eager:
            close_all()
        inherits = request.is_eager and REQUEST_ID in _fields()
        _open(task_id, _scope(vars(request), task_id, task.name, inherits=inherits))

    def end(self, task_id: Any = None, **_: Any) -> None:
        """``task_postrun``: closes it, and whatever began inside and did not end."""
        scopes = _OPEN.get()
        at = next((at for at in range(len(scopes) - 1, -1, -1) if scopes[at][0] == task_id), None)
        if at is not None:
            _close(at)

    def _serves(self, task: Any) -> bool:
        return not self._apps or any(task.app == app for app in self._apps)  # == and not `is`: either may be a proxy

    def _receiving(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """A task's strategy, whose handler of messages runs in the scope of what a message asks for."""

        def default(task: Any, *args: Any, **kwargs: Any) -> Callable[..., Any]:
            handle: Callable[..., Any] = original(task, *args, **kwargs)
            return self._in_scope(handle) if self._serves(task) else handle

        return default

    def _in_scope(self, handle: Callable[..., Any]) -> Callable[..., Any]:
        hook = self._hooks[0]

        @functools.wraps(handle)
        def handle_in_scope(message: Any, *args: Any, **kwargs: Any) -> Any:
            headers = getattr(message, "headers", None)
            # Protocol 1 has what matters in the body, which is not decoded yet.
            if not hook.applied or not isinstance(headers, dict) or "id" not in headers:
                return handle(message, *args, **kwargs)
            before = len(_OPEN.get())
            _open(headers["id"], _scope(headers, headers["id"], headers.get("task")))
            try:
                return handle(message, *args, **kwargs)
            finally:
                _close(before)

        return handle_in_scope


def _apply(hook: Hook, _: ModuleType) -> None:
    if not hook.apply():
        raise LogbusError(f"{hook.target}: {hook.problem}")  # becomes a warning


def _fields() -> dict[str, Any]:
    """The plain fields that are active here."""
    now = active()
    return (now[0] if now is not None else None) or {}


def close_all() -> None:
    """Closes every scope that is open here."""
    _close(0)


def _about(original: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a worker's request, which runs in the scope of that request."""

    @functools.wraps(original)
    def method(request: Any, *args: Any, **kwargs: Any) -> Any:
        with _scope(request.request_dict, request.id, request.name):
            return original(request, *args, **kwargs)

    return method


def _scope(request: Mapping[str, Any], task_id: Any, name: Any, *, inherits: bool = False) -> RequestScope:
    """The scope of a task, by what its request says: its own attributes, or the headers of its message."""
    own = request.get(ID_HEADER)
    request_id = own if isinstance(own, str) and own else None if inherits else request.get("root_id") or task_id
    trace = request.get(TRACE_HEADER)
    fields = {"task_id": task_id, "task_name": name, "retries": request.get("retries") or 0}
    if request.get("parent_id"):
        fields["parent_id"] = request["parent_id"]
    return request_scope(request_id, operation=name, traceparent=trace if isinstance(trace, str) else None, **fields)


def _open(task_id: Any, scope: RequestScope) -> None:
    # Noted first: a soft time limit may raise between any two lines, and closing what is not open yet does nothing.
    _OPEN.set((*_OPEN.get(), (task_id, scope)))
    scope.__enter__()


def _close(at: int) -> None:
    scopes = _OPEN.get()
    for _, scope in reversed(scopes[at:]):
        scope.__exit__(None, None, None)
    if scopes[at:]:
        _OPEN.set(scopes[:at])
