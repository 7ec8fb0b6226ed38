"""A small file replaced whole: whoever reads it, and whatever is killed, finds the old contents or the new ones.

Writing comes apart in two. :class:`Replacement` puts the new contents beside the file, on the disk; what can fail (a
full disk, a directory that is gone) fails here. :meth:`Replacement.commit` renames, which on a sane file system does
not fail. So several files can be made ready first, and then change together.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Final

#: Ends the name of contents that are not in force yet; what a killed collector left of them is overwritten.
_SUFFIX: Final = ".new"
#: What a file system says that knows no sync of a directory.
_NO_SYNC: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})


class Replacement:
    """New contents of a file, written and not yet in force. A context manager: what was not committed is removed.

    ``durable`` makes contents and name survive a power cut. ``group`` lets a group read the file, by its id; without
    it the file is its owner's alone. Raises OSError.
    """

    def __init__(self, path: Path, data: bytes, *, durable: bool = True, group: int | None = None) -> None:
        self._path = path
        self._staged = path.with_name(path.name + _SUFFIX)
        self._durable = durable
        with contextlib.suppress(FileNotFoundError):
            self._staged.unlink()
        fd = os.open(self._staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if group is not None:
                os.fchown(fd, -1, group)
                os.fchmod(fd, 0o640)
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(fd, rest) :]
            if durable:
                os.fsync(fd)
        except BaseException:
            self.discard()
            raise
        finally:
            os.close(fd)

    def commit(self) -> None:
        """Puts the contents in force. Raises OSError."""
        self.rename()
        if self._durable:
            sync_directory(self._path.parent)

    def rename(self, late: bytes = b"") -> None:
        """Puts the contents in force, ``late`` after them, without waiting for a disk. Raises OSError."""
        if late:
            fd = os.open(self._staged, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                rest = memoryview(late)
                while rest:
                    rest = rest[os.write(fd, rest) :]
            finally:
                os.close(fd)
        os.replace(self._staged, self._path)

    def discard(self) -> None:
        """Removes what has not been committed."""
        with contextlib.suppress(OSError):
            self._staged.unlink()

    def __enter__(self) -> Replacement:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.discard()


def read_own(path: Path, *, max_bytes: int) -> bytes | None:
    """The contents of a file of ours; None where there is none.

    Raises OSError when it can't be read, ValueError when it is a link, another user's, no file or too long: whoever
    can put such a thing there must not have it believed.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        info = os.fstat(fd)
        if info.st_uid != os.geteuid():
            raise ValueError(f"it belongs to uid {info.st_uid}, expected {os.geteuid()}")
        if info.st_size > max_bytes:
            raise ValueError(f"it has {info.st_size} bytes, expected at most {max_bytes}")
        return file.read(max_bytes)


def put_aside(path: Path) -> Path:
    """Where a file is now that could not be used: beside its old place, in the place of an earlier one."""
    aside = path.with_name(f"{path.name}.unreadable")
    with contextlib.suppress(OSError):
        path.replace(aside)
    return aside


def sync_directory(path: Path) -> None:
    """Makes the names in a directory survive a power cut. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_names(fd)
    finally:
        os.close(fd)


def sync_names(folder: int) -> None:
    """The same for the descriptor of a directory.

    A file system that can't (shared folders of virtual machines, old network ones) says so, and keeps its names by
    other means or not at all: nothing that somebody could wait for. Raises OSError for anything else.
    """
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
