"""Whether the compiled parts of a producer and of a collector can be built by this Python, and whether they are there.

``python -m scripts.native`` is what ``make install`` ends with, every time: silence where both extensions are in use.
Where one could be built and isn't (there is a compiler now; it was removed, or broken by an interrupted build) they are
built, and else one line says why logbus is Python only here: pip hides what setup.py says of it. The tests ask for the
same, so that a machine which could build an extension and has none, or one of other sources, fails them.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
#: Says what a process has: a broken extension may end it.
_ASK: Final = """
import sys
from logbus.collectors import compiled as collector
from logbus.producers import compiled as producer
sys.exit(producer.NATIVE is None or collector.NATIVE is None)
"""
#: Seconds for a compiler.
_TIMEOUT_S: Final = 300.0


def missing() -> str | None:
    """What a build of them needs and this Python has not; None if nothing is missing."""
    if platform.python_implementation() != "CPython":
        return "it is for CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "it is for Python with a GIL"
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    try:
        words = shlex.split(compiler)
    except ValueError:  # an open quote
        words = []
    if not words or shutil.which(words[0]) is None:
        return f"there is no C compiler ({words[0] if words else repr(compiler)})"
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        return f"there is no {header} (Debian, Ubuntu: the package python3-dev)"
    return None


def in_use() -> bool:
    """Whether a process of this Python has both, when nothing in the environment is against it."""
    return _run(sys.executable, "-c", _ASK)


def build() -> None:
    """Builds both in place, beside whoever else does so; of one whose build fails there is none."""
    with tempfile.TemporaryDirectory(prefix="native-") as place:
        command = (sys.executable, "setup.py", "-q", "build_ext", "--inplace")
        _run(*command, "--build-lib", f"{place}/lib", "--build-temp", f"{place}/temp")


def main() -> int:
    """Has them built, or says in one line what is not there, and is never a failure: logbus works without."""
    if in_use():
        return 0
    if reason := missing():
        print(f"logbus is Python only here, without its compiled parts: {reason}", file=sys.stderr)
        return 0
    build()
    if not in_use():
        print(f"a compiled part of logbus did not build: see {why()}", file=sys.stderr)
    return 0


def why() -> str:
    """The command that builds them with all that the compiler says."""
    return f"{sys.executable} setup.py build_ext --inplace"


def _run(*command: str) -> bool:
    environment = {name: value for name, value in os.environ.items() if name != "LOGBUS_PURE_PYTHON"}
    return not subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, timeout=_TIMEOUT_S, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
