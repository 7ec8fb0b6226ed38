"""The packages of the servers that tests start: their lock, and which version is taken of what apt offers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import pytest

from scripts.servers.apt import Apt, AptError, choose
from scripts.servers.lock import LockError, Package, read_lock, write_lock
from scripts.servers.place import BENCH, SERVERS

DAEMON = Package("rsyslog", "8.2-1", "amd64", "a" * 64)
LIBRARY = Package("libpcre3", "2:8.39-15", "amd64", "b" * 64, "libpcre.so.3")


class Offers:
    """An apt that has these versions and no others."""

    def __init__(self, **versions: list[str]) -> None:
        self._versions = versions

    def versions(self, names: list[str]) -> dict[str, list[str]]:
        """As :meth:`Apt.versions`."""
        return {name: self._versions.get(name, []) for name in names}


def chosen(*, exactly: bool, **versions: list[str]) -> list[str]:
    """The version of DAEMON that is taken from these."""
    return [version for _, version in choose([DAEMON], cast("Apt", Offers(**versions)), exactly=exactly)]


def test_the_lock_of_this_checkout_names_each_server_and_every_hash() -> None:
    """The committed lock reads, and pins each package by a version and a hash."""
    packages = read_lock(SERVERS.lock)

    assert {each.name for each in packages if not each.soname} == {
        "rsyslog",
        "rsyslog-openssl",
        "syslog-ng-core",
        "nginx",
    }
    assert all(re.fullmatch("[0-9a-f]{64}", each.sha256) and each.version[0].isdigit() for each in packages)


def test_what_only_benchmarks_load_has_a_lock_of_its_own() -> None:
    """Only the module for ZeroMQ, with libraries that programs load by name; nothing of it is in the tests' lock."""
    packages = read_lock(BENCH.lock)

    assert [each.name for each in packages if not each.soname] == ["rsyslog-czmq"]
    assert all(re.fullmatch("[0-9a-f]{64}", each.sha256) and each.version[0].isdigit() for each in packages)
    assert not {each.name for each in packages} & {each.name for each in read_lock(SERVERS.lock)}


def test_a_lock_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Libraries keep the name that programs load, others have none."""
    write_lock([DAEMON, LIBRARY], tmp_path / "lock", "servers")

    assert read_lock(tmp_path / "lock") == [DAEMON, LIBRARY]


def test_a_line_that_is_no_package_is_named(tmp_path: Path) -> None:
    """The error has the file, the line's number and its text."""
    (tmp_path / "lock").write_text("# a comment\n\nrsyslog 8.2-1\n")

    with pytest.raises(LockError, match=r"lock:3: .*found 'rsyslog 8\.2-1'"):
        read_lock(tmp_path / "lock")


def test_the_pinned_version_is_taken_though_a_newer_one_is_offered() -> None:
    """A newer package changes nothing until somebody pins it."""
    assert chosen(exactly=True, rsyslog=["8.2-2", "8.2-1"]) == ["8.2-1"]
    assert chosen(exactly=False, rsyslog=["8.2-2", "8.2-1"]) == ["8.2-1"]


def test_the_newest_version_stands_in_for_one_that_is_gone_from_fresh_lists() -> None:
    """Old lists are not trusted with that: by them it is an error, after which fresh ones are fetched."""
    assert chosen(exactly=False, rsyslog=["8.2-3", "8.2-2"]) == ["8.2-3"]
    with pytest.raises(AptError, match="other versions of rsyslog"):
        chosen(exactly=True, rsyslog=["8.2-3"])


def test_a_package_that_is_not_offered_is_named() -> None:
    """Nothing is taken when one is missing."""
    with pytest.raises(AptError, match="no rsyslog"):
        chosen(exactly=False)
