"""What records call the things of a proxied request: the fields of a proxy, and the name of a strategy.

Everything here is made once and kept: short and plain texts in ASCII, as
:func:`logbus.producers.context.bind_plain` takes them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from logbus.integrations.proxywhirl.mask import masked_url
from logbus.producers.context import active

#: The operation of a request that is part of no other.
OPERATION: Final = "proxied_request"
#: The fields of a proxy.
PROXY_FIELDS: Final = ("proxy_id", "proxy_url", "source")
#: Characters of one such text.
MAX_CHARS: Final = 128
#: Proxies whose fields are kept.
CACHED: Final = 4096

#: What proxywhirl's users call its strategies, by the name of the class.
_STRATEGIES: Final = {
    "RoundRobinStrategy": "round-robin",
    "RandomStrategy": "random",
    "WeightedStrategy": "weighted",
    "LeastUsedStrategy": "least-used",
    "PerformanceBasedStrategy": "performance-based",
    "SessionPersistenceStrategy": "session",
    "GeoTargetedStrategy": "geo-targeted",
}
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
#: The fields of the proxies that were seen last, by id.
_KNOWN: Final[dict[str, Mapping[str, str]]] = {}


def proxy_fields(proxy: Any) -> Mapping[str, str]:
    """``proxy_id``, ``proxy_url`` (masked) and ``source``; empty for what is no proxy. Raises no Exception."""
    try:
        return _proxy_fields(proxy.id, proxy.url, proxy.source)
    except Exception:  # a strategy of the application may answer anything
        return _NOTHING


@functools.lru_cache(CACHED)
def _proxy_fields(key: Any, url: Any, source: Any) -> Mapping[str, str]:
    # A plain dict, which nobody changes: it is joined with others for each request, and a proxy of it is slow there.
    fields = {
        "proxy_id": _plain(str(key)),
        "proxy_url": masked_url(str(url)),
        "source": _plain(str(getattr(source, "value", source))),
    }
    _KNOWN[str(key)] = fields
    if len(_KNOWN) > CACHED:
        for oldest in list(_KNOWN)[:-CACHED]:  # a copy: other threads may add theirs
            _KNOWN.pop(oldest, None)
    return fields


def known_proxy(key: str) -> Mapping[str, str]:
    """The fields of a proxy of which only the id is at hand; empty if it was not seen, or long ago."""
    return _KNOWN.get(key, _NOTHING)


def strategy_name(kind: type) -> str:
    """The name of a strategy of this type as proxywhirl's settings have it; for others the name of the type."""
    try:
        return _strategy_name(kind)
    except Exception:  # a metaclass may do anything
        return "unknown"


@functools.lru_cache(CACHED)
def _strategy_name(kind: type) -> str:
    known = _STRATEGIES.get(kind.__name__) if kind.__module__.partition(".")[0] == "proxywhirl" else None
    return known or _plain(kind.__name__)


def active_text(key: str) -> str | None:
    """A field of the active context if it is a text that says something."""
    now = active()
    value = now[0].get(key) if now is not None and now[0] else None
    return value if type(value) is str and value else None


def _plain(text: str) -> str:
    return text[:MAX_CHARS].encode("ascii", "backslashreplace").decode()
