"""Where an application keeps loguru's ``logger``: the module globals that are it, found, replaced and given back.

A module global is what ``from loguru import logger`` makes, and nearly all there is. What else holds the logger (an
attribute, a function's own import) keeps loguru's, which works as ever.

``loguru`` and ``logbus`` themselves are left alone. A script's own module is looked at each time, since it runs still;
of all others only those that are new since the last look. Modules are found through :data:`sys.modules`, whose values
may be anything: they are read without running code of theirs (lazy modules load themselves at a look).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, Final

from logbus.producers.calls import Way
from logbus.producers.direct import Direct

#: Packages whose globals are never replaced.
_LEFT_ALONE: Final = frozenset({"loguru", "logbus"})
#: Modules that may still be running their first lines, however often one looks.
_SCRIPTS: Final = frozenset({"__main__", "__mp_main__"})
#: The globals of a module as the interpreter keeps them, whatever the module's class says.
_globals_of: Final[Callable[[ModuleType], dict[str, Any]]] = vars(ModuleType)["__dict__"].__get__


class Places:
    """The module globals that are one logger of loguru, ``real``, or are ours in its place."""

    def __init__(self, real: Any) -> None:
        self._real = real
        #: Modules that have been looked through, by their names in ``sys.modules``.
        self._seen: dict[str, dict[str, Any]] = {}
        self._known: tuple[int, str] = (0, "")
        self._unfinished = True
        #: By the identity of a module's globals: these, and what stands there for the logger.
        self._directs: dict[int, tuple[dict[str, Any], Direct]] = {}
        #: The names of globals, by the identity of the module's.
        self._held: dict[int, set[str]] = {}
        #: The way that all of them follow, and what the application had put upon the logger then.
        self._followed: tuple[Any, ...] | None = None

    def names(self) -> Iterator[str]:
        """The modules in which something of ours stands."""
        for namespace, _ in list(self._directs.values()):
            name = namespace.get("__name__")
            if type(name) is str:
                yield name

    def take(self, way: Way) -> None:
        """Puts a :class:`Direct` wherever the logger is now, and lets each of them, old and new, go this way."""
        self._find()
        follows = way, way.producer.gate.recorder, dict(vars(self._real))
        known, self._followed = self._followed == follows, follows
        for key, held in self._held.items():
            namespace, direct = self._directs[key]
            if not (known and direct.follows):  # once a second nearly all do: asking each in full took 4 µs
                direct.follow(way)  # first: a method that has been seen there does what it should
            for name in held:
                if self._is_ours(namespace.get(name)):
                    namespace[name] = direct

    def give_back(self) -> None:
        """Puts loguru's logger back, where nobody else has put anything, and makes ours like it."""
        for _, direct in self._directs.values():
            direct.retire()  # first: whoever has got hold of one goes through loguru from now on
        for _, namespace in _modules():
            for name, value in list(namespace.items()):
                if type(value) is Direct:
                    namespace[name] = value._real
        self._directs.clear()
        self._held.clear()
        self._seen.clear()
        self._known = (0, "")
        self._followed = None

    def _is_ours(self, value: Any) -> bool:
        return value is self._real or type(value) is Direct

    def _find(self) -> None:
        """Looks through the modules that are new, and the script."""
        for name in _SCRIPTS:
            self._seen.pop(name, None)
        # Its last name beside its length: one module may have gone as another came.
        known = len(sys.modules), next(reversed(sys.modules), "")
        if known == self._known and not self._unfinished:
            modules = list(_modules(_SCRIPTS))
        else:
            modules = list(_modules())
            self._seen = {name: namespace for name, namespace in self._seen.items() if name in sys.modules}
            self._unfinished = False
        self._known = known
        for key, namespace in modules:
            if self._seen.get(key) is namespace:
                continue
            if _is_running(namespace.get("__spec__")):
                self._unfinished = True  # another thread imports it: what it has not yet run is looked at next time
            else:
                self._seen[key] = namespace
            held = {name for name, value in list(namespace.items()) if self._is_ours(value)}
            if held and type(namespace.get("__name__")) is str:
                at = id(namespace)
                self._held.setdefault(at, set()).update(held)
                if at not in self._directs:
                    self._directs[at] = namespace, Direct(self._real, namespace)


def _is_running(spec: Any) -> bool:
    """Whether a module is being imported just now."""
    try:
        return bool(getattr(spec, "_initializing", False))
    except Exception:  # a spec of somebody's own making
        return False


def _modules(names: Iterable[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every loaded module that may be touched, or of these names only, by its name in ``sys.modules``: its globals."""
    modules: list[tuple[str, Any]] = list(sys.modules.items()) if names is None else []
    modules += [(name, module) for name in names or () if (module := sys.modules.get(name)) is not None]
    for name, module in modules:
        # By its real type: a C library's module says that it is one, and isn't.
        if issubclass(type(module), ModuleType) and type(name) is str and name.partition(".")[0] not in _LEFT_ALONE:
            yield name, _globals_of(module)
