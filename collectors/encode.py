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

    ``alone`` says that one sink only has the format, and ``wanted`` which records somebody may ask for, in order (None:
    all). ``error`` says why records have no line, if any that were asked for have none.
    """

    __slots__ = ("_data", "_failed", "_lines", "_part", "_places", "alone", "batch", "error", "formatter", "wanted")

    def __init__(
        self, formatter: Formatter, batch: Batch, *, alone: bool = False, wanted: Sequence[int] | None = None
    ) -> None:
        self.formatter = formatter
        self.batch = batch
        self.alone = alone
        self.wanted = wanted
        self.error: str | None = None
        #: What is encoded: the wanted records. Their places in it, by index, once somebody asks for some of them.
        self._part = batch if wanted is None else batch.part(wanted)
        self._places: dict[int, int] | None = None
        self._data: bytes | None = None
        self._lines: list[bytes] | None = None
        self._failed = _NONE

    @property
    def whole(self) -> bytes:
        """The lines of all wanted records that have one."""
        return self._encode() if self._data is None else self._data

    @property
    def lines(self) -> list[bytes]:
        """One element for each wanted record, newline included; empty where it has no line."""
        data = self.whole
        if self._lines is None:
            self._lines = split_lines(data)
            total = self._part.count
            if len(self._lines) != total:  # nobody can tell which is whose
                self._give_up(ValueError(f"expected {total} lines, found {len(self._lines)}"))
        return self._lines

    @property
    def failed(self) -> frozenset[int]:
        """The places, among the wanted records, of those that have no line."""
        if self._data is None:
            self._encode()
        return self._failed

    def covers(self, chosen: Sequence[int] | None) -> bool:
        """Whether :attr:`whole` has the lines of these records (None: all) and no others, and none is missing."""
        if chosen is not self.wanted and (chosen is None or self.wanted is None or list(chosen) != list(self.wanted)):
            return False
        return not self.failed

    def pick(self, chosen: Sequence[int]) -> list[bytes]:
        """The lines of the chosen records, empty where there is none.

        Where nobody else needs the lines of the others, and these are most, they are not made.
        """
        if not self.alone or self._data is not None or len(chosen) * FEW > self._part.count:
            lines = self.lines
            if self.wanted is None:
                return [lines[at] for at in chosen]
            if self._places is None:
                self._places = {index: at for at, index in enumerate(self.wanted)}
            return [lines[self._places[index]] for index in chosen]
        encoded = Encoded(self.formatter, self.batch.part(chosen))
        lines = encoded.lines
        self.error = encoded.error or self.error
        return lines

    def _encode(self) -> bytes:
        total = self._part.count
        each = getattr(self.formatter, "encode_each", None)
        data = b""
        try:
            if each is None:
                data = self.formatter.encode(self._part)  # to count its lines would cost a tenth of making them
            else:
                found: list[bytes | None] = each(self._part)
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
        total = self._part.count
        self._lines = [b""] * total
        self._failed = frozenset(range(total))
        self.error = _words(error)


def _words(error: Exception) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # its __str__ is somebody else's code, too
        text = type(error).__name__
    return text[:MAX_ERROR_CHARS]
