"""Other users who may log: the group that gets them to the door, and what of the file system they reach."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from logbus.collectors import allowed as module
from logbus.collectors.allowed import Allowed, User, close_to_others
from logbus.errors import ConfigurationError
from tests.stranger import NOBODY, needs_root

#: Users (uid, primary group) and groups (gid, members) of a system that is made up.
USERS = {"me": (10, 10), "alice": (11, 11), "bob": (12, 12), "carol": (13, 13)}
GROUPS = {"me": (10, []), "alice": (11, []), "bob": (12, []), "carol": (13, []), "logs": (50, ["me", "alice", "bob"])}


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, list[str]]]:
    """The made-up system, of which we are "me"; its groups may be changed."""
    groups = dict(GROUPS)

    def user(name: str) -> SimpleNamespace:
        uid, gid = USERS[name]
        return SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=gid)

    def group(gid: int) -> SimpleNamespace:
        [(name, members)] = [(name, members) for name, (number, members) in groups.items() if number == gid]
        return SimpleNamespace(gr_name=name, gr_mem=members)

    def groups_of(name: str, gid: int) -> list[int]:
        return [gid, *(number for number, members in groups.values() if name in members)]

    monkeypatch.setattr(pwd, "getpwnam", user)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: user({found[0]: name for name, found in USERS.items()}[uid]))
    monkeypatch.setattr(grp, "getgrgid", group)
    monkeypatch.setattr(os, "getgrouplist", groups_of)
    monkeypatch.setattr(os, "geteuid", lambda: 10)
    monkeypatch.setattr(os, "getegid", lambda: 10)
    monkeypatch.setattr(os, "getgroups", lambda: groups_of("me", 10))
    return groups


def test_nobody_is_allowed_by_default(system: object) -> None:
    """An empty list, or one that names only ourselves, opens nothing."""
    assert Allowed.of(()) is None
    assert Allowed.of(("me", 10)) is None


def test_names_and_uids_name_users(system: object) -> None:
    """Each user counts once, and the group is one that holds all of them and us."""
    allowed = Allowed.of(("alice", 12, 11, "me"))
    assert allowed is not None
    assert allowed.uids == {11, 12}
    assert allowed.gid == 50


def test_every_unknown_user_is_named(system: object) -> None:
    """All of them at once."""
    with pytest.raises(ConfigurationError) as refused:
        Allowed.of(("alice", "dave", 99))
    assert [problem.rpartition("found ")[2] for problem in refused.value.problems] == [
        "'dave', which is none",
        "99, which is none",
    ]


def test_users_without_a_common_group_are_named_with_theirs(system: object) -> None:
    """The error says who is in which groups."""
    with pytest.raises(ConfigurationError, match=r"holds all of alice, carol, found none \(alice: alice, logs; carol"):
        Allowed.of(("alice", "carol"))


def test_a_group_that_we_are_not_in_is_named(system: dict[str, tuple[int, list[str]]]) -> None:
    """A user can't give a file to it; root can give one to any."""
    system["logs"] = (50, ["alice", "bob"])
    with pytest.raises(
        ConfigurationError, match=r"expected me to be in a group that holds alice, bob.*add him to logs"
    ):
        Allowed.of(("alice", "bob"))


def test_root_may_choose_any_group(system: dict[str, tuple[int, list[str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """His own groups don't count."""
    system["logs"] = (50, ["alice", "bob"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    allowed = Allowed.of(("alice", "bob"))
    assert allowed is not None
    assert allowed.gid == 50


def test_a_group_made_for_this_comes_before_a_primary_one(system: dict[str, tuple[int, list[str]]]) -> None:
    """Of several groups it is nobody's primary one, with the fewest members."""
    system["alice"] = (11, ["me"])
    system["everybody"] = (40, list(USERS))
    allowed = Allowed.of(("alice",))
    assert allowed is not None
    assert allowed.gid == 50


def test_a_file_is_given_to_the_group(tmp_path: Path) -> None:
    """By path or by descriptor, with exactly that mode."""
    allowed = Allowed((), os.getgroups()[-1] if os.getgroups() else os.getegid())
    if os.geteuid() == 0:
        allowed = Allowed((), NOBODY)
    path = tmp_path / "levels"
    path.touch(mode=0o600)
    allowed.share(path, 0o640)
    assert (path.stat().st_gid, stat.S_IMODE(path.stat().st_mode)) == (allowed.gid, 0o640)
    with path.open("r+") as file:
        allowed.share(file.fileno(), 0o660)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_directories_that_stop_a_user_are_named(tmp_path: Path) -> None:
    """By owner, group or others, whichever the system would look at, and only those on the way."""
    needs_root()
    user = User("alice", 4242, 4242, frozenset({4242, 4243}))
    stopped = tmp_path / "a"
    (stopped / "b").mkdir(parents=True)
    for above in (stopped, *stopped.parents):
        if above.is_relative_to(Path("/tmp")) and above != Path("/tmp"):
            above.chmod(0o755)
    allowed = Allowed((user,), 4243)
    (stopped / "b").chmod(0o710)
    os.chown(stopped / "b", 0, 4243)
    assert allowed.unreachable(stopped / "b") == []
    stopped.chmod(0o700)
    [line] = allowed.unreachable(stopped / "b")
    assert f"alice can't pass directory {stopped} (mode 0700)" in line
    os.chown(stopped, 4242, 0)
    assert allowed.unreachable(stopped / "b") == []
    (stopped / "b").chmod(0o701)  # the group's bits count for its members, not those of others
    assert len(allowed.unreachable(stopped / "b")) == 1


def test_what_was_opened_is_closed_again(tmp_path: Path) -> None:
    """A directory with exactly the mode that a list gives is ours alone again; another mode is somebody's wish."""
    for mode, after in ((module.DIRECTORY_MODE, 0o700), (0o755, 0o755), (0o700, 0o700)):
        tmp_path.chmod(mode)
        close_to_others(tmp_path)
        assert stat.S_IMODE(tmp_path.stat().st_mode) == after
