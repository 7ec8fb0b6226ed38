"""Names in a directory of logs that others may write to: held open, never followed, and known by their inodes.

The directory is a descriptor, so that every step of a task is in the same one, whatever its path leads to meanwhile.
Nothing is removed that is not, at a look just before, the regular file that the caller knows for his.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Never through a link, never waiting for a pipe.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Never a file that is there.
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def held_open(directory: Path) -> Iterator[int]:
    """The descriptor of a directory, for a ``with`` block. Raises OSError."""
    folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def create(folder: int, name: str) -> int:
    """The descriptor of a new file, for its owner alone. Raises OSError, FileExistsError."""
    return os.open(name, _CREATE, 0o600, dir_fd=folder)


def open_for_reading(folder: int, name: str) -> int:
    """The descriptor of what has a name, whatever it is but a link. Raises OSError."""
    return os.open(name, _READ, dir_fd=folder)


def status(folder: int, name: str) -> os.stat_result | None:
    """What has a name in a directory, a link itself and not what it leads to; None: nothing has. Raises OSError."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def is_file(folder: int, name: str, inode: int) -> bool:
    """Whether a name in a directory is that of a regular file with this inode. Raises OSError."""
    info = status(folder, name)
    return info is not None and is_ours(info, inode)


def remove(folder: int, name: str, inode: int) -> bool:
    """Removes a file if it is a regular one with this inode; False when something else has the name. Raises OSError."""
    info = status(folder, name)
    if info is None:
        return True
    if not is_ours(info, inode):
        return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
    return True


def remove_empty(folder: int, name: str) -> None:
    """Removes a file that was made to keep a name free, if it is one: empty, regular and our user's. Raises OSError."""
    info = status(folder, name)
    if info is not None and stat.S_ISREG(info.st_mode) and info.st_size == 0 and info.st_uid == os.geteuid():
        os.unlink(name, dir_fd=folder)


def keep_free(folder: int, name: str) -> None:
    """Makes an empty file so that nobody else gets the name. Raises OSError, FileExistsError."""
    os.close(create(folder, name))


def is_released(folder: int, name: str) -> bool:
    """Whether no sink writes to a file any more: one that does holds its lock. Raises OSError."""
    fd = open_for_reading(folder, name)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def is_ours(info: os.stat_result, inode: int) -> bool:
    """Whether that is a regular file with this inode."""
    return stat.S_ISREG(info.st_mode) and info.st_ino == inode
