"""Dead counter pages, kept in bounds while no collector runs.

A page whose producer is dead and was never welcomed is unknown to every collector, so its counts need no identity:
beyond a number they are added up in one page file, and nothing is forgotten. Pages of producers that were welcomed
are a collector's to read; there are never more of those than lived when the last collector died.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from logbus.counters import DROP_WORDS, SUFFIX, Totals, read_page
from logbus.errors import PageError, WireError
from logbus.wire import pack_payload, unpack_payload

#: Pages in a directory from which on the dead ones are folded.
FOLD_FROM: Final = 256
#: Name of the file with the sums.
FOLDED: Final = "folded"
_LOCK: Final = "folded.lock"


class Folded(NamedTuple):
    """The sums of folded pages. ``identity`` is new with each fold after a collector has taken the sums over."""

    identity: bytes
    emitted: int
    pages: int
    dropped: list[int]
    #: Pages whose counts are in here and whose files may still be there, after a crash in between.
    members: list[bytes]

    def by_reason(self) -> list[int]:
        """Drops per producer reason."""
        return Totals(self.emitted, self.emitted, 0, self.dropped).by_reason()


def fold_if_many(directory: Path, served: Callable[[], bool]) -> None:
    """Folds dead pages when there are too many, unless ``served()`` says that a collector is there to remove them.

    Cheap when there are few; never waits for another that folds.
    """
    names = os.listdir(directory)
    if len(names) < FOLD_FROM or served():
        return
    with locked(directory) as mine:
        if mine:
            fold(directory)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Holds the lock on a directory's folded sums; yields False when another has it. Never waits. Raises OSError."""
    fd = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(fd)


def fold(directory: Path) -> None:
    """Adds dead pages that no collector knows to the sums, and removes them. The caller holds the lock."""
    before = read_folded(directory) or Folded(os.urandom(16), 0, 0, [0] * DROP_WORDS, [])
    _remove(directory, before.members)
    emitted, dropped = before.emitted, before.dropped
    members: list[bytes] = []
    for path in directory.glob(f"*{SUFFIX}"):
        try:
            page = read_page(path)
        except FileNotFoundError:
            continue
        except PageError:
            continue
        if page.alive or page.welcomed:
            continue
        emitted += page.totals.emitted
        dropped = [a + b for a, b in zip(dropped, page.totals.dropped, strict=True)]
        members.append(page.producer)
    _write(directory, Folded(before.identity, emitted, before.pages + len(members), dropped, members))
    _remove(directory, members)


def read_folded(directory: Path) -> Folded | None:
    """The sums of a directory, None when there are none. Raises PageError when they can't be read."""
    path = directory / FOLDED
    try:
        values: Any = unpack_payload(path.read_bytes())
        identity, emitted, pages, dropped, members = values
        if len(dropped) != DROP_WORDS:
            raise ValueError(f"expected {DROP_WORDS} drop counters, found {len(dropped)}")
        counts = [int(count) for count in dropped]
        return Folded(
            bytes.fromhex(identity), int(emitted), int(pages), counts, [bytes.fromhex(member) for member in members]
        )
    except FileNotFoundError:
        return None
    except (OSError, WireError, TypeError, ValueError) as error:
        raise PageError(path, f"has no readable sums: {error}") from error


def take_over(directory: Path, sums: Folded) -> None:
    """Removes the sums that a collector has entered in its ledger. The caller holds the lock."""
    _remove(directory, sums.members)
    (directory / FOLDED).unlink(missing_ok=True)


def _write(directory: Path, sums: Folded) -> None:
    members = [member.hex() for member in sums.members]
    packed = pack_payload([sums.identity.hex(), sums.emitted, sums.pages, sums.dropped, members])
    fresh = directory / f"{FOLDED}.new"
    fresh.write_bytes(packed)
    fresh.replace(directory / FOLDED)


def _remove(directory: Path, members: list[bytes]) -> None:
    for member in members:
        (directory / (member.hex() + SUFFIX)).unlink(missing_ok=True)
