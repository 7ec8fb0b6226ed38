"""The users of other names who may log here: ``[bus] allow``, and what of the file system they have to reach.

By default nobody: the directory of the sockets is 0700, and the kernel stops everybody else before a socket. A list
opens that directory to one group (0710: its members may pass, and see no name in it), and in it the record socket,
the PUB socket (0660) and the file with the level rules (0640). The control socket stays 0600. The group only gets
somebody to the door: who comes in there is decided by uid (:mod:`logbus.collectors.zap`).

The group is one that holds every allowed user and that we may give a file to: one of our own groups, any for root.
Of several it is the one that looks most as if it had been made for this: nobody's primary group, with few members.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from logbus.errors import ConfigurationError

#: Modes with and without a group that may pass or write.
DIRECTORY_MODE, PRIVATE_DIRECTORY_MODE = 0o710, 0o700
SOCKET_MODE, PRIVATE_SOCKET_MODE = 0o660, 0o600


@dataclass(frozen=True, slots=True)
class User:
    """An allowed user and every group that he is in."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int]


@dataclass(frozen=True, slots=True)
class Allowed:
    """Users who may log, and the group that gets them to the door."""

    users: tuple[User, ...]
    gid: int

    @classmethod
    def of(cls, allow: Sequence[str | int]) -> Allowed | None:
        """The users of a list of names and uids, our own left out; None when nobody is left.

        Raises ConfigurationError, with a line for each user that can't be let in and the reason.
        """
        users, problems = [], []
        for item in dict.fromkeys(allow):
            try:
                entry = pwd.getpwnam(item) if isinstance(item, str) else pwd.getpwuid(item)
            except (KeyError, OverflowError, ValueError):
                problems.append(f"bus.allow: expected users of this system, found {item!r}, which is none")
                continue
            if entry.pw_uid == os.geteuid():
                continue
            groups = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
            users.append(User(entry.pw_name, entry.pw_uid, entry.pw_gid, groups))
        if problems:
            raise ConfigurationError(problems)
        return cls(tuple(users), _common_group(users)) if users else None

    @property
    def uids(self) -> frozenset[int]:
        """The uids of the users."""
        return frozenset(user.uid for user in self.users)

    def share(self, target: Path | int, mode: int) -> None:
        """Gives a file (path, or descriptor) to the group, with a mode. Raises OSError."""
        os.chown(target, -1, self.gid)
        os.chmod(target, mode)  # after the group: a chown may take bits away

    def unreachable(self, directory: Path) -> list[str]:
        """A line for each directory on the way, that one included, that an allowed user can't pass by its mode."""
        found = []
        for above in reversed([directory, *directory.parents]):
            info = above.stat()
            shut_out = [user.name for user in self.users if not _may_pass(info, user)]
            if shut_out:
                mode = stat.S_IMODE(info.st_mode)
                found.append(
                    f"bus.allow: {', '.join(shut_out)} can't pass directory {above} (mode {mode:04o}):"
                    " open it to them, or put the endpoint elsewhere"
                )
        return found


def close_to_others(directory: Path) -> None:
    """Takes back what an earlier list opened: a directory of ours with exactly that mode is ours alone again."""
    with contextlib.suppress(OSError):
        if stat.S_IMODE(directory.stat().st_mode) == DIRECTORY_MODE:
            directory.chmod(PRIVATE_DIRECTORY_MODE)


def _common_group(users: Sequence[User]) -> int:
    common = frozenset.intersection(*(user.groups for user in users))
    ours = {os.getegid(), *os.getgroups()}
    usable = common if os.geteuid() == 0 else common & ours
    if usable:
        return min(usable, key=lambda gid: (any(user.gid == gid for user in users), _members(gid), gid))
    names = ", ".join(user.name for user in users)
    me = _user_name(os.geteuid())
    if not common:
        groups = "; ".join(f"{user.name}: {_group_names(user.groups)}" for user in users)
        raise ConfigurationError([f"bus.allow: expected a group that holds all of {names}, found none ({groups})"])
    raise ConfigurationError(
        [
            f"bus.allow: expected {me} to be in a group that holds {names}, found him in {_group_names(ours)} only:"
            f" add him to {_group_names(common)}"
        ]
    )


def _members(gid: int) -> int:
    try:
        return len(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return 0


def _group_names(gids: Iterable[int]) -> str:
    names = []
    for gid in sorted(gids):
        try:
            names.append(grp.getgrgid(gid).gr_name)
        except KeyError:
            names.append(str(gid))
    return ", ".join(names)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _may_pass(info: os.stat_result, user: User) -> bool:
    """Whether the mode of a directory lets a user pass; access control lists are not looked at."""
    if info.st_uid == user.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid in user.groups:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)
