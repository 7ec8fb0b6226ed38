"""Selections: the one public seam of proxywhirl, its strategy protocol, seen from the rotator's side.

Whoever selects a proxy (rotators, the REST app, the MCP server, the command line) asks ``rotator.strategy.select``, and
there are strategies of applications. So it is the attribute that is wrapped: a data descriptor in the class stands
before the instance's own value, which stays what the application has assigned, and hands out a :class:`Watch` around
it. Rotators that were made before are covered as well, and with the descriptor gone nothing of ours is left in them.

A selection binds the proxy's fields into the scope that is open. Where none is open (a direct call), nothing would take
them out again: then only the event itself carries them.
"""

from __future__ import annotations

import copy
import functools
import logging
import sys
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any, Final

from logbus.integrations.hooks import Hook
from logbus.integrations.proxywhirl.events import emit, worded
from logbus.integrations.proxywhirl.names import active_text, proxy_fields, strategy_name
from logbus.producers.context import bind_plain_here, is_open

#: Types of strategies for which a type of watch is kept.
CACHED: Final = 256

_LOG: Final = logging.getLogger("proxywhirl.strategies")
_ROTATOR: Final = logging.getLogger("proxywhirl.rotator")
_GIVES: Final = "proxy_id, proxy_url and source on the records of {} requests, and proxy_selected"


def hooks(public_only: bool) -> list[Hook]:
    """The hooks of this part: the attribute ``strategy`` of both rotators."""
    return [_hook("sync", "ProxyWhirl", failures=False), _hook("async", "AsyncProxyWhirl", failures=public_only)]


def _hook(word: str, kind: str, *, failures: bool) -> Hook:
    def make(_nothing: object, layer: Any) -> Seam:
        return Seam(layer, failures=failures)

    return Hook(
        f"{word} selections",
        f"proxywhirl.rotator:{kind}.strategy",
        make,
        absent=True,
        bare=True,
        gives=_GIVES.format(word),
    )


class Seam:
    """The descriptor: instances keep their strategy, and whoever reads it gets a watch.

    With ``failures``, a result that is no success becomes ``attempt_failed``: all that can be told of attempts where
    they are not seen one by one.
    """

    __slots__ = ("_last", "failures", "layer")

    def __init__(self, layer: Any, *, failures: bool) -> None:
        #: What its hook has put in place: ``live`` while that is in force.
        self.layer = layer
        self.failures = failures
        #: The strategy that was read last, and its watch: each request reads one twice.
        self._last: tuple[Any, Any] = (None, None)

    def __get__(self, rotator: Any, owner: type) -> Any:
        try:
            real = vars(rotator)["strategy"]
        except (KeyError, TypeError):  # not set yet, or asked of the class
            whose = f"type object {owner.__name__!r}" if rotator is None else f"{owner.__name__!r} object"
            raise AttributeError(f"{whose} has no attribute 'strategy'") from None
        if real is None or not self.layer.live:
            return real
        last, watch = self._last
        if last is not real:
            watch = _watched(real, self)
            self._last = real, watch
        return watch

    def forget(self) -> None:
        """The next who reads a strategy gets another watch: its ``select`` may be another."""
        self._last = (None, None)

    def __set__(self, rotator: Any, value: Any) -> None:
        vars(rotator)["strategy"] = unwatched(value)

    def __delete__(self, rotator: Any) -> None:
        if vars(rotator).pop("strategy", self) is self:
            raise AttributeError(f"{type(rotator).__name__!r} object has no attribute 'strategy'")


class Watch:
    """A strategy as its rotator hands it out: in everything the real one, but that ``select`` is watched."""

    __slots__ = ("__weakref__", "_logbus")

    def __init__(self, real: Any, seam: Seam) -> None:
        _set(self, (real, seam, strategy_name(type(real))))

    def select(self, *args: Any, **kwargs: Any) -> Any:
        """What the real strategy selects, or raises."""
        real, seam, name = _get(self)
        proxy = real.select(*args, **kwargs)
        if seam.layer.live:
            _selected(name, proxy, args, kwargs)
        return proxy

    @property
    def record_result(self) -> Any:
        """The real strategy's method; with a look at failures where nothing else sees them."""
        real, seam, _ = _get(self)
        record = real.record_result
        return functools.partial(_result, record) if seam.failures and seam.layer.live else record

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return _get(self)[0].__class__

    def __getattr__(self, name: str) -> Any:
        return getattr(_get(self)[0], name)

    def __setattr__(self, name: str, value: Any) -> None:
        real, seam, _ = _get(self)
        setattr(real, name, value)
        seam.forget()

    def __delattr__(self, name: str) -> None:
        real, seam, _ = _get(self)
        delattr(real, name)
        seam.forget()

    def __dir__(self) -> Any:
        return dir(_get(self)[0])

    def __repr__(self) -> str:
        return repr(_get(self)[0])

    def __str__(self) -> str:
        return str(_get(self)[0])

    def __format__(self, spec: str) -> str:
        return format(_get(self)[0], spec)

    def __eq__(self, other: object) -> Any:
        return _get(self)[0] == unwatched(other)

    def __ne__(self, other: object) -> Any:
        return _get(self)[0] != unwatched(other)

    def __hash__(self) -> int:
        return hash(_get(self)[0])

    def __bool__(self) -> bool:
        return bool(_get(self)[0])

    def __copy__(self) -> Any:
        return copy.copy(_get(self)[0])

    def __deepcopy__(self, memo: Any) -> Any:
        return copy.deepcopy(_get(self)[0], memo)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _get(self)[0].__reduce_ex__(protocol)


_get: Final[Callable[[Watch], tuple[Any, Seam, str]]] = vars(Watch)["_logbus"].__get__
_set: Final[Callable[[Watch, tuple[Any, Seam, str]], None]] = vars(Watch)["_logbus"].__set__


class Select:
    """A ``select`` that is no method, as a watch hands it out: a call is watched, in all else it is the real one.

    Tests put a mock there, and ask it through the rotator.
    """

    __slots__ = ("_logbus",)

    def __init__(self, strategy: Any, seam: Seam, name: str) -> None:
        _set_select(self, (strategy.select, seam, name))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the real strategy selects, or raises."""
        select, seam, name = _get_select(self)
        proxy = select(*args, **kwargs)
        if seam.layer.live:
            _selected(name, proxy, args, kwargs)
        return proxy

    def __getattr__(self, name: str) -> Any:
        return getattr(_get_select(self)[0], name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_get_select(self)[0], name, value)

    def __repr__(self) -> str:
        return repr(_get_select(self)[0])


_get_select: Final[Callable[[Select], tuple[Any, Seam, str]]] = vars(Select)["_logbus"].__get__
_set_select: Final[Callable[[Select, tuple[Any, Seam, str]], None]] = vars(Select)["_logbus"].__set__

#: Special methods that a type has for itself, or that a watch has; they are not handed on.
_OWN: Final = frozenset(
    {
        *vars(Watch),
        *("__new__", "__init__", "__del__", "__getattribute__", "__sizeof__"),
        *("__init_subclass__", "__subclasshook__", "__class_getitem__", "__set_name__", "__mro_entries__"),
        *("__reduce__", "__getstate__", "__setstate__", "__getnewargs__", "__getnewargs_ex__"),
        *("__get__", "__set__", "__delete__"),
    }
)


def _watched(real: Any, seam: Seam) -> Watch:
    kind: Any = type(real)
    try:
        return _watch_type(kind, type(real.select) is MethodType)(real, seam)
    except Exception:  # a metaclass may do anything
        return Watch(real, seam)


@functools.lru_cache(CACHED)
def _watch_type(kind: type, usual: bool = True) -> type[Watch]:
    """The watch for strategies of a type: with the special methods that Python looks for in types, if it has any.

    ``usual`` says that ``select`` is a method, of which nobody asks more than a call.
    """
    special: dict[str, Any] = {
        name: _handed_on(name)
        for base in kind.__mro__[:-1]
        for name, value in vars(base).items()
        if name.startswith("__") and name.endswith("__") and name not in _OWN and callable(value)
    }
    if not usual:
        special["select"] = property(lambda watch: Select(*_get(watch)))
    return type("Watch", (Watch,), {"__slots__": (), "__module__": __name__, **special}) if special else Watch


def _handed_on(name: str) -> Callable[..., Any]:
    def hand_on(watch: Watch, *args: Any, **kwargs: Any) -> Any:
        return getattr(_get(watch)[0], name)(*args, **kwargs)

    return hand_on


def unwatched(value: Any) -> Any:
    """The strategy inside a watch; anything else as it is."""
    while issubclass(type(value), Watch):
        value = _get(value)[0]
    return value


def _selected(name: str, proxy: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """Binds and tells of a selection. Raises no Exception."""
    fields = proxy_fields(proxy)
    if not fields:
        return
    here = bind_plain_here(fields if active_text("strategy") == name else {**fields, "strategy": name})
    if _LOG.isEnabledFor(logging.INFO):
        offered = _offered(args[0] if args else kwargs.get("pool"))
        message = f"Selected proxy {fields['proxy_url']} ({name}, candidates: {offered})"
        own = {"candidates": offered} if here else {"candidates": offered, **fields, "strategy": name}
        emit(_LOG, logging.INFO, "proxy_selected", message, own, stacklevel=3)


def _offered(pool: Any) -> int | None:
    """How many proxies the strategy had to choose from: those whose breaker lets them."""
    try:
        return len(pool.proxies)
    except Exception:  # a pool of the application
        return None


def _result(record: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Passes a result on to the strategy; one that is no success is told of, with the error that is being handled."""
    success = kwargs.get("success", args[1] if len(args) > 1 else True)
    if success is False and _ROTATOR.isEnabledFor(logging.WARNING):
        error = sys.exc_info()[1]
        own: dict[str, Any] = {} if error is None else {"error": worded(error)}
        if not is_open():
            own.update(proxy_fields(kwargs.get("proxy", args[0] if args else None)))
        emit(_ROTATOR, logging.WARNING, "attempt_failed", "Request through this proxy failed", own, stacklevel=2)
    return record(*args, **kwargs)
