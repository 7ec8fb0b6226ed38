"""Downloads, verifies and unpacks the packages of a lock into ``.servers/``, whole or not at all."""

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
from scripts.servers.lock import Package, read_lock, write_lock
from scripts.servers.place import BENCH, PLACE, PROGRAMS, SERVERS, Tree, environment


def install(tree: Tree = SERVERS) -> None:
    """Has what the lock of a tree names in its root, and its stamp there. Raises AptError, LockError, OSError.

    BENCH is loaded into programs of SERVERS: that comes first.
    """
    with _alone():
        if tree.stamp.exists() and tree.stamp.stat().st_mtime >= tree.lock.stat().st_mtime:
            return  # somebody else has done it while this one waited
        tree.stamp.unlink(missing_ok=True)
        wanted = [each for each in read_lock(tree.lock) if not each.soname or not loads(each.soname)]
        new = PLACE / "new"
        shutil.rmtree(new, ignore_errors=True)
        files = new / "packages"
        files.mkdir(parents=True)
        try:
            taken, architecture = _download(wanted, files)
            _verify(taken, architecture, files, tree.lock.name)
            for file in sorted(files.glob("*.deb")):
                run(["dpkg-deb", "-x", str(file), str(new / "root")])
            _check_libraries(new / "root", tree)
            shutil.rmtree(tree.root, ignore_errors=True)
            (new / "root").rename(tree.root)
        finally:
            shutil.rmtree(new)
        tree.stamp.touch()


def relock() -> None:
    """Writes both locks anew with what apt offers now. Raises AptError, LockError, OSError."""
    with _alone():
        private = PLACE / "apt"
        try:
            apt = Apt(private)
            locks = {tree: _newest(read_lock(tree.lock), apt) for tree in (SERVERS, BENCH)}
        finally:
            shutil.rmtree(private, ignore_errors=True)
        for tree, packages in locks.items():
            write_lock(packages, tree.lock, tree.purpose)


def _newest(packages: list[Package], apt: Apt) -> list[Package]:
    """The same packages, each in the newest version that apt offers."""
    found = []
    for each, version in choose([replace(each, version="") for each in packages], apt, exactly=False):
        shown = apt.show(each.name, version)
        found.append(replace(each, version=version, architecture=shown["Architecture"], sha256=shown["SHA256"]))
    return found


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


def _verify(taken: list[tuple[Package, str]], architecture: str, files: Path, lock: str) -> None:
    """Compares the hashes of the pinned files; says in one line which are not the pinned ones."""
    others = []
    for each, version in taken:
        # A colon in a version is written %3a in the file's name.
        (file,) = files.glob(f"{each.name}_{version.replace(':', '%3a')}_*.deb")
        if version != each.version or each.architecture not in (architecture, "all"):
            others.append(f"{each.name} {version} {architecture}")
        elif (found := hashlib.sha256(file.read_bytes()).hexdigest()) != each.sha256:
            raise AptError(f"{file.name}: expected sha256 {each.sha256} by {lock}, found {found}")
    if others:
        print(
            f"not as in {lock}, so only apt has verified them: {', '.join(others)}"
            " (python -m scripts.servers lock pins them)",
            file=sys.stderr,
        )


def _check_libraries(root: Path, tree: Tree) -> None:
    """Raises AptError when a program or a module below a new root would not load for want of a library."""
    patterns = ["usr/lib/syslog-ng/*.so*", "usr/lib/syslog-ng/*/*.so", "usr/lib/*/rsyslog/[il]m*.so"]
    if tree is SERVERS:
        patterns += map(str, PROGRAMS.values())
    loaded = [path for each in patterns for path in root.glob(each)]
    libraries = environment(root, SERVERS.root)["LD_LIBRARY_PATH"]
    lines = run(["ldd", *map(str, loaded)], LD_LIBRARY_PATH=libraries).splitlines()
    lacking = {line.split()[0] for line in lines if line.endswith("not found")}
    if lacking:
        raise AptError(f"no package of {tree.lock.name} has {', '.join(sorted(lacking))}, which the servers load")


@contextmanager
def _alone() -> Iterator[None]:
    """Waits for another install in this checkout: two `make` may come at once."""
    PLACE.mkdir(exist_ok=True)
    with (PLACE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
