"""Downloads, verifies and unpacks the packages of the lock into ``.servers/``, whole or not at all."""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scripts.servers.apt import Apt, AptError, choose, run
from scripts.servers.lock import LOCK, Package, read_lock, write_lock
from scripts.servers.place import PLACE, PROGRAMS, ROOT, STAMP, environment


def install() -> None:
    """Has the programs of the lock in ROOT, and STAMP beside it. Raises AptError, LockError, OSError."""
    with _alone():
        if STAMP.exists() and STAMP.stat().st_mtime >= LOCK.stat().st_mtime:
            return  # somebody else has done it while this one waited
        STAMP.unlink(missing_ok=True)
        wanted = [each for each in read_lock() if not each.soname or not loads(each.soname)]
        new = PLACE / "new"
        shutil.rmtree(new, ignore_errors=True)
        files = new / "packages"
        files.mkdir(parents=True)
        try:
            taken, architecture = _download(wanted, files)
            _verify(taken, architecture, files)
            for file in sorted(files.glob("*.deb")):
                run(["dpkg-deb", "-x", str(file), str(new / "root")])
            _check_libraries(new / "root")
            shutil.rmtree(ROOT, ignore_errors=True)
            (new / "root").rename(ROOT)
        finally:
            shutil.rmtree(new)
        STAMP.touch()


def relock() -> None:
    """Writes the lock anew with what apt offers now. Raises AptError, LockError, OSError."""
    with _alone():
        private = PLACE / "apt"
        try:
            apt = Apt(private)
            packages = []
            for each, version in choose([replace(each, version="") for each in read_lock()], apt, exactly=False):
                shown = apt.show(each.name, version)
                packages.append(
                    replace(each, version=version, architecture=shown["Architecture"], sha256=shown["SHA256"])
                )
        finally:
            shutil.rmtree(private, ignore_errors=True)
        write_lock(packages)


def loads(soname: str) -> bool:
    """Whether this machine has a library of that name, with all that it needs."""
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


def _download(wanted: list[Package], files: Path) -> tuple[list[tuple[Package, str]], str]:
    """Fetches by the system's lists, or, where they are absent or not of the lock's age, by fresh ones of our own."""
    for private in (None, files.parent / "apt"):
        try:
            apt = Apt(private)
            taken = choose(wanted, apt, exactly=private is None)
            apt.download([(each.name, version) for each, version in taken], files)
        except AptError:
            if private is not None or not shutil.which("apt-get"):
                raise
            for file in files.iterdir():
                file.unlink()
        else:
            return taken, apt.architecture
    raise AssertionError("the second round returns or raises")


def _verify(taken: list[tuple[Package, str]], architecture: str, files: Path) -> None:
    """Compares the hashes of the pinned files; says in one line which are not the pinned ones."""
    others = []
    for each, version in taken:
        # A colon in a version is written %3a in the file's name.
        (file,) = files.glob(f"{each.name}_{version.replace(':', '%3a')}_*.deb")
        if version != each.version or each.architecture not in (architecture, "all"):
            others.append(f"{each.name} {version} {architecture}")
        elif (found := hashlib.sha256(file.read_bytes()).hexdigest()) != each.sha256:
            raise AptError(f"{file.name}: expected sha256 {each.sha256} by {LOCK.name}, found {found}")
    if others:
        print(
            f"not as in {LOCK.name}, so only apt has verified them: {', '.join(others)}"
            " (python -m scripts.servers lock pins them)",
            file=sys.stderr,
        )


def _check_libraries(root: Path) -> None:
    """Raises AptError when a program or a module would not load for want of a library."""
    patterns = ("usr/lib/syslog-ng/*.so*", "usr/lib/syslog-ng/*/*.so", "usr/lib/*/rsyslog/[il]m*.so")
    loaded = [*(root / path for path in PROGRAMS.values()), *(path for each in patterns for path in root.glob(each))]
    libraries = environment(root)["LD_LIBRARY_PATH"]
    lines = run(["ldd", *map(str, loaded)], LD_LIBRARY_PATH=libraries).splitlines()
    lacking = {line.split()[0] for line in lines if line.endswith("not found")}
    if lacking:
        raise AptError(f"no package of {LOCK.name} has {', '.join(sorted(lacking))}, which the servers load")


@contextmanager
def _alone() -> Iterator[None]:
    """Waits for another install in this checkout: two `make` may come at once."""
    PLACE.mkdir(exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
