"""The segments of all dead letters, and the bound: each sink has its own, one of which is written to.

When there is no room, the oldest segment goes of the sink that takes the most: one that is refused everything pushes
out its own letters first, and none of another's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator
from heapq import heappop, heappush
from math import inf
from pathlib import Path
from typing import Final

from logbus.collectors.dead_letters.grave import Grave, finish
from logbus.collectors.dead_letters.letter import Letter
from logbus.collectors.spool import quarantine
from logbus.collectors.spool.folder import Folder
from logbus.collectors.spool.segment import MAX_HEADER
from logbus.collectors.spool.stored import UNREADABLE, NewerError, why_unread

#: Parts into which the room is cut, and bytes of a segment at most. A longer letter has one of its own.
_PARTS: Final = 32
SEGMENT_BYTES: Final = 256 * 1024


class Graveyard:
    """The segments in a directory, in the order in which they were begun; for one thread at a time.

    ``say`` is given what is wrong with a file. ``max_bytes`` is what they take on disk at most; ``evicted`` are the
    letters that had to go for others, and ``lost`` those that could not be read any more.
    """

    def __init__(self, directory: Path, max_bytes: int, say: Callable[[str], None]) -> None:
        self.graves: list[Grave] = []
        self.evicted = self.lost = 0
        self._max_bytes = max_bytes
        self._segment_bytes = max(MAX_HEADER, min(max_bytes // _PARTS, SEGMENT_BYTES))
        self._say = say
        self._folder = Folder(directory)
        #: By the name of a sink, the one that is written to.
        self._open: dict[str, Grave] = {}
        self._last_tag = 0

    def find(self) -> None:
        """Reads all that lies there. Never raises: what can't be read is told and set aside."""
        try:
            for name in finish(self._folder, os.listdir(self._folder.fd)):
                if name != quarantine.DIRECTORY and (grave := self._find(name)) is not None:
                    self.graves.append(grave)
            self.graves.sort(key=lambda grave: grave.first)
            self._make_room(0)
        except FileNotFoundError:
            return
        except OSError as error:
            self._say(f"{self._folder.path} can't be read: {error.strerror}")

    def dig(self, sink: str, size: int) -> Grave | None:
        """The segment that a sink's letters go to, with room for an entry of this size; None: it is too long.

        Raises OSError.
        """
        grave = self._open.get(sink)
        if grave is not None and grave.free >= size:
            return grave
        if grave is not None:
            self.leave(sink)
        size = max(self._segment_bytes, size + MAX_HEADER)
        if size > self._max_bytes:
            return None
        self._make_room(size)
        grave = self._open[sink] = Grave.dig(self._folder, self._tag(), sink=sink, size=size)
        self.graves.append(grave)
        return grave

    def leave(self, sink: str) -> None:
        """Nothing more goes to the segment that a sink's letters went to."""
        grave = self._open.pop(sink, None)
        if grave is None:
            return
        try:
            grave.seal()
            grave.sync()
        except OSError as error:
            self._say(f"{grave.name} can't be closed well: {error.strerror}")
        grave.close()

    def remove(self, grave: Grave) -> None:
        """Removes a segment, damaged or not. Raises OSError."""
        grave.remove()
        self._forget(grave)

    def take_out(self, grave: Grave, numbers: Collection[int]) -> None:
        """Removes these letters from a segment. Raises OSError."""
        left = grave.without(numbers)
        at = self.graves.index(grave)
        self._forget(grave)
        if left is not None:
            self.graves.insert(at, left)

    def about(
        self, sink: str | None, numbers: Collection[int] | None = None, after: int = 0, until: float = inf
    ) -> list[Grave]:
        """The segments in which there may be letters of a sink (None: of any), with such numbers."""
        return [
            grave
            for grave in self.graves
            if (sink is None or grave.sink == sink)
            and grave.last > after
            and grave.first <= until
            and (numbers is None or any(grave.first <= number <= grave.last for number in numbers))
        ]

    def walk(
        self, sink: str | None, numbers: Collection[int] | None, after: int, until: float, *, newest: bool
    ) -> Iterator[Letter]:
        """Those letters in the order of their numbers, or against it (segments of several sinks overlap).

        Numbers are above ``after`` and up to ``until``. Raises OSError.
        """
        sign = -1 if newest else 1
        graves = self.about(sink, numbers, after, until)
        graves.sort(key=lambda grave: -grave.last if newest else grave.first)
        ready: list[tuple[int, Letter]] = []
        for grave in graves:
            begin = -grave.last if newest else grave.first
            while ready and ready[0][0] < begin:
                yield heappop(ready)[1]
            for letter in grave.letters():
                if after < letter.number <= until and (numbers is None or letter.number in numbers):
                    heappush(ready, (sign * letter.number, letter))
        while ready:
            yield heappop(ready)[1]

    def note_losses(self) -> None:
        """Tells and counts what has turned out to be damaged."""
        for grave in list(self.graves):
            if lost := grave.take_lost():
                self.lost += lost
                self._say(f"{grave.name} is damaged: {lost} letters of it are lost")
                if not grave.letters_left:
                    self._clear(grave)
                    self._forget(grave)

    def close(self) -> None:
        """Has all survive a power cut, and gives back what is allocated and not used; idempotent."""
        for sink in list(self._open):
            self.leave(sink)
        with contextlib.suppress(OSError):
            self._folder.sync()
        for grave in self.graves:
            grave.close()
        self._folder.close()

    def _find(self, name: str) -> Grave | None:
        try:
            grave = Grave.find(self._folder, self._tag(), name)
        except (NewerError, ValueError, OSError) as error:
            self._say(why_unread(name, error))
            if isinstance(error, OSError) and error.errno in UNREADABLE:
                self._set_aside(name)
            return None
        if grave.damaged:
            self._say(f"{name} is damaged: {grave.letters_left} whole letters of it are kept")
        if not grave.letters_left:
            self._clear(grave)
            return None
        try:
            return grave.without(()) if grave.damaged else grave
        except OSError as error:
            self._say(f"{name} can't be mended: {error.strerror}")
            return grave

    def _clear(self, grave: Grave) -> None:
        """Takes a file away in which no letter is left: into quarantine if it is damaged."""
        if grave.damaged:
            self._set_aside(grave.name)
            return
        try:
            grave.remove()
        except OSError as error:
            self._say(f"{grave.name} can't be removed: {error.strerror}")

    def _set_aside(self, name: str) -> None:
        if (said := quarantine.move(self._folder, name)) is not None:
            self._say(said)

    def _make_room(self, size: int) -> None:
        """Removes letters until there is room for so many bytes more. Raises OSError."""
        while self.graves:
            taken: dict[str, int] = {}
            for grave in self.graves:
                taken[grave.sink] = taken.get(grave.sink, 0) + grave.size
            if sum(taken.values()) + size <= self._max_bytes:
                return
            most = max(taken, key=taken.__getitem__)
            victim = min(self.about(most), key=lambda grave: grave.first)
            self.evicted += victim.letters_left
            self.remove(victim)

    def _forget(self, grave: Grave) -> None:
        self.graves.remove(grave)
        if self._open.get(grave.sink) is grave:
            del self._open[grave.sink]
        grave.close()

    def _tag(self) -> int:
        self._last_tag += 1
        return self._last_tag
