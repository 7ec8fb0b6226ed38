"""Who owns a thing on disk: an flock on a file beside it, which holds the owner's name and pid.

The kernel gives the lock up when its owner dies, however it dies, so a lock is never stale. The file itself stays
for ever: unlinking it would let two processes hold locks on two files of one name.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from logbus.errors import OwnedError


def take_lock(path: Path, *, what: str, name: str) -> int:
    """The descriptor that holds the lock until it is closed; the file is made with mode 0600.

    Raises OwnedError, about ``what``, when another process has it (or this one, a second time); OSError when the
    file can't be opened or written.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps({"name": name, "pid": os.getpid()}).encode(), 0)
    except BlockingIOError:
        owner, pid = _owner(fd)
        os.close(fd)
        raise OwnedError(what, name=owner, pid=pid) from None
    except BaseException:
        os.close(fd)
        raise
    return fd


def _owner(fd: int) -> tuple[str | None, int | None]:
    """Name and pid of the owner; None each while it has not written them yet."""
    try:
        document = json.loads(os.pread(fd, 4096, 0))
        return str(document["name"]), int(document["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, None
