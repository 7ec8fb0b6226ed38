"""The real proxywhirl for unit tests: rotators whose requests httpx answers without a network, and their events.

``pytestmark = needs_proxywhirl`` skips a file on a laptop without the demo's packages, and not in CI.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

needs_proxywhirl = pytest.mark.skipif(
    importlib.util.find_spec("proxywhirl") is None and not os.environ.get("CI"), reason="not installed: proxywhirl"
)

if importlib.util.find_spec("proxywhirl") is not None:
    with warnings.catch_warnings():  # its models are made in a way that pydantic no longer likes
        warnings.simplefilter("ignore")
        import proxywhirl  # noqa: F401


def proxies(*urls: str) -> list[Any]:
    """Proxies with these URLs, by default two on loopback."""
    from proxywhirl import Proxy

    return [Proxy(url=url, allow_local=True) for url in urls or ("http://127.0.0.1:8001", "http://127.0.0.1:8002")]


@contextmanager
def rotator(answer: Callable[[Any], int], *, retries: int = 1, **options: Any) -> Iterator[Any]:
    """A ProxyWhirl whose requests get the status that ``answer(request)`` returns, or the error that it raises."""
    import httpx
    from proxywhirl import ProxyWhirl

    with httpx.Client(transport=_transport(answer)) as client, ProxyWhirl(**_options(retries, options)) as entered:
        made: Any = entered
        made._get_or_create_client = lambda proxy, proxy_dict: client
        yield made


@asynccontextmanager
async def async_rotator(answer: Callable[[Any], int], *, retries: int = 1, **options: Any) -> AsyncIterator[Any]:
    """The same of an AsyncProxyWhirl."""
    import httpx
    from proxywhirl import AsyncProxyWhirl

    async with (
        httpx.AsyncClient(transport=_transport(answer)) as client,
        AsyncProxyWhirl(**_options(retries, options)) as entered,
    ):
        made: Any = entered

        async def ours(proxy: Any, proxy_dict: Any) -> Any:
            return client

        made._get_or_create_client = ours
        yield made


def _transport(answer: Callable[[Any], int]) -> Any:
    import httpx

    return httpx.MockTransport(lambda request: httpx.Response(answer(request)))


def _options(retries: int, options: dict[str, Any]) -> dict[str, Any]:
    from proxywhirl import RetryPolicy

    policy = RetryPolicy(max_attempts=retries, base_delay=0.001)
    return {"proxies": proxies(), "retry_policy": policy, "bootstrap": False, **options}


class Events(logging.Handler):
    """The events among the records of the standard library, each with the context that it would carry."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.contexts: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps an event."""
        from logbus.producers.context import current_context

        if hasattr(record, "event"):
            self.records.append(record)
            self.contexts.append(current_context())

    def names(self) -> list[str]:
        """What has happened, in its order."""
        return [record.__dict__["event"] for record in self.records]

    def last(self, event: str) -> dict[str, Any]:
        """The fields of the latest event of a name: its own and those of its context."""
        at = max(at for at, name in enumerate(self.names()) if name == event)
        return {**self.contexts[at], **self.records[at].__dict__}


@contextmanager
def events(*components: str, level: int = logging.DEBUG) -> Iterator[Events]:
    """Collects the events of components of proxywhirl at a level: selections and attempts, unless others are named."""
    kept, logs = Events(), [logging.getLogger(f"proxywhirl.{name}") for name in components or ("strategies", "rotator")]
    for log in logs:
        log.addHandler(kept)
        log.setLevel(level)
    try:
        yield kept
    finally:
        for log in logs:
            log.removeHandler(kept)
            log.setLevel(logging.NOTSET)
