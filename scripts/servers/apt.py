"""What apt offers and downloads, without root and without a change to the system.

``apt-get download`` verifies what it fetches against the signed lists. Those of the system are taken as they are; where
they are absent or too old, a private copy is updated and used instead.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from scripts.servers.lock import Package

#: Seconds that one call of apt may take.
TIMEOUT = 300.0

_TOOLS = ("apt-get", "apt-cache", "dpkg", "dpkg-deb", "ldd")


class AptError(Exception):
    """What apt or dpkg could not do, in its own words."""


class Apt:
    """apt with the system's lists, or with lists of its own below ``private``."""

    def __init__(self, private: Path | None = None) -> None:
        if absent := [tool for tool in _TOOLS if shutil.which(tool) is None]:
            raise AptError(f"not found: {', '.join(absent)}: Debian's packages can't be had on this machine")
        # The sandbox user of apt could not write into a private directory, and would say so at each call.
        self._options = ["-qq", "-o", "APT::Sandbox::User=", "-o", "Acquire::Retries=2"]
        if private is not None:
            for directory in ("lists/partial", "cache/archives/partial"):
                (private / directory).mkdir(parents=True, exist_ok=True)
            self._options += ["-o", f"Dir::State::Lists={private / 'lists'}", "-o", f"Dir::Cache={private / 'cache'}"]
            run(["apt-get", *self._options, "update"])

    @property
    def architecture(self) -> str:
        """The architecture of the packages that fit this machine."""
        return run(["dpkg", "--print-architecture"]).strip()

    def versions(self, names: list[str]) -> dict[str, list[str]]:
        """For each of the names the versions that may be downloaded, the newest first."""
        found: dict[str, list[str]] = {name: [] for name in names}
        for line in run(["apt-cache", *self._options, "madison", *names]).splitlines():
            name, version, source = (word.strip() for word in line.split("|", 2))
            if source.endswith("Packages") and version not in found.setdefault(name, []):
                found[name].append(version)
        return found

    def show(self, name: str, version: str) -> dict[str, str]:
        """What the lists say of a package: ``Version``, ``Architecture``, ``SHA256`` and others."""
        text = run(["apt-cache", *self._options, "show", "--no-all-versions", f"{name}={version}"])
        pairs = (line.partition(": ") for line in text.splitlines() if line[:1].strip())
        return {key: value for key, _, value in pairs}

    def download(self, packages: list[tuple[str, str]], into: Path) -> None:
        """Fetches packages, each a name and a version, as files into a directory. Raises AptError."""
        run(["apt-get", *self._options, "download", *(f"{name}={version}" for name, version in packages)], cwd=into)


def choose(wanted: list[Package], apt: Apt, *, exactly: bool) -> list[tuple[Package, str]]:
    """Each package with the version to take: the pinned one, or the newest where that is no longer offered.

    Raises AptError when one is not offered at all, or, if ``exactly``, not in its version.
    """
    offered = apt.versions([each.name for each in wanted])
    if unknown := [each.name for each in wanted if not offered[each.name]]:
        raise AptError(f"apt offers no {', '.join(unknown)}")
    if exactly and (others := [each.name for each in wanted if each.version not in offered[each.name]]):
        raise AptError(f"apt offers other versions of {', '.join(others)}")
    return [(each, each.version if each.version in offered[each.name] else offered[each.name][0]) for each in wanted]


def run(command: list[str], cwd: Path | None = None, **environment: str) -> str:
    """What a command prints, its environment added to ours. Raises AptError with its last line on failure."""
    try:
        done = subprocess.run(
            command,
            check=False,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise AptError(f"{command[0]} {command[-1]}: not done within {TIMEOUT:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
        raise AptError(f"{command[0]}: {said[-1]}")
    return done.stdout
