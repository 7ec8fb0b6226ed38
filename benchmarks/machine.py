"""Where a benchmark runs and what runs there: processor, kernel, C library, Python and how it was built, packages.

``python -m benchmarks.machine`` prints as JSON what only the interpreter itself can say: the suite asks that of the
peers' venv.
"""

from __future__ import annotations

import json
import os
import platform
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.compiled import form
from benchmarks.service import answer
from logbus import __version__


def machine() -> dict[str, Any]:
    """Where and on what this runs, and how busy it is just now."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "logbus": __version__,
        "libraries": {name: metadata.version(name) for name in ("pyzmq", "msgpack", "msgspec")},
        "load_average_before": list(os.getloadavg()),
    }


def interpreter() -> dict[str, Any]:
    """This interpreter: its version, how it was built, the forms of logbus's log calls and of its collector, and the
    version of every package that it finds.
    """
    built = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return {
        "python": platform.python_version(),
        "compiler": platform.python_compiler(),
        "pgo": "--enable-optimizations" in built,
        "lto": "--with-lto" in built,
        "log_calls": form("producers"),
        "collector": form("collectors"),
        "packages": {
            found.metadata["Name"]: found.version
            for found in sorted(metadata.distributions(), key=lambda found: found.metadata["Name"].lower())
        },
    }


def interpreter_of(python: Path, directory: Path) -> dict[str, Any]:
    """The same of another interpreter. Raises RuntimeError, with what it said, when it can't be run."""
    found: dict[str, Any] = json.loads(answer(python, "benchmarks.machine", directory))
    return found


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    print(json.dumps(interpreter()))
