"""Where the unpacked servers lie, and what their programs need to find their own libraries."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

#: The checkout, whose ``.servers`` holds everything.
CHECKOUT = Path(__file__).resolve().parents[2]
#: What is downloaded and unpacked; ignored by git.
PLACE = CHECKOUT / ".servers"


@dataclass(frozen=True, slots=True)
class Tree:
    """Packages that are unpacked together: ``lock`` names them, ``root`` has their files as they would lie below ``/``.

    ``stamp`` is written last: with it, all of the lock is there. ``purpose`` is what they are for, in a few words.
    """

    purpose: str
    lock: Path
    root: Path
    stamp: Path


#: What the tests start.
SERVERS = Tree(
    "the servers that the tests start", CHECKOUT / "requirements" / "servers.lock", PLACE / "root", PLACE / ".stamp"
)
#: What the benchmarks load besides: rsyslog's modules for ZeroMQ. Nothing of the tests needs it.
BENCH = Tree(
    "what the benchmarks load into rsyslog",
    CHECKOUT / "requirements" / "servers-bench.lock",
    PLACE / "bench",
    PLACE / ".stamp-bench",
)

#: Each program by its name, below the root of SERVERS.
PROGRAMS = {
    "rsyslogd": Path("usr/sbin/rsyslogd"),
    "syslog-ng": Path("usr/sbin/syslog-ng"),
    "nginx": Path("usr/sbin/nginx"),
}


def missing() -> list[str]:
    """The names of the programs that are not there: all of them before an install, or after one that failed."""
    return [name for name, path in PROGRAMS.items() if not SERVERS.stamp.exists() or not (SERVERS.root / path).exists()]


def program(name: str) -> Path:
    """The path of a program of PROGRAMS."""
    return SERVERS.root / PROGRAMS[name]


def modules(server: str, tree: Tree = SERVERS) -> Path:
    """The directory of a syslog server's modules: ``rsyslog`` or ``syslog-ng``. Raises FileNotFoundError."""
    patterns = {"rsyslog": "usr/lib/*/rsyslog", "syslog-ng": "usr/lib/syslog-ng/[0-9]*"}
    for found in tree.root.glob(patterns[server]):
        return found
    raise FileNotFoundError(f"no modules of {server} in {tree.root / patterns[server]}")


def environment(*roots: Path) -> dict[str, str]:
    """The environment in which the programs find their libraries, and nothing of the caller's but the search path.

    Libraries are looked for below these roots, in their order; without any, below that of SERVERS.
    """
    places: list[Path] = []
    for root in roots or (SERVERS.root,):
        places += [*root.glob("usr/lib/*-linux-*"), *root.glob("lib/*-linux-*"), root / "usr/lib/syslog-ng"]
    libraries = os.pathsep.join(str(place) for place in places)
    return {"PATH": os.environ.get("PATH", os.defpath), "LD_LIBRARY_PATH": libraries, "LC_ALL": "C.UTF-8"}
