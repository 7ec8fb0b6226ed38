"""Code of other people, found by the name that configuration has for it: formats, sinks.

A name is that of an entry point in a group of ours, which a package announces, or ``"package.module:Name"``. Loading
one is running somebody's code in a collector that is to go on: whatever it raises is a wrong setting, and what it says
of itself is shown in one line and without secrets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from logbus.collectors.configuration.spec import encodable, in_one_line
from logbus.collectors.redaction.work import MASK
from logbus.collectors.shown import without_secrets
from logbus.errors import ConfigurationError

#: Characters that a word about an error shows at most, and of those in which secrets are looked for.
_SHOWN: Final = 200
_MASKED: Final = 4096

_PATH: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*\Z")


def find(group: str, key: str, name: str, others: Sequence[str] = ()) -> EntryPoint:
    """What a name stands for, not yet loaded; ``others`` are the names that are no plug-in's.

    Raises ConfigurationError, under ``key``, where nobody has announced that name and it is no path either.
    """
    points = entry_points(group=group)
    for point in points:
        if point.name == name:
            return point
    if ":" not in name:
        known = dict.fromkeys([*others, *(point.name for point in points)])
        near = [near for text in (name, name.lower()) for near in get_close_matches(text[:_SHOWN], known, 2, 0.6)]
        near = list(dict.fromkeys(near))
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise refusal(key, f'one of {", ".join(known)}, or "package.module:Name"', f"{short(name)}{hint}")
    if not _PATH.match(name):
        raise refusal(key, '"package.module:Name"', short(name))
    return EntryPoint(name, name, group)


def load(point: EntryPoint, key: str, kind: str) -> Any:
    """What an entry point stands for, a format or a sink. Raises ConfigurationError, under ``key``, without one."""
    try:
        return point.load()
    # Importing is running somebody's code, sys.exit() and what ends tasks included.
    except BaseException as error:
        raise refusal(key, f"a {kind} that can be loaded", f"{short(called(point))}: {words(error)}") from error


def called(point: EntryPoint) -> str:
    """The name of an entry point and, where that says more, its place."""
    return point.name if point.name == point.value else f"{point.name} ({point.value})"


def refusal(key: str, expected: str, found: str) -> ConfigurationError:
    """The error about a key."""
    return ConfigurationError([f"{key}: expected {expected}, found {found}"])


def words(error: BaseException, secrets: Sequence[str] = ()) -> str:
    """An error in one line that is safe to show: it goes to the status and to stderr, and may tell what it likes.

    ``secrets`` are texts that it has been given and should have kept for itself.
    """
    try:
        text = str.__str__(f"{type(error).__name__}: {error}")
    except BaseException:  # its own text is somebody's code too
        text = type(error).__name__
    for secret in secrets:
        text = text.replace(secret, MASK)
    return _escaped(without_secrets(text[:_MASKED]))


def short(text: str) -> str:
    """A text in quotes, in one line and cut where it is long."""
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    text = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return in_one_line(encodable(text))
