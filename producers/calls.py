"""The functions that stand for the methods of a logger of loguru, each made for one module and one level.

What the rules suppress is one function that does nothing. What passes makes a record of the producer, without loguru
in between: 1 µs, of which half is the buffer's. Only what a call can't know when its function is made is looked at in
the call: the fields that a condition asks for, and what the application has set in loguru's core since.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os.path import basename, splitext
from threading import current_thread
from types import CodeType, FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from loguru._logger import context as _contextualized

from logbus.producers.context import active, active_about, add_context
from logbus.producers.exception import describe, weight
from logbus.producers.fields import ENTRY_BYTES, EXC_INFO, PLAIN, USUAL_BYTES, fields_now, take_exception, word
from logbus.producers.producer import Emit, Producer, Site
from logbus.producers.sanitise import FIELD_BYTES, safe_message, split_extra
from logbus.producers.text import text_bytes
from logbus.rules import Decision, Table

if TYPE_CHECKING:
    from logbus.producers.direct import Direct

#: Call sites kept, per method of a module.
_SITES_KEPT: Final = 4096
#: Levels of ``log()`` for which a module keeps a function, at most.
_LEVELS_KEPT: Final = 64

#: Stands for the caller's frame where there is none: the interpreter itself calls (``atexit.register(logger.info)``).
_NOBODY: Final[Any] = SimpleNamespace(
    f_code=compile("", "<unknown>", "exec").replace(co_name="<unknown>"), f_globals={}, f_lasti=0, f_lineno=0
)

_frame: Final = sys._getframe
_now: Final = time.time
_context: Final[Callable[[], dict[str, Any]]] = _contextualized.get

#: Hands one call over: frame of the caller, message, args, kwargs, and the exception for ``logger.exception``.
_Take = Callable[[FrameType, Any, "tuple[Any, ...]", "dict[str, Any]", Any], None]


@dataclass(frozen=True, slots=True)
class Way:
    """Where direct calls lead and what gates them.

    ``otherwise`` is the level number of modules on which no rule says anything.
    """

    producer: Producer
    table: Table
    otherwise: int


def name_of(namespace: Mapping[str, Any]) -> str:
    """The logger of a module with these globals: its name."""
    name = namespace.get("__name__")
    return name if type(name) is str and name else "root"


def _nothing(message: Any, /, *args: Any, **kwargs: Any) -> None:
    """A call that is suppressed."""


def method(direct: Direct, decision: Decision, number: int, level: str, *, handled: bool) -> Callable[..., None]:
    """A method of one module: what happens at this level is known by now, but for conditions."""
    way: Way = direct._way
    core, otherwise, recorder = direct._core, way.otherwise, way.producer.gate.recorder
    passes = decision.passes(number, None, otherwise=otherwise)
    take = _taker(direct, number, level, level, None)
    below = None
    if recorder is not None and number >= recorder.level:
        below = _taker(direct, number, level, level, recorder.keep)
    if any((number >= least) != passes for _, least in decision.conditions):

        def asking(message: Any, /, *args: Any, **kwargs: Any) -> None:
            chosen = take if passes_now(decision, number, core, kwargs, otherwise) else below
            if chosen is not None:
                raised = sys.exc_info() if handled else None
                try:
                    frame = _frame(1)
                except ValueError:
                    frame = _NOBODY
                chosen(frame, message, args, kwargs, raised)

        return asking
    if not passes and below is None:
        return _nothing
    hand_over = take if passes or below is None else below
    if handled:

        def failed(message: Any, /, *args: Any, **kwargs: Any) -> None:
            raised = sys.exc_info()
            try:
                frame = _frame(1)
            except ValueError:
                frame = _NOBODY
            hand_over(frame, message, args, kwargs, raised)

        return failed

    def live(message: Any, /, *args: Any, **kwargs: Any) -> None:
        try:
            frame = _frame(1)
        except ValueError:
            frame = _NOBODY
        hand_over(frame, message, args, kwargs, None)

    return live


def log_method(direct: Direct, decision: Decision) -> Callable[..., None]:
    """The method ``log`` of one module, whose level comes with the call."""
    way: Way = direct._way
    core, otherwise, recorder = direct._core, way.otherwise, way.producer.gate.recorder
    takers: dict[Any, tuple[int, _Take, _Take | None]] = {}

    def log(level: Any, message: Any, /, *args: Any, **kwargs: Any) -> None:
        found = takers.get(level) if type(level) in (str, int) else None
        if found is None:
            if type(level) is str and level in core.levels:
                number, name = core.levels[level].no, level
            elif type(level) is int and level >= 0:
                number, name = level, f"Level {level}"
            else:
                # Loguru says what is wrong.
                direct._real.opt(depth=1).log(level, message, *args, **kwargs)
                return
            below = None
            if recorder is not None and number >= recorder.level:
                below = _taker(direct, number, name, level, recorder.keep)
            found = number, _taker(direct, number, name, level, None), below
            if len(takers) < _LEVELS_KEPT:
                takers[level] = found
        number, take, kept = found
        chosen = take if passes_now(decision, number, core, kwargs, otherwise) else kept
        if chosen is not None:
            try:
                frame = _frame(1)
            except ValueError:
                frame = _NOBODY
            chosen(frame, message, args, kwargs, None)

    return log


def passes_now(decision: Decision, number: int, core: Any, kwargs: Mapping[str, Any], otherwise: int) -> bool:
    """Whether a call passes, with the fields that it has here and now. Raises no Exception."""
    context = fields_now(core.extra, _context(), kwargs) if decision.conditions else None
    try:
        return decision.passes(number, context, otherwise=otherwise)
    except Exception:  # a field that can't be compared or written out meets no condition
        return decision.passes(number, None, otherwise=otherwise)


def _taker(direct: Direct, number: int, level: str, key: str | int, keep: Emit | None) -> _Take:
    """What makes a record of a call of one module at one level, and emits it, or gives it to ``keep``."""
    core, namespace, producer = direct._core, direct._namespace, direct._way.producer
    # By place in the program: a code object holds its instructions, so the address of one is that of the object and
    # the offset together. An entry keeps its code object alive, whose address is then nobody else's. (The line number
    # would have to be searched for from the beginning of the function: 1 µs in a long one.)
    sites: dict[int, tuple[Site, CodeType]] = {}

    def take(frame: FrameType, message: Any, args: tuple[Any, ...], kwargs: dict[str, Any], raised: Any) -> None:
        code = frame.f_code
        entry = sites.get(id(code) + frame.f_lasti)
        if entry is None or core.activation_list or core.patcher is not None:
            own = frame.f_globals is namespace
            name = name_of(frame.f_globals)
            if not own and not direct.lets(name, number, kwargs):
                return
            if core.activation_list and not _is_enabled(core.activation_list, name):
                return
            if core.patcher is not None:
                if keep is None:
                    direct._real.opt(depth=2, exception=raised).log(key, message, *args, **kwargs)
                return
            if entry is None:
                entry = _site(frame, name, number, level), code
                if own:
                    if len(sites) >= _SITES_KEPT:
                        sites.clear()
                    sites[id(code) + frame.f_lasti] = entry
        text = message
        if type(text) is not str:
            text = safe_message(text, None)
        if (args or kwargs) and ("{" in text or "}" in text):
            try:
                text = text.format(*args, **kwargs)
            except Exception:  # noqa: S110
                pass  # an f-string, most likely: its braces are what was meant
        common, bound = core.extra, _context()
        if common or bound:
            kwargs = {**common, **bound, **kwargs}
        extra: dict[str, Any] | None = None
        nested: dict[str, Any] | None = None
        exception: Any = None
        size = ENTRY_BYTES + text.__sizeof__()
        usual = raised is None
        if kwargs:
            for value in kwargs.values():
                kind = type(value)
                if kind is str:
                    size += value.__sizeof__()
                elif kind not in PLAIN:
                    usual = False
                    break
            if EXC_INFO in kwargs:
                usual = False
            size += FIELD_BYTES * len(kwargs)
            extra = kwargs
        if not usual or size > USUAL_BYTES:
            text, extra, nested, exception, size = _unusual(text, kwargs, raised)
            scope = active_about(raised)
        else:
            scope = active()
        if scope is not None:
            extra, nested, size = add_context(extra, nested, size, scope)
        put = producer.emit if keep is None else keep
        put(_now(), entry[0], current_thread().name, text, extra, nested, exception, size)

    return take


def _unusual(
    text: str, fields: Mapping[str, Any], raised: Any
) -> tuple[str, dict[str, Any] | None, dict[str, Any] | None, Any, int]:
    """The parts of any call: long texts, values of any type, exceptions."""
    if EXC_INFO in fields:
        found, fields = take_exception(fields)
        raised = found or raised
    text = safe_message(text, None)
    extra, nested, size = split_extra(fields.items())
    exception = describe(raised) if raised is not None else None
    if exception is not None:
        size += weight(exception)
    return text, extra, nested, exception, size + ENTRY_BYTES + text_bytes(text)


def _site(frame: FrameType, name: str, number: int, level: str) -> Site:
    code = frame.f_code
    module = splitext(basename(code.co_filename))[0]
    return word(name), number, word(level), word(module), word(code.co_name), frame.f_lineno or 0


def _is_enabled(activations: list[tuple[str, bool]], name: str) -> bool:
    """Whether ``logger.disable()`` and ``enable()`` have left a module on: the longest name that covers it says so."""
    dotted = f"{name}."
    return next((status for prefix, status in activations if dotted.startswith(prefix)), True)
