"""Who has changed what, and when: a line for each command that changes something, and for what time changed.

``audit.jsonl`` in the state directory, for its owner only, one JSON document a line; at :data:`MAX_BYTES` it becomes
``audit.1.jsonl``. Each entry is a record of component ``logbus`` too, and so goes where all records go. In both what
was commanded is masked: a component may be named for a URL, and a condition may hold a token.

Commands that were refused are written as well, but only so many a minute: nobody can push the past out of the file, or
fill a sink, by asking for what he won't get.
"""

from __future__ import annotations

import functools
import json
import os
import pwd
import re
import socket
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from logbus.collectors.commands import Asker

#: The file in the state directory, and the one before it.
FILE_NAME: Final = "audit.jsonl"
OLDER_NAME: Final = "audit.1.jsonl"
#: Bytes of the file, beyond which it becomes the older one.
MAX_BYTES: Final = 1024 * 1024
#: Refusals written in a minute; the others are counted, and the count stands in the next entry.
REFUSALS_A_MINUTE: Final = 20
#: Characters of a text in an entry, and of all that was commanded.
_TEXT_CHARS: Final = 200
_WHAT_CHARS: Final = 2000
#: What stands for a document that no function can walk through.
_DEEP: Final = "(nested too deeply)"
#: What can stand in a sentence as it is.
_PLAIN: Final = re.compile(r"[\w.:/@%+-]+\Z")
#: What a command carries that says nothing of what it wants.
_ENVELOPE: Final = frozenset({"v", "command", "id", "at", "from", "name", "wait_seconds"})


class Voice(Protocol):
    """The collector's own records, as :class:`logbus.collectors.own.OwnRecords` makes them."""

    def say(self, message: str, **fields: str | int) -> None:
        """A WARNING."""

    def note(self, message: str, **fields: str | int) -> None:
        """An INFO."""


#: The value of a field as a record would show it.
Mask = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Author:
    """Who asks: by the kernel's word (ipc) or, where that says nothing (tcp), by his own: ``vouched`` is False."""

    uid: int | None
    user: str
    pid: int | None
    host: str
    vouched: bool

    @classmethod
    def of(cls, asker: Asker, document: Mapping[str, Any]) -> Author:
        """The author of a command."""
        if asker.uid is not None:
            return cls(asker.uid, user_name(asker.uid), asker.pid, socket.gethostname(), True)
        claimed = document.get("from")
        said = claimed if isinstance(claimed, dict) else {}
        pid = said.get("pid")
        known = pid if type(pid) is int and 0 < pid < 1 << 31 else None
        return cls(None, _text(said.get("user", "?")), known, _text(said.get("host", "?")), False)

    def __str__(self) -> str:
        """For people: user and host; one that nobody vouches for is marked."""
        return f"{self.user}@{self.host}" + ("" if self.vouched else " (unverified)")


class Audit:
    """The audit of one collector. ``own`` takes its records, ``tell`` is given sentences for people, ``mask`` masks."""

    def __init__(self, directory: Path, *, own: Voice, tell: Callable[[str], None], mask: Mask | None = None) -> None:
        self._path = directory / FILE_NAME
        self._older = directory / OLDER_NAME
        self._own = own
        self._mask = mask
        self._tell = tell
        self._failing = False
        self._minute = 0.0
        self._refusals = 0
        self._unwritten = 0

    def changed(self, command: str, author: Author, what: Mapping[str, Any], *, version: int) -> None:
        """A command was done; ``version`` is that of the levels then."""
        self._enter(command, author, what, "done", version=version)

    def refused(self, command: str, author: Author, what: Mapping[str, Any], *, error: str, version: int) -> None:
        """A command was refused. Beyond so many a minute it is only counted."""
        now = time.monotonic()
        if now - self._minute >= 60:
            self._minute, self._refusals = now, 0
        self._refusals += 1
        if self._refusals > REFUSALS_A_MINUTE:
            self._unwritten += 1
            return
        self._enter(command, author, what, "refused", version=version, error=_text(self._masked(error)))

    def expired(self, what: Mapping[str, Any], *, version: int) -> None:
        """A rule ended by itself."""
        author = Author(os.geteuid(), "logbus", os.getpid(), socket.gethostname(), True)
        self._enter("expire", author, what, "expired", version=version)

    def _enter(
        self, command: str, author: Author, what: Mapping[str, Any], outcome: str, *, version: int, error: str = ""
    ) -> None:
        command = _text(command)
        shown = _shown(self._masked(what))
        entry: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "command": command,
            "uid": author.uid,
            "user": author.user,
            "pid": author.pid,
            "host": author.host,
            "vouched": author.vouched,
            "what": shown,
            "outcome": outcome,
            "version": version,
        }
        if error:
            entry["error"] = error
        if self._unwritten:
            entry["refusals_not_written"], self._unwritten = self._unwritten, 0
        self._write(json.dumps(entry).encode() + b"\n")
        words = " ".join(f"{key}={_word(value)}" for key, value in shown.items())
        fields = {"uid": author.uid, "user": author.user, "pid": author.pid, "host": author.host}
        message = " ".join(filter(None, (command, words, f"by {author}: {outcome}"))) + (f": {error}" if error else "")
        record = self._own.say if outcome == "refused" else self._own.note
        named = {f"by_{key}": value for key, value in fields.items() if value is not None}
        record(message, event=command, outcome=outcome, what=words, version=version, **named)

    def _masked(self, value: Any) -> Any:
        try:
            return value if self._mask is None else self._mask("", value)
        except RecursionError:  # as in _word: what can't be looked through is not shown
            return {"document": _DEEP} if isinstance(value, Mapping) else _DEEP

    def _write(self, line: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            fd = os.open(self._path, flags, 0o600)
            try:
                info = os.fstat(fd)
                if not stat.S_ISREG(info.st_mode):
                    raise OSError(0, "it is not a file")
                if info.st_size and os.pread(fd, 1, info.st_size - 1) != b"\n":
                    line = b"\n" + line  # a killed collector tore the last one
                if os.write(fd, line) != len(line):
                    raise OSError(0, "only a part of the line was written")
                full = info.st_size + len(line) >= MAX_BYTES
            finally:
                os.close(fd)
            if full:
                self._path.replace(self._older)
        except OSError as error:
            # What was done is done: it is said aloud, and as a record, that the file lacks it.
            if not self._failing:
                self._tell(f"the audit can't be written to {self._path}: {error.strerror}")
            self._failing = True
            return
        self._failing = False


def what_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a command wants: its document without what every command carries, and without what is empty."""
    said = {key: value for key, value in document.items() if key not in _ENVELOPE and value is not False}
    return {key: value for key, value in said.items() if value not in (None, "", {}, [])}


@functools.lru_cache(maxsize=64)
def user_name(uid: int) -> str:
    """The name of a user; his uid in digits if he has none. Only our own is looked up: a directory service may hang."""
    if uid == os.geteuid():
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            pass
    return str(uid)


def _shown(what: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key, value in what.items():
        shown[_text(key)] = value if type(value) in (int, float, bool) else _text(_words(value))
    if len(json.dumps(shown)) > _WHAT_CHARS:
        return {"document": _text(json.dumps(shown))}
    return shown


def _words(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{key}={_quoted(_word(inner))}" for key, inner in value.items())
    return _word(value)


def _word(value: object) -> str:
    try:
        return value if isinstance(value, str) else json.dumps(value)
    except RecursionError:  # it was read nearer to the bottom of the stack
        return _DEEP


def _quoted(word: str) -> str:
    """The word; in quotes if it is more than one: redaction takes a secret that is quoted as a whole."""
    return word if _PLAIN.match(word) else json.dumps(word)


def _text(value: object) -> str:
    """A text that fits in an entry, in characters that every encoder takes."""
    text = str(value)
    cut = text if len(text) <= _TEXT_CHARS else f"{text[:_TEXT_CHARS]}…"
    return cut.encode("utf-8", "backslashreplace").decode()
