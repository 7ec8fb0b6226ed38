"""Places in a program that log: found from the frame of a call, and remembered.

A place is known by its instruction: a code object holds its instructions, so the address of one is that of the object
and the offset together. What is remembered is forgotten with its code object, before that address can be another's: a
program that runs code that it makes, with all that such code holds, gets its memory back. (The line number would have
to be searched for from the beginning of the function: 1 µs in a long one.)

What logging calls the caller is the first frame that is not of its own file; frames of logging are never remembered, so
a call that comes through a ``LoggerAdapter`` is not found at once, and goes on to :func:`site_from`.

One place may log through several loggers, and at several levels (an application's own function for all its logging),
and a level may get another name: whoever finds a site looks whether it is the one of this call (:data:`CallSite`).
Where it is not, :func:`site_from` has those of the place's other loggers and levels, too.
"""

from __future__ import annotations

import logging
import weakref
from types import FrameType
from typing import Any, Final

from logbus.producers.take import NOT_EXTRA
from logbus.producers.template import FITS
from logbus.producers.untouched import RECORD, SOURCE

_LOGGING: Final[Any] = logging
#: Sites kept, of all loggers together: at most 1.5 KB each.
KEPT: Final = 4096
#: What a record's call site is made of; the order is that of :data:`logbus.producers.producer.Site`.
_SITE: Final = ("name", "levelno", "levelname", "module", "funcName", "lineno")
_SITE_TYPES: Final = [str, int, str, str, str, int]

#: What records of one place, logger and level have in common: the logger's name, the level, the name that logging knows
#: for it (None for none), the :data:`logbus.producers.producer.Site` (None where it would have parts of other types),
#: the names of the extra fields of its last record, all that a LogRecord has, in its order, the place's address, and a
#: reference to the code object that forgets the site when that ends.
CallSite = list[Any]

#: The places by the address of their instruction, each as it was last used.
SITES: Final[dict[int, CallSite]] = {}
#: All of them, by address, logger and level.
_ALL: Final[dict[tuple[int, str, int], CallSite]] = {}
#: Names of levels, as :func:`logging.addLevelName` keeps them.
LEVEL_NAMES: Final[dict[int, str]] = _LOGGING._levelToName


def outside(frame: FrameType | None, stacklevel: int) -> FrameType | None:
    """The frame that logging would find from here; None where the stack is not that deep. ``stacklevel`` is >= 1."""
    is_internal = _LOGGING._is_internal_frame
    while frame is not None:
        # Logging's own frames are known by the plain look, in less time.
        if frame.f_code.co_filename != SOURCE and not is_internal(frame):
            if stacklevel == 1:
                return frame
            stacklevel -= 1
        frame = frame.f_back
    return None


def site_from(name: Any, level: int, frame: FrameType) -> CallSite | None:
    """The site of a call that comes from this frame, or through it where it is logging's. None: logging must find it.

    Raises what ``str`` of a name may raise that is no text.
    """
    caller = outside(frame, 1)
    if caller is None or not FITS:
        return None
    place = id(caller.f_code) + caller.f_lasti
    site = SITES.get(place)
    if site is None or not _is_of(site, name, level):
        key = (place, name if type(name) is str else "", level)
        site = _ALL.get(key)
        if site is None or not _is_of(site, name, level):
            site = _new_site(key, name, level, caller)
            if key not in _ALL and len(_ALL) >= KEPT:
                SITES.clear()
                _ALL.clear()
            _ALL[key] = site
        SITES[place] = site
    return site


def _is_of(site: CallSite, name: Any, level: int) -> bool:
    return site[0] is name and site[1] == level and LEVEL_NAMES.get(level) is site[2]


def remember_keys(site: CallSite, extra: dict[Any, Any]) -> bool:
    """Takes the names of these fields for those of the site's records; False where one of them may be no field."""
    keys = [*extra]
    if any(type(key) is not str or key in NOT_EXTRA for key in keys):
        return False
    site[4] = keys
    return True


def _new_site(key: tuple[int, str, int], name: Any, level: int, frame: FrameType) -> CallSite:
    code, known = frame.f_code, LEVEL_NAMES.get(level)
    # A record of logging's own: whatever this version of Python puts into one is in the template.
    template = vars(RECORD(name, level, code.co_filename, frame.f_lineno, "", (), None, code.co_name))
    site: Any = tuple(template[part] for part in _SITE)
    if [*map(type, site)] != _SITE_TYPES:
        site = None

    # Its own names: at the end of the interpreter those of the module are gone, and code goes after them.
    def forget(_: object, sites: dict[int, CallSite] = SITES, kept: dict[Any, CallSite] = _ALL) -> None:
        sites.pop(key[0], None)
        kept.pop(key, None)

    return [name, level, known, site, [], template, key[0], weakref.ref(code, forget)]
