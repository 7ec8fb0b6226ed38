r"""Secrets in one text, found by their surroundings or their looks and masked.

Nothing says "I am a secret" in a message. What gives one away is a frame in PEM (``pem.py``), the
shape of a URL with userinfo (``userinfo.py``), a prefix or an authorization scheme
(``tokens.py``), or a key before it that names a secret (``pairs.py``). The passes
run in this order, each over what the one before has left.

Every pass takes time linear in the text. Its patterns have possessive quantifiers, or bounded ones, or such that are
delimited by a character that they exclude; what a pass takes in Python and not in C it counts in steps
(``work.py``), and what is behind the last step is masked whole, as is what lies beyond the length
that a producer of ours gives a text. In doubt more is masked rather than less, and masking twice is masking once. Case
is folded for ASCII letters only; look-alikes from other scripts are other letters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import re2

from logbus.collectors.redaction.pairs import mask_pairs, pair_signs
from logbus.collectors.redaction.pem import SIGN, mask_pem
from logbus.collectors.redaction.secret_keys import DEFAULT_FIELDS, SecretKeys, Verdict
from logbus.collectors.redaction.tokens import SCHEME_SIGN, SIGNS, mask_schemes, mask_tokens
from logbus.collectors.redaction.userinfo import mask_lone, mask_urls
from logbus.collectors.redaction.work import MASK, Work

__all__ = [
    "DEFAULT_FIELDS", "MASK", "SecretKeys", "Signs", "Verdict", "Work", "mask_lone_urls", "mask_pairs", "mask_text",
    "mask_urls", "probe",
]  # fmt: skip

#: Characters of a text that are looked at: a producer's longest text is a message, and has as many.
MAX_CHARS: Final = 65_536
#: Characters before that in which a place between words is looked for.
_CUT_WINDOW: Final = 4096
#: What a producer writes between a template and the arguments that do not fit it.
NOT_FORMATTED: Final = " [not formatted with "
#: Steps that a text takes without anything in it, and characters of one that take a step more.
_TEXT_STEPS: Final = 6
_CHARS_PER_STEP: Final = 256
#: Characters of the longest text that is asked for its signs. RE2 makes its states as it meets them, at a microsecond
#: each, and a long text made for that has a new one at each character; all the passes are cheaper then.
_ASKED_CHARS: Final = 256
#: Steps for a text that is one URL.
_LONE_STEPS: Final = 2
#: Bytes that RE2 may take for the states of the probe. They are found as they are met.
_PROBE_BYTES: Final = 16 << 20

#: What mask_urls needs, for RE2: an @ behind a colon in one word, a URL whose port is none, or four parts with a port.
_URL_SIGNS: Final = (
    r'(?::|%(?:25)*3a)[^\s"<>`]*(?:@|%(?:25)*40)',
    r"""/\\*/[^\s/?#"'<>`:@\[\]]+:(?:[^\s0-9/?#"'<>`@\\]|[0-9]+(?:[a-z_]|[^\x00-\x7f])|[0-9]{6})""",
    r"""(?:\A|[^\w\-])(?:-u|--user|--proxy-user)(?:=|["']?,?[ \t]+["']?)[^\s:"'@/=]+:""",
    r"[^\s:@]:[0-9]{1,5}:[^\s:]+:[^\s]",
    r"[^\s:]:[^\s:]+:[^\s:]*\.[^\s:]+:[0-9]{2}",
)


class Signs:
    """Tells which of the passes behind that for URLs could find something in a text.

    To ask is half a microsecond, and to make them all in vain is seven.
    """

    #: The passes by their signs' places.
    TOKENS: Final = 0
    SCHEMES: Final = 1
    PAIRS: Final = 2

    def __init__(self, keys: SecretKeys) -> None:
        signs = ["|".join(SIGNS), SCHEME_SIGN]
        if keys.literals:
            signs.append(pair_signs(keys))
        self._any = re2.compile("|".join(signs), _options())
        self._each = re2.Set.SearchSet(_options())
        for sign in signs:
            self._each.Add(sign)
        self._each.Compile()

    def any_in(self, text: str) -> bool:
        """Whether one of the passes could find something."""
        return self._any.search(text.encode("utf-8", "surrogatepass")) is not None

    def passes(self, text: str) -> tuple[int, ...]:
        """Those without which the text stays as it is."""
        return tuple(self._each.Match(text.encode("utf-8", "surrogatepass")) or ())


_ALL: Final = (Signs.TOKENS, Signs.SCHEMES, Signs.PAIRS)


def mask_text(text: str, keys: SecretKeys, work: Work | None = None, signs: Signs | None = None) -> str:
    """The text with everything masked that is known for a secret; ``work`` is what is left for its batch.

    With the ``signs`` of the same keys it becomes the same, sooner.
    """
    work = work or Work()
    if not work.take(_TEXT_STEPS + min(len(text), MAX_CHARS) // _CHARS_PER_STEP):
        return MASK
    if len(text) > MAX_CHARS:
        text = _cut(text)
        work.overrun = True
    if SIGN in text:
        text = mask_pem(text, work)
    text = mask_urls(text, work)
    passes = signs.passes(text) if signs is not None and len(text) <= _ASKED_CHARS else _ALL
    before = text
    if Signs.TOKENS in passes:
        text = mask_tokens(text, work)
    if Signs.SCHEMES in passes or text != before:  # what has changed was not asked of
        text = mask_schemes(text, work)
    if Signs.PAIRS in passes or text != before:
        text = mask_pairs(text, keys, work)
    return _without_arguments(text) if NOT_FORMATTED in text else text


def mask_lone_urls(texts: Iterable[str], signs: Signs, work: Work) -> dict[str, str]:
    """Those of the texts that are a URL with a password and hold no other secret, each with its masked form.

    That is what :func:`mask_text` makes of them, at a fifth of its cost, since what it could find in the masked
    forms besides is looked for in all of them at once.
    """
    found: dict[str, str] = {}
    for text in texts:
        if work.left < _LONE_STEPS:
            break
        if "@" in text and (masked := mask_lone(text)) is not None:
            work.take(_LONE_STEPS)
            found[text] = masked
    if found and signs.any_in("\n".join(found.values())):
        return {text: masked for text, masked in found.items() if not signs.any_in(masked)}
    return found


def probe(keys: SecretKeys) -> Any:
    """A pattern of RE2 for texts joined to one, in UTF-8: what :func:`mask_text` changes has a match in it.

    It is found in other texts too. RE2 goes through a text in one pass, at 1 ns a byte, however many things it looks
    for; the standard library takes as long for each one of them.
    """
    signs = [*_URL_SIGNS, *SIGNS, SCHEME_SIGN, re.escape(SIGN), re.escape(NOT_FORMATTED)]
    if keys.literals:
        signs.append(pair_signs(keys))
    return re2.compile("|".join(signs), _options())


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _PROBE_BYTES
    return options


def _without_arguments(text: str) -> str:
    """A message that a producer could not format, without its arguments where its template asks for a secret."""
    template, sign, _ = text.partition(NOT_FORMATTED)
    return f"{template}{sign}{MASK}" if MASK in template else text


def _cut(text: str) -> str:
    """The part of the text that is looked at, without the word that the cut goes through, and a mask for the rest."""
    at = max(text.rfind(space, MAX_CHARS - _CUT_WINDOW, MAX_CHARS - len(MASK)) for space in " \n")
    return f"{text[: at + 1]}{MASK}" if at >= 0 else MASK
