"""Whether the compiled part of a producer can be built by this Python, and whether it is there.

``python -m scripts.native`` is what the Makefile asks after an install: silence, or one line that says why logbus is
Python only here. pip hides what setup.py says of it. The tests ask for the same, so that a machine which could build
the extension and has none, or one of other sources, fails them.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import shlex
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: Where the C is.
SOURCES: Final = ROOT / "native"


def missing() -> str | None:
    """What a build of it needs and this Python has not; None if nothing is missing."""
    if platform.python_implementation() != "CPython":
        return "it is for CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is for Python with a GIL"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        return f"there is no {header} (Debian, Ubuntu: the package python3-dev)"
    return None


def digest() -> str:
    """What setup.py compiles into the extension as its ``SOURCES``: the same for the same C, and for no other."""
    files = [*sorted(SOURCES.glob("*.c")), *sorted(SOURCES.glob("*.h"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def main() -> int:
    """Says in one line what is not there, and is never a failure: logbus works without."""
    try:
        importlib.import_module("logbus.producers._native")
    except ImportError as error:
        if reason := missing():
            print(f"logbus is Python only here, without its compiled part: {reason}", file=sys.stderr)
        else:
            print(f"the compiled part of logbus did not build ({error}): see {why()}", file=sys.stderr)
    return 0


def why() -> str:
    """The command that builds it with all that the compiler says."""
    return f"{sys.executable} setup.py build_ext --inplace"


if __name__ == "__main__":
    sys.exit(main())
