"""Circuit breakers: each change of their state becomes an event, of sync and async breakers alike.

proxywhirl changes the state in three methods that both breakers inherit, and calls them under the breaker's own lock,
which is not re-entrant. A log call there runs handlers of the application, and one that comes back to the breaker (a
handler that sends through a proxy) would wait for ever. So what is seen there is only noted, with the context of the
request; the public method that took the lock tells of it once it has let go of it, still in the same thread, before
its caller goes on.

With ``public_only`` those three methods are left alone: a public method compares the state before and after. Every
change leaves a new ``last_state_change``, and only the first call that sees it tells of it, so that nothing comes
twice where threads meet; two changes within one call (by other threads, meanwhile) would be seen as one.

What is no change is no event: the reset of a breaker that is closed.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from contextvars import Context, copy_context
from threading import get_ident
from typing import Any, Final

from logbus.integrations.hooks import Hook
from logbus.integrations.proxywhirl.events import emit
from logbus.integrations.proxywhirl.names import active_text, known_proxy

#: Changes that wait for the end of the call that made them, at most; they wait for microseconds.
WAITING: Final = 1024
#: Changes that are remembered as told, with ``public_only``.
REMEMBERED: Final = 1024

_LOG: Final = logging.getLogger("proxywhirl.circuit_breaker")
#: Event, level and words of a state.
_STATES: Final = {
    "open": ("circuit_opened", logging.WARNING, "opened"),
    "half_open": ("circuit_half_open", logging.INFO, "is half-open, one request may try"),
    "closed": ("circuit_closed", logging.INFO, "closed"),
}
_PUBLIC: Final = ("record_failure", "record_success", "should_attempt_request", "reset")
_PRIVATE: Final = {
    "_transition_to_open": ("self", "now"),
    "_transition_to_half_open": ("self",),
    "_transition_to_closed": ("self",),
}
_GIVES: Final = "circuit_opened, circuit_half_open and circuit_closed"


def hooks(public_only: bool) -> list[Hook]:
    """The hooks of this part: the public methods of both breakers, and where the state changes."""
    made = [
        _public(
            f"{word} breaker's {method}",
            f"proxywhirl.circuit_breaker.{place}.{method}",
            asynchronous=word == "async",
            compares=public_only,
        )
        for word, place in (("sync", "sync:CircuitBreaker"), ("async", "async_:AsyncCircuitBreaker"))
        for method in _PUBLIC
    ]
    if not public_only:
        base = "proxywhirl.circuit_breaker.base:CircuitBreakerBase"
        made += [
            Hook(f"breakers' {name}", f"{base}.{name}", _noting, True, parameters=parameters, gives=_GIVES)
            for name, parameters in _PRIVATE.items()
        ]
    return made


class Change:
    """One change of a breaker's state, with the context of the call that made it."""

    __slots__ = ("_context", "_event", "_fields", "_level", "_message", "thread")

    def __init__(self, breaker: Any, before: Any, failures: Any, event: str, level: int, words: str) -> None:
        self.thread = get_ident()
        self._context: Context = copy_context()
        self._event, self._level = event, level
        name = str(breaker.proxy_id)
        self._fields = {**_proxy(name), "before": _word(before), "failures": failures}
        after = f" after {failures} failures" if event == "circuit_opened" else ""
        self._message = f"Circuit breaker of {self._fields.get('proxy_url') or name} {words}{after}"

    def tell(self) -> None:
        """Logs the event, as the caller of the public method that is the caller here."""
        # The context is entered without a frame: this call, the function that calls it, the method, its caller.
        self._context.run(emit, _LOG, self._level, self._event, self._message, self._fields, stacklevel=4)


#: Changes that the calls under way have made and not told of yet.
_NOTED: Final[list[Change]] = []
#: ``last_state_change`` of the changes that were told of, by identity, each with a mark of who did so.
_TOLD: Final[dict[int, tuple[object, Any]]] = {}

os.register_at_fork(after_in_child=_NOTED.clear)  # those of threads that are not here


def _change(breaker: Any, before: Any, failures: Any) -> Change | None:
    """What there is to tell; None if the state is as before, or nobody wants to know. Raises no Exception."""
    try:
        after = breaker.state
        event, level, words = _STATES[_word(after)]
        if after == before or not _LOG.isEnabledFor(level):
            return None
        # Closing clears the count; what counts then is how many there had been.
        failures = failures if event == "circuit_closed" else breaker.failure_count
        return Change(breaker, before, failures, event, level, words)
    except Exception:  # a breaker of the application, made like upstream's and unlike it
        return None


def _noting(original: Callable[..., Any]) -> Callable[..., Any]:
    """Around a method that changes the state, under the lock."""

    def transition(self: Any, *args: Any, **kwargs: Any) -> Any:
        held = vars(self)
        before, failures = held.get("state"), held.get("failure_count")
        result = original(self, *args, **kwargs)
        change = _change(self, before, failures)
        if change is not None and len(_NOTED) < WAITING:
            _NOTED.append(change)
        return result

    return transition


def _tell_noted() -> None:
    """Tells of the changes that this thread has made; called where it has let go of the lock."""
    mine = get_ident()
    for change in [each for each in _NOTED if each.thread == mine]:
        try:
            _NOTED.remove(change)
        except ValueError:  # a signal handler in between
            continue
        change.tell()


def _tell_seen(breaker: Any, held: dict[str, Any], before: Any, failures: Any) -> None:
    """Tells of a change that a comparison has shown, unless another call has."""
    stamp, mine = held.get("last_state_change"), object()
    change = _change(breaker, before, failures)
    if change is None or _TOLD.setdefault(id(stamp), (mine, stamp))[0] is not mine:
        return
    if len(_TOLD) > REMEMBERED:
        for oldest in list(_TOLD)[:-REMEMBERED]:  # a copy: other threads may add theirs
            _TOLD.pop(oldest, None)
    change.tell()


def _public(name: str, target: str, *, asynchronous: bool, compares: bool) -> Hook:
    """The hook of a public method: it stands bare, since this is asked of every proxy at every selection."""

    def telling(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
        @functools.wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            if _NOTED:
                _tell_noted()
            return result

        return method

    def telling_async(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
        @functools.wraps(original)
        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            result = await original(self, *args, **kwargs)
            if _NOTED:
                _tell_noted()
            return result

        return method

    def comparing(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
        @functools.wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            held = vars(self)
            state, stamp, failures = held.get("state"), held.get("last_state_change"), held.get("failure_count")
            result = original(self, *args, **kwargs)
            if held.get("last_state_change") is not stamp and layer.live:
                _tell_seen(self, held, state, failures)
            return result

        return method

    def comparing_async(original: Callable[..., Any], layer: Any) -> Callable[..., Any]:
        @functools.wraps(original)
        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            held = vars(self)
            state, stamp, failures = held.get("state"), held.get("last_state_change"), held.get("failure_count")
            result = await original(self, *args, **kwargs)
            if held.get("last_state_change") is not stamp and layer.live:
                _tell_seen(self, held, state, failures)
            return result

        return method

    make = (comparing_async if compares else telling_async) if asynchronous else comparing if compares else telling
    return Hook(name, target, make, parameters=("self",), asynchronous=asynchronous, bare=True, gives=_GIVES)


def _proxy(name: str) -> dict[str, Any]:
    """What is known of a breaker's proxy, which need not be the one that the request at hand goes through."""
    known = known_proxy(name)
    if known:
        return dict(known)
    other = active_text("proxy_id") not in (None, name)
    return {"proxy_id": name, "proxy_url": None, "source": None} if other else {"proxy_id": name}


def _word(state: Any) -> Any:
    return getattr(state, "value", state)
