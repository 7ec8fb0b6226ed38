"""Facility and severity, the two halves of the number with which every syslog message begins (RFC 5424 §6.2.1)."""

from __future__ import annotations

from typing import Final

from logbus.collectors.shown import shown
from logbus.errors import ConfigurationError

#: The names of the facilities 0 to 23, as syslog.conf has them, and for 12 to 15 as Python's SysLogHandler does.
FACILITIES: Final[dict[str, int]] = {
    name: number
    for number, name in enumerate(
        (
            *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
            *("ntp", "security", "console", "solaris-cron"),
            *("local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
        )
    )
}


def parse_facility(value: str | int) -> int:
    """The number of a facility given by its name (any case) or by its number, 0 to 23.

    Raises ConfigurationError, whose one problem begins with ``facility: ``.

    >>> parse_facility("local0"), parse_facility("USER"), parse_facility(23)
    (16, 1, 23)
    """
    if isinstance(value, str) and value.lower() in FACILITIES:
        return FACILITIES[value.lower()]
    number = value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 2:
        number = int(value)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 23:
        return number
    raise ConfigurationError(
        [f"facility: expected one of {', '.join(FACILITIES)}, or a number from 0 to 23, found {shown(value)}"]
    )


def severity_of(level_no: int) -> int:
    """The severity of a level: total over every integer, and never higher for a lower level.

    DEBUG and below are 7, INFO 6, levels from 25 on (loguru's SUCCESS among them) 5 (notice), WARNING 4, ERROR 3,
    CRITICAL and above 2. The two above are for what nobody but the machine's owner can say.

    >>> [severity_of(level) for level in (5, 10, 20, 25, 30, 40, 50)]
    [7, 7, 6, 5, 4, 3, 2]
    """
    if level_no < 20:
        return 7
    if level_no < 30:
        return 6 if level_no < 25 else 5
    if level_no < 40:
        return 4
    return 3 if level_no < 50 else 2
