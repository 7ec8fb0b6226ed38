"""What the doctor finds in a machine, each trouble made for real where a test can make it."""

from __future__ import annotations

import os
import resource
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from logbus.cli import machine
from logbus.cli.finding import Finding
from logbus.collectors import compiled as collector
from logbus.collectors.claim import DESCRIPTORS, MIN_DESCRIPTORS
from logbus.producers import compiled as producer
from tests.small_disk import PAGE, can_mount, small_disk
from tests.stranger import NOBODY, needs_root


def only(path: Path, *, lasting: bool = False) -> Finding:
    """The one finding about a directory."""
    [finding] = machine.directory("directory", path, lasting=lasting)
    return finding


def test_the_versions_are_those_of_the_libraries_at_work() -> None:
    """Five lines, all well in an environment in which the tests run, and one about each compiled part."""
    findings = {finding.check: finding for finding in machine.versions()}
    parts = ["compiled part", "compiled collector"]
    assert list(findings) == ["logbus", "python", "libzmq", "pyzmq", "msgpack", *parts]
    assert {finding.verdict for check, finding in findings.items() if check not in parts} == {"ok"}


@pytest.mark.parametrize(
    ("native", "wrong", "variable", "free_threaded", "verdict", "found"),
    [
        (object(), "", "0", 0, "ok", "in use"),
        (None, "", "1", 0, "ok", "not in use: LOGBUS_PURE_PYTHON is set"),
        (None, "", "0", 0, "warning", "none: logbus works, and its DEARER more"),
        (None, "", "0", 1, "ok", "none for this Python"),
        (None, "cut off", "0", 0, "warning", "not in use: cut off; logbus works, and its DEARER more"),
    ],
)
@pytest.mark.parametrize(
    ("compiled", "other", "look", "dearer"),
    [
        (producer, collector, machine.compiled_part, "log calls cost"),
        (collector, producer, machine.compiled_collector, "collector costs"),
    ],
    ids=["producer", "collector"],
)
def test_a_compiled_part_is_there_or_missed(
    monkeypatch: pytest.MonkeyPatch,
    compiled: ModuleType,
    other: ModuleType,
    look: Callable[[], Finding],
    dearer: str,
    native: object,
    wrong: str,
    variable: str,
    free_threaded: int,
    verdict: str,
    found: str,
) -> None:
    """That it was turned off is as somebody wanted it; that none was built is worth a warning, and what would help.

    Nothing would help a Python that there is none for, and a compiler not one whose extension can't be used. What
    becomes of the other part is said elsewhere.
    """
    monkeypatch.setattr(compiled, "NATIVE", native)
    monkeypatch.setattr(compiled, "WRONG", wrong)
    monkeypatch.setattr(other, "NATIVE", None if native else object())
    monkeypatch.setattr(other, "WRONG", "of another machine")
    monkeypatch.setattr(sysconfig, "get_config_var", {"Py_GIL_DISABLED": free_threaded}.get)
    monkeypatch.setenv("LOGBUS_PURE_PYTHON", variable)
    finding = look()
    assert (finding.verdict, finding.found) == (verdict, found.replace("DEARER", dearer))
    assert (verdict == "ok") is (not finding.advice)


@pytest.mark.parametrize(
    ("version", "verdict"), [((4, 3, 4), "failed"), ((4, 2, 9), "failed"), ((4, 3, 5), "ok"), ((5, 0, 0), "ok")]
)
def test_an_old_libzmq_fails(version: tuple[int, int, int], verdict: str) -> None:
    """What was measured was measured with 4.3.5."""
    finding = machine.libzmq(version)
    assert finding.verdict == verdict
    assert (verdict == "ok") is (not finding.advice)


@pytest.mark.parametrize(
    ("hard", "verdict"),
    [
        (MIN_DESCRIPTORS - 1, "failed"),
        (MIN_DESCRIPTORS, "warning"),
        (DESCRIPTORS - 1, "warning"),
        (DESCRIPTORS, "ok"),
        (resource.RLIM_INFINITY, "ok"),
    ],
)
def test_the_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch, hard: int, verdict: str) -> None:
    """The hard limit counts, since a collector raises the soft one itself."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: (10, hard))
    assert machine.descriptors().verdict == verdict


def test_a_directory_may_be_there_or_not(tmp_path: Path) -> None:
    """One that a collector could make is well."""
    assert only(tmp_path).verdict == "ok"
    missing = only(tmp_path / "a" / "b")
    assert missing.verdict == "ok"
    assert "not there yet" in missing.found


@pytest.mark.parametrize("below", ["", "further/down"])
def test_what_is_no_directory_fails(tmp_path: Path, below: str) -> None:
    """A file in its place, or above it."""
    (tmp_path / "file").touch()
    finding = only(tmp_path / "file" / below)
    assert (finding.verdict, finding.found) == ("failed", f"{tmp_path}/file is not a directory")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert only(tmp_path / "loop").verdict == "failed"


def test_somebody_elses_directory_fails(tmp_path: Path) -> None:
    """His is no place for our records."""
    needs_root()
    os.chown(tmp_path, NOBODY, -1)
    assert f"belongs to uid {NOBODY}" in only(tmp_path).found
    assert only(tmp_path).verdict == "failed"


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_directory_that_others_may_write_fails(tmp_path: Path, mode: int) -> None:
    """Anybody could take a socket away and put his own there."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d").chmod(mode)
    finding = only(tmp_path / "d")
    assert finding.verdict == "failed"
    assert finding.advice == f"chmod go-w {tmp_path}/d"


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount")
def test_a_full_disk_fails_and_one_in_memory_is_said(tmp_path: Path) -> None:
    """A small disk is a warning until it is full; for what should outlive a reboot, memory is no place."""
    with small_disk(tmp_path / "disk", 4096) as disk:
        assert machine.file_system(disk.path) == "tmpfs"
        assert (only(disk.path).verdict, only(disk.path).advice) == ("warning", "make room")
        lasting = only(disk.path / "state", lasting=True)
        assert lasting.verdict == "warning"
        assert "after a reboot" in lasting.advice
        (disk.path / "ballast").write_bytes(bytes(disk.size - 4 * PAGE))
        finding = only(disk.path)
        assert finding.verdict == "failed"
        assert finding.found.endswith(": full")


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount")
def test_a_directory_that_can_not_be_written_fails(tmp_path: Path) -> None:
    """On a disk that is mounted read-only not even root can."""
    import subprocess

    with small_disk(tmp_path / "disk", 64) as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk.path)], check=True, capture_output=True)
        for path in (disk.path, disk.path / "below"):
            finding = only(path)
            assert (finding.verdict, finding.found) == ("failed", f"{disk.path} can't be written")


def test_files_of_the_future_are_a_warning(tmp_path: Path) -> None:
    """A clock that was set back shows in the ledger; a minute is within what clocks differ by."""
    assert machine.clock([tmp_path, tmp_path / "missing"]).verdict == "ok"
    ledger = tmp_path / "ledger"
    ledger.touch()
    os.utime(ledger, (time.time(), time.time() + 30))
    assert machine.clock([tmp_path]).verdict == "ok"
    os.utime(ledger, (time.time(), time.time() + 3600))
    finding = machine.clock([tmp_path])
    assert finding.verdict == "warning"
    assert str(ledger) in finding.found


def test_a_file_system_that_can_not_be_told_is_none(tmp_path: Path) -> None:
    """The word is for people, and its lack stops nothing."""
    assert machine.file_system(tmp_path)
    assert machine.file_system(tmp_path / "missing") == ""
