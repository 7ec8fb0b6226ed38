"""A file of lines, one record each, appended by this collector alone.

The file is locked while it is open (two writers would tear each other's lines), never followed through a link that
somebody planted, and opened again when it has been moved or removed: the inode at its path is looked at once a
second. A torn last line, which a crash or a full disk leaves, is cut off before the next line is written.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import time
from pathlib import Path
from typing import Final

from logbus.collectors.rows import Intent, Range
from logbus.errors import OwnedError, SinkError

#: Seconds between looks at whether the file is still the one at its path.
LOOK_S: Final = 1.0
#: Bytes read backwards at a time in search of the last newline.
_CHUNK: Final = 64 * 1024


class FileSink:
    """Lines appended to ``path``; directories are made (0750), the file has mode 0640."""

    type = "file"
    checkable = True
    patient = True

    def __init__(self, name: str, path: Path, *, json_lines: bool) -> None:
        self.name = name
        self._path = path.absolute()
        self._json_lines = json_lines
        self._fd = -1
        self._offset = 0
        self._identity = (0, 0)
        self._look_at = 0.0
        #: Bytes of torn lines that were cut off.
        self.cut = 0

    def open(self) -> None:
        """Opens and locks the file. Raises SinkError, OwnedError."""
        try:
            self._open()
        except OSError as error:
            raise SinkError(self.name, f"{self._path}: can't be opened: {error.strerror}") from error

    def _open(self) -> None:
        for directory in reversed([parent for parent in self._path.parents if not parent.exists()]):
            directory.mkdir(mode=0o750, exist_ok=True)  # with parents=True the mode would be the last one's only
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise SinkError(self.name, f"{self._path}: expected a regular file")
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _lock_holder(info)
                raise OwnedError(f"file {self._path}", name=_collector_name(pid), pid=pid) from None
            self.cut += self._mend(fd, info.st_size)
            size = os.fstat(fd).st_size
        except BaseException:
            os.close(fd)
            raise
        self.close()
        self._fd = fd
        self._identity = (info.st_dev, info.st_ino)
        self._offset = size
        self._look_at = time.monotonic() + LOOK_S

    def intent(self, count: int, length: int, delivered_before: int, ranges: tuple[Range, ...]) -> Intent:
        """Where the next write begins and how long it is."""
        device, inode = self._identity
        return Intent(count, delivered_before, ranges, str(self._path), inode, device, self._offset, length)

    def write(self, data: bytes) -> None:
        """Appends whole lines. Raises OSError; then :meth:`undo` takes back what was written of them."""
        view = memoryview(data)
        written = 0
        while written < len(data):
            written += os.write(self._fd, view[written:])
        self._offset += written

    def undo(self) -> bool:
        """Cuts the file back to where the failed write began."""
        try:
            if os.fstat(self._fd).st_size < self._offset:
                return False  # emptied meanwhile: cutting would fill it up with zeros
            os.ftruncate(self._fd, self._offset)
        except OSError:
            return False
        return True

    def look(self) -> None:
        """Opens the file again if another one, or none, is at its path by now. Raises OSError, SinkError, OwnedError.

        Call it between writes, never between an intent and its write.
        """
        now = time.monotonic()
        if self._fd < 0 or now >= self._look_at:
            if not self._in_place():
                # A failure leaves the next look due: nothing is written to a file that has lost its name.
                self._open()
                return
            self._look_at = now + LOOK_S
        size = os.fstat(self._fd).st_size
        if size != self._offset:  # truncated in place, as logrotate's copytruncate does, or written to by another
            self.cut += self._mend(self._fd, size)
            self._offset = os.fstat(self._fd).st_size

    def _in_place(self) -> bool:
        try:
            info = self._path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return self._fd >= 0 and (info.st_dev, info.st_ino) == self._identity

    def reopen(self) -> None:
        """Looks at once. Raises OSError, SinkError, OwnedError."""
        self._look_at = 0.0
        self.look()

    def close(self) -> None:
        """Closes the file, which gives the lock up."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _mend(self, fd: int, size: int) -> int:
        """Cuts a torn last line off, and returns its bytes; a last line that is whole gets its newline."""
        if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
            return 0
        start = _last_line(fd, size)
        line = os.pread(fd, size - start, start)
        if not self._json_lines or _is_whole(line):
            # Text has no end that could be missed, and a foreign file may end like this: nothing is destroyed.
            os.write(fd, b"\n")
            return 0
        os.ftruncate(fd, start)
        return size - start


def _last_line(fd: int, size: int) -> int:
    end = size
    while end > 0:
        start = max(0, end - _CHUNK)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _lock_holder(info: os.stat_result) -> int | None:
    """The pid that holds an flock on a file, where the kernel tells (Linux)."""
    wanted = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/locks").read_text("ascii").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == wanted:
                return int(fields[4])
    return None


def _collector_name(pid: int | None) -> str | None:
    """The name under which a collector process was started, from its lock files."""
    if pid is None:
        return None
    with contextlib.suppress(OSError, ValueError):
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            target = Path(os.readlink(fd))
            if target.suffix == ".lock":
                owner = json.loads(target.read_text("utf-8"))
                if owner.get("pid") == pid:
                    return str(owner["name"])
    return None
