"""A batch in one format: encoded when somebody first asks, once for all sinks that share it, and never raising.

A format of ours writes every record. One of somebody else's may not: it raises, or returns something that is no line.
Such a record has no line here, and the others have theirs; a format that raises as a whole has none for any. The route
books them, so that a sink with a bad format never touches another sink.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from logbus.collectors.decode import Batch
from logbus.collectors.format import Formatter, lines as split_lines

#: How many times fewer than all records those must be that are encoded for themselves.
FEW: Final = 2
#: Characters of an error that are kept.
MAX_ERROR_CHARS: Final = 300
_NONE: Final[frozenset[int]] = frozenset()


class Encoded:
    """The lines of a batch in a format.

    ``alone`` says that one sink only has the format. ``error`` says why records have no line, if any that were asked
    for have none.
    """

    __slots__ = ("_data", "_failed", "_lines", "alone", "batch", "error", "formatter")

    def __init__(self, formatter: Formatter, batch: Batch, *, alone: bool = False) -> None:
        self.formatter = formatter
        self.batch = batch
        self.alone = alone
        self.error: str | None = None
        self._data: bytes | None = None
        self._lines: list[bytes] | None = None
        self._failed = _NONE

    @property
    def whole(self) -> bytes:
        """The lines of all records that have one."""
        return self._encode() if self._data is None else self._data

    @property
    def lines(self) -> list[bytes]:
        """One element for each record, newline included; empty where it has no line."""
        data = self.whole
        if self._lines is None:
            self._lines = split_lines(data)
            total = len(self.batch.records)
            if len(self._lines) != total:  # nobody can tell which is whose
                self._give_up(ValueError(f"expected {total} lines, found {len(self._lines)}"))
        return self._lines

    @property
    def failed(self) -> frozenset[int]:
        """The indices of records that have no line."""
        if self._data is None:
            self._encode()
        return self._failed

    def pick(self, chosen: Sequence[int]) -> list[bytes]:
        """The lines of the chosen records, empty where there is none.

        Where nobody else needs the lines of the others, and these are most, they are not made.
        """
        batch = self.batch
        if not self.alone or self._data is not None or len(chosen) * FEW > len(batch.records):
            lines = self.lines
            return [lines[at] for at in chosen]
        records = [batch.records[at] for at in chosen]
        part = Batch(batch.producer, batch.first_seq, batch.source, batch.sites, batch.threads, records, [])
        encoded = Encoded(self.formatter, part)
        lines = encoded.lines
        self.error = encoded.error or self.error
        return lines

    def _encode(self) -> bytes:
        total = len(self.batch.records)
        each = getattr(self.formatter, "encode_each", None)
        data = b""
        try:
            if each is None:
                data = self.formatter.encode(self.batch)  # to count its lines would cost a tenth of making them
            else:
                found: list[bytes | None] = each(self.batch)
                if len(found) != total:
                    raise ValueError(f"expected {total} lines, found {len(found)}")
                self._lines = [line or b"" for line in found]
                self._failed = frozenset([at for at, line in enumerate(found) if not line])
                self.error = getattr(self.formatter, "error", None)
                data = b"".join(self._lines)
        except Exception as error:  # somebody else's code, and the collector's thread
            self._give_up(error)
            data = b""
        self._data = data
        return data

    def _give_up(self, error: Exception) -> None:
        total = len(self.batch.records)
        self._lines = [b""] * total
        self._failed = frozenset(range(total))
        self.error = _words(error)


def _words(error: Exception) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # its __str__ is somebody else's code, too
        text = type(error).__name__
    return text[:MAX_ERROR_CHARS]
