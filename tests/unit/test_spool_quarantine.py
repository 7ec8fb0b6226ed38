"""Where damaged segments are kept."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logbus.collectors.spool import quarantine


def test_quarantine_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In files and in bytes, the oldest first to go; a file that is too long for it goes at once."""
    monkeypatch.setattr(quarantine, "KEPT_FILES", 3)
    monkeypatch.setattr(quarantine, "KEPT_BYTES", 100)
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        for number, size in enumerate((10, 10, 10, 10, 85, 101)):
            (tmp_path / f"{number}.seg").write_bytes(bytes(size))
            quarantine.set_aside(folder, f"{number}.seg")
            os.utime(tmp_path / "quarantine")
            kept = sorted(path.name[0] for path in (tmp_path / "quarantine").iterdir())
            assert kept == [["0"], ["0", "1"], ["0", "1", "2"], ["1", "2", "3"], ["3", "4"], []][number]
    finally:
        os.close(folder)
