"""Where the unpacked servers lie, and what their programs need to find their own libraries."""

from __future__ import annotations

import os
from pathlib import Path

#: The checkout, whose ``.servers`` holds everything.
CHECKOUT = Path(__file__).resolve().parents[2]
#: What is downloaded and unpacked; ignored by git.
PLACE = CHECKOUT / ".servers"
#: The packages' files, as they would lie below ``/``.
ROOT = PLACE / "root"
#: Written last: with it, all of the lock is there.
STAMP = PLACE / ".stamp"

#: Each program by its name, below ROOT.
PROGRAMS = {
    "rsyslogd": Path("usr/sbin/rsyslogd"),
    "syslog-ng": Path("usr/sbin/syslog-ng"),
    "nginx": Path("usr/sbin/nginx"),
}


def missing() -> list[str]:
    """The names of the programs that are not there: all of them before an install, or after one that failed."""
    return [name for name, path in PROGRAMS.items() if not STAMP.exists() or not (ROOT / path).exists()]


def program(name: str) -> Path:
    """The path of a program of PROGRAMS."""
    return ROOT / PROGRAMS[name]


def modules(server: str) -> Path:
    """The directory of a syslog server's modules: ``rsyslog`` or ``syslog-ng``. Raises FileNotFoundError."""
    patterns = {"rsyslog": "usr/lib/*/rsyslog", "syslog-ng": "usr/lib/syslog-ng/[0-9]*"}
    for found in ROOT.glob(patterns[server]):
        return found
    raise FileNotFoundError(f"no modules of {server} in {ROOT / patterns[server]}")


def environment(root: Path = ROOT) -> dict[str, str]:
    """The environment in which the programs find their libraries, and nothing of the caller's but the search path."""
    places = [*root.glob("usr/lib/*-linux-*"), *root.glob("lib/*-linux-*"), root / "usr/lib/syslog-ng"]
    libraries = os.pathsep.join(str(place) for place in places)
    return {"PATH": os.environ.get("PATH", os.defpath), "LD_LIBRARY_PATH": libraries, "LC_ALL": "C.UTF-8"}
