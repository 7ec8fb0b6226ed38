"""requirements/servers.lock and servers-bench.lock: which packages, in which version, and what their files hash to.

A line is ``NAME VERSION ARCHITECTURE SHA256``, and a library has a fifth word: the name under which programs load it.
Libraries are unpacked only where the machine has none of that name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_HEAD = """\
# Debian packages of {purpose} (scripts/servers). Written by: python -m scripts.servers lock
# name version architecture sha256, and of a library the name that programs load: unpacked only where it is missing
"""


class LockError(Exception):
    """A line of the lock that is none: file, number and what a line holds."""


@dataclass(frozen=True, slots=True)
class Package:
    """One line of the lock; ``soname`` is empty for what is always unpacked."""

    name: str
    version: str
    architecture: str
    sha256: str
    soname: str = ""


def read_lock(path: Path) -> list[Package]:
    """The packages of a lock, in its order. Raises LockError, OSError."""
    packages = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) not in (4, 5) or len(words[3]) != 64:
            raise LockError(f"{path}:{number}: expected NAME VERSION ARCHITECTURE SHA256 [SONAME], found {line!r}")
        packages.append(Package(*words))
    return packages


def write_lock(packages: list[Package], path: Path, purpose: str) -> None:
    """Writes a lock that :func:`read_lock` reads back; ``purpose`` says in its head what the packages are for."""
    lines = (
        f"{each.name} {each.version} {each.architecture} {each.sha256} {each.soname}".rstrip() for each in packages
    )
    path.write_text(_HEAD.format(purpose=purpose) + "".join(f"{line}\n" for line in lines))
