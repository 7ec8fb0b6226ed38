"""The flock that says who owns a thing on disk."""

from __future__ import annotations

import fcntl
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from logbus.collectors.lock import holder, take_lock
from logbus.errors import OwnedError


def test_the_second_one_is_told_who_the_first_is(tmp_path: Path) -> None:
    """A lock that is held refuses with the name and pid of its owner, and changes nothing about it."""
    fd = take_lock(tmp_path / "lock", what="the thing", name="first")
    try:
        for _ in range(2):
            with pytest.raises(OwnedError) as refused:
                take_lock(tmp_path / "lock", what="the thing", name="second")
            assert (refused.value.what, refused.value.name, refused.value.pid) == ("the thing", "first", os.getpid())
            assert refused.value.exit_code == 3
    finally:
        os.close(fd)


def test_a_dead_owner_owns_nothing(tmp_path: Path) -> None:
    """The lock of a killed process is free, and its longer name is not left in the file."""
    lock = tmp_path / "lock"
    program = (
        "import os, sys, pathlib; from logbus.collectors.lock import holder, take_lock\n"
        "take_lock(pathlib.Path(sys.argv[1]), what='x', name='a-much-longer-name'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(lock)]).returncode == -9

    fd = take_lock(lock, what="x", name="b")
    try:
        assert lock.read_text() == f'{{"name": "b", "pid": {os.getpid()}}}'
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    finally:
        os.close(fd)


def test_an_owner_that_has_not_signed_yet_is_another_process(tmp_path: Path) -> None:
    """Between taking the lock and writing the name, whoever comes second learns that there is somebody."""
    fd = take_lock(tmp_path / "lock", what="x", name="first")
    try:
        os.ftruncate(fd, 0)
        with pytest.raises(OwnedError, match="x is owned by another process") as refused:
            take_lock(tmp_path / "lock", what="x", name="second")
        assert (refused.value.name, refused.value.pid) == (None, None)
    finally:
        os.close(fd)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A symbolic link where the lock should be is refused: its target is not written to."""
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        take_lock(tmp_path / "lock", what="x", name="y")
    assert target.read_text() == "precious"


def test_who_asks_learns_the_holder_and_disturbs_nobody(tmp_path: Path) -> None:
    """The file says who has it, or had it last; a lock that is asked about at that moment can still be taken."""
    path = tmp_path / "lock"
    fd = take_lock(path, what="x", name="eu", more={"endpoint": "ipc:///a"})
    assert holder(path) == (True, {"endpoint": "ipc:///a", "name": "eu", "pid": os.getpid()})
    os.close(fd)
    assert holder(path)[0] is False
    asking = os.open(path, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    threading.Timer(0.005, os.close, (asking,)).start()
    os.close(take_lock(path, what="x", name="eu"))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"[" * 4096])
def test_a_lock_file_may_say_anything(tmp_path: Path, content: bytes) -> None:
    """What is no object says nothing, and the lock still tells whether it is held."""
    (tmp_path / "lock").write_bytes(content)
    assert holder(tmp_path / "lock") == (False, {})
