"""Ties a process of the demo to its parent, and marks it as alive, so that nothing is ever left behind.

Two things, both kept by the kernel and so true after any ``kill -9``. On Linux the process gets SIGTERM when its
parent dies: workers, collector and services hang on the process manager, which hangs on ``run``. And it holds a
lock on ``NAME.PID`` in the directory of the living; a lock that is free means a dead process, a lock that is held
means that this very process lives (a pid alone may be somebody else's by now).

``python -m scripts.demo.leash [--outlive] DIRECTORY NAME COMMAND…`` does it for a program that knows nothing of it,
and becomes that program.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import sys
import time
from pathlib import Path

#: The option of prctl(2) that asks for a signal at the death of the parent.
_PR_SET_PDEATHSIG = 1
#: Seconds between looks at a lock that is waited for.
POLL_SECONDS = 0.05


def hold(directory: Path, name: str, *, outlive: bool = False) -> int:
    """Marks this process as alive, and (unless ``outlive``) ties it to its parent; the descriptor of its lock.

    The lock lasts as long as the descriptor is open: until the process ends.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{name}.{os.getpid()}"
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # living() may have taken the new file for a dead process's, and removed it, before it was locked.
        if path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor)):
            break
        os.close(descriptor)
    if not outlive and sys.platform == "linux":
        # A parent that died in the microseconds before this call is not noticed; reap() finds such a process.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return descriptor


def living(directory: Path, name: str = "") -> dict[int, str]:
    """The living processes that hold a lock in the directory, pid to name; files of dead ones are removed."""
    found: dict[int, str] = {}
    for path in sorted(directory.glob(f"{name or '*'}.*")):
        process, _, pid = path.name.rpartition(".")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            found[int(pid)] = process
        finally:
            os.close(descriptor)
    return found


def reap(directory: Path, *, patience: float) -> list[str]:
    """Ends what still lives in the directory; the names of those that had to be killed.

    Waits ``patience`` seconds for them to end by themselves (they may be draining), then sends SIGTERM, waits as
    long again, then sends SIGKILL. Raises TimeoutError when a process survives even that.
    """
    killed: list[str] = []
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            for pid, name in living(directory).items():
                _signal(pid, number)
                if number == signal.SIGKILL:
                    killed.append(f"{name} (pid {pid})")
        deadline = time.monotonic() + patience
        while living(directory):
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        else:
            return killed
    raise TimeoutError(f"processes in {directory} survived SIGKILL: {living(directory)}")


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it ended between the look at its lock and now


def main(arguments: list[str]) -> None:
    """Becomes COMMAND, on the leash."""
    outlive = arguments[:1] == ["--outlive"]
    directory, name, *command = arguments[1:] if outlive else arguments
    # As descriptor 3, since supervisord closes everything from 5 up when it starts; it must survive the exec.
    os.set_inheritable(hold(Path(directory), name, outlive=outlive), True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
