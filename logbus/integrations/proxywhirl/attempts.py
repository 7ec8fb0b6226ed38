"""Attempts of a request: which one failed and why, and that another one is made.

proxywhirl runs its attempts in three loops: two of ``RetryExecutor``, which are public, and the async rotator's own.
Each gets a function that makes one attempt; here it gets one that counts, tells of failures and of attempts that
follow one. Where WARNING is off nothing is put in between. What is told and what upstream decides may differ in one
case: an answer with a status to be retried is a failed attempt only where upstream looks at the status, which the async
rotator does not.

The request's id goes into the executor too, so that its own messages and its metrics name the same one. And the fields
of the proxy that is really used are bound once more: the sync rotator's queue may hand one thread what another put in.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from logbus.integrations.hooks import Hook
from logbus.integrations.proxywhirl.events import emit, worded
from logbus.integrations.proxywhirl.names import active_text, proxy_fields
from logbus.producers.context import bind_plain, is_open
from logbus.producers.request import new_request_id

_LOG: Final = logging.getLogger("proxywhirl.rotator")
#: Methods that proxywhirl retries without being asked to (RFC 9110, section 9.2.2, without TRACE).
_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "DELETE", "PUT"})
_EXECUTOR: Final = "proxywhirl.retry:RetryExecutor"
_EXECUTOR_TAKES: Final = ("self", "request_fn", "proxy", "method", "url", "request_id")


def hooks(public_only: bool) -> list[Hook]:
    """The hooks of this part: the three loops, of which the async rotator's is private."""
    made = [
        Hook(
            "sync attempts",
            f"{_EXECUTOR}.execute_with_retry",
            _executor,
            parameters=_EXECUTOR_TAKES,
            bare=True,
            gives="attempt_failed and retry of sync requests, and their id in retry metrics",
        ),
        Hook(
            "executor's async attempts",
            f"{_EXECUTOR}.execute_with_retry_async",
            _executor_async,
            parameters=_EXECUTOR_TAKES,
            bare=True,
            asynchronous=True,
            gives="attempt_failed and retry of what is given to RetryExecutor's async loop",
        ),
    ]
    if not public_only:
        made.append(
            Hook(
                "async attempts",
                "proxywhirl.rotator:AsyncProxyWhirl._execute_async_with_retry",
                _rotator_async,
                True,
                parameters=("self", "request_fn", "proxy", "method", "url", "retry_policy"),
                asynchronous=True,
                bare=True,
                gives="attempt_failed and retry of async requests",
            )
        )
    return made


def _executor(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    def execute_with_retry(
        self: Any, request_fn: Any, proxy: Any, method: Any, url: Any, request_id: Any = None, **kwargs: Any
    ) -> Any:
        if layer.live:
            request_id, fields = _begin(proxy, request_id)
            if _LOG.isEnabledFor(logging.WARNING):
                request_fn = _Attempts(request_fn, fields, *_limits(self, method)).make
        return original(self, request_fn, proxy, method, url, request_id, **kwargs)

    return execute_with_retry


def _executor_async(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    async def execute_with_retry_async(
        self: Any, request_fn: Any, proxy: Any, method: Any, url: Any, request_id: Any = None, **kwargs: Any
    ) -> Any:
        if layer.live:
            request_id, fields = _begin(proxy, request_id)
            if _LOG.isEnabledFor(logging.WARNING):
                request_fn = _Attempts(request_fn, fields, *_limits(self, method)).make_async
        return await original(self, request_fn, proxy, method, url, request_id, **kwargs)

    return execute_with_retry_async


def _rotator_async(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    async def execute_async_with_retry(
        self: Any, request_fn: Any, proxy: Any, method: Any, url: Any, retry_policy: Any = None, **kwargs: Any
    ) -> Any:
        if layer.live:
            _, fields = _begin(proxy, None)
            if _LOG.isEnabledFor(logging.WARNING):
                most = getattr(retry_policy or getattr(self, "retry_policy", None), "max_attempts", None)
                request_fn = _Attempts(request_fn, fields, most, ()).make_async
        return await original(self, request_fn, proxy, method, url, retry_policy, **kwargs)

    return execute_async_with_retry


def _begin(proxy: Any, request_id: Any) -> tuple[Any, Mapping[str, str]]:
    """The id of the request, and what its events must carry themselves, since no scope does. Raises no Exception."""
    fields = proxy_fields(proxy)
    if is_open():
        if fields and active_text("proxy_id") != fields["proxy_id"]:
            bind_plain(fields)
        return request_id or active_text("request_id"), {}
    request_id = request_id or active_text("request_id") or new_request_id()
    return request_id, {**fields, "request_id": request_id}


def _limits(executor: Any, method: Any) -> tuple[int | None, Any]:
    """How many attempts there may be, and the statuses that fail one. Raises no Exception."""
    try:
        policy = executor.retry_policy
        if method.upper() in _IDEMPOTENT or policy.retry_non_idempotent:
            return policy.max_attempts, policy.retry_status_codes
    except Exception:  # a policy of the application
        return None, ()
    return 1, ()


class _Attempts:
    """The attempts of one request, one after the other."""

    __slots__ = ("_failed_at", "_fields", "_function", "_most", "_number", "_statuses")

    def __init__(
        self, function: Callable[..., Any], fields: Mapping[str, str], most: int | None, statuses: Any
    ) -> None:
        self._function = function
        self._fields = fields
        self._most = most
        self._statuses = statuses
        self._number = 0
        self._failed_at = 0.0

    def make(self, *args: Any, **kwargs: Any) -> Any:
        """One attempt. The executor gives nothing; one of the application's may."""
        self._begin()
        try:
            response = self._function(*args, **kwargs)
        except Exception as error:
            self._fail(error)
            raise
        self._look(response)
        return response

    async def make_async(self, *args: Any, **kwargs: Any) -> Any:
        """One attempt, awaited."""
        self._begin()
        function: Callable[..., Awaitable[Any]] = self._function
        try:
            response = await function(*args, **kwargs)
        except Exception as error:
            self._fail(error)
            raise
        self._look(response)
        return response

    def _begin(self) -> None:
        self._number += 1
        if self._number > 1 and _LOG.isEnabledFor(logging.INFO):
            delay_ms = round(1000 * (time.monotonic() - self._failed_at), 3)
            message = f"Attempt {self._of()} after {delay_ms:.0f} ms"
            self._tell(logging.INFO, "retry", message, {"delay_ms": delay_ms})

    def _fail(self, error: BaseException) -> None:
        text = worded(error)
        self._tell(logging.WARNING, "attempt_failed", f"Attempt {self._of()} failed: {text}", {"error": text})
        self._failed_at = time.monotonic()

    def _look(self, response: Any) -> None:
        try:
            status = response.status_code
            failed = status in self._statuses
        except Exception:  # a response, or statuses, of the application
            return
        if failed:
            text = f"status {status}"
            self._tell(logging.WARNING, "attempt_failed", f"Attempt {self._of()} failed: {text}", {"error": text})
            self._failed_at = time.monotonic()

    def _of(self) -> str:
        return f"{self._number}/{self._most}" if self._most is not None else str(self._number)

    def _tell(self, level: int, event: str, message: str, own: Mapping[str, Any]) -> None:
        fields = {"attempt": self._number, "max_attempts": self._most, **own, **self._fields}
        emit(_LOG, level, event, message, fields, stacklevel=4)
