"""Being told of an import: :func:`when_imported` calls as soon as a module is there, today or later.

Whatever attaches to a library (:mod:`logbus.producers.loguru_import`, the integrations) must work whether that is
imported before or after, and must not import it itself. A finder at the head of ``sys.meta_path`` asks the finders
behind it for the modules that somebody waits for, and for no others, and puts a loader of its own before the real one.
That loader steps aside before the module's first line runs: the module, and whoever looks at it later, finds the real
one in ``__loader__`` and ``__spec__``. In between (``importlib.util.find_spec``) it passes for the real one, and
answers what that answers.

The call comes at the end of the import, under the import lock of that module and before the importing statement goes
on: nobody can use the module before. Where a module puts something else in its place in ``sys.modules``, that is what
the call gets.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final, cast

Call = Callable[[ModuleType], object]


class _Wish:
    """One call that waits for one module, and the module for which it has been made last."""

    __slots__ = ("_made", "call", "name")

    def __init__(self, name: str, call: Call) -> None:
        self.name = name
        self.call = call
        self._made: dict[int, tuple[object, Any]] = {}

    def fulfil(self, module: Any, *, again: bool = False) -> None:
        """Makes the call, once for each module, and ``again`` for one that was reloaded. Raises no Exception."""
        # setdefault() is one step: of two threads that come with the same module one is the first.
        mine = object(), module  # the module too: nobody else gets its id
        if self._made.setdefault(id(module), mine) is not mine and not again:
            return
        for key in [key for key in self._made if key != id(module)]:
            self._made.pop(key, None)
        try:
            self.call(module)
        except Exception as error:
            _tell(f"logbus: {self.name} is imported, but is not instrumented: {type(error).__name__}: {error}")


#: The wishes by the name of their module. Lists are replaced, never changed: another thread may go through one.
_WISHES: Final[dict[str, list[_Wish]]] = {}


def when_imported(name: str, call: Call) -> Callable[[], None]:
    """What cancels ``call``, which gets the module ``name``: at once if it is loaded, else when it has been imported.

    It is called again when the module is loaded anew (``importlib.reload``, or an import after it was taken out of
    ``sys.modules``): its classes are others then. If it fails, a RuntimeWarning says so, and the import goes on. A
    module that another thread is importing is waited for; one that this thread is importing just now counts as loaded.
    Modules of a loader that has no ``exec_module`` are not noticed. Raises nothing.
    """
    wish = _Wish(name, call)
    _WISHES[name] = [*_WISHES.get(name, ()), wish]
    if not any(finder is _FINDER for finder in sys.meta_path):
        sys.meta_path.insert(0, _FINDER)
    module = _loaded(name)
    if module is not None:
        wish.fulfil(module)
    return lambda: _cancel(wish)


def _cancel(wish: _Wish) -> None:
    rest = [other for other in _WISHES.get(wish.name, ()) if other is not wish]
    if rest:
        _WISHES[wish.name] = rest
        return
    _WISHES.pop(wish.name, None)
    if not _WISHES:
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not _FINDER]


def _loaded(name: str) -> ModuleType | None:
    """A module that is there, and whole."""
    module = sys.modules.get(name)
    if module is None or not getattr(getattr(module, "__spec__", None), "_initializing", False):
        return module
    try:
        return importlib.import_module(name)  # waits for the thread that imports it
    except Exception:  # it has failed there
        return None


def _tell(text: str) -> None:
    try:
        warnings.warn(text, RuntimeWarning, 4)
    except Warning:  # where warnings are errors: the import is the application's, and goes on
        if sys.stderr is not None:
            sys.stderr.write(f"{text}\n")


class _Finder:
    """The head of ``sys.meta_path``: finds what the finders behind it find, with a loader that tells of the import."""

    def __init__(self) -> None:
        #: What is being looked for, by thread: finders of this kind ask one another.
        self._looking: set[tuple[int, str]] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module that somebody waits for; None for every other, and for what is not found."""
        if fullname not in _WISHES:
            return None
        asked = threading.get_ident(), fullname
        if asked in self._looking:
            return None
        self._looking.add(asked)
        try:
            spec = self._behind(fullname, path, target)
        finally:
            self._looking.discard(asked)
        if spec is None:
            return None
        real: Any = spec.loader
        if real is None and spec.submodule_search_locations is not None:
            # A namespace package: importlib makes it such a loader where it has none, in just this way.
            real = importlib.machinery.NamespaceLoader.__new__(importlib.machinery.NamespaceLoader)
            real._path = spec.submodule_search_locations
        if hasattr(real, "exec_module"):
            loader: Any = _Loader(real, spec, reloads=target is not None)
            spec.loader = loader
        return spec

    def _behind(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            if finder is self:
                continue
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find(name, path, target) if find is not None else None
            if spec is not None:
                return spec
        return None


class _Loader:
    """Stands before the real loader of a module until the module runs; everything else it leaves to that."""

    def __init__(self, real: Any, spec: ModuleSpec, *, reloads: bool) -> None:
        self._real = real
        self._spec = spec
        self._reloads = reloads

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the real loader."""
        create = getattr(self._real, "create_module", None)
        made: ModuleType | None = create(spec) if create is not None else None
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Runs the module with its real loader in place, and makes the calls that wait for it."""
        spec, real, ours = self._spec, self._real, cast("Any", self)
        if spec.loader is ours:
            spec.loader = real
        if getattr(module, "__loader__", None) is ours:
            module.__loader__ = real
        if isinstance(real, importlib.machinery.NamespaceLoader) and not hasattr(module, "__file__"):
            module.__file__ = None  # as importlib has it, which does so only where it has made the loader
        real.exec_module(module)
        for wish in _WISHES.get(spec.name, ()):
            wish.fulfil(sys.modules.get(spec.name, module), again=self._reloads)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._real) if not isinstance(self._real, type) else _Loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _itself, (self._real,)

    def __eq__(self, other: object) -> bool:
        return other is self or bool(self._real == other)

    def __hash__(self) -> int:
        return hash(self._real)


def _itself(loader: Any) -> Any:
    return loader


_FINDER: Final[Any] = _Finder()
