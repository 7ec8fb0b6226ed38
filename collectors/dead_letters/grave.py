"""One segment of dead letters: those of one sink, in the order of their numbers.

Letters leave a segment in any order, and a segment can only be appended to. So what stays is written to a file beside
it, which then takes its name: a crash leaves the one or the other, whole, and never a letter twice. A segment in which
something is damaged is moved into quarantine between the two steps, and then the file beside it is all there is: the
next look finishes what was begun.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Sequence
from typing import Final

from logbus.collectors.dead_letters.letter import Letter
from logbus.collectors.sinks import folder as names
from logbus.collectors.spool import quarantine
from logbus.collectors.spool.folder import Folder
from logbus.collectors.spool.segment import ENTRY_BYTES, Entry, encode, encode_header, key, parse_name
from logbus.collectors.spool.stored import NewerError, Stored

#: The dialect that the header of each segment has: entries are letters, which say their own.
DIALECT: Final = "dead letters"
#: What is written beside a segment to take its place.
_PART: Final = ".part"
#: Bytes of a block on disk, of which a file takes a whole number.
_BLOCK: Final = 4096


class Grave:
    """A segment of the letters of one sink."""

    def __init__(self, folder: Folder, stored: Stored, sink: str) -> None:
        self.sink = sink
        self._folder = folder
        self._stored = stored

    @classmethod
    def dig(cls, folder: Folder, tag: int, *, sink: str, size: int) -> Grave:
        """A new one, of so many bytes. Raises OSError."""
        try:
            stored = Stored.create(folder, tag, lane=0, dialect=DIALECT, size=size)
        except FileNotFoundError:
            folder.make()
            stored = Stored.create(folder, tag, lane=0, dialect=DIALECT, size=size)
        return cls(folder, stored, sink)

    @classmethod
    def find(cls, folder: Folder, tag: int, name: str) -> Grave:
        """The one that lies under a name; nothing more is put in.

        Raises what :meth:`Stored.scan` raises, NewerError too where entries are whole and no letters.
        """
        found = cls(folder, Stored.scan(folder, tag, name, 0), "")
        letters = found.letters()
        if letters:
            found.sink = letters[0].sink
        elif found.letters_left:
            raise NewerError
        return found

    @property
    def name(self) -> str:
        """Its file's."""
        return str(self._stored.name)

    @property
    def letters_left(self) -> int:
        """How many letters are in it."""
        return self._stored.live

    @property
    def size(self) -> int:
        """Bytes that it takes on disk."""
        return max(1, -(-self._stored.allocated // _BLOCK)) * _BLOCK

    @property
    def free(self) -> int:
        """Bytes of entries that have room in it; 0 for one that was found."""
        return self._stored.free

    @property
    def first(self) -> int:
        """A number that no letter in it is below."""
        return self._stored.first

    @property
    def last(self) -> int:
        """The number of the last one."""
        return self._stored.last

    @property
    def damaged(self) -> bool:
        """Whether something in it was no letter any more."""
        return self._stored.damaged

    def put(self, letters: Sequence[tuple[int, bytes]]) -> None:
        """Adds letters (number, payload) for which there is room. Raises OSError, and then none was added."""
        before = self._stored.mark()
        try:
            self._stored.append([number for number, _ in letters], [payload for _, payload in letters])
        except BaseException:
            with contextlib.suppress(OSError):
                self._stored.undo(before)
            raise

    def letters(self) -> list[Letter]:
        """All of them. Raises OSError when another attempt is worth while; what can't be read any more is lost."""
        found = [Letter.unpack(number, payload) for number, _, payload, _, _ in self._entries()]
        return [letter for letter in found if letter is not None]

    def take_lost(self) -> int:
        """How many letters turned out to be lost since this was asked."""
        return self._stored.take_lost()

    def without(self, numbers: Collection[int]) -> Grave | None:
        """The same without these letters; None when no other is left, and then the file has gone. Raises OSError.

        A file that is damaged and has others goes into quarantine.
        """
        kept = [entry for entry in self._entries() if entry[0] not in numbers]
        if not kept:
            self.remove()
            return None
        self._stored.seal()
        self._write_beside(kept)
        if self.damaged:
            quarantine.set_aside(self._folder.fd, self.name)
        os.rename(self.name + _PART, self.name, src_dir_fd=self._folder.fd, dst_dir_fd=self._folder.fd)
        self._folder.note()
        self._stored.close()
        return Grave(self._folder, Stored.scan(self._folder, self._stored.tag, self.name, 0), self.sink)

    def seal(self) -> None:
        """Nothing more is put in; gives back what is allocated and not used. Raises OSError."""
        self._stored.seal()

    def sync(self) -> None:
        """Has its letters survive a power cut. Raises OSError, once."""
        self._stored.sync()

    def remove(self) -> None:
        """Removes its file. Raises OSError."""
        self._stored.remove()

    def close(self) -> None:
        """Closes its file."""
        self._stored.close()

    def _entries(self) -> list[Entry]:
        stored, found = self._stored, list[Entry]()
        try:
            while stored.unread:
                stored.read()
                found += stored.decoded
                stored.decoded = []
        finally:
            if found:
                stored.rewind(found[0], len(found))
            if stored.sealed:
                stored.close()
        return found

    def _write_beside(self, kept: Sequence[Entry]) -> None:
        stored = self._stored
        header = encode_header(stored.name.id, created_us=int(stored.created * 1e6), lane=0, dialect=DIALECT)
        entries = encode(key(stored.name.id), 0, [entry[0] for entry in kept], [entry[2] for entry in kept])
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.name + _PART, dir_fd=self._folder.fd)
        fd = names.create(self._folder.fd, self.name + _PART)
        try:
            data = memoryview(header + entries)
            while data:
                data = data[os.write(fd, data) :]
            os.fdatasync(fd)
        finally:
            os.close(fd)


def room_for(payload: bytes) -> int:
    """Bytes of the entry with this payload."""
    return ENTRY_BYTES + len(payload)


def finish(folder: Folder, present: Collection[str]) -> list[str]:
    """Finishes what a crash has interrupted in a directory with these names; the names of the segments there.

    Other names are given too. Raises OSError.
    """
    found = set(present)
    for part in present:
        name = part.removesuffix(_PART)
        if name == part or parse_name(name) is None:
            continue
        found.remove(part)
        if name in found:  # which is whole; what was beside it need not be
            os.unlink(part, dir_fd=folder.fd)
        else:
            os.rename(part, name, src_dir_fd=folder.fd, dst_dir_fd=folder.fd)
            found.add(name)
    return sorted(found)
