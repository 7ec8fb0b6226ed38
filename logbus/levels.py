"""Level names and numbers, the buckets in which drops are counted, and component names.

A level is an integer as in :mod:`logging`; TRACE (5) and SUCCESS (25) are loguru's.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from logbus.errors import ConfigurationError

#: Names accepted wherever a level is read (any case), and their numbers.
LEVELS: dict[str, int] = {
    "NOTSET": 0,
    "TRACE": 5,
    "DEBUG": 10,
    "INFO": 20,
    "SUCCESS": 25,
    "WARNING": 30,
    "WARN": 30,
    "ERROR": 40,
    "CRITICAL": 50,
    "FATAL": 50,
}

#: The five levels of the standard library: a record with another name carries ``level_no`` too.
STANDARD_LEVELS: dict[str, int] = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}

#: Drops are counted per bucket of ten levels; the last takes everything from CRITICAL up.
BUCKETS: tuple[str, ...] = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

#: First segments of logger names that name the application itself, so that the component is the next one.
APPLICATION_PACKAGES: frozenset[str] = frozenset({"proxywhirl"})

#: Loggers that name no component of their own.
_NAMELESS = frozenset({"root", "__main__", "__mp_main__"})

#: Loggers that are a component of their own in spite of their dot.
_OWN_COMPONENTS = frozenset({"uvicorn.access"})


def bucket_of(level_no: int) -> int:
    """The index in :data:`BUCKETS` of a level number; total over every integer."""
    if level_no < 10:
        return 0
    return 5 if level_no >= 50 else level_no // 10


def parse_level(text: str | int) -> int:
    """The number of a level given by name (any case) or as an integer from 0 to 100.

    Raises ConfigurationError when it is neither.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        number = text
    else:
        name = str(text).strip().upper()
        if name in LEVELS:
            return LEVELS[name]
        if not (name.isascii() and name.isdigit() and len(name) <= 3):
            raise ConfigurationError(
                [f"level {text!r}: expected one of {', '.join(LEVELS)} or an integer from 0 to 100"]
            )
        number = int(name)
    if not 0 <= number <= 100:
        raise ConfigurationError([f"level {text!r}: expected an integer from 0 to 100"])
    return number


@lru_cache(maxsize=4096)
def component_of(logger: str, own: str = "") -> str:
    """The component of a logger name: its first segment, after the application's own package.

    ``own`` is the component of loggers that name none, the root logger and that of a script.

    >>> component_of("proxywhirl.rotator.sync"), component_of("httpx"), component_of("uvicorn.access")
    ('rotator', 'httpx', 'uvicorn.access')
    """
    if own and logger in _NAMELESS:
        return own
    if logger in _OWN_COMPONENTS:
        return logger
    segments = logger.split(".")
    if len(segments) > 1 and segments[0] in APPLICATION_PACKAGES:
        return segments[1] or logger
    return segments[0] or "root"


def selects(selector: str, logger: str, component: str) -> bool:
    """Whether a selector (a dotted name, or any run of its segments) covers a logger or its component.

    >>> selects("rotator", "proxywhirl.rotator.sync", "rotator"), selects("rot", "proxywhirl.rotator", "rotator")
    (True, False)
    """
    if selector == component:
        return True
    return f".{selector}." in f".{logger}."


def selects_any(selectors: Iterable[str], logger: str, component: str) -> bool:
    """Whether any of the selectors covers the logger or its component."""
    return any(selects(selector, logger, component) for selector in selectors)
