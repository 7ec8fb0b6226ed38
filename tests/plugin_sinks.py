"""Sinks as other people write them, for the tests: named in configuration as ``tests.plugin_sinks:NAME``."""

from __future__ import annotations

from typing import Any, Final

from logbus import RefusedError
from logbus.collectors.sinks.base import TryAgainError

#: What every sink of this module has been called with, the newest last.
CALLS: Final[list[tuple[str, Any]]] = []


class Kept:
    """Keeps lines; refuses those with ``poison`` in them, and fails as its options say."""

    def __init__(self, path: str = "", *, fails: str = "") -> None:
        CALLS.append(("init", path))
        if path == "wrong":
            raise ValueError("no such place")
        self.fails = fails

    def open(self) -> None:
        """Called before the first write."""
        CALLS.append(("open", None))
        if self.fails == "open":
            raise ConnectionError("nobody there")
        if self.fails == "refused":
            raise RefusedError("no such table")

    def write(self, lines: list[bytes]) -> None:
        """Called with whole lines."""
        if self.fails == "exit":
            raise SystemExit(3)
        if self.fails == "later":
            raise TryAgainError("busy", after_s=float("inf"), doubtful=10**9)
        if self.fails == "second" and lines[0] == b"second":
            raise ConnectionError("gone")
        if any(b"poison" in line for line in lines):
            lines.clear()  # they are its own
            raise RefusedError("can't take password=hunter2")
        CALLS.append(("write", list(lines)))

    def abort(self) -> None:
        """Called from another thread."""
        CALLS.append(("abort", None))
        raise RuntimeError("nothing to end")

    def close(self) -> None:
        """Called at the end."""
        CALLS.append(("close", None))
        if self.fails == "close":
            raise OSError("already closed")


def repeat(*, path: str, auth: dict[str, Any], fails: str) -> Kept:
    """A function that makes none, and says with what, by no names."""
    raise ValueError(f"nothing to be made of {path}, {auth['password']}, {auth['pins'][0]} and {fails}")


def make(**options: Any) -> Kept:
    """A function that makes a sink."""
    return Kept(str(options))


class Mute:
    """No sink: nothing can be written to it."""


def nothing() -> None:
    """Makes no sink."""
