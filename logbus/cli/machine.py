"""What the doctor looks at in the machine: versions, limits, and the directories that a collector needs.

Nothing is made and nothing is changed: a directory that is not there yet is judged by the one in which it would be.
"""

from __future__ import annotations

import os
import platform
import resource
import stat
import sysconfig
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from logbus.cli.finding import Finding, failed, ok, warning

#: The version of libzmq whose behaviour this design was measured with.
LIBZMQ: Final = (4, 3, 5)
#: Bytes on the disk of a directory below which it is too full to work, and to be at ease.
FULL_BYTES: Final = 1024 * 1024
TIGHT_BYTES: Final = 64 * 1024 * 1024
#: Seconds by which a file may be newer than the clock: two clocks of one network differ by less.
FUTURE_S: Final = 60.0
#: Files of a collector's state that are looked at.
STATE_FILES: Final = 64

_IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "fuse.sshfs", "fuse.glusterfs"})


def versions() -> Iterator[Finding]:
    """Python, and the libraries that carry the records."""
    import msgpack
    import zmq

    from logbus import __version__

    yield ok("logbus", __version__)
    yield ok("python", f"{platform.python_version()} ({platform.python_implementation()})")
    yield libzmq(zmq.zmq_version_info())
    yield ok("pyzmq", zmq.pyzmq_version())
    yield ok("msgpack", ".".join(map(str, msgpack.version)))
    yield compiled_part()
    yield compiled_collector()


def compiled_part() -> Finding:
    """Whether log calls of this Python take the compiled way."""
    from logbus.producers import compiled

    return _form("compiled part", compiled.NATIVE, compiled.WRONG, "log calls cost")


def compiled_collector() -> Finding:
    """Whether records take the compiled way through a collector of this Python."""
    from logbus.collectors import compiled

    return _form("compiled collector", compiled.NATIVE, compiled.WRONG, "collector costs")


def _form(check: str, native: object, wrong: str, dearer: str) -> Finding:
    """What this Python has of a compiled part; ``dearer`` is what costs more without, and the verb."""
    from logbus.compiled import VARIABLE, unwanted

    if native is not None:
        return ok(check, "in use")
    if unwanted():
        return ok(check, f"not in use: {VARIABLE} is set")
    if wrong:
        found = f"not in use: {wrong}; logbus works, and its {dearer} more"
        return warning(check, found, "install logbus once more (in a checkout: make install)")
    if platform.python_implementation() != "CPython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return ok(check, "none for this Python")
    advice = "install a C compiler and this Python's headers (python3-dev), then logbus once more"
    return warning(check, f"none: logbus works, and its {dearer} more", advice)


def libzmq(version: tuple[int, int, int]) -> Finding:
    """The version of libzmq."""
    found = ".".join(map(str, version))
    if version >= LIBZMQ:
        return ok("libzmq", found)
    wanted = ".".join(map(str, LIBZMQ))
    return failed("libzmq", f"{found}, expected {wanted} or later", "install the wheel of pyzmq, which brings its own")


def descriptors() -> Finding:
    """The limit of open files, up to which a collector raises its own."""
    from logbus.collectors.claim import DESCRIPTORS, MIN_DESCRIPTORS

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= DESCRIPTORS:
        return ok("open files", "no limit" if hard == resource.RLIM_INFINITY else f"up to {hard}")
    advice = f"raise the hard limit to {DESCRIPTORS}: ulimit -Hn, or LimitNOFILE= of the service"
    if hard < MIN_DESCRIPTORS:
        return failed("open files", f"at most {hard}, and a collector needs {MIN_DESCRIPTORS}", advice)
    return warning("open files", f"at most {hard}: room for some {hard // 3} workers", advice)


def directory(check: str, path: Path, *, lasting: bool) -> Iterator[Finding]:
    """A directory of ours: there or to be made, for us alone to write, with room; ``lasting``: beyond a reboot."""
    there = path
    try:
        while not os.path.lexists(there) and there != there.parent:
            there = there.parent
        info = there.stat()
    except OSError as error:
        yield failed(
            check, f"{there} can't be looked at: {error.strerror}", "choose another one, or mend its permissions"
        )
        return
    if not stat.S_ISDIR(info.st_mode):
        yield failed(check, f"{there} is not a directory", "move it away, or choose another directory")
        return
    if there == path and info.st_uid != os.geteuid():
        yield failed(
            check,
            f"{path} belongs to uid {info.st_uid}, we are uid {os.geteuid()}",
            "run as that user, or choose another directory",
        )
        return
    if there == path and info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(info.st_mode)
        yield failed(check, f"others may write in {path} (mode {mode:04o})", f"chmod go-w {path}")
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield failed(check, f"{there} can't be written", "mend its permissions, or choose another directory")
        return
    yield from _disk(check, path, there, lasting=lasting)


def clock(directories: Iterable[Path]) -> Finding:
    """Whether a file of the collector's state is newer than now: then the clock has been set back, or is wrong."""
    now = time.time()
    for directory_ in directories:
        try:
            files = sorted(directory_.iterdir())[:STATE_FILES]
        except OSError:
            continue
        for file in files:
            try:
                ahead = file.lstat().st_mtime - now
            except OSError:
                continue
            if ahead > FUTURE_S:
                return warning(
                    "clock", f"{file} is {ahead:,.0f} s in the future", "set the clock; times of records may be wrong"
                )
    return ok("clock", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)))


def _disk(check: str, path: Path, there: Path, *, lasting: bool) -> Iterator[Finding]:
    kind = file_system(there)
    try:
        disk = os.statvfs(there)
    except OSError as error:
        yield failed(check, f"the disk of {there} can't be asked: {error.strerror}", "choose another directory")
        return
    free = disk.f_bavail * disk.f_frsize
    words = f"{path} ({'not there yet, ' if there != path else ''}{kind or 'unknown file system'}, {_size(free)} free)"
    if free < FULL_BYTES:
        yield failed(check, f"{words}: full", "make room, or choose another directory")
    elif kind in _REMOTE:
        yield warning(check, words, "choose a local disk: locks and mapped pages are not reliable over a network")
    elif lasting and kind in _IN_MEMORY:
        yield warning(check, words, "choose a disk: in memory the ledger and the level rules are gone after a reboot")
    elif free < TIGHT_BYTES:
        yield warning(check, words, "make room")
    else:
        yield ok(check, words)


def file_system(path: Path) -> str:
    """The type of the file system that holds a path ("ext4", "tmpfs"); empty where the system does not say."""
    try:
        device = path.stat().st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as mounts:
            for line in mounts:
                before, _, after = line.partition(" - ")
                major, _, minor = before.split()[2].partition(":")
                if os.makedev(int(major), int(minor)) == device:
                    return after.split()[0]
    except (OSError, ValueError, IndexError):
        return ""
    return ""


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
