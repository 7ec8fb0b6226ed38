"""A package of somebody else, built into a wheel and installed apart, as its author and its users do it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: Seconds for building or installing a package.
TIMEOUT = 60


def installed(base: Path, files: Mapping[str, str]) -> Path:
    """A directory with the package of these files in it, by pip; all is made in ``base``, and nothing downloaded."""
    for name, text in files.items():
        (base / name).write_text(text)
    quiet = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "COVERAGE_"))}
    offline = ("--no-index", "--no-deps")
    _run(base, environment, *quiet, "wheel", *offline, "--no-build-isolation", "--wheel-dir", base, base)
    _run(base, environment, *quiet, "install", *offline, "--target", base / "site", *base.glob("*.whl"))
    return base / "site"


def _run(base: Path, environment: Mapping[str, str], *command: str | Path) -> None:
    done = subprocess.run(command, cwd=base, env=environment, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr
