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
from typing import Any, Final

import re2

from logbus.collectors.redaction.pairs import mask_pairs, pair_signs
from logbus.collectors.redaction.pem import SIGN, mask_pem
from logbus.collectors.redaction.secret_keys import DEFAULT_FIELDS, SecretKeys, Verdict
from logbus.collectors.redaction.tokens import SIGNS, mask_schemes, mask_tokens
from logbus.collectors.redaction.userinfo import mask_urls
from logbus.collectors.redaction.work import MASK, Work

__all__ = ["DEFAULT_FIELDS", "MASK", "SecretKeys", "Verdict", "Work", "mask_pairs", "mask_text", "mask_urls", "probe"]

#: Characters of a text that are looked at: a producer's longest text is a message, and has as many.
MAX_CHARS: Final = 65_536
#: Characters before that in which a place between words is looked for.
_CUT_WINDOW: Final = 4096
#: What a producer writes between a template and the arguments that do not fit it.
NOT_FORMATTED: Final = " [not formatted with "
#: Steps that a text takes without anything in it, and characters of one that take a step more.
_TEXT_STEPS: Final = 6
_CHARS_PER_STEP: Final = 256
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


def mask_text(text: str, keys: SecretKeys, work: Work | None = None) -> str:
    """The text with everything masked that is known for a secret; ``work`` is what is left for its batch."""
    work = work or Work()
    if not work.take(_TEXT_STEPS + min(len(text), MAX_CHARS) // _CHARS_PER_STEP):
        return MASK
    if len(text) > MAX_CHARS:
        text = _cut(text)
        work.overrun = True
    if SIGN in text:
        text = mask_pem(text, work)
    text = mask_urls(text, work)
    text = mask_tokens(text, work)
    text = mask_schemes(text, work)
    text = mask_pairs(text, keys, work)
    return _without_arguments(text) if NOT_FORMATTED in text else text


def probe(keys: SecretKeys) -> Any:
    """A pattern of RE2 for texts joined to one, in UTF-8: what :func:`mask_text` changes has a match in it.

    It is found in other texts too. RE2 goes through a text in one pass, at 1 ns a byte, however many things it looks
    for; the standard library takes as long for each one of them.
    """
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False
    options.max_mem = _PROBE_BYTES
    signs = [*_URL_SIGNS, *SIGNS, re.escape(SIGN), re.escape(NOT_FORMATTED)]
    if keys.literals:
        signs.append(pair_signs(keys))
    return re2.compile("|".join(signs), options)


def _without_arguments(text: str) -> str:
    """A message that a producer could not format, without its arguments where its template asks for a secret."""
    template, sign, _ = text.partition(NOT_FORMATTED)
    return f"{template}{sign}{MASK}" if MASK in template else text


def _cut(text: str) -> str:
    """The part of the text that is looked at, without the word that the cut goes through, and a mask for the rest."""
    at = max(text.rfind(space, MAX_CHARS - _CUT_WINDOW, MAX_CHARS - len(MASK)) for space in " \n")
    return f"{text[: at + 1]}{MASK}" if at >= 0 else MASK
