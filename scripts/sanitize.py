"""``make sanitize``: the tests of the compiled parts, with extensions that report every wrong use of memory.

They are built with AddressSanitizer and UndefinedBehaviorSanitizer into a copy of the checkout below ``build/``, so
that nothing of it is ever loaded by anybody else, and the tests that run in both forms (``tests/forms.py``) run there
with Python's own allocator out of the way: it would hide from the sanitizer what lies in its arenas. Leaks are looked
for elsewhere (``tests/unit/test_native_leaks.py``): an interpreter that ends leaves a lot on purpose. What is found
stands in files, since a child process of a test may have nobody who reads its stderr. Exit 0 when all have passed and
there are no reports.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from scripts.native import ROOT, missing

#: Where the copy is.
PLACE: Final = ROOT / "build" / "sanitize"
#: What of the checkout is copied: what is built, what is tested, and what the tests import.
COPIED: Final = (
    *("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"),
    *("logbus", "producers", "collectors", "native", "tests", "scripts", "benchmarks", "examples", "requirements"),
)
#: Where tests are that run in both forms, and the words that are in the names of those that are for the compiled one.
FOLDERS: Final = ("tests/unit", "tests/property")
WORDS: Final = "compiled or native"

FLAGS: Final = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1 -Werror"
#: The extensions' runtime comes before everything else, and C++ right after it: it looks up how libzmq throws.
LIBRARIES: Final = ("libasan.so", "libubsan.so", "libstdc++.so.6")


def main(arguments: list[str]) -> int:
    """Builds, tests and reports. Arguments go to pytest in place of the folders and words above."""
    if reason := missing():
        print(f"nothing to sanitize: {reason}", file=sys.stderr)
        return 1
    if PLACE.exists():
        shutil.rmtree(PLACE)
    _copy()
    flags = {"CFLAGS": FLAGS, "LDFLAGS": "-fsanitize=address,undefined"}
    build = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(build, cwd=PLACE, env={**os.environ, **flags}, check=True)
    reports = PLACE / "reports"
    reports.mkdir()
    chosen = arguments or [*FOLDERS, "-k", WORDS]
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen]
    status = subprocess.run(tests, cwd=PLACE, env={**os.environ, **_environment(reports)}, check=False).returncode
    found = sorted(reports.iterdir())
    for report in found:
        sys.stdout.write(report.read_text(errors="replace"))
    print(f"{len(found)} reports of the sanitizers", flush=True)
    return 1 if found else status


def _copy() -> None:
    PLACE.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            left_out = shutil.ignore_patterns("__pycache__", "*.so", "results")
            shutil.copytree(ROOT / name, PLACE / name, symlinks=True, ignore=left_out)
        else:
            shutil.copy(ROOT / name, PLACE / name)


def _environment(reports: Path) -> dict[str, str]:
    return {
        "LD_PRELOAD": " ".join(_library(name) for name in LIBRARIES),
        "ASAN_OPTIONS": f"detect_leaks=0:abort_on_error=1:log_path={reports}/address",
        "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={reports}/undefined",
        "PYTHONMALLOC": "malloc",
        "LOGBUS_PURE_PYTHON": "0",
    }


def _library(name: str) -> str:
    """The path of one of the compiler's own libraries; its name where it has none, which the loader then looks for."""
    command = ["cc", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
