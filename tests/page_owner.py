"""An owner of a page, for the tests of the page and of its slots."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from logbus.collectors.page import Page

#: Bytes of a slot: small, so that a few entries fill it.
SLOT = 512


class Owner:
    """A page and the state that it keeps: the concatenation of every payload since the owner last shrank it."""

    def __init__(self, path: Path, *, slot_bytes: int = SLOT) -> None:
        self.state = b""
        self.page = Page.open(path, name="tester", snapshot=lambda: self.state, slot_bytes=slot_bytes)
        self.state = b"".join(self.page.recover())

    def append(self, payload: bytes) -> None:
        """Changes the state and commits the change."""
        self.state += payload
        self.page.append(payload)

    def close(self) -> None:
        """Gives the page up."""
        self.page.close()


def reopened(path: Path) -> bytes:
    """The state that the next owner finds."""
    with closing(Owner(path)) as owner:
        assert owner.page.quarantined is None
        assert owner.page.damage is None
        return owner.state
