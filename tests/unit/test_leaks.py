"""The leak check finds what it promises to find."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.leaks import Holdings, left_behind


def test_nothing_is_found_when_nothing_was_left(tmp_path: Path) -> None:
    """What was opened and closed again, by hand or by the garbage collector, is no leak."""
    before = Holdings.now(tmp_path)
    (tmp_path / "file").write_text("x")
    with socket.socket():
        pass

    assert left_behind(before, tmp_path, grace=0.1) == []


def test_a_child_process_is_found_and_killed(tmp_path: Path) -> None:
    """A child that runs on is named by its command line and ended."""
    before = Holdings.now(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    found = left_behind(before, tmp_path, grace=0.1)
    # It has been waited for already, and Popen would warn about a child that it has not seen the end of.
    child.returncode = -signal.SIGKILL

    assert [line for line in found if f"child process {child.pid}" in line and "signal.pause" in line]
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_zombie_is_found(tmp_path: Path) -> None:
    """A child that has ended and was never waited for is a leak too."""
    before = Holdings.now(tmp_path)
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", ""], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    assert left_behind(before, tmp_path, grace=0.1) == [f"child process {pid}: zombie"]


def test_threads_are_found_by_kind(tmp_path: Path) -> None:
    """A plain thread is a leak, a daemon only if it is one of ours."""
    before = Holdings.now(tmp_path)
    end = threading.Event()
    threads = [
        threading.Thread(target=end.wait, name="plain"),
        threading.Thread(target=end.wait, name="logbus-sender", daemon=True),
        threading.Thread(target=end.wait, name="somebody", daemon=True),
    ]
    for thread in threads:
        thread.start()
    try:
        found = left_behind(before, tmp_path, grace=0.1)
    finally:
        end.set()
        for thread in threads:
            thread.join()

    assert sorted(found) == ["thread 'logbus-sender'", "thread 'plain'"]


def test_an_open_socket_is_found(tmp_path: Path) -> None:
    """A socket that is still open is a leak."""
    before = Holdings.now(tmp_path)
    with socket.socket():
        found = left_behind(before, tmp_path, grace=0.1)

    assert len(found) == 1
    assert found[0].startswith("open socket:")


def test_files_are_found_below_the_given_directories_only(tmp_path: Path) -> None:
    """An open or mapped file counts below the test's own directories and nowhere else."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    for directory in (inside, outside):
        (directory / "page").write_bytes(b"\0" * mmap.PAGESIZE)
    before = Holdings.now(inside)
    with (inside / "page").open("r+b") as file, (outside / "page").open("rb"):
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    mapped = left_behind(before, inside, grace=0.1)
    page.close()

    assert mapped == [f"open file {inside / 'page'}"]


def test_eventually_gives_the_value_it_waited_for() -> None:
    """Failed asserts and false values mean "not yet"; the first true value comes out."""
    values = iter([0, None, 7])

    def look() -> int | None:
        value = next(values)
        assert value is not None
        return value

    assert eventually(look, 5) == 7


def test_eventually_says_what_it_saw_last() -> None:
    """At the deadline the error names what was waited for and the last value."""
    with pytest.raises(AssertionError, match=r"not within 0\.01 s: the answer; last seen: 0"):
        eventually(lambda: 0, 0.01, what="the answer")


def test_eventually_lets_other_errors_out() -> None:
    """Only an AssertionError is waited through."""
    with pytest.raises(ZeroDivisionError):
        eventually(lambda: 1 / 0, 5)
