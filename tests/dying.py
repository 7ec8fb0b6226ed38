"""A process that dies at a system call, in this process: everything after that call does nothing, as after kill -9.

``with Dying(at=7) as dying:`` lets six calls that change a disk happen and raises :class:`Died` in place of the
seventh and of every later one, so that no ``finally`` of the code under test tidies up. ``torn`` has the fatal call
write half of its bytes first. ``dying.calls`` says how many there were.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

#: What changes a disk. Opening counts where it may make a file.
_CALLS = ("open", "write", "rename", "replace", "link", "unlink", "mkdir", "ftruncate", "fchmod", "fchown", "utime")


class Died(BaseException):
    """The process is dead."""


class Dying:
    """The life of a process that ends with its call number ``at``, counted from 1; 0: it lives."""

    def __init__(self, at: int = 0, *, torn: bool = False) -> None:
        self.calls = 0
        self._at = at
        self._torn = torn
        self._real: dict[str, Any] = {}

    def __enter__(self) -> Dying:
        for name in (*_CALLS, "fsync"):
            self._real[name] = getattr(os, name)
        for name in _CALLS:
            setattr(os, name, self._wrapped(name))
        setattr(os, "fsync", self._sync)  # noqa: B010
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _wrapped(self, name: str) -> Any:
        real = self._real[name]

        def call(*arguments: Any, **options: Any) -> Any:
            if name == "open" and not arguments[1] & os.O_CREAT:
                return real(*arguments, **options)
            self._count(name, arguments)
            return real(*arguments, **options)

        return call

    def _sync(self, fd: int) -> None:
        self._count("fsync", (fd,))  # and nothing else: no power is cut, and tests are many

    def _count(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.calls += 1
        if not self._at or self.calls < self._at:
            return
        if self._torn and name == "write" and self.calls == self._at:
            fd, data = arguments
            self._real["write"](fd, bytes(data)[: len(data) // 2])
        raise Died
