r"""Credentials in URLs and in what people write instead of URLs, found by what they look like and masked.

``scheme://user:password@host`` keeps the user, ``scheme://token@host`` keeps nothing. So do JSON's ``:\/\/``, URLs that
are percent-encoded in a query once or more often, passwords with a raw ``/``, URLs that were cut before the ``@``, and
without a scheme ``//user:password@host``, ``user:password@host`` and ``netloc='user:password@host'``. Lists of proxies
have ``host:port:user:password``, or ``user:password:host:port``, and commands ``-u user:password``.

None of these holds white space, ``"``, ``<``, ``>`` or a backquote. So only words between those are looked at, and
only the ones that hold an ``@`` (or one that is encoded) or a port between colons; a word longer than any URL is masked
whole. Within a word every quantifier is possessive or bounded.
"""

from __future__ import annotations

import re
from typing import Final

from logbus.collectors.redaction.work import MASK, Work

#: Places of an @ that are tried for the last one before a host.
_MOST_SIGNS: Final = 16
#: Characters of a word in which credentials are looked for; a longer one that may hold some is masked whole.
_WORD_CHARS: Final = 4096
#: Characters of a text that may be a plain URL and nothing else.
_LONE_CHARS: Final = 256
#: Steps for a word, and characters that take about as long as a step where the word is no plain URL.
_WORD_STEPS: Final = 4
_CHARS_PER_STEP: Final = 10

# Where a word may hold credentials; a regular expression of RE2 says the same in mask.py.
_SIGN = re.compile(r"@|%(?:25)*+40|:[0-9]{1,5}(?![0-9])|:\\*+/\\*+/")
_WORD = re.compile(r'[^\s"<>`]*+')

# The word of nearly every proxy, for which one pattern does what all of them would.
_PLAIN = re.compile(
    r"""([^@%]*:(?:\\*+/){2}(?![0-9]{1,3}\.[0-9])[^\s/?#"<>`:@%]*:)[^\s/?#"<>`@%]*(@[^@%:]*(?::[0-9]{1,5}(?![^\s"',;/)\]}])[^@%]*)?)"""
)
# The same for a text that is such a word as a whole and nothing else; there is no option before it either.
_LONE = re.compile(
    r"""([^\s"<>`=@%:/\\]*+://(?![0-9]{1,3}\.[0-9])[^\s"<>`=@%:/?#\\]*+:)[^\s"<>`=@%/?#\\]*+"""
    r"""(@[^\s"<>`=@%:/?#\\]*+(?::[0-9]{1,5}+(?![?#]))?+(?:[/?#][^\s"<>`=@%:\\]*+)?+)"""
)
_URL = re.compile(r'(:(?:\\*+/){2})([^\s/?#"<>`]*)@')
_URL_SLASHED = re.compile(
    r'(:(?:\\*+/){2}[^\s/?#@:\[\]"<>`]{0,512}:)(?!\d{0,5}(?:[/?#]|$))(?:[^\s"<>`@/?#]{0,256}[/?#][^\s"<>`@]{0,256})@'
)
# The same with an @ in the password as well: it goes up to the last @ before something that can only be a host.
_AUTHORITY = re.compile(r'(:(?:\\*+/){2}[^\s/?#@:\[\]"<>`]{0,512}:)(?![0-9]{0,5}(?:[/?#]|$))')
_HOST = re.compile(
    r"(?:[\w.\-]{1,253}+:[0-9]|(?:[\w\-]{1,63}\.){1,8}[A-Za-z][\w\-]{0,62}+(?![\w.@])|"
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}+(?![\w.@])|\[[0-9A-Fa-f:.]{2,45}+\])"
)
_URL_PARTED = re.compile(
    r"""((?:(?<![\w.~%+\-/:@\\])(?:\\?/){2}|:\\?/|\bnetloc=b?["'])[^\s/?#"'<>`:@]{0,256}:)[^\s/?#"'<>`]{1,512}@"""
)
# A URL that was cut before its @, as pydantic does in its errors: what stands in the port's place is no port.
_URL_CUT = re.compile(
    r"""(:(?:\\*+/){2}[^\s/?#"'<>`:@\[\]]{1,512}:)(?![0-9]{1,5}(?!\w)|[{$%*])[^\s/?#"'<>`@\\]++(?!@)"""
)
_URL_ENCODED = re.compile(
    r'(%(?:25)*+3A%(?:25)*+2F%(?:25)*+2F)((?:(?!%(?:25)*+2F)[^\s"&<>`/?#])*)(%(?:25)*+40)', re.IGNORECASE | re.ASCII
)
_SCHEMELESS = re.compile(
    r"""(?<![\w.~%+\-/:@])(?<!\*\*\*)([\w.~%+\-]{1,512}+:)([^\s@/"'<>`]{1,512}+)@(?!sha\d)(?=[\w\[])""",
)
_LISTED = re.compile(
    r"""(?<![\w.:\-@])(?<!\*\*\*)"""
    r"""((?:(?:[\w\-]{1,63}+\.)++[\w\-]{1,63}+|\[[\da-f:.]{2,45}+\]|localhost|(?<=//)[\w\-]{1,63}+):"""
    r"""[0-9]{1,5}+:[^\s:@/"'<>`]{1,512}+:)"""
    r"""[^\s"'<>`]++""",
    re.IGNORECASE,
)
# The host first and the credentials behind the @.
_LISTED_AT = re.compile(
    r"""(?<![\w.:\-@])(?<!\*\*\*)((?:(?:[0-9]{1,3}+\.){3}[0-9]{1,3}+:[0-9]{1,5}+@[^\s:@/"'<>`]{1,512}+:|"""
    r"""(?:[\w\-]{1,63}+\.)++[\w\-]{1,63}+:[0-9]{1,5}+@[^\s:@/"'<>`]{1,512}+:(?![0-9]{1,5}+(?![^\s"',;/)\]}]))))"""
    r"""[^\s/"'<>`]++""",
)
_LISTED_LAST = re.compile(
    r"""(?<![^\s"'<>`,;(\[=])([^\s:@/"'<>`,;=]{1,512}+:)[^\s:@/"'<>`]{1,512}+(:(?:[\w\-]{1,63}+\.)++[\w\-]{1,63}+:[0-9]{2,5}+)(?![\w:.])"""
)
# What curl and others are given; two numbers are a user and a group.
_LOGIN = re.compile(
    r"""(?<![\w\-])(-[uU]|--user|--proxy-user)(=|["']?,?[ \t]++["']?)(?![0-9]++:[0-9]++(?![^\s"']))"""
    r"""([^\s:"'@/=]{1,512}+:)(?!//)[^\s"'@]++(?!@)"""
)
_COLON = re.compile("%(?:25)*+3A", re.IGNORECASE)
#: What stands before an address and not before a password.
_NO_USERS: Final = frozenset("mailto email mail e-mail from to cc bcc reply-to sip sips xmpp npm git".split())


def mask_urls(text: str, work: Work | None = None) -> str:
    """The text with the passwords of its URLs masked."""
    work = work or Work()
    kept: list[str] = []
    done = 0
    if options := text.count("-u") + text.count("-U"):
        if not work.take(options):
            return MASK
        text = _LOGIN.sub(rf"\1\2\3{MASK}", text)
    sign = _SIGN.search(text)
    while sign is not None:
        # A word has more than one sign at times, and is looked at once: no character is passed twice.
        before = _WORD.match(text[done : sign.start()][::-1])
        start = sign.start() - (before.end() if before else 0)
        end = sign.end()
        if after := _WORD.match(text, end):
            end = after.end()
        size = end - start
        word = text[start:end]
        plain = _PLAIN.fullmatch(word) if size <= _WORD_CHARS and word.count("//") == 1 else None
        if not work.take(_WORD_STEPS if plain else _WORD_STEPS + size // _CHARS_PER_STEP):
            return "".join((*kept, text[done:start], MASK))
        if plain:
            kept += (text[done:start], plain[1], MASK, plain[2])
        else:
            kept += (text[done:start], _mask_word(word) if size <= _WORD_CHARS else MASK)
        done = end
        sign = _SIGN.search(text, end)
    return "".join((*kept, text[done:])) if kept else text


def mask_lone(text: str) -> str | None:
    """What :func:`mask_urls` makes of a text that is one plain URL with a user; None for a text that may be another."""
    found = _LONE.fullmatch(text) if len(text) <= _LONE_CHARS and text.count("//") == 1 else None
    return f"{found[1]}{MASK}{found[2]}" if found else None


def _mask_word(word: str) -> str:
    if "@" in word:
        word = _LISTED_AT.sub(rf"\1{MASK}", word)
        if word.count("@") > 1:
            word = _mask_to_host(word)
        word = _URL_SLASHED.sub(rf"\1{MASK}@", word)  # first, as what it leaves of a password with @ is for the next
        word = _URL.sub(_mask_userinfo, word)
        word = _SCHEMELESS.sub(_mask_schemeless, word)
        word = _URL_PARTED.sub(rf"\1{MASK}@", word)
    elif word.count(":") > 2:
        word = _LISTED.sub(rf"\1{MASK}", word)
        word = _LISTED_LAST.sub(rf"\1{MASK}\2", word)
    if "/" in word:
        word = _URL_CUT.sub(rf"\1{MASK}", word)
    if "%" in word:
        word = _URL_ENCODED.sub(_mask_encoded, word)
    return word


def _mask_to_host(word: str) -> str:
    kept: list[str] = []
    done = 0
    for authority in _AUTHORITY.finditer(word):
        start = authority.end()
        limit = word.find("//", start)  # of another URL
        limit = len(word) if limit < 0 else limit
        at = word.rfind("@", start, limit)
        for _ in range(_MOST_SIGNS):
            if at <= start or _HOST.match(word, at + 1):
                break
            at = word.rfind("@", start, at)
        if at > start:
            kept += (word[done:start], MASK)
            done = at
    return "".join((*kept, word[done:])) if kept else word


def _mask_userinfo(found: re.Match[str]) -> str:
    user, colon, _ = found[2].partition(":")
    if not found[2] or found[2] == "git":  # the user of everybody's ssh://git@host
        return found[0]
    return f"{found[1]}{user}:{MASK}@" if colon else f"{found[1]}{MASK}@"


def _mask_schemeless(found: re.Match[str]) -> str:
    return found[0] if found[1][:-1].lower() in _NO_USERS else f"{found[1]}{MASK}@"


def _mask_encoded(found: re.Match[str]) -> str:
    colon = _COLON.search(found[2])
    return f"{found[1]}{found[2][: colon.end()] if colon else ''}{MASK}{found[3]}"
