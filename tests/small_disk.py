"""A disk that fills up after a few kilobytes, and can be given more room."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

#: Bytes of a page, in which a file system in memory counts.
PAGE = os.sysconf("SC_PAGESIZE")


class SmallDisk:
    """A file system in memory of some pages, mounted at ``path``."""

    def __init__(self, path: Path, pages: int) -> None:
        self.path = path
        self._pages = pages

    @property
    def size(self) -> int:
        """Bytes that fit."""
        return self._pages * PAGE

    def grow(self, pages: int, *, files: int = 0) -> None:
        """Gives it more room."""
        self._pages = pages
        options = f"remount,{_options(pages, files)}"
        subprocess.run(["mount", "-o", options, str(self.path)], check=True, capture_output=True)


@functools.cache
def can_mount() -> bool:
    """Whether this process may mount a file system: as root, outside a container that forbids it."""
    if os.geteuid() != 0:
        return False
    try:
        # In a mount namespace of its own, so that nothing is left whatever happens.
        trial = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(trial, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _options(pages: int, files: int) -> str:
    return f"size={pages * PAGE}" + (f",nr_inodes={files}" if files else "")


@contextlib.contextmanager
def small_disk(path: Path, pages: int, *, files: int = 0) -> Iterator[SmallDisk]:
    """The disk, mounted for the length of a ``with`` block; ``files``, its root included, are any number without."""
    path.mkdir()
    options = f"{_options(pages, files)},mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(path)], check=True, capture_output=True)
    try:
        yield SmallDisk(path, pages)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True, capture_output=True)
