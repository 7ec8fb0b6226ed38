"""proxywhirl's REST application: one request id from the client's header to the last record.

Its own middleware gives ids too, but inside of the one that writes the audit lines, which so say "unknown". Ours lies
outside of everything, the handler of internal errors included: around the call by which a server enters the
application. That is a method of FastAPI's class, and the application may be made, started and serving before we come,
so it is the method that is wrapped; for every other application it does nothing.

The id stands in the request's headers for what is inside. A selection binds its proxy into the scope of the endpoint;
what upstream's middleware logs after the endpoint runs in the context of before it, with the id and without the proxy.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Final

from logbus.integrations.asgi import RequestContextMiddleware
from logbus.integrations.hooks import Hook

#: The module whose ``app`` it is.
_MODULE: Final = "proxywhirl.api.core"


class ApiRequests(RequestContextMiddleware):
    """The scope of one request to the REST application, its start and its end."""

    operations: ClassVar = {"http": "api_request", "websocket": "api_request"}
    events: ClassVar = "api_request"


def hooks(public_only: bool) -> list[Hook]:
    """The hook of this part; it uses no private name."""
    return [
        Hook(
            "API requests",
            "fastapi.applications:FastAPI.__call__",
            _serving,
            parameters=("self", "scope", "receive", "send"),
            asynchronous=True,
            bare=True,
            gives="one request_id for all records of a request to the API, api_request_started and api_request_ended",
        )
    ]


def _serving(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
    # Bare, with the very parameters: uvicorn calls an application with nothing first, and where that raises no
    # TypeError takes it for a factory.
    @functools.wraps(original)
    async def serve(self: Any, scope: Any, receive: Any, send: Any) -> None:
        api = sys.modules.get(_MODULE)
        if not layer.live or api is None or self is not vars(api).get("app"):
            await original(self, scope, receive, send)
            return
        inside = functools.partial(original, self)
        await ApiRequests(inside, log_requests=True, logger="proxywhirl.api")(scope, receive, send)

    return serve
