"""How long rotated files are kept: by age, by count, by bytes in all, or by several of these.

Pure: nothing here reads a clock or a file. Each rule names files that are too many, and a file goes as soon as one
rule names it, the oldest first. The file that is being written is never among them, and counts in none of them.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from logbus.durations import MAX_S, format_duration, parse_duration
from logbus.errors import ConfigurationError
from logbus.sizes import MAX_BYTES, format_size, parse_size

#: Seconds of the shortest age and bytes of the smallest total: below them a slip of the finger empties a directory.
MIN_AGE_S: Final = 1.0
MIN_BYTES: Final = 1000
#: Files of the longest count.
MAX_FILES: Final = 1_000_000

_FILES = re.compile(r"\s*([0-9]{1,20})\s*files?\s*\Z", re.IGNORECASE)
#: What a retention may be, for messages.
EXPECTED: Final = (
    f'expected an age from {format_duration(MIN_AGE_S)} to {format_duration(MAX_S)} ("7 days"), a count from 1 to '
    f'{MAX_FILES} ("10 files") or a total size from {format_size(MIN_BYTES)} to {format_size(MAX_BYTES)} ("5 GB")'
)


class Kept(NamedTuple):
    """A rotated file as the rules see it: seconds since its rotation, and bytes on the disk."""

    age_s: float
    size: int


@dataclass(frozen=True, slots=True)
class Retention:
    """The rules. ``texts`` is how somebody wrote them; with none of them everything is kept."""

    texts: tuple[str, ...] = ()
    #: Seconds after its rotation at which a file goes; None: never.
    age_s: float | None = None
    #: Files that are kept; None: any number.
    files: int | None = None
    #: Bytes of all files that are kept, together; None: any number.
    total_bytes: int | None = None

    def overdue(self, files: Sequence[Kept]) -> list[int]:
        """The indices of those that have to go, in order; ``files`` is the oldest first."""
        keep_from = 0 if self.files is None else max(0, len(files) - self.files)
        if self.total_bytes is not None:
            total = 0
            for index in range(len(files) - 1, keep_from - 1, -1):
                total += files[index].size
                if total > self.total_bytes:
                    keep_from = index + 1
                    break
        too_old = float("inf") if self.age_s is None else self.age_s
        return [index for index, file in enumerate(files) if index < keep_from or file.age_s >= too_old]

    def wait_s(self, files: Sequence[Kept]) -> float:
        """Seconds until the first of the files is too old; infinite where none will be."""
        if self.age_s is None or not files:
            return float("inf")
        return max(0.0, self.age_s - max(file.age_s for file in files))


def parse_retention(texts: Sequence[str]) -> Retention:
    """The rules from one or more texts; of two of a kind the stricter. Raises ConfigurationError, a problem for each.

    >>> rules = parse_retention(["7 days", "10 files", "5 GB"])
    >>> rules.age_s, rules.files, rules.total_bytes
    (604800.0, 10, 5000000000)
    """
    ages: list[float] = []
    counts: list[int] = []
    sizes: list[int] = []
    problems = []
    for text in texts:
        with contextlib.suppress(ConfigurationError):
            if match := _FILES.match(text):
                if 1 <= int(match[1]) <= MAX_FILES:
                    counts.append(int(match[1]))
                    continue
            elif (size := _size(text)) is not None:
                if size >= MIN_BYTES:
                    sizes.append(size)
                    continue
            # "100 M" is minutes to whom reads durations, and MB to whoever wrote it: he would lose his files.
            elif not text.rstrip().endswith("M") and (age := parse_duration(text)) >= MIN_AGE_S:
                ages.append(age)
                continue
        shown = text if len(text) <= 80 else f"{text[:80]}…"
        problems.append(f"retention {shown!r}: {EXPECTED}")
    if problems:
        raise ConfigurationError(problems)
    return Retention(tuple(texts), min(ages, default=None), min(counts, default=None), min(sizes, default=None))


def _size(text: str) -> int | None:
    with contextlib.suppress(ConfigurationError):
        return parse_size(text)
    return None
