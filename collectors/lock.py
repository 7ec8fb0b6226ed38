"""Who owns a thing on disk: an flock on a file beside it, which holds the owner's name and pid.

The kernel gives the lock up when its owner dies, however it dies, so a lock is never stale. The file itself stays
for ever: unlinking it would let two processes hold locks on two files of one name.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from logbus.errors import OwnedError

#: Attempts at a lock, a millisecond apart: whoever asks whether it is held (:func:`holder`) holds it for a moment.
_ATTEMPTS: Final = 20


def take_lock(path: Path, *, what: str, name: str, more: Mapping[str, str] | None = None) -> int:
    """The descriptor that holds the lock until it is closed; the file is made with mode 0600.

    ``more`` stands in the file beside name and pid. Raises OwnedError, about ``what``, when another process has it (or
    this one, a second time); OSError when the file can't be opened or written.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _take(fd)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({**(more or {}), "name": name, "pid": os.getpid()}).encode(), 0)
    except BlockingIOError:
        owner, pid = _owner(fd)
        os.close(fd)
        raise OwnedError(what, name=owner, pid=pid) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def holder(path: Path) -> tuple[bool, dict[str, Any]]:
    """Whether a lock is held, and what its last owner wrote into the file. Raises OSError when it can't be read."""
    # Not waiting: what lies there may be a pipe.
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        try:
            # Shared, so that two who ask never take each other for the owner.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            held = False
        except BlockingIOError:
            held = True
        return held, _document(fd)
    finally:
        os.close(fd)


def _take(fd: int) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.001)


def _owner(fd: int) -> tuple[str | None, int | None]:
    """Name and pid of the owner; None each while it has not written them yet."""
    document = _document(fd)
    name, pid = document.get("name"), document.get("pid")
    return (name, pid) if isinstance(name, str) and isinstance(pid, int) else (None, None)


def _document(fd: int) -> dict[str, Any]:
    try:
        document = json.loads(os.pread(fd, 4096, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
