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
from functools import lru_cache
from typing import Final

from logbus.collectors.redaction.secret_keys import SecretKeys, Verdict, fold
from logbus.collectors.redaction.work import MASK, Work

#: Steps for looking at a word, and for what stands behind a secret one.
_WORD_STEPS: Final = 4
_VALUE_STEPS: Final = 9
#: Places of one literal in one text.
_MOST_PLACES: Final = 2000
#: Brackets, or quotes within quotes, that are counted for the end of one value; after them it goes on to the end.
_MOST_BRACKETS: Final = 1000
_MOST_QUOTES: Final = 1000

_KEY = re.compile(r"[\w.\-]++")
# An escape or an encoded character that ends where the key begins: "\npwd", "%26pwd", "\x1b[31mpwd".
_GLUED = re.compile(
    r"(?<=\\)(?:[abfnrtv0]|x[\da-f]{2}|u[\da-f]{4}|U[\da-f]{8})|(?<=%)(?:25){0,8}[\da-f]{2}|(?<=[\[;])\d{0,3}m",
    re.IGNORECASE | re.ASCII,
)
_COLOURS = r"(?:(?:\x1b|\\+(?:x1b|033|u001b|e))\[[\d;]*+[mK])*+"
# What stands around a separator: white space of all scripts but for line ends, and characters of no width.
_GAPS = r"[^\S\r\n\u2028\u2029\x85]*+(?:[\u200b-\u200f\u2060\ufeff]++[^\S\r\n\u2028\u2029\x85]*+)?"
# Quotes as they are, escaped, percent-encoded, and as HTML and JSON write them.
_QUOTES = r"""\\*+["'\]]|%(?:25)*+(?:5D|22|27)|&(?:quot|apos|\#0?3[49]|\#x2[27]);|\\+u002[27]"""
_SEPARATOR = re.compile(
    rf"""{_COLOURS}({_QUOTES})?{_COLOURS}{_GAPS}"""
    rf"""(={{1,3}}>?|:(?!//)=?|->|[\uff1a\uff1d]|\\+u003[ad]|%(?:25)*+3D|%(?:25)*+3A(?!%(?:25)*+2F)|(?(1),|(?!))|"""
    r"""(?:(?<=[ \t])[\w:.\-]{1,64}=[^<>]{0,256})?>)"""
    rf"""(?(1)\s*+|{_GAPS}){_COLOURS}""",
    re.IGNORECASE,
)
#: Between an option of a command line and its value.
_OPTION_GAP = re.compile(r"[ \t]++(?!--[A-Za-z])")
#: Between the name of a secret that is itself a value, and the secret.
_VALUE_OF = re.compile(
    r"""(?:\\*+["'])?,?(?:\s|\\[nr])*+(?:b?\\*+["'])?value(?:\\*+["'])?[ \t]*+[:=][ \t]*+""", re.IGNORECASE
)
#: How a value in quotes begins, and the quotes that end with another sign than they begin with.
_PREFIX = r"[bBuUrRfF]{0,2}"
_ENTITY = r"&(?:quot|apos|\#0?3[49]|\#x2[27]);"
_PAIRED: Final = {"“": "”", "„": "“", "«": "»"}
#: Between a password and its name in SQL, and in prose.
_QUOTED = re.compile(
    rf"""[ \t]++(?:(?:is|was|of|to|not[ \t]++like|i?like)[ \t]++)?(?={_PREFIX}(?:\\*+["']|[`“„«]|{_ENTITY}))""", re.I
)
#: The same for all secrets in SQL, and the call that makes one: ``Token('…')``, ``HTTPBasicAuth('bob', '…')``.
_COMPARED = re.compile(
    rf"""[ \t]++(?:not[ \t]++)?(?:i?like[ \t]++(?={_PREFIX}["'])|in[ \t]*+(?=\([ \t]*+{_PREFIX}["']))""", re.I
)
_CALL = re.compile(rf"""\((?=(?:(?:value|key|token|secret|password)=)?{_PREFIX}\\*+["'](?!\*))""")
_RAISED = re.compile(
    r"(?:.*\.)?(?:invalid|bad|missing|no|wrong|unknown)|.*(?:failed|failure|denied|refused|missing|invalid)$"
)
_PASSWORDS: Final = ("password", "passwd", "pwd", "passphrase", "passcode")
#: A word of a key that is written in several, and the one behind it.
_BEFORE = re.compile(r" ([^\W\d_]{1,32}+)")
_AFTER = re.compile(r" ([A-Za-z]{2})(?![\w.\-])")
#: Between the name of a part of a form and its value, and behind the value.
_NEWLINE = r"(?:\r?\n|(?:\\++r)?\\++n)"
_PART_NAME = re.compile(r"""name=\\*["']$""")
_PART = re.compile(
    rf"""\\*+["'](?:;[^\r\n\\]{{0,200}}+)?(?:{_NEWLINE}[\w\-]{{1,64}}+:[^\r\n\\]{{0,200}}+){{0,3}}{_NEWLINE}{{2}}"""
)
_PART_END = re.compile(r"--(?:(?<=\n--)|(?<=\\n--))")
#: A login of netrc.
_LOGIN = re.compile(r"login[ \t\r\n]+\S{1,128}[ \t\r\n]+$")
#: What stands before a key that begins its line, in YAML and the like, and what is there instead of a value.
_INDENT = re.compile(r"(?:\A|\n)([ \t]*+)(?:- )?$")
_BLOCK = re.compile(r"(?:[|>][+\-\d]{0,2})?[ \t]*+(?=\r?\n)")
_WORDS = re.compile(r"""(?:[ \t]++[^\s=:,;"'()\[\]{}<>]++)++(?=[ \t]*+(?:\r?\n|$))""")
#: Between the name of a field and its value in an error of pydantic, and behind the value.
_INPUT = re.compile(r"(?:\n|\\n)[^\n]{1,512}?\[type=[\w.]{1,64}, input_value=")
#: The same in what ``errors()`` of pydantic gives, as FastAPI logs it.
_LOCATED = re.compile(r"""\\*+["'],?[)\]],[^\n]{1,400}?[ ,]\\*+["']input\\*+["']: ?""")
_INPUT_END: Final = ", input_type="
_OPENING = re.compile(rf'''{_PREFIX}(?:(\\*+)("""|\'\'\'|["'])|([`“„«]|{_ENTITY}))''')
_TO_QUOTE = {
    '"': re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL),
}
_BRACKET = re.compile(r""""(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|[\[({]|[\])}]""", re.DOTALL)
# Quotes, brackets, commas and semicolons end a bare value, unless it goes on after them; so does what begins another
# pair: "&n=", or the end of a line as a repr shows it.
_BARE = re.compile(
    r"""(?:[^\s&,;"'<>()\[\]{}\\\x1b]++|[,;](?!\s|$|["'\w.\-]++\s?[=:])"""
    r"""|&(?![\w.\-\[\]%+~$]{0,64}+=|(?:quot|apos|amp|lt|gt|\#\w{1,4}+);)"""
    r"""|["'()\[\]{}<>](?![\s"'()\[\]{}<>,;.:&\\/\x1b]|$)"""
    r"""|\\++(?!["']|(?:r\\++)?n(?:(?:\\++r)?\\++n)?[A-Za-z_][\w.\-]{0,63}+(?:[ \t]?=|:[ \t])))*+"""
)
_LINE = re.compile(r"""(?:[^\r\n"'\\]++|(?<==)"[^"\r\n\\]*+"|["'](?=[\w,])|\\(?![rn"']))*+""")
_ELEMENT = re.compile(r"[^<]*+(?=</)")
_CREDENTIALS = re.compile(r"""(?:basic|bearer|token|apikey|jwt|negotiate|ntlm)[ \t]++[^\s,;"'<>()\[\]{}\\]++""", re.I)
_NUMBER = re.compile(r"-?\d++(?:\.\d++)?")
_SPACE = re.compile(r"[ \t]++")
_NEXT_PAIR = re.compile(r"[ \t]++[\w.\-]++=")
#: What prose says of a secret that a machine has made, as in "auth: failed". People choose such words as passwords.
_STATE = re.compile(
    r"(?:failed|failure|succeeded|missing|invalid|expired|required|denied|rejected|refused|unauthorized|forbidden|"
    r"revoked|refreshed|verified|mismatch|absent|ok|none|disabled|enabled|loaded|rotated|valid|sent|created|deleted|"
    r"updated|unknown|empty|unset|not)(?=[\s,.;:!)]|$)",
    re.IGNORECASE,
)
#: What is no secret, since it is none at all.
_NOTHING: Final = frozenset(("None", "null", "True", "False", "true", "false"))
#: What stands before the name of a column in SQL, and before that of a function in a traceback.
_COLUMN = re.compile(r"""["'`]\.["'`]$""")
_FRAME = re.compile(r", line [0-9]{1,9}, in $")
_STATED = re.compile(r"(?!.*(?:pass|pwd|secret)).*(?:auth|token|jwt|cookie|credential|session|csrf|signature|otp|key)")


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
        verdict, at = _verdict(text, begin, at, keys)
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
    # A literal alone would be in many texts more, such as "http://session-4711:": all of the field has to be there.
    words = "|".join(r"[_.\- ]*".join(map(re.escape, run)) for run in keys.runs)
    key = rf"(?:{words})(?:[\w.\-]|[^\x00-\x7f])*"
    colours = r"(?:(?:\x1b|\\+(?:x1b|033|u001b|e))\[[0-9;]*[mk])*"
    entity = r"&(?:quot|apos|#0?3[49]|#x2[27]);"
    quote = rf"""(?:\\*["'\]]|%(?:25)*(?:5d|22|27)|{entity}|\\+u002[27])"""
    # White space is more to Python than to RE2.
    gap = r"(?:[\s\x0b\x1c-\x1f]|[^\x00-\x7f]|\\[nr])*"
    line_gap = r"(?:[ \t\x0b\x0c\x1c-\x1f]|[^\x00-\x7f])*"
    quoted = rf"""[burf]{{0,2}}(?:\\*["'`“„«]|{entity})"""
    ends = (
        rf"{colours}{quote}?{colours}{line_gap}(?:[=:>\x{{ff1a}}\x{{ff1d}}]|->|\\+u003[ad]|%(?:25)*3[ad])",
        rf"""{colours}{quote}{colours}{line_gap},{gap}{colours}{quoted}""",
        r"[ \t]+(?:[\w:.\-]|[^\x00-\x7f])+=",
        rf"""[ \t]+(?:[a-z]+[ \t]+){{0,2}}{quoted}""",
        rf"""(?:[ \t]+not)?[ \t]+in[ \t]*\([ \t]*{quoted}""",
        rf"""\((?:[a-z]+=)?{quoted}""",
        r"""\\*["'](?:;[^\n]*)?(?:\r|\n|\\)""",
        r"(?:\n|\\n)[^\n]+input_value=",
        r"""\\*["'],?[)\]],[^\n]+input\\*["']:""",
        rf"""(?:\\*["'])?,?{gap}(?:b?\\*["'])?value(?:\\*["'])?[ \t]*[:=]""",
    )
    option = rf"(?:\A|[^\w.\-])-(?:[\w.\-]|[^\x00-\x7f])*(?:{words})(?:[\w.\-]|[^\x00-\x7f])*[ \t]"
    login = r"login[ \t\r\n]+[^\n]+[ \t\r\n]+password[ \t]"
    return rf"{key}(?:{'|'.join(ends)})|{option}|{login}"


def _places(lowered: str, literals: tuple[str, ...]) -> tuple[list[int], int]:
    """Where the literals begin, from left to right, up to a place behind which there are too many."""
    places: list[int] = []
    limit = len(lowered)
    for literal in [literal for literal in literals if literal in lowered]:
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


def _verdict(text: str, begin: int, end: int, keys: SecretKeys) -> tuple[Verdict, int]:
    """What the word says, or says without the end of an escape that it begins with, or beside another word.

    And where the key ends: behind the second word of ``session id``.
    """
    verdict = keys.verdict(text[begin:end])
    if verdict is not Verdict.SECRET and text[begin - 1 : begin] in ("\\", "%", "[", ";"):
        glued = _GLUED.match(text, begin, end)
        if glued is not None and keys.verdict(text[glued.end() : end]) is not Verdict.PLAIN:
            return keys.verdict(text[glued.end() : end]), end
    if verdict is Verdict.PLAIN:
        first = _BEFORE.match(text[max(0, begin - 34) : begin][::-1]) if text[begin - 1 : begin] == " " else None
        if first and keys.is_run(first[1][::-1], text[begin:end]):
            return Verdict.SECRET, end
        if (second := _AFTER.match(text, end)) and keys.is_run(text[begin:end], second[1]):
            return Verdict.SECRET, second.end()
    return verdict, end


def _span(text: str, begin: int, end: int) -> tuple[int, int, int] | None:
    """Where the value of a key begins and ends, and where to look on; None when no value follows the key."""
    # Between "=" or ":" and a value there is nothing else.
    if text[end : end + 1] not in ("=", ":") and (apart := _apart(text, begin, end)):
        return apart
    separator = _SEPARATOR.match(text, end)
    if separator is None:
        return _without_separator(text, begin, end)
    sign, at = separator[2], separator.end()
    key = text[begin:end].lower()
    if sign == ",":
        if _OPENING.match(text, at) is None or _COLUMN.search(text, max(0, begin - 4), begin):
            return None
    elif sign[-1] == ">" and sign[0] not in "=-":
        before = text[max(0, begin - 64) : begin]
        if not re.search(r"<(?:\w{1,32}:)?$", before):
            return None
        if element := _ELEMENT.match(text, at):
            return at, element.end(), at
        if sign != ">":  # with attributes, and no element that ends
            return None
    elif sign == ":" and text[at - 1] in " \t":
        if _STATED.match(key) and _STATE.match(text, at):
            return None
        if _FRAME.search(text, max(0, begin - 24), begin):
            return None
    start, stop = _value(text, key, sign, at)
    if start == at and (sign == ":" or sign == "="):
        stop = _more_lines(text, begin, at, stop)
    return start, stop, at


def _apart(text: str, begin: int, end: int) -> tuple[int, int, int] | None:
    """The value of a key that stands apart from it: in another field beside it, or on another line."""
    if named := _VALUE_OF.match(text, end):
        start, stop = _value(text, text[begin:end].lower(), ":", named.end())
        return start, stop, named.end()
    if given := _INPUT.match(text, end):
        stop = text.find(_INPUT_END, given.end())
        return given.end(), len(text) if stop < 0 else stop, given.end()
    if located := _LOCATED.match(text, end):
        start, stop = _value(text, "", ":", located.end())
        return start, stop, located.end()
    if (part := _PART.match(text, end)) and _PART_NAME.search(text, max(0, begin - 16), begin):
        return part.end(), _part_end(text, part.end()), part.end()
    return None


def _part_end(text: str, at: int) -> int:
    """Where a part of a form ends: before the newline, which may be two characters, of its boundary."""
    ending = _PART_END.search(text, at)
    if ending is None:
        return len(text)
    return max(at, ending.start() - (1 if text[ending.start() - 1] == "\n" else 2))


def _without_separator(text: str, begin: int, end: int) -> tuple[int, int, int] | None:
    """The value of a key that only a space or a bracket stands behind."""
    key = text[begin:end].lower()
    if key.endswith((*_PASSWORDS, "key")) and (gap := _QUOTED.match(text, end)):
        start, stop = _value(text, "", " ", gap.end())
        return start, stop, gap.end()
    if gap := _COMPARED.match(text, end):
        start, stop = _value(text, "", " ", gap.end())
        return start, stop, gap.end()
    if text[begin] == "-" and (gap := _OPTION_GAP.match(text, end)):
        start, stop = _value(text, "", " ", gap.end())
        return start, stop, gap.end()
    if (gap := _CALL.match(text, end)) and not _RAISED.match(key):
        after = _after_brackets(text, end)
        return gap.end(), after - (text[after - 1] == ")"), gap.end()
    if key == "password" and _LOGIN.search(text, max(0, begin - 160), begin) and (gap := _SPACE.match(text, end)):
        return gap.end(), _end(_BARE, text, gap.end()), gap.end()
    return None


def _more_lines(text: str, begin: int, at: int, stop: int) -> int:
    """Where a bare value ends whose key begins its line: a block of YAML or a passphrase goes on behind its word."""
    indent = _INDENT.search(text, max(0, begin - 80), begin)
    if indent is None:
        return stop
    if block := _BLOCK.match(text, at):
        return _end(_deeper(len(indent[1])), text, block.end())
    key = _KEY.match(text, begin)
    if stop > at and text[at - 1] in " \t" and key and key[0].lower().endswith(_PASSWORDS):
        return _end(_WORDS, text, stop)
    return stop


@lru_cache(maxsize=128)
def _deeper(indent: int) -> re.Pattern[str]:
    """The lines that belong to a key with this indentation."""
    return re.compile(rf"(?:\r?\n(?:[ \t]*+(?=\r?\n)|[ \t]{{{indent + 1}}}[^\n]*+|[ \t]{{{indent}}}-[ \t][^\n]*+))*+")


def _value(text: str, key: str, sign: str, at: int) -> tuple[int, int]:
    """Where a value begins and ends, without its quotes."""
    if opening := _OPENING.match(text, at):
        return opening.end(), _closing(text, opening)
    if text[at : at + 1] in ("[", "(", "{"):
        return at, _end(_BARE, text, _after_brackets(text, at))
    bare = _end(_BARE, text, at)
    if text[at:bare] == MASK or text[at:bare].rstrip(".") in _NOTHING:
        return at, at
    lines = key.endswith(("authorization", "cookie", "cookies"))
    if lines and text[at : _end(_LINE, text, at)] == MASK:
        return at, at
    if key.endswith(("authorization", "auth")) and (credentials := _CREDENTIALS.match(text, at)):
        return at, max(credentials.end(), bare)
    while bare > at and text[bare : bare + 1] in ("[", "(", "{"):  # Secret('…')
        bare = _end(_BARE, text, _after_brackets(text, bare))
    if not lines or (sign == "=" and _NEXT_PAIR.match(text, bare)):
        return at, bare
    return at, max(bare, _end(_LINE, text, at))


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _closing(text: str, opening: re.Match[str]) -> int:
    """Where a quoted value ends: at its quote, escaped as often as the first; a text that was cut has none."""
    if opening[3]:
        at = text.find(_PAIRED.get(opening[3], opening[3]), opening.end())
        return at if at >= 0 else len(text)
    escapes, quote = opening[1], opening[2]
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
