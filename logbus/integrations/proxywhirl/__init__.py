"""proxywhirl, instrumented while it runs: ``install()`` wraps what its requests pass, ``uninstall()`` gives it back.

Every record of a proxied request, from the first to the last and httpx's among them, carries the request's id, its
operation and strategy, and once a proxy is selected the proxy's id, masked URL and source. What proxywhirl never logs
becomes records too: selections, failed attempts, retries, breakers, health. Nothing on disk is touched, and nothing is
imported: modules are wrapped as the application imports them, whether before ``install()`` or after it.

Each part has a function ``hooks(public_only)`` that gives its :class:`~logbus.integrations.hooks.Hook` list; together
they are the table. A hook whose target is not what it was written for stays off, and is named with the reason by
:attr:`Installed.unhooked`, by one warning, and by ``logbus doctor``.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from logbus.errors import ConfigurationError
from logbus.integrations.hooks import Hook
from logbus.integrations.proxywhirl import api, attempts, breaker, health, rotator, strategy
from logbus.os_threads import RLock
from logbus.producers.imports import when_imported
from logbus.producers.straight import bend, is_straight, straighten

#: Versions that this has been tested with begin so; with others it does what the hooks find fit.
TESTED: Final = "0.3."
#: The parts of the table, in the order in which they are applied.
_PARTS: Final[tuple[Callable[[bool], list[Hook]], ...]] = (
    rotator.hooks,
    strategy.hooks,
    attempts.hooks,
    breaker.hooks,
    health.hooks,
    api.hooks,
)

#: Loggers with a record for each request: httpx's, and those of our events. They take the shorter way.
_EACH_REQUEST: Final = ("httpx", "proxywhirl.strategies", "proxywhirl.rotator")

_LOG: Final = logging.getLogger("logbus.integrations")


class Unhooked(NamedTuple):
    """A hook that is not in force: its name, its target, and why."""

    name: str
    target: str
    reason: str


class Installed:
    """What :func:`install` has done; a view on the hooks as they are now."""

    def __init__(self, version: str, *, public_only: bool) -> None:
        #: The version of proxywhirl, or "unknown" where it does not say.
        self.version = version
        #: Whether no private name of proxywhirl is used.
        self.public_only = public_only
        self._hooks = table(public_only=public_only)
        self._told: set[str] = set()
        self._cancels: list[Callable[[], None]] = []
        self._straight: list[logging.Logger] = []
        self._over = False

    def __repr__(self) -> str:
        return f"<proxywhirl {self.version}: hooked {', '.join(self.hooked) or 'nothing'}; unhooked {self.unhooked}>"

    @property
    def hooked(self) -> tuple[str, ...]:
        """The names of the hooks that are in force."""
        return tuple(hook.name for hook in self._hooks if hook.applied)

    @property
    def unhooked(self) -> tuple[Unhooked, ...]:
        """The hooks whose target is not what they are for."""
        return self._unhooked()

    def _unhooked(self, ended: str | None = None) -> tuple[Unhooked, ...]:
        return tuple(
            Unhooked(hook.name, hook.target, reason)
            for hook in self._hooks
            if not hook.applied and (reason := _reason(hook, ended)) is not None
        )

    @property
    def waiting(self) -> tuple[str, ...]:
        """The names of the hooks whose module the application has not imported."""
        return tuple(hook.name for hook in self._hooks if not hook.applied and _reason(hook) is None)

    def _begin(self) -> None:
        """Applies what can be applied at once. Under the lock."""
        for hook in self._hooks:
            if not _importing(hook.module):
                hook.apply()
        loggers = map(logging.getLogger, _EACH_REQUEST)
        self._straight = [log for log in loggers if not is_straight(log) and straighten(log)]

    def _wait(self) -> None:
        """Has the rest applied as it is imported. Not under the lock: it waits for imports that others have begun."""
        for module in dict.fromkeys(hook.module for hook in self._hooks):
            self._cancels.append(when_imported(module, functools.partial(self._apply, module)))
        self._cancels.append(when_imported("proxywhirl", lambda _: self._report("proxywhirl")))
        if self._over:  # meanwhile
            self._cancel()

    def _end(self) -> None:
        """Under the lock."""
        self._over = True
        self._cancel()
        for hook in reversed(self._hooks):
            hook.revert()
        for log in self._straight:
            bend(log)

    def _cancel(self) -> None:
        for cancel in list(self._cancels):
            cancel()

    def _apply(self, module: str, _loaded: object) -> None:
        with _LOCK:
            for hook in self._hooks:
                if hook.module == module and not self._over:
                    hook.apply()
        if not _importing("proxywhirl"):
            self._report(module)

    def _report(self, ended: str) -> None:
        """Names what could not be hooked, each hook once. ``ended`` is the module whose import is at its end."""
        unhooked = self._unhooked(ended)
        with _LOCK:
            missing = [each for each in unhooked if each.name not in self._told and not self._over]
            self._told.update(each.name for each in missing)
        if missing:
            what = "; ".join(f"{each.name} ({each.target}): {each.reason}" for each in missing)
            _LOG.warning("proxywhirl %s is instrumented in part, not hooked: %s", self.version, what)


def install(*, public_only: bool = False) -> Installed:
    """Instruments proxywhirl, imported or not; what it returns says which hooks are in force and which are not.

    Idempotent; a call with another ``public_only`` starts anew. May be called from any thread, before a fork too.
    Raises ConfigurationError where proxywhirl is not installed.

    Args:
        public_only: use no private name of proxywhirl. Requests are then opened by the seven verbs and not below
            them; async attempts are not seen one by one: no ``retry``, and one ``attempt_failed`` without its number
            for a request that has failed.
    """
    global _installed
    version = version_found() if _installed is None else _installed.version
    if version is None:
        raise ConfigurationError(
            ["logbus.integrations.proxywhirl: expected the package proxywhirl, which is not installed"]
        )
    with _LOCK:
        now = _installed
        if now is not None and now.public_only is public_only:
            return now
        if now is not None:
            now._end()
        now = _installed = Installed(version, public_only=public_only)
        now._begin()
    now._wait()
    return now


def uninstall() -> None:
    """Gives proxywhirl back as it was. Idempotent."""
    global _installed
    with _LOCK:
        now, _installed = _installed, None
        if now is not None:
            now._end()


def installed() -> Installed | None:
    """What install() has done, or None."""
    return _installed


def table(*, public_only: bool) -> list[Hook]:
    """Every hook, made anew and not applied; with ``public_only`` those that use no private name."""
    return [hook for part in _PARTS for hook in part(public_only)]


def version_found() -> str | None:
    """The version of the proxywhirl that would be imported here, "unknown" if it does not say, None without one."""
    if "proxywhirl" not in sys.modules and importlib.util.find_spec("proxywhirl") is None:
        return None
    try:
        return importlib.metadata.version("proxywhirl")
    except importlib.metadata.PackageNotFoundError:  # a copy in the application's tree
        return "unknown"


def _reason(hook: Hook, ended: str | None = None) -> str | None:
    """Why a hook is not in force; None if its module may still be imported, or is another package's and not needed.

    Of a module that is being imported nothing is known yet, unless it is the one whose import has ended just now.
    """
    if hook.module in sys.modules:
        return hook.problem if hook.module == ended or not _importing(hook.module) else None
    ours = hook.module.partition(".")[0] == "proxywhirl"
    return f"there is no module {hook.module}" if ours and not _may_come(hook.module) else None


def _may_come(module: str) -> bool:
    """Whether a module of proxywhirl may be imported yet. Imports nothing, and waits for no import."""
    parent = module.rpartition(".")[0]
    if not parent:
        return True
    if parent not in sys.modules:
        return _may_come(parent)
    path = getattr(sys.modules[parent], "__path__", None)
    return path is not None and importlib.machinery.PathFinder.find_spec(module, path) is not None


def _importing(module: str) -> bool:
    return getattr(getattr(sys.modules.get(module), "__spec__", None), "_initializing", False) is True


_installed: Installed | None = None
#: Nobody who holds it waits for an import: whoever imports may come here, with the lock of a module in hand.
_LOCK = RLock()


def _after_fork() -> None:
    global _LOCK
    _LOCK = RLock()  # a thread that is not here may have held it


os.register_at_fork(after_in_child=_after_fork)
