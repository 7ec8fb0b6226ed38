r"""Users' patterns: compiled with RE2, whose time is linear in the text whatever the pattern is, and cheap to ask.

A naive pattern of the standard library can hold the collector for seconds with 26 characters, and nothing can stop it
there. RE2 has no look-around and no back references; a pattern with these is refused when the configuration is read.

RE2's wrapper costs 1.4 µs a search, whatever the text, so it is called as rarely as possible. A pattern of plain texts
(``refused|timed out``, ``^GET /``) needs none of it. For the others the texts of a batch are joined with newlines and
searched as one. That the lines found are exactly the texts that match, needs three things of the
probe: ``(?m)``, so that ``^`` and ``$`` hold at the joints (``\b`` does anyway: a newline is no word character);
``never_nl``, so that no match reaches from one line into the next and no search reads past the line of its match; and
that the pattern says nothing else about the ends of a text (``\A``, ``\z``, flags that undo ``m``; those get no probe).
Texts with newlines of their own are searched one by one.

RE2 keeps the states that it meets. A pattern like ``(a|b)*a(a|b){300}c`` has more of them than memory; RE2 then goes on
with time in the product of the text and the program, 4 ns a step, and that is why programs are bounded.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator
from itertools import accumulate
from typing import Any, Final, Protocol

import re2

from logbus.collectors.shown import shown, without_secrets
from logbus.errors import ConfigurationError

#: Characters of a pattern.
MAX_PATTERN: Final = 1000
#: Instructions of a compiled pattern: 256 KiB of text take two seconds in the worst case, and 0.4 ms in a usual one.
MAX_PROGRAM: Final = 2000
#: Bytes for what RE2 keeps of one pattern, taken as needed.
MAX_MEMORY: Final = 8 << 20

_META: Final = frozenset(".*+?{}[]()^$|\\")
#: What can say something about the ends of a text that a probe would take differently, or a byte that is no character.
_NO_PROBE: Final = re.compile(r"\\[AzCQ]|\(\?(?!P?<|[imsU]*[:)])")


class Found(Protocol):
    """A match."""

    def start(self, group: int = 0) -> int:
        """Where a group begins; -1 for one that takes no part."""
        ...

    def end(self, group: int = 0) -> int:
        """Where a group ends; -1 for one that takes no part."""
        ...


class Compiled(Protocol):
    """A pattern of RE2, in the manner of :mod:`re`. It takes bytes (UTF-8) too, and is 30 % faster with them."""

    #: How many groups the pattern has.
    groups: int

    def search(self, text: str | bytes) -> Found | None:
        """The first match; None when there is none."""
        ...

    def finditer(self, text: str | bytes) -> Iterator[Found]:
        """The matches from left to right, none overlapping another."""
        ...


def compile_pattern(text: object) -> Compiled:
    """The pattern, for RE2. Raises ConfigurationError whose problem, ``expected …, found …``, names no place.

    Patterns are searched for: they match anywhere in a text unless they say ``^`` or ``$``, which mean the ends of the
    whole text.
    """
    if type(text) is not str or not text:
        raise ConfigurationError([f"expected a pattern, a text of at least one character, found {shown(text)}"])
    if len(text) > MAX_PATTERN:
        raise ConfigurationError([f"expected a pattern of at most {MAX_PATTERN} characters, found {len(text)}"])
    try:
        compiled = re2.compile(text, _options())
    except UnicodeEncodeError:
        raise ConfigurationError([f"expected a pattern of whole characters, found {shown(text)}"]) from None
    except re2.error as error:
        raise ConfigurationError([f"expected a pattern that RE2 takes, found {shown(text)}: {_why(error)}"]) from None
    if compiled.programsize > MAX_PROGRAM:
        problem = f"expected a smaller pattern, of at most {MAX_PROGRAM} steps, found {shown(text)}"
        raise ConfigurationError([f"{problem}, which compiles to {compiled.programsize}"])
    return _typed(compiled)


def line_probe(text: str) -> Compiled | None:
    """A pattern that finds, in texts joined with newlines, exactly the lines in which ``text`` would match alone.

    ``text`` is a pattern that :func:`compile_pattern` takes, the texts have no newline of their own. A match ends with
    its line, so that there are no more matches than lines, but for empty ones at their ends. None when there is no such
    pattern.
    """
    if _NO_PROBE.search(text):
        return None
    return _typed(re2.compile(f"(?m)(?:{text})[^\\n]*", _options(never_nl=True, never_capture=True)))


class Pattern:
    """A user's pattern, to be asked of many texts at once. Raises as :func:`compile_pattern` does."""

    def __init__(self, text: str) -> None:
        self._single = compile_pattern(text)
        self._literals = plain_texts(text)
        self._probe = line_probe(text)

    def matching(self, texts: Collection[str]) -> set[str]:
        """Those of the texts, each given once, in which the pattern is found."""
        if self._literals is not None:
            return _containing(texts, self._literals)
        alone: Collection[str] = texts
        found: set[str] = set()
        if self._probe is not None:
            joined = [text for text in texts if "\n" not in text]
            alone = [text for text in texts if "\n" in text] if len(joined) < len(texts) else ()
            found.update(_lines_with(self._probe, joined))
        found.update([text for text in alone if self._single.search(_utf8(text)) is not None])
        return found


def plain_texts(pattern: str) -> list[tuple[bool, str, bool]] | None:
    r"""What a pattern of plain texts looks for: each whether at the start, what, and whether at the end of a text.

    None for a pattern that is more than that.

    >>> plain_texts(r"refused|^GET /a\.b$"), plain_texts("time(d|out)")
    ([(False, 'refused', False), (True, 'GET /a.b', True)], None)
    """
    found = []
    literal, first, last, escaped = "", False, False, False
    for character in f"{pattern}|":
        if escaped:
            if last or not (character.isascii() and character.isprintable()) or character.isalnum():
                return None
            literal, escaped = literal + character, False
        elif character == "|":
            found.append((first, literal, last))
            literal, first, last = "", False, False
        elif last:
            return None
        elif character == "^" and not literal and not first:
            first = True
        elif character == "$":
            last = True
        elif character == "\\":
            escaped = True
        elif character in _META:
            return None
        else:
            literal += character
    return None if escaped else found


def _containing(texts: Collection[str], literals: list[tuple[bool, str, bool]]) -> set[str]:
    found: set[str] = set()
    for first, literal, last in literals:
        if first and last:
            found.update([text for text in texts if text == literal])
        elif first:
            found.update([text for text in texts if text.startswith(literal)])
        elif last:
            found.update([text for text in texts if text.endswith(literal)])
        else:
            found.update([text for text in texts if literal in text])
    return found


def _lines_with(probe: Compiled, texts: list[str]) -> Iterator[str]:
    """Those of the texts, none with a newline, in which a probe finds something; some of them twice."""
    if not texts:
        return
    whole = _utf8("\n".join(texts))
    lengths = map(len, texts if whole.isascii() else map(_utf8, texts))
    starts = list(accumulate([length + 1 for length in lengths], initial=0))
    for match in probe.finditer(whole):
        yield texts[bisect_right(starts, match.start()) - 1]


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _options(*, never_nl: bool = False, never_capture: bool = False) -> Any:
    options = re2.Options()
    options.log_errors = False  # RE2 would write them to stderr
    options.max_mem = MAX_MEMORY
    options.never_nl = never_nl
    options.never_capture = never_capture
    return options


def _typed(compiled: Any) -> Compiled:
    typed: Compiled = compiled
    return typed


def _why(error: Exception) -> str:
    """RE2's reason: it names the part of the pattern at which it gave up."""
    reason = error.args[0] if error.args else ""
    return without_secrets(reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason))
