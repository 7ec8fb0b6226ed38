"""In which context something was raised: what was active in the scopes that an exception has left on its way up.

Who reports a crash stands outside every scope: the fields that belong to it are gone. So a scope that is left by an
exception notes what was active (:func:`note`), and :func:`origin` finds it again for whoever catches the exception,
also in another thread or after the end of its task.

An exception can't hold the fields, which would be pickled and shown with it. The note goes by the traceback entry of
the frame that left the scope. Its address may be used again by another entry; but one of the same instruction has left
the same scope, whose end has then replaced the note. So a note that is found with its code and its instruction is that
of this exception. Where the same ``with`` opens a scope at one time and none at another (``nullcontext()``, an
``ExitStack``) that is not so: so the note's exception has to be alive still, or to be this one by its arguments where
its class can't tell (Python's own have no weak references; where their arguments are large or none, nobody knows). Of
several scopes of one frame the innermost counts, which ends first: the next one finds a note that was made in the
moment before it, since what that one restored is what is active now.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from logbus.producers.context import Active

#: Notes kept, the newest: one is read soon after it was made, or never.
MAX_NOTES: Final = 256
#: Traceback entries looked at, and exceptions behind each other (as cause or context).
_MAX_WALK: Final = 10_000
_MAX_LEVELS: Final = 8
#: Arguments of an exception that a note may keep: of these types, and texts of so many characters.
_SHORT: Final = (int, float, bool, type(None))
_SHORT_CHARS: Final = 256

#: By address of the traceback entry: code and instruction of its frame, what was active, and what is afterwards.
_NOTES: Final[dict[int, tuple[CodeType, int, Active, Active | None, Callable[[BaseException], bool]]]] = {}


def note(traceback: TracebackType, now: Active | None, after: Active | None, error: BaseException | None) -> None:
    """Remembers what is active where an exception leaves a scope; ``after`` is what the scope's end restores.

    Raises nothing.
    """
    earlier = _NOTES.pop(id(traceback), None)  # the new one stands last
    if now is None:
        return
    code, instruction = traceback.tb_frame.f_code, traceback.tb_lasti
    if earlier is not None and earlier[3] is now and earlier[0] is code and earlier[1] == instruction:
        now = earlier[2]
    _NOTES[id(traceback)] = (code, instruction, now, after, _sign(error))
    if len(_NOTES) > MAX_NOTES:
        with contextlib.suppress(RuntimeError, StopIteration):  # another thread notes something in this moment
            _NOTES.pop(next(iter(_NOTES)), None)


def _sign(error: BaseException | None) -> Callable[[BaseException], bool]:
    """What tells whether a note can be that of an exception. It keeps nothing alive but a few short arguments."""
    with contextlib.suppress(TypeError):  # most classes of Python's own have no weak references
        if error is not None:
            alive = weakref.ref(error)
            # Alive is enough: its traceback is, too, and has its address for itself.
            return lambda _: alive() is not None
    args = error.args if error is not None else ()
    if args and all(type(each) in _SHORT or (type(each) is str and len(each) <= _SHORT_CHARS) for each in args):
        return lambda other: other.args is args  # held here, so that no other exception has this very tuple
    return _anybody


def _anybody(_: BaseException) -> bool:
    return True


def origin(error: BaseException | None, traceback: TracebackType | None = None) -> Active | None:
    """What was active in the innermost scope that an exception, or what caused it, has left; None where none did."""
    level = 0
    while error is not None and level < _MAX_LEVELS:
        found = _innermost(error, traceback if traceback is not None else error.__traceback__)
        if found is not None:
            return found
        error, traceback, level = error.__cause__ or error.__context__, None, level + 1
    return None


def _innermost(error: BaseException, traceback: TracebackType | None) -> Active | None:
    found: Active | None = None
    walked = 0
    while traceback is not None and walked < _MAX_WALK:
        kept = _NOTES.get(id(traceback))
        if kept is not None and kept[0] is traceback.tb_frame.f_code and kept[1] == traceback.tb_lasti:
            found = kept[2] if kept[4](error) else found
        traceback = traceback.tb_next
        walked += 1
    return found
