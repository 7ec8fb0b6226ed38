"""Instructions of one process, by callgrind: the command, and what its dumps say.

``--dump-before=getppid`` has callgrind write what was executed since the last dump whenever libc's ``getppid`` is
entered, so that one process gives the counts of several parts. Callgrind decides where everything lies in memory, the
same in every run; what could still differ (hashing, the environment) is fixed by :func:`environment`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.service import PURE_PYTHON, ROOT

#: Seconds after which a process under callgrind is taken for one that hangs.
TIMEOUT_S: Final = 300.0

#: What a line of costs starts with: a line number, or one by its distance from the last.
_COST: Final = re.compile(r"[0-9+*-]")
_NAME: Final = re.compile(r"\((\d+)\)(?: (.*))?")


def available() -> bool:
    """Whether valgrind is on the PATH, and works."""
    command = shutil.which("valgrind")
    if command is None:
        return False
    done = subprocess.run([command, "--tool=callgrind", "--version"], capture_output=True, check=False)
    return done.returncode == 0


def environment() -> dict[str, str]:
    """The environment of what is measured: the same on every machine, but for where the loader finds its libraries, and
    whether the compiled parts of logbus are wanted.
    """
    names = ("PATH", "LD_LIBRARY_PATH", "VALGRIND_LIB", PURE_PYTHON)
    kept = {name: os.environ[name] for name in names if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class Counted:
    """Instructions of each marked part, what the process has answered, and the dump of the last part."""

    instructions: list[int]
    answer: dict[str, Any]
    dump: Path


def count(command: Sequence[str], parts: int, directory: Path) -> Counted:
    """Runs a command under callgrind that calls ``getppid`` before each of so many parts, and after the last one.

    Its dumps are left in ``directory``. Raises RuntimeError with what it said when it fails.
    """
    place = Path(tempfile.mkdtemp(dir=directory))
    out = place / "callgrind.out"
    valgrind = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}", "--dump-before=getppid"]
    answer = run([*valgrind, *command], directory)
    if "absent" in answer:
        return Counted([], answer, out)
    # The first dump is what came before the first mark, that without a number what came after the last one.
    dumps = [out.with_name(f"{out.name}.{number + 2}") for number in range(parts)]
    return Counted([total(dump.read_text()) for dump in dumps], answer, dumps[-1])


def run(command: Sequence[str], directory: Path) -> dict[str, Any]:
    """What the measured process says, the last line of its stdout. Raises RuntimeError when it fails."""
    done = subprocess.run(
        command, cwd=directory, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    if done.returncode or not done.stdout.strip():
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def total(dump: str) -> int:
    """The instructions of a dump. Raises ValueError when it is none that counts them."""
    events = re.search(r"^events: (.*)$", dump, re.MULTILINE)
    totals = re.search(r"^totals: (.*)$", dump, re.MULTILINE)
    if events is None or totals is None or "Ir" not in events[1].split():
        raise ValueError("expected a dump of callgrind with instructions (Ir) and totals, found none")
    return int(totals[1].split()[events[1].split().index("Ir")])


@dataclass(slots=True)
class Functions:
    """Instructions by function: of its own, and with all that it calls (of a recursive one, each level again)."""

    own: Counter[str] = field(default_factory=Counter)
    whole: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)


def functions(lines: Iterable[str]) -> Functions:
    """What each function of a dump has cost. ``lines`` are as callgrind writes them, names and positions compressed."""
    found = Functions()
    names: dict[str, str] = {}
    at = called = ""
    calls = 0
    for line in lines:
        key, _, value = line.rstrip("\n").partition("=")
        if key == "fn":
            at = _name(value, names)
        elif key == "cfn":
            called = _name(value, names)
        elif key == "calls":
            calls = int(value.split()[0])
        elif _COST.match(line):
            cost = int(line.split()[1])
            if called:  # the line behind calls= is what the called one has cost
                found.whole[called] += cost
                found.calls[called] += calls
                called = ""
            else:
                found.own[at] += cost
    return found


def _name(value: str, names: dict[str, str]) -> str:
    """The name of a function: the first time with its number, later the number alone."""
    match = _NAME.fullmatch(value)
    if match is None:
        return value
    if match[2] is not None:
        names[match[1]] = match[2]
    return names[match[1]]
