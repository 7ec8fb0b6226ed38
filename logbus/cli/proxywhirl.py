"""What the doctor looks at in proxywhirl: whether each hook of the integration fits the version that is installed.

That takes its modules, which are imported in a process of its own: whatever they do as they are imported, and whatever
is hooked to try it, is gone with that process, and one that hangs is ended. The imports take a second: the process
begins before the doctor's other checks, and is asked after them.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from logbus.cli.finding import Finding, ok, warning

#: Seconds that the look may take, once the other checks are done.
TIMEOUT: Final = 30.0

_CHECK: Final = "proxywhirl"
_PROGRAM: Final = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {} import look; print(look())"


@contextlib.contextmanager
def looking() -> Iterator[Callable[[], Iterator[Finding]]]:
    """Begins to look, and gives the function that says what was found: call it once, after all else there is to do.

    It says one line that all is well, or one for each hook that does not fit; none where proxywhirl is not installed.
    """
    from logbus.integrations.proxywhirl import version_found

    version = version_found()
    if version is None:
        yield lambda: iter(())
        return
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(__name__), json.dumps(sys.path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
    except OSError as error:
        why = _why(error, "")
        yield lambda: iter([_unexamined(version, why)])
        return
    with process:
        try:
            yield lambda: _findings(version, process)
        finally:
            process.kill()  # it has ended, but where nobody has asked


def _findings(version: str, process: subprocess.Popen[str]) -> Iterator[Finding]:
    said = ""
    try:
        out, said = process.communicate(timeout=TIMEOUT)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        seen = json.loads(out.splitlines()[-1])
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        yield _unexamined(version, _why(error, said))
        return
    yield from judge(version, seen)


def _unexamined(version: str, why: str) -> Finding:
    return warning(_CHECK, f"{version} can't be examined: {why}", "try: python -c 'import proxywhirl'")


def look() -> str:
    """What became of each hook of the table, applied and reverted here, as a JSON list. Imports proxywhirl."""
    from logbus.integrations.proxywhirl import table

    hooks = table(public_only=False)
    problems: dict[str, str] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for module in dict.fromkeys(hook.module for hook in hooks):
            try:
                importlib.import_module(module)
            except Exception as error:  # a package that an extra of proxywhirl needs, or anything at all
                problems[module] = f"{module} can't be imported: {type(error).__name__}: {error}"
    seen: list[dict[str, Any]] = []
    for hook in hooks:
        problem = problems.get(hook.module) or (None if hook.apply() else hook.problem)
        hook.revert()
        seen.append({"name": hook.name, "target": hook.target, "gives": hook.gives, "problem": problem})
    return json.dumps(seen)


def judge(version: str, seen: Iterable[dict[str, Any]]) -> Iterator[Finding]:
    """The findings about a version and what :func:`look` has seen of it."""
    from logbus.integrations.proxywhirl import TESTED

    rows = list(seen)
    unfit = [row for row in rows if row["problem"] is not None]
    if not version.startswith(TESTED):
        yield warning(
            _CHECK, f"{version} is not tested, {TESTED}x is", f"use proxywhirl {TESTED}x where records matter"
        )
    for row in unfit:
        found = f"not hooked: {row['name']} ({row['target']}): {row['problem']}"
        yield warning(_CHECK, found, f"missing with this version: {row['gives']}")
    if not unfit:
        yield ok(_CHECK, f"{version}: all {len(rows)} hooks fit")


def _why(error: Exception, said: str) -> str:
    lines = said.strip().splitlines()
    return lines[-1] if lines else f"{type(error).__name__}: {error}".splitlines()[0]
