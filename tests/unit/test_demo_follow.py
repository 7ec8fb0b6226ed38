"""How the demo shows the collector's console: whole lines, each once, over truncation and rotation."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.demo.follow import Follower
from scripts.demo.run import clip


def test_lines_come_once_and_whole(tmp_path: Path) -> None:
    """A line is given when its newline is there, and not again; a file that is not there yet has none."""
    path = tmp_path / "console"
    follower = Follower(path)
    assert follower.read() == []
    path.write_text("one\ntw")
    assert follower.read() == ["one"]
    with path.open("a") as file:
        file.write("o\nthree\n")
    assert follower.read() == ["two", "three"]
    assert follower.read() == []


def test_a_rotated_or_truncated_file_is_read_from_its_start(tmp_path: Path) -> None:
    """A new file under the name, and a file that has become shorter, are read from their first line."""
    path = tmp_path / "console"
    path.write_text("one\ntwo\n")
    follower = Follower(path)
    assert follower.read() == ["one", "two"]
    path.write_text("new\n")
    assert follower.read() == ["new"]
    path.rename(tmp_path / "console.1")
    path.write_text("a longer line than before\n")
    assert follower.read() == ["a longer line than before"]


@pytest.mark.parametrize(("lines", "expected"), [(0, []), (1, ["two"]), (5, ["one", "two"])])
def test_skip_leaves_the_last_lines(tmp_path: Path, lines: int, expected: list[str]) -> None:
    """After a skip, only so many of the lines that were there are given, and all later ones."""
    path = tmp_path / "console"
    follower = Follower(path)
    follower.skip(lines)
    path.write_text("one\ntwo\n")
    follower.skip(lines)
    assert follower.read() == expected


def test_clip_counts_visible_characters_only() -> None:
    """A line is cut to the terminal's width, its colours are kept and take no room."""
    assert clip("abcdef", 6) == "abcdef"
    assert clip("abcdefg", 6) == "abcde…"
    assert clip("\x1b[31mabc\x1b[0mdefg", 6) == "\x1b[31mabc\x1b[0mde…"
    assert clip("\x1b[31mabcdefg\x1b[0m", 3) == "\x1b[31mab\x1b[0m…"
