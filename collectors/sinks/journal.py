"""What a file sink has rotated: the book by which retention knows its own files, kept in the state directory.

One journal per path that is logged to, in ``STATE/archives/``, named for the path and a hash of it, 0600. A line is
a checksum and a JSON document: what has become of one file, each time whole, so that the last line about a file is the
truth about it. A change is one appended line, which costs no more with a thousand files than with one; a journal that
has more old lines than files is replaced by a short one. ``kill -9`` tears the last line at most, and a torn line says
nothing yet; a power cut may tear the last few. Anything else that is wrong with a journal was not done by us: it is
put aside, and what it lists is nobody's, to be deleted by nobody.

Where it can't be written the book is kept in memory and written as a whole once that works again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import zlib
from pathlib import Path
from typing import Any, Final

from logbus.collectors.replace import Replacement, put_aside, read_own, sync_directory
from logbus.collectors.rotation import Moment
from logbus.collectors.sinks.compress import write_all
from logbus.collectors.sinks.entry import (
    Active,
    Entry,
    active_document,
    entry_document,
    read_active,
    read_entry,
    read_stamp,
)

#: Bytes of a journal that is read: twice what :data:`MAX_ENTRIES` files need.
MAX_BYTES: Final = 64 * 1024 * 1024
#: Files that are remembered; beyond them the oldest are forgotten, and so kept for ever.
MAX_ENTRIES: Final = 50_000
#: Lines beyond two for each file at which a journal is too long.
_SPARE_LINES: Final = 200
_VERSION: Final = 1


class Journal:
    """The book of one path. Nothing here raises: :attr:`failure` says why the file is behind the book.

    Whoever calls holds :attr:`lock`, for moments; but for :meth:`shorten`, which waits for a disk.
    """

    def __init__(self, path: Path, logs: Path) -> None:
        self.path = path
        self.lock = threading.Lock()
        self._logs = logs
        #: By name, the oldest first.
        self.entries: dict[str, Entry] = {}
        self.active: Active | None = None
        #: The stamp of the last name that was given.
        self.last_stamp = 0
        #: Why the file could not be written or read; None: it holds what the book holds.
        self.failure: str | None = None
        self._fd = -1
        self._lines = 0
        self._read = False
        #: What is noted while :meth:`shorten` waits for the disk.
        self._late: list[bytes] | None = None

    def open(self) -> str | None:
        """Reads it, unless that was done; returns a sentence about a journal that was put aside."""
        if self._read:
            return None
        try:
            data = read_own(self.path, max_bytes=MAX_BYTES)
            rewrite = self._take_in(data) if data is not None else False
        except OSError as error:
            self._fail(error)
            return None
        except (ValueError, RecursionError) as error:
            aside = put_aside(self.path)
            self._read = True
            self.rewrite()
            return f"unreadable, and put aside as {aside}: {error}; the files that it listed are left alone"
        self._read = True
        if rewrite or data is None or not self._reach():
            self.rewrite()
        return None

    @property
    def long(self) -> bool:
        """Whether most of its lines are old ones."""
        return self._lines > 2 * len(self.entries) + _SPARE_LINES

    def note(self, entry: Entry) -> None:
        """Writes down what a file has become."""
        self.entries[entry.name] = entry
        self.last_stamp = max(self.last_stamp, entry.stamp)
        self._append({"file": entry_document(entry)})

    def forget(self, name: str) -> None:
        """Writes down that a file has gone, or is none of ours."""
        if self.entries.pop(name, None) is not None:
            self._append({"gone": name})

    def begin(self, identity: tuple[int, int], began: Moment) -> None:
        """Writes down which file is written to, and since when."""
        self.active = Active(identity, began)
        self._append({"active": active_document(self.active)})

    def mend(self) -> str | None:
        """Tries again what has failed; returns what :meth:`open` returns."""
        said = self.open()
        if self._read and (self.failure is not None or not self._reach()):
            self.rewrite()
        return said

    def rewrite(self) -> None:
        """Replaces the file by one that holds the book and nothing else, on the disk."""
        if not self._read:
            return  # what the file says would be lost
        lines = self._whole()
        self._close()
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            with Replacement(self.path, b"".join(lines)) as replacement:
                replacement.commit()
            self._go_on_with(len(lines))
        except OSError as error:
            self._fail(error)

    def shorten(self) -> None:
        """The same without the lock, of one thread: nobody who notes something waits for the disk meanwhile.

        Where it fails the long one goes on, and it is tried again after some more lines.
        """
        with self.lock:
            if not self._read or self.failure is not None:
                return
            lines, self._late = self._whole(), []
        in_force = False
        try:
            with Replacement(self.path, b"".join(lines)) as replacement, self.lock:
                late = self._take_late()
                if late is None:
                    return  # closed meanwhile
                replacement.rename(b"".join(late))
                in_force = True
                self._close()
                self._go_on_with(len(lines) + len(late))
            sync_directory(self.path.parent)
        except OSError as error:
            with self.lock:
                self._late = None
                if in_force and self._read:
                    self._fail(error)
                self._lines = len(self.entries)

    def _take_late(self) -> list[bytes] | None:
        late, self._late = self._late, None
        return late

    def _whole(self) -> list[bytes]:
        lines = [_line({"v": _VERSION, "path": str(self._logs), "last": self.last_stamp})]
        if self.active is not None:
            lines.append(_line({"active": active_document(self.active)}))
        return lines + [_line({"file": entry_document(entry)}) for entry in self.entries.values()]

    def _go_on_with(self, lines: int) -> None:
        self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        self._lines = lines
        self.failure = None

    def duplicate(self) -> int | None:
        """A descriptor of the file, to be synced and closed; None where the file is behind the book."""
        return os.dup(self._fd) if self.failure is None and self._fd >= 0 else None

    def close(self) -> None:
        """Closes the file. What is noted from now on is not written; :meth:`open` reads it again."""
        self._close()
        self._read = False
        self._late = None
        self.entries, self.active, self.last_stamp, self.failure = {}, None, 0, None

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, document: dict[str, Any]) -> None:
        if not self._read:
            return
        line = _line(document)
        if self._late is not None:
            self._late.append(line)
        if self.failure is not None:
            return  # it is written as a whole once that works
        try:
            write_all(self._fd, line)
        except OSError as error:
            self._fail(error)  # a torn line is the last one, and replaced with the others
        self._lines += 1

    def _reach(self) -> bool:
        """Whether the open file is the one at the path, opened if none was: a state directory may be removed."""
        with contextlib.suppress(OSError):
            if self._fd < 0:
                self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
            mine, theirs = os.fstat(self._fd), os.lstat(self.path)
            return (mine.st_dev, mine.st_ino) == (theirs.st_dev, theirs.st_ino)
        return False

    def _fail(self, error: OSError) -> None:
        self.failure = f"{self.path}: {error.strerror or error}"
        self._late = None
        self._close()

    def _take_in(self, data: bytes) -> bool:
        """Enters what a journal says below what is in the book by now; True if it has to be written anew."""
        documents, torn = _documents(data)
        now = Moment.now()
        entries: dict[str, Entry] = {}
        active: Active | None = None
        moved = False
        for document in documents:
            if "file" in document:
                entry, was_moved = read_entry(document["file"], now)
                entries[entry.name] = entry
                self.last_stamp = max(self.last_stamp, entry.stamp)
                moved |= was_moved
            elif isinstance(document.get("gone"), str):
                entries.pop(document["gone"], None)
            elif "active" in document:
                active, was_moved = read_active(document["active"], now)
                moved |= was_moved
            elif document.get("v") == _VERSION:
                self.last_stamp = max(self.last_stamp, read_stamp(document, "last"))
            else:
                raise ValueError(f"expected a document of version {_VERSION}, found {str(document)[:80]}")
        self._lines = len(documents)
        self.entries = {**entries, **self.entries}
        self.active = self.active or active
        return torn or moved or self.failure is not None


def journal_of(state: Path, path: Path) -> Path:
    """Where a collector with this state directory keeps the journal of the files rotated from ``path``."""
    return state / "archives" / _journal_name(_real(path))


def _real(path: Path) -> Path:
    """The path without links in its directories; the last part is never followed."""
    return Path(os.path.realpath(path.parent)) / path.name


def _journal_name(path: Path) -> str:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    # For people who look for it; the hash tells them apart.
    shown = "".join(char if char.isascii() and (char.isalnum() or char in "._-") else "_" for char in path.name)
    return f"{shown[:80]}.{digest}.journal"


def _line(document: dict[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _documents(data: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The documents of a journal, and whether its end is torn. Raises ValueError when a line in its midst is wrong."""
    lines = data.split(b"\n")
    documents = [_parsed(line) for line in lines]
    whole = len(documents)
    while whole and documents[whole - 1] is None:
        whole -= 1
    found = [document for document in documents[:whole] if document is not None]
    if len(found) != whole:
        at = next(index for index, document in enumerate(documents) if document is None)
        raise ValueError(f"line {at + 1} does not match its checksum")
    if not found and data:
        raise ValueError("no line matches its checksum")
    return found, lines[whole:] != [b""]


def _parsed(line: bytes) -> dict[str, Any] | None:
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None
