"""A file of lines, one record each, appended by this collector alone.

The file is locked while it is open (two writers would tear each other's lines), never followed through a link that
somebody planted, and opened again when it has been moved or removed. Whether it is at its path is looked at once a
second, since a moved file still has what is written to it; whether it has a name at all, before every write, since what
is written to a removed one is gone. A torn last line, which a crash or a full disk leaves, is cut off before the next
line is written.

Rotation is between writes, and so between lines, never inside an intent. The archive
(:mod:`logbus.collectors.sinks.archive`) gives the file its last name, for good; then a new file is made at the path,
which nobody has touched. Where the first step fails, nothing has changed, and the lines go on into the file that there
is: a log that is too long is better than none. Where the second one fails, the next look tries it again, and the lines
wait meanwhile. A file begins with its first line, so that an empty one is never rotated and a quiet day is no age.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from logbus.collectors.rotation import Deadline, Moment, Rotation
from logbus.collectors.rows import Intent, Range
from logbus.collectors.sinks.plain import PlainSink
from logbus.errors import OwnedError, SinkError

if TYPE_CHECKING:
    from logbus.collectors.sinks.archive import Archive

#: Seconds between looks at whether the file is still the one at its path.
LOOK_S: Final = 1.0
#: Seconds between attempts at a rotation that fails.
ROTATE_RETRY_S: Final = 2.0
#: Bytes read backwards at a time in search of the last newline.
_CHUNK: Final = 64 * 1024
#: Bytes of a last line without its end that is read to see whether it is whole: several times the longest of ours.
_MAX_LINE: Final = 16 * 1024 * 1024


class FileSink(PlainSink):
    """Lines appended to ``path``; directories are made (0750), the file has mode 0640.

    ``rotation`` says when the next file begins, and ``archive`` keeps those before it; without both there is one file.
    """

    type = "file"
    checkable = True

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        json_lines: bool,
        rotation: Rotation | None = None,
        archive: Archive | None = None,
    ) -> None:
        super().__init__(name)
        #: Why the last rotation failed, until there is another file.
        self.trouble: str | None = None
        self._path = path.absolute()
        self._json_lines = json_lines
        self._rotation = rotation
        self.archive = archive
        self._fd = -1
        self._offset = 0
        self._identity = (0, 0)
        self._look_at = 0.0
        self._rotate_at = 0.0
        #: When the file that was found was written last, in seconds since the epoch.
        self._touched = 0.0
        #: When the file is due by time; None until it is known when it began.
        self._deadline: Deadline | None = None
        #: When the file began, until the archive has been told.
        self._began: Moment | None = None
        #: Bytes of torn lines that were cut off.
        self.cut = 0

    def open(self) -> None:
        """Opens and locks the file, and clears up the rotation that a crash left. Raises SinkError, OwnedError."""
        try:
            self._open()
            if self.archive is not None:
                self.archive.recover(self._identity)
        except OSError as error:
            self.close()
            # What the system says of a link that is not followed, "too many levels of symbolic links", helps nobody.
            reason = "expected a file, found a symbolic link" if error.errno == errno.ELOOP else error.strerror
            raise SinkError(self.name, f"{self._path}: can't be opened: {reason}") from error

    def _open(self, extra: int = 0) -> None:
        for directory in reversed([parent for parent in self._path.parents if not parent.exists()]):
            directory.mkdir(mode=0o750, exist_ok=True)  # with parents=True the mode would be the last one's only
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | extra
        fd = os.open(self._path, flags, 0o640)
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
        old, self._fd = self._fd, fd
        self._identity = (info.st_dev, info.st_ino)
        self._touched = info.st_mtime
        self._deadline = self._began = None
        self._offset = size
        self.trouble = None
        self._look_at = time.monotonic() + LOOK_S
        if old >= 0:
            os.close(old)  # the last step: over a network it may say that the disk there is full

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

    def look(self, first: int = 0) -> int:
        """How many bytes the file may take; the line of ``first`` bytes that comes next has room in any case.

        Opens the file again if another one, or none, is at its path by now, and begins the next one when that is due.
        Call it between writes, never between an intent and its write. Raises OSError, SinkError, OwnedError.
        """
        now = time.monotonic()
        if self._fd < 0 or now >= self._look_at or not os.fstat(self._fd).st_nlink:
            if self._in_place():
                self._look_at = now + LOOK_S
            else:  # a failure leaves the next look due: nothing is written to a file that has lost its name
                self._open()
        size = os.fstat(self._fd).st_size
        if size != self._offset:  # truncated in place, as logrotate's copytruncate does, or written to by another
            self.cut += self._mend(self._fd, size)
            self._offset = os.fstat(self._fd).st_size
        if self._rotation is None or self.archive is None:
            return sys.maxsize
        return self._make_room(self._rotation, self.archive, first)

    def _make_room(self, rotation: Rotation, archive: Archive, first: int) -> int:
        now = Moment.now()
        if not self._offset:  # it begins with the line that comes next
            self._began = now
            self._deadline = rotation.deadline(now)
        elif self._began is not None:
            archive.begin(self._identity, self._began)
            self._began = None
        if self._deadline is None:
            self._deadline = rotation.deadline(archive.began(self._identity) or now.ago(self._touched))
        if self._offset and (rotation.full(self._offset, first) or self._deadline.reached(now)):
            if now.steady < self._rotate_at or not self._rotate(archive, now):
                return sys.maxsize
            return self._make_room(rotation, archive, first)
        return max(first, rotation.room(self._offset))

    def _rotate(self, archive: Archive, now: Moment) -> bool:
        """Begins the next file. False when that failed and the lines go on into this one."""
        self._look_at = 0.0  # whatever fails below, what is at the path is looked at before the next line
        if not self._in_place():
            self._open()
            return True
        try:
            archive.rotate(self._path, self._identity)
        except OSError as error:
            self._rotate_at = now.steady + ROTATE_RETRY_S
            # Without the name in it, which is another one at each attempt: the same trouble is told once.
            self.trouble = f"{self._path}: rotation fails and is tried again: {error.strerror}"
            return False
        self._open(os.O_EXCL)
        return True

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
        """Closes the archive and the file, which gives the lock up."""
        if self.archive is not None:
            self.archive.close()
        self._close_file()

    def _close_file(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _mend(self, fd: int, size: int) -> int:
        """Cuts a torn last line off, and returns its bytes; a last line that is whole gets its newline."""
        if size == 0 or os.pread(fd, 1, size - 1) == b"\n":
            return 0
        start = _last_line(fd, size)
        if not self._json_lines or start is None or _is_whole(os.pread(fd, size - start, start)):
            # Text has no end that could be missed, and a foreign file may end like this, or with what is no line of
            # ours at all (a disk image, a hole of zeros): nothing is destroyed.
            os.write(fd, b"\n")
            return 0
        os.ftruncate(fd, start)
        return size - start


def _last_line(fd: int, size: int) -> int | None:
    """Where the last line begins; None when it is longer than any of ours."""
    end = size
    while end > 0:
        if size - end > _MAX_LINE:
            return None
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
