"""One attribute of another program, wrapped while the program runs: applied, reverted, and no file on disk touched.

A :class:`Hook` names its target, ``package.module:Class.attribute`` or ``package.module:function``, and a maker that
turns what stands there into a replacement. It imports nothing: a module that is not loaded is not hooked yet (see
:mod:`logbus.producers.imports` for how to be told). Before it touches anything it looks whether the target is what
the maker was written for; if not, the target stays as it is and :attr:`Hook.problem` says why.

What is put in place is a *layer*: a switch in front of the replacement. Reverting turns the switch, so that the
original is called from then on by whoever still holds the layer, and takes the layer off if it lies on top. If
somebody has wrapped it since, it must stay where it is: their wrapper leads through it. It then does nothing, and goes
as soon as it lies on top again and a hook is applied or reverted. Hooks on one target may so be reverted in any order.

The switch is one more frame between caller and replacement: a replacement that logs shows its caller's line with
``stacklevel=3``. A replacement that is no function (a descriptor) is put in place as it is, and has to ask
:attr:`Hook.applied` by itself.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from logbus.os_threads import RLock

_MISSING: Final = object()


class Hook:
    """One target that can be wrapped and given back. ``apply`` and ``revert`` are idempotent and never raise.

    Args:
        name: what doctors and warnings call it.
        target: ``package.module:Class.attribute`` or ``package.module:function``.
        make: gets what stands there (of a static or class method the function inside) and returns what replaces it.
        private: whether the target's name is no part of what the other program promises to keep.
        parameters: names of the first parameters that the target must have, ``self`` among them; None: no look.
        asynchronous: whether the target must be a coroutine function; otherwise it must be none.
        absent: the class must have no such attribute yet: the replacement is a descriptor before instances' own.
        bare: the replacement stands without the switch, for what is called all the time: ``make`` gets the layer as
            well, and once ``live`` of that is false the replacement must do what the original does.
        gives: what there is only with it, as a doctor says it: "the request_id of sync requests".
    """

    __slots__ = (
        "_absent",
        "_asynchronous",
        "_bare",
        "_layer",
        "_make",
        "_parameters",
        "gives",
        "name",
        "private",
        "problem",
        "target",
    )

    def __init__(
        self,
        name: str,
        target: str,
        make: Callable[..., Any],
        private: bool = False,
        *,
        parameters: tuple[str, ...] | None = None,
        asynchronous: bool = False,
        absent: bool = False,
        bare: bool = False,
        gives: str = "",
    ) -> None:
        self.name = name
        self.gives = gives
        self.target = target
        self.private = private
        #: Why the last apply() did nothing; None where it did what it should.
        self.problem: str | None = None
        self._make = make
        self._parameters = parameters
        self._asynchronous = asynchronous
        self._absent = absent
        self._bare = bare
        self._layer: _Layer | None = None

    def __repr__(self) -> str:
        state = "applied" if self.applied else f"not applied: {self.problem}" if self.problem else "not applied"
        return f"<Hook {self.name} on {self.target}, {state}>"

    @property
    def module(self) -> str:
        """The module that has to be loaded before."""
        return self.target.partition(":")[0]

    @property
    def applied(self) -> bool:
        """Whether it is in force."""
        layer = self._layer
        return layer is not None and layer.live

    def apply(self) -> bool:
        """Wraps the target; False when that can't be done, and then ``problem`` says why."""
        with _LOCK:
            try:
                owner, attribute = self._find()
                if self._layer is not None:
                    if self._layer.owner is owner:
                        return True
                    self.revert()  # the module has been loaded anew
                _sweep()
                self._layer = self._put(owner, attribute)
            except _UnfitError as refused:
                self.problem = str(refused)
            except Exception as error:  # a maker, or a class that lets nobody change it
                self.problem = f"{type(error).__name__}: {error}"
            else:
                self.problem = None
                return True
            return False

    def revert(self) -> None:
        """Gives back what was there; a wrapper that somebody has put on top stays, with nothing of ours in force."""
        with _LOCK:
            layer, self._layer = self._layer, None
            if layer is not None:
                layer.live = False
            _sweep()

    def _find(self) -> tuple[Any, str]:
        """The module or class that holds the target, and the attribute's name."""
        name, _, path = self.target.partition(":")
        owner: Any = sys.modules.get(name)
        if owner is None:
            raise _UnfitError(f"{name} is not loaded")
        *classes, attribute = path.split(".")
        for each in classes:
            owner = vars(owner).get(each)
            if not isinstance(owner, type):
                raise _UnfitError(f"expected a class {each} in {name}, found {_told(owner)}")
        return owner, attribute

    def _put(self, owner: Any, attribute: str) -> _Layer:
        own = vars(owner).get(attribute, _MISSING)
        standing: Any = own if own is not _MISSING else _inherited(owner, attribute)
        original: Any
        if self._absent:
            if standing is not _MISSING:
                raise _UnfitError(f"expected no attribute {attribute} in the class, found {_told(standing)}")
            original = None
        else:
            if standing is _MISSING:
                raise _UnfitError("expected it to exist, found nothing")
            original = standing.__func__ if isinstance(standing, staticmethod | classmethod) else standing
            self._judge(original)
            foreign = original is standing and callable(original) and not isinstance(original, FunctionType)
            if foreign and isinstance(owner, type):
                original = _unbound(original, asynchronous=self._asynchronous)
        layer = _Layer(owner, attribute, own)
        made = self._make(original, layer) if self._bare else self._make(original)
        if isinstance(made, FunctionType) and not self._bare:
            made = _switch(layer, made, original)
            if isinstance(standing, staticmethod | classmethod):
                made = type(standing)(made)
        layer.placed = made
        setattr(owner, attribute, made)
        _LAYERS.append(layer)
        return layer

    def _judge(self, original: Any) -> None:
        """Raises _UnfitError unless the target is what the maker expects."""
        if inspect.iscoroutinefunction(original) is not self._asynchronous:
            found = "a coroutine function" if not self._asynchronous else "none"
            raise _UnfitError(f"expected {'a' if self._asynchronous else 'no'} coroutine function, found {found}")
        if self._parameters is None:
            return
        try:
            given = list(inspect.signature(original).parameters.values())
        except (TypeError, ValueError):
            raise _UnfitError(f"expected a function, found {_told(original)}") from None
        if not _takes(given, self._parameters):
            bare = [each.replace(annotation=each.empty, default=each.empty) for each in given]
            raise _UnfitError(f"expected ({', '.join(self._parameters)}, …), found {inspect.Signature(bare)}")


class _UnfitError(Exception):
    """The target is not what the hook is for."""


class _Layer:
    """What one hook has put in place: where, and what the class or module itself held there before."""

    __slots__ = ("attribute", "found", "live", "owner", "placed")

    def __init__(self, owner: Any, attribute: str, found: Any) -> None:
        self.owner = owner
        self.attribute = attribute
        self.found = found
        self.placed: Any = None
        self.live = True

    def on_top(self) -> bool:
        return vars(self.owner).get(self.attribute, _MISSING) is self.placed

    def take_off(self) -> None:
        if self.found is _MISSING:  # inherited, or an instance's own
            delattr(self.owner, self.attribute)
        else:
            setattr(self.owner, self.attribute, self.found)


#: Every layer in place: those in force, and those that somebody's wrapper leads through.
_LAYERS: Final[list[_Layer]] = []
_LOCK = RLock()


def _sweep() -> None:
    """Takes off every layer that is out of force and on top; taking one off may bring another to the top."""
    while loose := next((layer for layer in reversed(_LAYERS) if not layer.live and layer.on_top()), None):
        _LAYERS.remove(loose)
        loose.take_off()


def _switch(layer: _Layer, replacement: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """The replacement while its layer is live, the original afterwards; it looks like the original."""
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def switch_async(*args: Any, **kwargs: Any) -> Any:
            return await (replacement if layer.live else original)(*args, **kwargs)

        return switch_async

    @functools.wraps(original)
    def switch(*args: Any, **kwargs: Any) -> Any:
        return (replacement if layer.live else original)(*args, **kwargs)

    return switch


def _takes(found: list[inspect.Parameter], names: tuple[str, ...]) -> bool:
    """Whether the first parameters have these names and may be given by their places.

    ``*args`` take whatever is left: so do wrappers of others, that hand on what they get.
    """
    by_place = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
    for at, name in enumerate(names):
        if at < len(found) and found[at].kind is inspect.Parameter.VAR_POSITIONAL:
            return True
        if at >= len(found) or found[at].name != name or found[at].kind not in by_place:
            return False
    return True


def _unbound(original: Any, *, asynchronous: bool) -> Callable[..., Any]:
    """A function that calls with ``self`` in front what somebody has put into a class that is no function.

    Their wrapper is called as Python would: bound, if it can be, for it may ask which object it is bound to; and
    without ``self`` if not.
    """
    bind = getattr(type(original), "__get__", None)

    def bound(self: Any) -> Any:
        return original if bind is None else bind(original, self, type(self))

    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return bound(self)(*args, **kwargs)

    async def call_async(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return await bound(self)(*args, **kwargs)

    return functools.update_wrapper(call_async if asynchronous else call, original, updated=())


def _inherited(owner: Any, attribute: str) -> Any:
    if not isinstance(owner, type):
        return _MISSING
    return next((vars(base)[attribute] for base in owner.__mro__[1:] if attribute in vars(base)), _MISSING)


def _told(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _after_fork() -> None:
    global _LOCK
    _LOCK = RLock()  # a thread that is not here may have held it


os.register_at_fork(after_in_child=_after_fork)
