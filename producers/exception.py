"""Exceptions as data: what was raised, where, and because of what, without keeping a frame or a local alive.

Two steps, since reading source lines is slow and the caller must not wait for a disk. :func:`describe` runs in the
thread that logs: it walks the traceback objects once and keeps names and numbers. :func:`finish` runs in the sender
thread: it looks up the source lines and gives the form that travels (see :mod:`logbus.wire`).

Everything is bounded, because exceptions aren't: a recursion has a thousand frames, a retry loop chains every failure
to the one before, a group may hold ten thousand members. What is left out is named where it is missing. Locals are
never captured: they hold passwords.
"""

from __future__ import annotations

import linecache
import os
import stat
from collections import deque
from functools import lru_cache
from types import TracebackType
from typing import Any, Final

from logbus.producers.text import MAX_KEY_CHARS, MAX_TEXT_CHARS, cut, error_text, text_bytes, text_of, type_name

#: A place in the code: file name, line number (0: not known), function.
Frame = tuple[str, int, str]
#: An exception between the two steps: type, message, frames and finished lines, cause, context, members.
Described = tuple[str, str, tuple[Frame | str, ...], Any, Any, tuple[Any, ...]]

#: Frames kept of one traceback: half of them the outermost, half the innermost.
MAX_FRAMES: Final = 64
#: Exceptions inside each other (as cause, context or member), members of one group, exceptions and frames in all.
MAX_LEVELS: Final = 8
MAX_MEMBERS: Final = 16
MAX_EXCEPTIONS: Final = 32
MAX_FRAMES_IN_ALL: Final = 512
#: Notes kept of one exception, and characters of each.
MAX_NOTES: Final = 16
MAX_NOTE_CHARS: Final = 1024
#: Characters of a file or function name, and of a line of source.
MAX_NAME_CHARS: Final = 1024
MAX_CODE_CHARS: Final = 256
#: Bytes of a file that is read for its source lines.
MAX_SOURCE_BYTES: Final = 8 * 1024 * 1024

_HEADER: Final = "Traceback (most recent call last):"
#: Frames looked at, at most: the limit of recursion may have been set to anything.
_MAX_WALK: Final = 100_000


def describe(raised: Any) -> Described | None:
    """The exception of an ``exc_info`` triple or of an exception itself; None if there is none. Raises no Exception.

    The result is plain tuples, strings and numbers; it refers to no frame and to no exception.
    """
    kind: Any = None
    value: Any = None
    traceback: Any = None
    if issubclass(type(raised), BaseException):
        kind, value, traceback = type(raised), raised, _read(raised, "__traceback__")
    elif issubclass(type(raised), tuple) and tuple.__len__(raised) == 3:
        kind, value, traceback = tuple.__iter__(raised)
    if not issubclass(type(value), BaseException):
        return None if kind is None else (text_of(kind, MAX_KEY_CHARS), text_of(value), (), None, None, ())
    try:
        return _Walk().describe(value, traceback, 1)
    except Exception as error:  # no memory or no stack left
        return type_name(type(value)), f"<could not be described: {type_name(type(error))}>", (), None, None, ()


def from_text(text: str) -> Described:
    """The exception of a formatted traceback: type and message are those of the line behind the last frame."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and line.strip() != _HEADER]
    at = len(lines) - 1
    while at > 0 and (lines[at][0].isspace() or not lines[at - 1][0].isspace()):
        at -= 1
    kind, message = "Exception", ""
    name, colon, rest = lines[at].partition(":") if lines else ("", "", "")
    if name.replace(".", "").isidentifier() and (colon or at > 0):
        kind = cut(name, MAX_KEY_CHARS)
        message = cut("\n".join([rest.strip(), *lines[at + 1 :]]), MAX_TEXT_CHARS)
        del lines[at:]
    kept = [line.strip() for line in lines]
    if len(lines) > MAX_FRAMES:
        half = MAX_FRAMES // 2
        kept[half:-half] = [f"… {len(lines) - 2 * half} lines"]
    return kind, message, tuple(cut(line, MAX_NAME_CHARS) for line in kept), None, None, ()


def finish(described: Described) -> list[Any]:
    """The form that travels: ``[type, message, lines, cause, context, members]``. For the sender thread.

    Raises no Exception.
    """
    kind, message, frames, cause, context, members = described
    return [
        kind,
        message,
        [frame if type(frame) is str else _line(*frame) for frame in frames],
        None if cause is None else finish(cause),
        None if context is None else finish(context),
        [finish(member) for member in members],
    ]


def weight(described: Described) -> int:
    """The bytes that a described exception takes in memory, estimated."""
    kind, message, frames, cause, context, members = described
    # File and function names belong to the code; a frame is a tuple of its own, and becomes a line of about 100 bytes.
    total = 128 + text_bytes(kind) + text_bytes(message) + 160 * len(frames)
    for part in (cause, context, *members):
        if part is not None:
            total += weight(part)
    return total


class _Walk:
    """One description under way: what it may still take, and what it has seen, so that a ring ends."""

    __slots__ = ("exceptions", "frames", "seen")

    def __init__(self) -> None:
        self.exceptions = MAX_EXCEPTIONS
        self.frames = MAX_FRAMES_IN_ALL
        self.seen: set[int] = set()

    def describe(self, error: BaseException, traceback: Any, level: int) -> Described:
        self.seen.add(id(error))
        self.exceptions -= 1
        lines = self._frames(traceback) + _notes(error)
        cause = context = None
        above, before = _read(error, "__cause__"), _read(error, "__context__")
        if above is not None:
            cause = self._inner(above, level, lines, "cause")
        elif before is not None and not _read(error, "__suppress_context__"):
            context = self._inner(before, level, lines, "context")
        members = self._members(error, level, lines) if issubclass(type(error), BaseExceptionGroup) else ()
        return type_name(type(error)), error_text(error), tuple(lines), cause, context, members

    def _inner(self, error: BaseException, level: int, lines: list[Frame | str], what: str) -> Described | None:
        if id(error) in self.seen:
            return None
        if level >= MAX_LEVELS or self.exceptions <= 0:
            lines.append(f"… {what} left out: {type_name(type(error))}")
            return None
        return self.describe(error, _read(error, "__traceback__"), level + 1)

    def _members(self, group: Any, level: int, lines: list[Frame | str]) -> tuple[Described, ...]:
        errors = BaseExceptionGroup.exceptions.__get__(group)
        found = [self._inner(error, level, lines, "member") for error in errors[:MAX_MEMBERS]]
        if len(errors) > MAX_MEMBERS:
            lines.append(f"… {len(errors) - MAX_MEMBERS} members left out")
        return tuple(member for member in found if member is not None)

    def _frames(self, traceback: Any) -> list[Frame | str]:
        most = min(MAX_FRAMES, self.frames)
        first: list[TracebackType] = []
        last: deque[TracebackType] = deque(maxlen=most - most // 2)
        walked = 0
        while isinstance(traceback, TracebackType) and walked < _MAX_WALK:
            if len(first) < most // 2:
                first.append(traceback)
            else:
                last.append(traceback)
            walked += 1
            traceback = traceback.tb_next
        self.frames -= len(first) + len(last)
        frames: list[Frame | str] = [_frame(entry) for entry in first]
        if walked > len(first) + len(last):
            frames.append(f"… {walked - len(first) - len(last)} frames")
        frames += [_frame(entry) for entry in last]
        return frames


def _frame(traceback: TracebackType) -> Frame:
    code = traceback.tb_frame.f_code
    # The line is None where the compiler has made code that stands in no line.
    return cut(code.co_filename, MAX_NAME_CHARS), traceback.tb_lineno or 0, cut(code.co_name, MAX_NAME_CHARS)


def _read(error: BaseException, name: str) -> Any:
    """An attribute as the interpreter itself keeps it, whatever the exception's class says of it."""
    return getattr(BaseException, name).__get__(error)


def _notes(error: BaseException) -> list[Frame | str]:
    try:
        notes: Any = error.__notes__
    except Exception:
        return []
    if type(notes) not in (list, tuple):
        notes = [notes]
    lines: list[Frame | str] = [f"note: {text_of(note, MAX_NOTE_CHARS)}" for note in notes[:MAX_NOTES]]
    if len(notes) > MAX_NOTES:
        lines.append(f"… {len(notes) - MAX_NOTES} notes")
    return lines


@lru_cache(maxsize=4096)
def _line(filename: str, lineno: int, function: str) -> str:
    # Kept, since errors come in floods from one place, and a file that was edited meanwhile is not what runs.
    place = f'File "{filename}", line {lineno}, in {function}'
    try:
        code = linecache.getline(filename, lineno).strip() if _is_source(filename) else ""
    except Exception:  # a codec, a loader, a disk: the place alone is worth having
        code = ""
    return f"{place}: {cut(code, MAX_CODE_CHARS)}" if code else place


@lru_cache(maxsize=1024)
def _is_source(filename: str) -> bool:
    """Whether lines can be read without waiting for anyone: code may claim to come from a FIFO or a device."""
    if filename in linecache.cache:  # doctest, IPython and others put their own sources there
        return True
    try:
        info = os.stat(filename)
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(info.st_mode) and info.st_size <= MAX_SOURCE_BYTES
