r"""One of the users' patterns of ``[redaction] patterns``, and what it takes out of a text.

The whole match goes, or where the pattern has groups what these have matched: ``acct-[0-9]{8}`` masks the number with
its prefix, ``acct-([0-9]{8})`` keeps the prefix.

To ask RE2 of each text would cost more than all the rest of the redaction. So the texts of a batch are asked of at
once, by :class:`~logbus.collectors.patterns.Pattern`, and only those with a match are gone through one by one. None
can be missed: the question is not where in the joined text the matches lie, which would depend on what stands before a
text, but which lines have one at all, and in a line of the joined text the pattern finds a match if and only if it
finds one in that text alone (``patterns.py`` says why). Texts with newlines, and patterns for which that does not
hold, are asked one by one from the start.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from logbus.collectors.patterns import Found, Pattern, compile_pattern
from logbus.collectors.redaction.work import MASK, Work
from logbus.collectors.shown import shown
from logbus.errors import ConfigurationError

#: Texts that show whether a pattern can match where there is nothing.
_SAMPLES: Final = ("", "a", " ", "a b", "-", "\n", "0")
#: Steps for one match, and bytes behind it that cost a step more: "x.*y|x" goes through them all for each match.
_MATCH_STEPS: Final = 4
_BYTES_PER_STEP: Final = 4096
_MASK: Final = MASK.encode()


class Eraser:
    """Masks what a pattern matches.

    Raises ConfigurationError, whose problem names no place, for a pattern that RE2 refuses, or that is found where
    there is nothing and so everywhere.
    """

    def __init__(self, pattern: str) -> None:
        self._compiled = compile_pattern(pattern)
        self._pattern = Pattern(pattern)
        self._groups = range(1, self._compiled.groups + 1) if self._compiled.groups else range(1)
        for sample in _SAMPLES:
            if any(found.start() == found.end() for found in self._compiled.finditer(sample)):
                problem = f"expected a pattern that matches no empty text, found {shown(pattern)}"
                raise ConfigurationError([problem])

    def suspects(self, texts: Collection[str]) -> set[str]:
        """Those of the texts, each given once, in which the pattern is found."""
        return self._pattern.matching(texts)

    def erase(self, text: str, work: Work) -> str:
        """The text with the matches masked."""
        data = text.encode("utf-8", "surrogatepass")
        kept: list[bytes] = []
        done = 0
        for found in self._compiled.finditer(data):
            if not work.take(_MATCH_STEPS + (len(data) - found.end()) // _BYTES_PER_STEP):
                kept += (data[done : max(done, found.start())], _MASK)
                done = len(data)
                break
            for start, end in self._spans(found):
                if not kept or start > done:  # else it goes on where the one before ends
                    kept += (data[done:start], _MASK)
                done = max(done, end)
        if not kept:
            return text
        try:
            return b"".join((*kept, data[done:])).decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # a pattern with \C has cut through a character
            return MASK

    def _spans(self, found: Found) -> list[tuple[int, int]]:
        """What of a match goes: its groups, or all of it where none of them takes part."""
        spans = sorted((found.start(group), found.end(group)) for group in self._groups)
        return [(start, end) for start, end in spans if 0 <= start < end] or [(found.start(), found.end())]
