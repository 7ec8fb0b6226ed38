"""Health: every change of a proxy's status, and the result of every check, of which proxywhirl logs none.

A change is seen where the attribute is set, by whatever code: requests, the API, the command line, applications. What
a proxy is made with (validation, copies, ``model_construct``) is no change, and does not pass here. Setting any other
attribute costs one comparison more.

A check is one request of its own: its records, httpx's among them, carry a request id, the operation "health_check"
and the proxy. The command line checks in a function inside a function, which nobody can wrap: there the results are
taken as they are made, and httpx's records carry nothing. proxywhirl's ``HealthMonitor`` checks nothing yet.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from logbus.integrations.hooks import Hook
from logbus.integrations.proxywhirl.events import emit, worded
from logbus.integrations.proxywhirl.mask import MASK, masked_text, masked_url
from logbus.integrations.proxywhirl.names import active_text, proxy_fields
from logbus.producers.context import PlainScope, plain_scope
from logbus.producers.text import text_of

#: The operation of what a check logs.
OPERATION: Final = "health_check"

_LOG: Final = logging.getLogger("proxywhirl.health")
_STATUS: Final = "health_status"
#: Levels by the new status; any other is INFO.
_LEVELS: Final = {"degraded": logging.WARNING, "unhealthy": logging.WARNING, "dead": logging.ERROR}
#: Where the command line makes its results.
_CLI: Final = ("proxywhirl.cli", "check_health")


def hooks(public_only: bool) -> list[Hook]:
    """The hooks of this part. Only by private names: the checks of the API and of the command line."""
    made = [
        Hook(
            "health changes",
            "proxywhirl.models.core:Proxy.__setattr__",
            _setting,
            parameters=("self", "name", "value"),
            bare=True,
            gives="health_changed",
        ),
        Hook(
            "validator's checks",
            "proxywhirl.fetchers:ProxyValidator.validate",
            _validating,
            parameters=("self", "proxy"),
            asynchronous=True,
            gives="health_check of the validator",
        ),
    ]
    if not public_only:
        made += [
            Hook(
                "API's health checks",
                "proxywhirl.api.core:_check_proxy_health",
                _checking,
                True,
                parameters=("proxy", "test_url"),
                asynchronous=True,
                gives="health_check of the API",
            ),
            Hook(
                "command line's health checks",
                "proxywhirl.models.core:ProxyStatus.__init__",
                _stating,
                True,
                parameters=("self",),
                bare=True,
                gives="health_check of the command line",
            ),
        ]
    return made


def _setting(original: Callable[..., None], layer: Any) -> Callable[..., None]:
    @functools.wraps(original)
    def set_attribute(self: Any, name: str, value: Any) -> None:
        if name != _STATUS or not layer.live:
            original(self, name, value)
            return
        before = vars(self).get(_STATUS)
        original(self, name, value)
        _changed(self, before)

    return set_attribute


def _changed(proxy: Any, before: Any) -> None:
    """Tells of a status that is another now. Raises no Exception."""
    try:
        old, new = _word(before), _word(vars(proxy).get(_STATUS))
        level = _LEVELS.get(new, logging.INFO)
        if old == new or not _LOG.isEnabledFor(level):
            return
        fields = {**proxy_fields(proxy), "before": old, "after": new}
    except Exception:  # a status of the application's own making
        return
    # This function, the one that set it for us, and whoever set it.
    message = f"Health of {fields.get('proxy_url', MASK)}: {old} -> {new}"
    emit(_LOG, level, "health_changed", message, fields, stacklevel=3)


def _checking(original: Callable[..., Any]) -> Callable[..., Any]:
    async def check(proxy: Any, *args: Any, **kwargs: Any) -> Any:
        fields = proxy_fields(proxy)
        with _scope(fields):
            result = await original(proxy, *args, **kwargs)
            status = getattr(result, "status", None)
            _checked(fields, status == "working", getattr(result, "latency_ms", None), getattr(result, "error", None))
        return result

    return check


def _validating(original: Callable[..., Any]) -> Callable[..., Any]:
    async def validate(self: Any, proxy: Any, *args: Any, **kwargs: Any) -> Any:
        url = proxy.get("url") if isinstance(proxy, Mapping) else None
        fields = {"proxy_url": masked_url(url) if isinstance(url, str) else MASK}
        with _scope(fields):
            result = await original(self, proxy, *args, **kwargs)
            _checked(fields, getattr(result, "is_valid", None) is True, getattr(result, "response_time_ms", None), None)
        return result

    return validate


def _stating(original: Callable[..., None], layer: Any) -> Callable[..., None]:
    """Around the making of a result, which the command line also makes of proxies that it only lists."""

    @functools.wraps(original)
    def make(self: Any, /, **data: Any) -> None:
        original(self, **data)
        caller = sys._getframe(1)
        if layer.live and (caller.f_globals.get("__name__"), caller.f_code.co_name) == _CLI:
            url, error = data.get("url"), sys.exc_info()[1]
            _checked(
                {"proxy_url": masked_url(url) if isinstance(url, str) else MASK},
                _word(data.get("health")) == "healthy",
                data.get("response_time_ms") if error is None else None,
                None if error is None else worded(error),
                stacklevel=3,
            )

    return make


def _checked(fields: Mapping[str, Any], works: bool, latency_ms: Any, error: Any, *, stacklevel: int = 4) -> None:
    """Tells of a result; ``stacklevel`` leads past the functions that stand around the check. Raises no Exception."""
    level = logging.INFO if works else logging.WARNING
    if not _LOG.isEnabledFor(level):
        return
    result = "working" if works else "failed"
    own: dict[str, Any] = {**fields, "result": result}
    if isinstance(latency_ms, int | float):
        own["latency_ms"] = round(latency_ms, 3)
    if error:
        own["error"] = masked_text(text_of(error))
    emit(
        _LOG,
        level,
        "health_check",
        f"Health check of {fields.get('proxy_url', MASK)}: {result}",
        own,
        stacklevel=stacklevel,
    )


def _scope(fields: Mapping[str, str]) -> PlainScope:
    """The scope of one check: part of the request that asked for it, if there is one."""
    known = {} if active_text("request_id") else {"request_id": active_text("trace_id") or os.urandom(16).hex()}
    return plain_scope({**known, "operation": OPERATION, **fields})


def _word(status: Any) -> Any:
    return getattr(status, "value", status)
