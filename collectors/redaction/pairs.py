r"""Values of secret keys within a text, found by the key before them and masked.

``key=value``, ``key: value``, ``'key': 'value'``, ``\"key\": \"value\"``, ``(b'key', b'value')``, ``?key=value&``,
``<key>value</key>``, ``--key value``, ``name: key, value: value``, ``PASSWORD 'value'`` and pydantic's errors, with a
key that ``SecretKeys`` knows; percent-encoded once or more often, escaped, and with
colours between them, too. A quoted value goes up to its closing quote, a bracketed one to its closing bracket, a cookie
or an unknown kind of authorization to the end of its line.

A secret key has one of a few literals in it. These are sought, which C does in a moment, and only the words around them
are looked at. The places come from left to right, and what a word or a value has taken is not looked at again, so that
the time is linear in the text; and each place takes steps of a number that is bounded.
"""

from __future__ import annotations

import re
from typing import Final

from logbus.collectors.redaction.secret_keys import SecretKeys, Verdict, fold
from logbus.collectors.redaction.work import MASK, Work

#: Steps for looking at a word, and for what stands behind a secret one.
_WORD_STEPS: Final = 2
_VALUE_STEPS: Final = 6
#: Places of one literal in one text.
_MOST_PLACES: Final = 2000
#: Brackets, or quotes within quotes, that are counted for the end of one value; after them it goes on to the end.
_MOST_BRACKETS: Final = 1000
_MOST_QUOTES: Final = 1000

_KEY = re.compile(r"[\w.\-]++")
# An escape or an encoded character that ends where the key begins: "\npwd", "%26pwd", "\x1b[31mpwd".
_GLUED = re.compile(
    r"(?<=\\)(?:[abfnrtv0]|x[\da-f]{2}|u[\da-f]{4}|U[\da-f]{8})|(?<=%)(?:25){0,8}[\da-f]{2}|(?<=\x1b\[)[\d]*+m|(?<=;)\d{1,3}m",
    re.IGNORECASE | re.ASCII,
)
_COLOURS = r"(?:\x1b\[[\d;]*+m)*+"
_SEPARATOR = re.compile(
    rf"""{_COLOURS}(\\*+["'\]]|%(?:25)*+(?:5D|22))?{_COLOURS}[ \t]*+"""
    rf"""(={{1,3}}>?|:(?!//)=?|->|%(?:25)*+3D|%(?:25)*+3A(?!%(?:25)*+2F)|(?(1),|(?!))|"""
    r"""(?:(?<=[ \t])[\w:.\-]{1,64}=[^<>]{0,256})?>)"""
    rf"""(?(1)\s*+|[ \t]*+){_COLOURS}""",
    re.IGNORECASE,
)
#: Between an option of a command line and its value.
_OPTION_GAP = re.compile(r"[ \t]++(?!--[A-Za-z])")
#: Between the name of a secret that is itself a value, and the secret.
_VALUE_OF = re.compile(
    r"""(?:\\*+["'])?,?(?:\s|\\[nr])*+(?:b?\\*+["'])?value(?:\\*+["'])?[ \t]*+[:=][ \t]*+""", re.IGNORECASE
)
#: Between a password and its name in SQL, and in prose.
_QUOTED = re.compile(r"""[ \t]++(?=b?\\*+["'])""")
_PASSWORDS: Final = ("password", "passwd", "pwd", "passphrase", "passcode")
#: Between the name of a field and its value in an error of pydantic, and behind the value.
_INPUT = re.compile(r"(?:\n|\\n)[^\n]{1,512}?\[type=[\w.]{1,64}, input_value=")
_INPUT_END: Final = ", input_type="
_OPENING = re.compile(r'''b?(\\*+)("""|\'\'\'|["'])''')
_TO_QUOTE = {
    '"': re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL),
}
_BRACKET = re.compile(r""""(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|[\[({]|[\])}]""", re.DOTALL)
# Quotes, brackets, commas and semicolons end a bare value, unless it goes on after them; "&" always does.
_BARE = re.compile(
    r"""(?:[^\s&,;"'<>()\[\]{}\\\x1b]++|[,;](?!\s|$|["'\w.\-]++\s?[=:])"""
    r"""|["'()\[\]{}<>](?![\s"'()\[\]{}<>,;.:&\\/\x1b]|$)|\\(?!["']))*+"""
)
_LINE = re.compile(r"""(?:[^\r\n"'\\]++|(?<==)"[^"\r\n\\]*+"|["'](?=[\w,])|\\(?![rn"']))*+""")
_ELEMENT = re.compile(r"[^<]*+(?=</)")
_CREDENTIALS = re.compile(r"""(?:basic|bearer|token|apikey|jwt|negotiate|ntlm)[ \t]++[^\s,;"'<>()\[\]{}\\]++""", re.I)
_NUMBER = re.compile(r"-?\d++(?:\.\d++)?")
_NEXT_PAIR = re.compile(r"[ \t]++[\w.\-]++=")
#: What prose says of a secret that a machine has made, as in "auth: failed". People choose such words as passwords.
_STATE = re.compile(
    r"(?:failed|failure|succeeded|missing|invalid|expired|required|denied|rejected|refused|unauthorized|forbidden|"
    r"revoked|refreshed|verified|mismatch|absent)(?=[\s,.;:!)]|$)",
    re.IGNORECASE,
)
_STATED = re.compile(r"(?!.*(?:pass|pwd|secret)).*(?:auth|token|jwt|cookie|credential|session|csrf|signature|key)")


def mask_pairs(text: str, keys: SecretKeys, work: Work | None = None) -> str:
    """The text with the values of secret keys masked. A text without ``keys.literals``, in any case, stays."""
    work = work or Work()
    kept: list[str] = []
    done = at = 0
    places, limit = _places(fold(text), keys.literals)
    if limit < len(text):
        text = f"{text[:limit]}{MASK}"
        work.overrun = True
    for place in places:
        if place < at:
            continue
        if place >= limit or not work.take(_WORD_STEPS):
            kept += (text[done:place], MASK)
            done = len(text)
            break
        back = _KEY.match(text[at:place][::-1])
        begin = place - (back.end() if back else 0)
        word = _KEY.match(text, begin)
        at = word.end() if word else place + 1  # a word always: literals are letters and digits
        verdict = _verdict(text, begin, at, keys)
        if verdict is Verdict.PLAIN:
            continue
        if not work.take(_VALUE_STEPS):
            kept += (text[done:begin], MASK)
            done = len(text)
            break
        span = _span(text, begin, at)
        if span is None:
            continue
        start, end, at = span
        if end > start and not (verdict is Verdict.UNLESS_NUMBER and _NUMBER.fullmatch(text, start, end)):
            kept += (text[done:start], MASK)
            done = at = end
    return "".join((*kept, text[done:])) if kept else text


def pair_signs(keys: SecretKeys) -> str:
    """A pattern for RE2 that is found in every text that :func:`mask_pairs` changes; case does not count."""
    words = "|".join(re.escape(literal) for literal in keys.literals)
    key = rf"(?:{words})(?:[\w.\-]|[^\x00-\x7f])*"
    colours = r"(?:\x1b\[[0-9;]*m)*"
    quote = r"""(?:\\*["'\]]|%(?:25)*(?:5d|22))"""
    # White space is more to Python than to RE2.
    gap = r"(?:[\s\x0b\x1c-\x1f]|[^\x00-\x7f]|\\[nr])*"
    ends = (
        rf"{colours}{quote}?{colours}[ \t]*(?:[=:>]|->|%(?:25)*3[ad])",
        rf"""{colours}{quote}{colours}[ \t]*,{gap}{colours}b?\\*["']""",
        r"[ \t]+(?:[\w:.\-]|[^\x00-\x7f])+=",
        r"""[ \t]+b?\\*["']""",
        r"(?:\n|\\n)[^\n]+input_value=",
        rf"""(?:\\*["'])?,?{gap}(?:b?\\*["'])?value(?:\\*["'])?[ \t]*[:=]""",
    )
    option = rf"(?:\A|[^\w.\-])-(?:[\w.\-]|[^\x00-\x7f])*(?:{words})(?:[\w.\-]|[^\x00-\x7f])*[ \t]"
    return rf"{key}(?:{'|'.join(ends)})|{option}"


def _places(lowered: str, literals: tuple[str, ...]) -> tuple[list[int], int]:
    """Where the literals begin, from left to right, up to a place behind which there are too many."""
    places: list[int] = []
    limit = len(lowered)
    for literal in literals:
        at = lowered.find(literal)
        most = len(places) + _MOST_PLACES
        while at >= 0:
            if len(places) >= most:
                limit = min(limit, at)
                break
            places.append(at)
            at = lowered.find(literal, at + len(literal))
    places.sort()
    return places, limit


def _verdict(text: str, begin: int, end: int, keys: SecretKeys) -> Verdict:
    """What the word says, or what it says without the end of an escape that it begins with."""
    verdict = keys.verdict(text[begin:end])
    if verdict is not Verdict.SECRET and text[begin - 1 : begin] in ("\\", "%", "[", ";"):
        glued = _GLUED.match(text, begin, end)
        if glued is not None and keys.verdict(text[glued.end() : end]) is not Verdict.PLAIN:
            return keys.verdict(text[glued.end() : end])
    return verdict


def _span(text: str, begin: int, end: int) -> tuple[int, int, int] | None:
    """Where the value of a key begins and ends, and where to look on; None when no value follows the key."""
    if named := _VALUE_OF.match(text, end):
        start, stop = _value(text, text[begin:end].lower(), ":", named.end())
        return start, stop, named.end()
    if given := _INPUT.match(text, end):
        stop = text.find(_INPUT_END, given.end())
        return given.end(), len(text) if stop < 0 else stop, given.end()
    separator = _SEPARATOR.match(text, end)
    if separator is None:
        if text[begin:end].lower().endswith(_PASSWORDS) and (gap := _QUOTED.match(text, end)):
            start, stop = _value(text, "", " ", gap.end())
            return start, stop, gap.end()
        if text[begin] == "-" and (gap := _OPTION_GAP.match(text, end)):
            start, stop = _value(text, "", " ", gap.end())
            return start, stop, gap.end()
        return None
    sign, at = separator[2], separator.end()
    key = text[begin:end].lower()
    if sign == ",":
        if _OPENING.match(text, at) is None:
            return None
    elif sign[-1] == ">" and sign[0] not in "=-":
        before = text[max(0, begin - 64) : begin]
        if not re.search(r"<(?:\w{1,32}:)?$", before):
            return None
        if element := _ELEMENT.match(text, at):
            return at, element.end(), at
        if sign != ">":  # with attributes, and no element that ends
            return None
    elif sign == ":" and text[at - 1] in " \t" and _STATED.match(key) and _STATE.match(text, at):
        return None
    start, stop = _value(text, key, sign, at)
    return start, stop, at


def _value(text: str, key: str, sign: str, at: int) -> tuple[int, int]:
    """Where a value begins and ends, without its quotes."""
    if opening := _OPENING.match(text, at):
        return opening.end(), _closing(text, opening)
    if text[at : at + 1] in ("[", "(", "{"):
        return at, _end(_BARE, text, _after_brackets(text, at))
    bare = _end(_BARE, text, at)
    if text[at:bare] == MASK:
        return at, at
    if key.endswith(("authorization", "auth")) and (credentials := _CREDENTIALS.match(text, at)):
        return at, max(credentials.end(), bare)
    while bare > at and text[bare : bare + 1] in ("[", "(", "{"):  # Secret('…')
        bare = _end(_BARE, text, _after_brackets(text, bare))
    if not key.endswith(("authorization", "cookie", "cookies")) or (sign == "=" and _NEXT_PAIR.match(text, bare)):
        return at, bare
    return at, max(bare, _end(_LINE, text, at))


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _closing(text: str, opening: re.Match[str]) -> int:
    """Where a quoted value ends: at its quote, escaped as often as the first; a text that was cut has none."""
    escapes, quote = opening.groups()
    if not escapes and len(quote) == 1:
        return _end(_TO_QUOTE[quote], text, opening.end())
    at = text.find(escapes + quote, opening.end())
    seen = 0
    while escapes and at > 0 and text[at - 1] == "\\":  # the quote of a quote within
        seen += 1
        at = text.find(escapes + quote, at + len(escapes) + 1) if seen < _MOST_QUOTES else -1
    return at if at >= 0 else len(text)


def _after_brackets(text: str, at: int) -> int:
    depth = 0
    for seen, found in enumerate(_BRACKET.finditer(text, at)):
        token = found[0]
        if token in ("[", "(", "{"):
            depth += 1
        elif token in ("]", ")", "}"):
            depth -= 1
            if not depth:
                return found.end()
        if seen >= _MOST_BRACKETS:
            break
    return len(text)
