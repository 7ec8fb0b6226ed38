"""Where damaged segments go once all that is whole in them has been sent: a few, for whoever wants to look at them.

The directory ``quarantine`` beside the segments. It is bounded in files and in bytes, the oldest first to go.
"""

from __future__ import annotations

import os
from typing import Final

from logbus.collectors.sinks import folder as names
from logbus.collectors.spool.folder import Folder

#: The directory, in that of the segments.
DIRECTORY: Final = "quarantine"
#: Files that are kept.
KEPT_FILES: Final = 16
#: Bytes that are kept.
KEPT_BYTES: Final = 64 * 1024 * 1024


def set_aside(folder: int, name: str) -> None:
    """Moves a file of the directory ``folder`` (a descriptor) into quarantine. Raises OSError."""
    try:
        os.mkdir(DIRECTORY, 0o700, dir_fd=folder)
    except FileExistsError:
        pass
    aside = os.open(DIRECTORY, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.rename(name, name, src_dir_fd=folder, dst_dir_fd=aside)
        _prune(aside)
    finally:
        os.close(aside)


def move(folder: Folder, name: str) -> str | None:
    """The same, and never raises: what is to be told about it, None where somebody has removed the file."""
    where = folder.path / DIRECTORY
    try:
        set_aside(folder.fd, name)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"{name} can't be moved to {where}: {error.strerror}"
    return f"{name} is kept in {where}"


def _prune(aside: int) -> None:
    found = [(info.st_ctime_ns, name, info) for name in os.listdir(aside) if (info := names.status(aside, name))]
    size = 0
    # The newest first, by when they came here: that is what sets a file's ctime.
    for files, (_, name, info) in enumerate(sorted(found, reverse=True, key=lambda item: item[:2]), 1):
        size += info.st_size
        if files > KEPT_FILES or size > KEPT_BYTES:
            names.remove(aside, name, info.st_ino)
