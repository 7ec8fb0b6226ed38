r"""Private keys in PEM, in one text or line by line: what lies between BEGIN and END is masked.

A block without an end goes to the end of its text, and an end without a beginning takes the base64 before it: a text
may have been cut anywhere. A traceback, or a list of lines in a field, has a block in several texts.
"""

from __future__ import annotations

import re
import string
from typing import Final

from logbus.collectors.redaction.work import MASK, Work

#: What every block has in its first and in its last line.
SIGN: Final = "PRIVATE KEY"

_EDGE = re.compile(r"----[ \-](BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?(?:-----| ----)")
#: Characters of base64, of line ends, and of line ends as a repr shows them.
_BODY: Final = f"{string.ascii_letters}{string.digits}+/=\\ \t\r\n"
_BASE64 = re.compile(r"\s*+[A-Za-z0-9+/=]*+\s*+")
#: A line that may be part of a block: one word, or a header such as ``Proc-Type: 4,ENCRYPTED``.
_PART = re.compile(r"\s*+(?:\S++|[A-Za-z\-]++: \S++)?\s*+")


def mask_pem(text: str, work: Work | None = None) -> str:
    """The text with its private keys masked."""
    work = work or Work()
    kept: list[str] = []
    done = 0
    inside = False
    for edge in _EDGE.finditer(text):
        if not work.take(2):
            return "".join((*kept, "" if inside else text[done : edge.start()], MASK))
        if edge[1] == "END":
            kept += ("" if inside else _before(text[done : edge.start()]), edge[0])
            done = edge.end()
            inside = False
        elif not inside:
            kept += (text[done : edge.end()], MASK)
            inside = True
    return "".join((*kept, "" if inside else text[done:])) if kept else text


def mask_lines(lines: list[str]) -> list[str]:
    """The lines, of which those are :data:`MASK` that lie between a BEGIN and an END in other lines.

    What the lines with BEGIN and END hold themselves is left to :func:`mask_pem`.
    """
    masked = list(lines)
    begun = None
    for at, line in enumerate(lines):
        for edge in _EDGE.finditer(line):
            if edge[1] == "BEGIN":
                begun = at if begun is None else begun
            elif begun is not None:
                masked[begun + 1 : at] = [MASK] * max(0, at - begun - 1)
                begun = None
            else:
                _mask_back(masked, at)
    if begun is not None:
        for at in range(begun + 1, len(lines)):
            if not _PART.fullmatch(lines[at]):
                break
            masked[at] = MASK
    return masked


def _before(text: str) -> str:
    """What stands before an end that has no beginning, without the base64 that reaches up to it."""
    kept = text.rstrip(_BODY)
    return kept if kept.endswith(MASK) else f"{kept}{MASK}"


def _mask_back(masked: list[str], at: int) -> None:
    """Masks the lines of base64 before an end that has no beginning."""
    for before in range(at - 1, -1, -1):
        if not _BASE64.fullmatch(masked[before]):
            return
        masked[before] = MASK
