"""The demo's leash: a process is known to live exactly as long as it does, and is ended when it must be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.demo import leash
from scripts.demo.layout import CHECKOUT
from tests.eventually import eventually

SLEEP = "import signal; signal.sigwait([signal.SIGUSR1])"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.sigwait([signal.SIGUSR1])"


def _command(directory: Path, name: str, program: str, *options: str) -> list[str]:
    python = sys.executable
    return [python, "-m", "scripts.demo.leash", *options, str(directory), name, python, "-c", program]


def _start(directory: Path, name: str, program: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(_command(directory, name, program), cwd=CHECKOUT)
    eventually(lambda: process.pid in leash.living(directory, name))
    return process


def test_a_process_lives_until_it_ends(tmp_path: Path) -> None:
    """A leashed program is among the living under its name, and no longer once it has been killed."""
    process = _start(tmp_path, "sleeper", SLEEP)
    assert leash.living(tmp_path) == {process.pid: "sleeper"}
    assert leash.living(tmp_path, "other") == {}
    process.kill()
    process.wait()
    assert leash.living(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_stale_file_with_a_living_pid_is_no_process(tmp_path: Path) -> None:
    """A file that nobody locks means a dead process, even when its pid is in use by another."""
    (tmp_path / f"worker.{os.getpid()}").touch()
    assert leash.reap(tmp_path, patience=0) == []
    assert list(tmp_path.iterdir()) == []


def test_reap_kills_only_what_does_not_end(tmp_path: Path) -> None:
    """Reaping ends a process by SIGTERM, kills the one that ignores it, and names that one."""
    tame, stubborn = _start(tmp_path, "tame", SLEEP), _start(tmp_path, "stubborn", STUBBORN)
    eventually(lambda: _ignores_sigterm(stubborn.pid))
    assert leash.reap(tmp_path, patience=0.5) == [f"stubborn (pid {stubborn.pid})"]
    assert (tame.wait(), stubborn.wait()) == (-signal.SIGTERM, -signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells of a parent's death on Linux only")
@pytest.mark.parametrize("outlive", [False, True])
def test_a_leashed_process_ends_with_its_parent(tmp_path: Path, outlive: bool) -> None:
    """The death of the parent by SIGKILL ends a leashed program, and not one that is to outlive it."""
    start = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
    child = _command(tmp_path, "child", SLEEP, *(["--outlive"] if outlive else []))
    parent = subprocess.Popen([sys.executable, "-c", start, *child], cwd=CHECKOUT)
    eventually(lambda: leash.living(tmp_path))
    parent.kill()
    parent.wait()
    if outlive:
        assert leash.living(tmp_path)
        assert leash.reap(tmp_path, patience=0.2) == []
    eventually(lambda: not leash.living(tmp_path))


def _ignores_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(ignored >> (signal.SIGTERM - 1) & 1)
