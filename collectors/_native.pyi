"""The compiled part of a collector (native/collector/), as Python sees it through :mod:`logbus.collectors.compiled`.

What it does is described where the Python is that does the same: decode.py, redaction/redact.py, format/json.py.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

#: A digest of the C that it was built from: ``logbus.compiled.digest()``.
SOURCES: Final[str]

class Memo:
    """Texts of earlier frames, and what redaction makes of them; at most ``texts``, of at most ``length`` bytes each.

    One more than that, and all are forgotten.
    """

    def __init__(self, texts: int, length: int) -> None: ...
    def __len__(self) -> int: ...

class Rows:
    """The records of a frame. Those with something unusual are Python's: they have a place here, and no content."""

    def __len__(self) -> int: ...
    @property
    def tables(self) -> bytes:
        """Source, call sites and threads: an array of three, in msgpack."""

    @property
    def drops(self) -> bytes:
        """The drops, in msgpack."""

    def sites(self) -> list[int]:
        """The call site of each record; 0 for one that was Python's from the beginning."""

    def leave_out(self, wanted: Sequence[bool], /) -> None:
        """Empties the records of call sites (``wanted`` has one answer for each) that nobody wants."""

    def fields(self) -> list[str]:
        """The keys of the records' fields, each once."""

    def judge(self, verdicts: bytes, /) -> None:
        """Takes one byte for each key: 0 plain, 1 secret, 2 secret unless a number, 3 makes its records Python's."""

    def unusual(self) -> dict[int, bytes]:
        """The records that are Python's, in msgpack, by their places."""

    def look(self, memo: Memo, /) -> bytes:
        """The texts that ``memo`` doesn't know and nobody has spoken of, joined by newlines.

        Each once, nearly: one for which the table has no place has a number for each time that it stands somewhere.
        """

    def holding(self, byte: bytes, /) -> dict[int, str]:
        """Those of the last :meth:`look` that have this byte in them, by their numbers."""

    def found(self, position: int, /) -> tuple[int, str, int]:
        """The number and the text of the one at a place of the last :meth:`look`, and where the next one begins."""

    def become(self, number: int, json: bytes | None, memo: Memo | None, /) -> None:
        """A text becomes another, given as JSON; or stays (None). The ``memo`` remembers it."""

    def settle(self, memo: Memo, /) -> None:
        """All others stay as they are; the ``memo`` remembers the messages among them."""

    def encode(
        self,
        style: tuple[bytes, bytes, bytes, bytes, Callable[[Any], bytes]],
        parts: Callable[[int, int], tuple[bytes, bytes]],
        keys: list[tuple[bytes, bool]],
        others: dict[int, bytes],
        chosen: Sequence[int] | None,
        /,
    ) -> bytes:
        """The lines of the chosen records (None: all).

        ``style`` is what a line begins with, the JSON of an empty message and of a mask, what stands before the fields
        that are not at the top of a line, and what writes a float. ``parts`` gives what stands before and behind the
        message of a call site on a thread; ``keys`` what stands before the value of each key, and whether that is at
        the top; ``others`` the lines of the records that are Python's.
        """

def scan(payload: bytes | memoryview, count: int, /) -> Rows | None:
    """The records of a DATA frame's payload; None where it is Python's to say what is wrong with it."""
