"""One rotated file as the journal writes it down, and as it is read back: every value checked, every moment in place.

A moment is written with the run of the machine (the boot) on whose clock it was. Over a restart ages go on where they
were; over a reboot, where that clock begins anew, the wall clock says once, at the start, how long ago a file was
rotated.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from logbus.collectors.rotation import Moment

#: What has become of a rotated file.
#: It is about to be renamed, or the sink may still write to it.
ROTATING: Final = "rotating"
#: It has its name, and nobody writes to it any more.
PLAIN: Final = "plain"
#: Its compressed form is being written, under a name that ends in :data:`PART`.
PACKING: Final = "packing"
#: The compressed form is whole and on the disk; it gets its name, then the plain file goes.
PACKED: Final = "packed"
#: There is the compressed form only.
COMPRESSED: Final = "compressed"
_STATES: Final = frozenset({ROTATING, PLAIN, PACKING, PACKED, COMPRESSED})

#: Microseconds since the epoch of the last name that there can be, some days before the year 10000.
MAX_STAMP: Final = 253_402_000_000_000_000
#: Ends the name of a compressed form that is not whole.
PART: Final = ".part"


@dataclass(slots=True)
class Entry:
    """A rotated file. ``name`` is what it was rotated to, ``packed`` the name of its compressed form or ""."""

    name: str
    #: Microseconds since the epoch that its name says; later ones sort after it.
    stamp: int
    inode: int
    device: int
    #: Bytes of its present form.
    size: int
    began: Moment
    rotated: Moment
    state: str = ROTATING
    packed: str = ""
    #: The inode of the compressed form, whole or not; 0 while there is none.
    packed_inode: int = 0

    @property
    def present(self) -> tuple[str, int]:
        """Name and inode of what there is of it."""
        return (self.packed, self.packed_inode) if self.state == COMPRESSED else (self.name, self.inode)


@dataclass(frozen=True, slots=True)
class Active:
    """The file that is written to: its device and inode, and when its first line came."""

    identity: tuple[int, int]
    began: Moment


@functools.cache
def boot_id() -> str:
    """What tells this run of the machine from others; where the system doesn't say, this process from others."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return secrets.token_hex(16)


def entry_document(entry: Entry) -> dict[str, Any]:
    """What the journal writes of a rotated file."""
    document: dict[str, Any] = {
        "name": entry.name,
        "state": entry.state,
        "stamp": entry.stamp,
        "inode": entry.inode,
        "device": entry.device,
        "size": entry.size,
        "began": list(entry.began),
        "rotated": list(entry.rotated),
        "boot": boot_id(),
    }
    if entry.packed:
        document |= {"packed": entry.packed, "packed_inode": entry.packed_inode}
    return document


def active_document(active: Active) -> dict[str, Any]:
    """What the journal writes of the file that is written to."""
    device, inode = active.identity
    return {"device": device, "inode": inode, "began": list(active.began), "boot": boot_id()}


def read_entry(document: object, now: Moment) -> tuple[Entry, bool]:
    """The rotated file, and whether its moments were moved onto the clock of this boot. Raises ValueError."""
    table = _table(document)
    state, packed = table.get("state"), "packed" in table
    if not isinstance(state, str) or state not in _STATES or (state not in (ROTATING, PLAIN) and not packed):
        raise ValueError(f"state: expected that of a rotated file, found {str(state)[:80]!r}")
    began, moved = _moment(table, "began", now)
    rotated, moved_too = _moment(table, "rotated", now)
    entry = Entry(
        _name(table, "name"),
        read_stamp(table, "stamp"),
        _number(table, "inode"),
        _number(table, "device"),
        _number(table, "size"),
        began,
        rotated,
        state,
        _name(table, "packed") if packed else "",
        _number(table, "packed_inode") if packed else 0,
    )
    return entry, moved or moved_too


def read_active(document: object, now: Moment) -> tuple[Active, bool]:
    """The file that is written to, and whether its moment was moved onto the clock of this boot. Raises ValueError."""
    table = _table(document)
    began, moved = _moment(table, "began", now)
    return Active((_number(table, "device"), _number(table, "inode")), began), moved


def read_stamp(table: dict[str, Any], key: str) -> int:
    """Microseconds since the epoch that a name can say. Raises ValueError."""
    value = _number(table, key)
    if value > MAX_STAMP:
        raise ValueError(f"{key}: expected a time before the year 10000, found {value}")
    return value


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected a table, found {str(value)[:80]}")
    return value


def _name(table: dict[str, Any], key: str) -> str:
    """A name in the directory of the logs, and no path out of it."""
    value = table.get(key)
    if not isinstance(value, str) or value in ("", ".", "..") or "/" in value or "\0" in value:
        raise ValueError(f"{key}: expected the name of a file, found {str(value)[:80]!r}")
    return value


def _number(table: dict[str, Any], key: str) -> int:
    value = table.get(key)
    if type(value) is not int or value < 0:
        raise ValueError(f"{key}: expected a number, found {str(value)[:80]!r}")
    return value


def _moment(table: dict[str, Any], key: str, now: Moment) -> tuple[Moment, bool]:
    value = table.get(key)
    if not isinstance(value, list) or len(value) != 2 or not all(type(clock) is float for clock in value):
        raise ValueError(f"{key}: expected two clocks, found {str(value)[:80]!r}")
    wall, steady = value
    # A clock that has not come so far is another one, whatever the name of the boot says.
    if table.get("boot") == boot_id() and steady <= now.steady:
        return Moment(wall, steady), False
    return now.ago(wall), True
