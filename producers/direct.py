"""The direct way of loguru's calls: a module's ``logger``, replaced by one that knows what its module may log.

Loguru has one lowest level for the whole process, that of its most talkative handler, and builds a record of some
8 µs before any filter is asked. A :class:`Direct` is loguru's own logger in every respect but one: the methods that
log are attributes of the object, made for one module and one level. What the rules suppress there is a function that
does nothing; what passes becomes a record of the producer without loguru in between. When the rules change the
attributes are exchanged, one by one, each in one step: a call under way ends as it began.

Everything else is inherited and works on loguru's one core: what ``bind``, ``opt`` and ``patch`` return, and
``catch`` and ``contextualize``, go through loguru and its handlers, ours among them. So do calls that need what only
loguru does: a patcher of its core, a level that it doesn't know.

Two of loguru's habits are not kept, since they harm: a message that can't be formatted with its arguments (an f-string
with braces) stays as it is instead of raising KeyError in the application, and ``exc_info=`` is an exception with its
traceback instead of a field.

A method that the application has taken out of the object (``debug = logger.debug``) stays as it was then.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loguru._logger import Logger

from logbus.producers import calls
from logbus.producers.calls import Way

#: The methods that log at a level of their own, and the names of those levels.
METHODS: Final[Mapping[str, str]] = {
    "trace": "TRACE",
    "debug": "DEBUG",
    "info": "INFO",
    "success": "SUCCESS",
    "warning": "WARNING",
    "error": "ERROR",
    "critical": "CRITICAL",
    "exception": "ERROR",
}


class Direct(Logger):
    """Stands where a module had loguru's ``logger``. ``real`` is that one; ``namespace`` the module's globals."""

    def __init__(self, real: Any, namespace: dict[str, Any]) -> None:
        # Past __setattr__, which is for the application.
        self.__dict__.update(_core=real._core, _options=real._options, _real=real, _namespace=namespace, _followed=None)

    def follow(self, way: Way) -> None:
        """Makes the methods what the rules say of this module."""
        state = self.__dict__
        state["_way"] = way
        decision = way.table.decide(calls.name_of(state["_namespace"]))
        recorder = way.producer.gate.recorder
        followed = (way.producer, decision, way.otherwise, recorder, dict(vars(self._real)))
        if followed == state["_followed"]:
            return
        state["_followed"] = followed
        for name, level in METHODS.items():
            number = self._core.levels[level].no
            state[name] = calls.method(self, decision, number, level, handled=name == "exception")
        state["log"] = calls.log_method(self, decision)
        # What the application has put upon loguru's logger is what it wants to be called.
        state.update({key: value for key, value in vars(self._real).items() if key in METHODS or key == "log"})

    @property
    def follows(self) -> bool:
        """Whether its methods are ours now."""
        return bool(self.__dict__["_followed"])

    def retire(self) -> None:
        """Makes it a logger like loguru's own, whoever still has it."""
        self.__dict__["_followed"] = None
        for method in (*METHODS, "log"):
            self.__dict__.pop(method, None)

    def lets(self, name: str, number: int, kwargs: Mapping[str, Any]) -> bool:
        """Whether a call of another module passes, which came to this object by an import."""
        way: Way = self._way
        return calls.passes_now(way.table.decide(name), number, self._core, kwargs, way.otherwise)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_real"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        if (
            getattr(value, "__module__", None) == calls.__name__
        ):  # a patch that is undone puts back what it has found here
            vars(self._real).pop(name, None)
        else:  # upon the one logger that all share; a method that logs is then the application's here as well
            setattr(self._real, name, value)
        self._refollow()

    def __delattr__(self, name: str) -> None:
        delattr(self._real, name)
        self._refollow()

    def _refollow(self) -> None:
        if self.__dict__["_followed"] is not None:
            self.__dict__["_followed"] = ()
            self.follow(self._way)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        """Loguru's own class: ``logger.__class__`` is where applications put methods of their own."""
        return Logger

    def __eq__(self, other: object) -> bool:
        return other is self or other is self._real or (type(other) is Direct and other._real is self._real)

    def __hash__(self) -> int:
        return hash(self._real)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # What a child gets that is spawned with the logger as an argument is loguru's, with our handler.
        return _same, (self._real,)


def _same(real: Any) -> Any:
    return real
