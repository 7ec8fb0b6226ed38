"""The head of a syslog message: who sends it, when, and how grave it is; what the message says comes behind it.

    <134>1 2026-11-22T12:00:00.000000Z web-1 shop 42 - …      RFC 5424 §6.2
    <134>Nov 22 13:00:00 web-1 shop[42]: …                    RFC 3164 §4.1
    <134>Nov 22 13:00:00 shop[42]: …                          the same for the machine's own daemon

RFC 5424 has the time in UTC with its microseconds. RFC 3164 has a local time without a year, and its readers take it
for one of their own zone: it is that of the collector. A local daemon knows the host itself, and would take its name
for the tag; this is what the C library writes to ``/dev/log``.

Names in a head have neither blanks nor anything else at which a reader would see its end, and no ``/``: receivers that
make the names of files from them should not be led elsewhere. What can't stand there is ``_``; the record's own name
stands among the fields. The message id is always ``-``, since records have no such thing.
"""

from __future__ import annotations

import re
import time
from typing import Final, Literal, Protocol as Interface

from logbus.collectors.decode import Batch
from logbus.collectors.format.base import AFTER_ALL_US, FIRST_US, LAST_US, timestamps
from logbus.collectors.format.priority import severity_of

Protocol = Literal["rfc5424", "rfc3164"]

#: What stands for a name that is not there (RFC 5424 §6), and for a character that can't stand in one.
NIL: Final = "-"
_UNFIT: Final = "_"
#: Characters of a host name, of an app's name (RFC 5424 §6.2), and of a tag (RFC 3164 §4.1.3).
MAX_HOST: Final = 255
MAX_APP_NAME: Final = 48
MAX_TAG: Final = 32

#: What can't stand in a name of RFC 5424 (PRINTUSASCII), and in one of RFC 3164, as the usual readers have it.
_NOT_5424: Final = re.compile(r"[^!-.0-~]")
_NOT_3164: Final = re.compile(r"[^A-Za-z0-9._-]")
_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


class Head(Interface):
    """What stands before the message."""

    #: Names the form: lines of one form can be sent whatever else the configuration says.
    dialect: str

    def starts(self, batch: Batch) -> list[str]:
        """For each record of the batch its head in ASCII, up to the blank before what comes next."""
        ...

    def end(self, line: bytes) -> int:
        """Where in a line that begins with such a head it ends."""
        ...


class Head5424:
    """The head of RFC 5424, up to its structured data; ``app_name`` stands in for that of the records."""

    dialect = "syslog rfc5424"

    def __init__(self, facility: int, app_name: str | None = None) -> None:
        self._facility = facility
        self._app_name = app_name

    def names(self, batch: Batch) -> tuple[str, str]:
        """The names of the host and of the app as they stand there."""
        source = batch.source
        app_name = source.app_name if self._app_name is None else self._app_name
        return _name(source.host, _NOT_5424, MAX_HOST), _name(app_name, _NOT_5424, MAX_APP_NAME)

    def around(self, batch: Batch) -> tuple[list[str], str]:
        """What stands before the time, for each call site of the batch, and what stands behind it."""
        before = [f"<{self._facility * 8 + severity_of(site.level_no)}>1 " for site in batch.sites]
        host, app_name = self.names(batch)
        return before, f" {host} {app_name} {batch.source.pid} {NIL} "

    def starts(self, batch: Batch) -> list[str]:
        """For each record of the batch its head in ASCII, up to the blank before what comes next."""
        before, behind = self.around(batch)
        records = batch.records
        return [
            f"{before[record.site]}{shown}{behind}" for record, shown in zip(records, timestamps(records), strict=True)
        ]

    def end(self, line: bytes) -> int:
        """Where the structured data begins."""
        at = 0
        for _ in range(6):
            at = line.index(b" ", at) + 1
        return at


class Head3164:
    """The head of RFC 3164; ``local`` for the machine's own daemon."""

    def __init__(self, facility: int, app_name: str | None = None, *, local: bool = False) -> None:
        self.dialect = "syslog rfc3164 local" if local else "syslog rfc3164"
        self._facility = facility
        self._app_name = app_name
        self._local = local

    def starts(self, batch: Batch) -> list[str]:
        """For each record of the batch its head in ASCII, up to the blank before what comes next."""
        source = batch.source
        priorities = [f"<{self._facility * 8 + severity_of(site.level_no)}>" for site in batch.sites]
        host = "" if self._local else f"{_name(source.host, _NOT_3164, MAX_HOST)} "
        app_name = source.app_name if self._app_name is None else self._app_name
        rest = f" {host}{_name(app_name, _NOT_3164, MAX_TAG)}[{source.pid}]: "
        found = []
        second, text = AFTER_ALL_US, ""
        for record in batch.records:
            if not 0 <= record.time_us - second < 1_000_000:
                second = min(max(record.time_us, FIRST_US), LAST_US) // 1_000_000 * 1_000_000
                then = time.localtime(second // 1_000_000)
                clock = f"{then.tm_hour:02}:{then.tm_min:02}:{then.tm_sec:02}"
                text = f"{_MONTHS[then.tm_mon - 1]} {then.tm_mday:2} {clock}{rest}"
            found.append(priorities[record.site] + text)
        return found

    def end(self, line: bytes) -> int:
        """Where the message begins."""
        return line.index(b": ") + 2


def fits(app_name: str) -> bool:
    """Whether a name can stand in the head of RFC 5424 as it is."""
    return bool(app_name) and _name(app_name, _NOT_5424, MAX_APP_NAME) == app_name


def _name(text: str, unfit: re.Pattern[str], size: int) -> str:
    name = unfit.sub(_UNFIT, text[:size])
    # One of dots only is no name, and leads a receiver's path elsewhere.
    return name if name.strip(".") else NIL
