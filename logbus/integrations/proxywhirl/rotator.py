"""Requests of proxywhirl's rotators: each opens a scope, which every record of the request shares.

All seven verbs pass ``_make_request``, and so do subclasses that add verbs of their own. With ``public_only`` the verbs
are wrapped instead. A request inside a request keeps the id and the operation that are active; so does one that the
application has opened a scope for, or a server for the client whose request it answers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from logbus.integrations.hooks import Hook
from logbus.integrations.proxywhirl.names import OPERATION, PROXY_FIELDS, active_text, strategy_name
from logbus.producers.context import Active, Scope, active, first_scope, plain_scope
from logbus.producers.request import new_request_id

#: The public methods that make a request.
VERBS: Final = ("get", "post", "put", "delete", "patch", "head", "options")

_GIVES: Final = "request_id, operation and strategy on the records of {} requests"


def hooks(public_only: bool) -> list[Hook]:
    """The hooks of this part: the method that every request passes, or the public verbs."""
    sync, asynchronous = "proxywhirl.rotator:ProxyWhirl", "proxywhirl.rotator:AsyncProxyWhirl"
    made = []
    for name, private in [(verb, False) for verb in VERBS] if public_only else [("_make_request", True)]:
        word = f"{name} " if public_only else ""
        first = ("self", "url") if public_only else ("self", "method", "url")
        made += [
            Hook(
                f"sync {word}requests",
                f"{sync}.{name}",
                _in_scope,
                private,
                parameters=first,
                bare=True,
                gives=_GIVES.format(f"sync {word}".strip()),
            ),
            Hook(
                f"async {word}requests",
                f"{asynchronous}.{name}",
                _in_scope_async,
                private,
                parameters=first,
                asynchronous=True,
                bare=True,
                gives=_GIVES.format(f"async {word}".strip()),
            ),
        ]
    return made


def _in_scope(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not layer.live:
            return original(self, *args, **kwargs)
        with request_scope(self):
            return original(self, *args, **kwargs)

    return request


def _in_scope_async(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
    @functools.wraps(original)
    async def request(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not layer.live:
            return await original(self, *args, **kwargs)
        with request_scope(self):
            return await original(self, *args, **kwargs)

    return request


def request_scope(rotator: Any) -> Scope:
    """The scope of one request through a rotator. Raises no Exception."""
    now = active()
    if now is None:  # nearly always
        fields = {"request_id": new_request_id(), "operation": OPERATION}
    else:
        fields = {} if _has(now, "request_id") else {"request_id": active_text("trace_id") or new_request_id()}
        if not _has(now, "operation"):
            fields["operation"] = OPERATION
    strategy = _strategy_of(rotator)
    if strategy is not None:
        fields["strategy"] = strategy_name(type(strategy))
    if now is None:
        return first_scope(fields)
    # The proxy of a request around this one is not that of this one's first records.
    return plain_scope(fields, PROXY_FIELDS) if _has(now, "proxy_id") else plain_scope(fields)


def _has(now: Active, key: str) -> bool:
    """Whether a field is active and says something, of whatever type."""
    return bool((now[0] and now[0].get(key)) or (now[1] and now[1].get(key)))


def _strategy_of(rotator: Any) -> Any:
    try:
        return vars(rotator).get("strategy")
    except TypeError:  # an object of the application with slots
        return None
