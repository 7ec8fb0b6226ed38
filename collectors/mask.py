r"""Secrets in one text, found by their surroundings and masked: the knowledge behind :mod:`logbus.collectors.redact`.

Nothing says "I am a secret" in a message. What gives one away stands before it: the ``://`` of a URL with userinfo,
a key that names a secret, or an authorization scheme. Three passes look for these, in this order:

- URLs: ``scheme://user:password@host`` keeps the user, ``scheme://token@host`` keeps nothing; JSON's ``:\/\/`` and
  percent-encoded URLs in a query too, passwords with a raw ``/``, and without a scheme ``//user:password@host``,
  ``user:password@host:port`` and ``netloc='user:password@host'``.
- schemes: ``Bearer xxx``, and ``Basic xxx`` where xxx is base64 of something with a colon.
- pairs: ``key=value``, ``key: value``, ``'key': 'value'``, ``\"key\": \"value\"``, ``(b'key', b'value')``,
  ``?key=value&`` and ``<key>value``, with a key that :class:`SecretKeys` knows. A quoted value goes up to its closing
  quote, a bracketed one to its closing bracket, a cookie or an unknown kind of authorization to the end of its line.

Every pattern takes time linear in the text: quantified classes are possessive, or bounded, or delimited by a
character that they exclude, and groups repeat possessively. In doubt more is masked rather than less, and masking
twice is masking once. Case is folded for ASCII letters only; look-alikes from other scripts are other letters.
"""

from __future__ import annotations

import base64
import binascii
import re
import string
from collections.abc import Iterable
from enum import Enum
from typing import Final

from logbus.errors import ConfigurationError

MASK: Final = "***"

#: Keys whose values are secrets, unless the configuration names others.
DEFAULT_FIELDS: Final = (
    "password", "passwd", "user_pass", "proxy_pass", "db_pass", "pwd", "passphrase", "secret", "token", "api_key",
    "access_key", "private_key", "encryption_key", "signing_key", "authorization", "auth", "cookie", "session_id",
    "session_key", "credential",
)  # fmt: skip

#: Literals of the passes that need no key.
SCHEMES: Final = ("bearer", "basic")

#: Words that, at the end of a key, say that its value is about a secret and not the secret: ``token_count``.
_ABOUT: Final = frozenset(
    "count counts length len size limit total used usage budget type method scheme mode policy provider path file name "
    "ttl age expires expiry expired expiration at in enabled required valid error exception warning".split()
)
#: Letters from which on a field matches the end of a longer word too, as in ``PGPASSWORD``.
_SUFFIX_LETTERS: Final = 5
#: Keys remembered, and the longest of them in characters.
_KEYS_KEPT: Final = 4096
_KEY_CHARS: Final = 128

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])")
_BETWEEN = re.compile(r"[\W_]++")

_URL = re.compile(r'(:(?:\\?/){2})([^\s/?#"<>`]*)@')
_URL_SLASHED = re.compile(
    r'(:(?:\\?/){2}[^\s/?#@:\[\]"<>`]{0,128}:)(?!\d{0,5}(?:[/?#]|$))(?:[^\s"<>`@/?#]{0,256}[/?#][^\s"<>`@]{0,256})@'
)
_URL_PARTED = re.compile(
    r"""((?:(?<![\w.~%+\-/:@\\])(?:\\?/){2}|:\\?/|\bnetloc=b?["'])[^\s/?#"'<>`:@]{0,64}:)[^\s/?#"'<>`]{1,256}@"""
)
_URL_ENCODED = re.compile(r'(%3A%2F%2F)((?:(?!%2F)[^\s"&<>/?#])*)%40', re.IGNORECASE | re.ASCII)
_URL_SCHEMELESS = re.compile(
    r"""(?<![\w.~%+\-/:@])([\w.~%+\-]{1,64}:)[^\s:@/"'<>,;()\[\]{}=&]{1,128}@(?=[\w.\-]{1,253}:\d|\[)"""
)
_ENCODED_COLON = re.compile("%3A", re.IGNORECASE)

_SCHEME = re.compile(r"(?<![\w\-])(bearer|basic)((?:[ \t]|%20)++)([\w.~+/=\-]++)", re.IGNORECASE | re.ASCII)
#: What prose says after "bearer".
_PROSE: Final = frozenset("token tokens auth authentication authorization scheme header headers is was or and".split())

_PAIR = re.compile(
    r"""(?<![\w.\-])([\w.\-]++)(\\*+["'\]]|%5D|%22)?[ \t]*+(={1,3}>?|:(?!//)=?|%3D|(?(2),|(?!))|>)(?(2)\s*+|[ \t]*+)""",
    re.IGNORECASE,
)
_OPENING = re.compile(r'''b?(\\*+)("""|\'\'\'|["'])''')
_TO_QUOTE = {
    '"': re.compile(r'(?:[^"\\]|\\.)*+', re.DOTALL),
    "'": re.compile(r"(?:[^'\\]|\\.)*+", re.DOTALL),
}
_BRACKET = re.compile(r""""(?:[^"\\]|\\.)*+"?|'(?:[^'\\]|\\.)*+'?|[\[({]|[\])}]""", re.DOTALL)
# Quotes, brackets, commas and semicolons end a bare value, unless it goes on after them; "&" always does.
_BARE = re.compile(r"""(?:[^\s&,;"'<>()\[\]{}\\]++|[,;](?!\s|$|["'\w.\-]++\s?[=:])|["'()\[\]{}](?=\w)|\\(?!["']))*+""")
_LINE = re.compile(r"""(?:[^\r\n"'\\]++|["'](?=[\w,])|\\(?![rn"']))*+""")
_CREDENTIALS = re.compile(r"""(?:basic|bearer|token|apikey|jwt|negotiate|ntlm)[ \t]++[^\s,;"'<>()\[\]{}\\]++""", re.I)
_NUMBER = re.compile(r"-?\d++(?:\.\d++)?")
_NEXT_PAIR = re.compile(r"[ \t]++[\w.\-]++=")


class Verdict(Enum):
    """What a key says about its value."""

    PLAIN = 0
    SECRET = 1
    #: A plural such as ``max_tokens``: a number under it is a quantity, anything else is secret.
    UNLESS_NUMBER = 2


class SecretKeys:
    """Tells from a key whether its value is a secret.

    Keys and fields are compared word by word, without regard to case; ``-``, ``_``, ``.`` and the humps of
    camelCase separate words. A field matches a run of whole words (``api_key`` matches ``X-Api-Key`` and
    ``apiKeys`` and not ``keyapi``; ``auth`` does not match ``author``), its words written together (``apikey``)
    and, from five letters on, the end of a word (``PGPASSWORD``). A key that ends in a word such as ``count``,
    ``type`` or ``expires`` is about a secret and stays, unless it is a field itself.

    Raises ConfigurationError when a field has no letter or digit.
    """

    def __init__(self, fields: Iterable[str]) -> None:
        self._runs: set[tuple[str, ...]] = set()
        self._known: dict[str, Verdict] = {}
        literals: set[str] = set()
        for field in fields:
            words = _words(field)
            if not words:
                raise ConfigurationError([f"redaction.fields: {field!r}: expected a key with a letter or digit"])
            self._runs.add(words)
            literals.add(words[-1] if len(words[-1]) > 2 else max(words, key=len))
        self._joined = {"".join(run) for run in self._runs}
        self._suffixes = tuple(run[0] for run in self._runs if len(run) == 1 and len(run[0]) >= _SUFFIX_LETTERS)
        self._longest = max((len(run) for run in self._runs), default=0)
        #: Lower-case texts one of which is in every key that is not PLAIN; none contains another.
        self.literals: tuple[str, ...] = tuple(
            sorted(one for one in literals if not any(other in one for other in literals if other != one))
        )

    def verdict(self, key: str) -> Verdict:
        """Whether the value of this key is secret."""
        found = self._known.get(key)
        if found is None:
            found = self._judge(key)
            if len(key) <= _KEY_CHARS:
                if len(self._known) >= _KEYS_KEPT:
                    self._known.clear()
                self._known[key] = found
        return found

    def _judge(self, key: str) -> Verdict:
        words = _words(key)
        if not words:
            return Verdict.PLAIN
        if words in self._runs:
            return Verdict.SECRET
        if words[-1] in _ABOUT:
            return Verdict.PLAIN
        chunks = _BETWEEN.split(key.translate(_LOWER))
        if any(chunk in self._joined or chunk.endswith(self._suffixes) for chunk in chunks):
            return Verdict.SECRET
        plural = any(chunk.endswith("s") and chunk[:-1] in self._joined for chunk in chunks)
        for start in range(len(words)):
            for end in range(start + 1, min(start + self._longest, len(words)) + 1):
                run = words[start:end]
                if run in self._runs:
                    return Verdict.SECRET
                plural = plural or (run[-1].endswith("s") and (*run[:-1], run[-1][:-1]) in self._runs)
        return Verdict.UNLESS_NUMBER if plural else Verdict.PLAIN


def mask_urls(text: str) -> str:
    """The text with the passwords of its URLs masked. Only texts with ``@`` or ``%40`` can change."""
    if "@" in text:
        text = _URL_SLASHED.sub(rf"\1{MASK}@", text)  # first, as what it leaves of a password with @ is for the next
        text = _URL.sub(_mask_userinfo, text)
        text = _URL_SCHEMELESS.sub(rf"\1{MASK}@", text)
        text = _URL_PARTED.sub(rf"\1{MASK}@", text)
    if "%40" in text:
        text = _URL_ENCODED.sub(_mask_encoded, text)
    return text


def mask_pairs(text: str, keys: SecretKeys) -> str:
    """The text with authorization values and the values of secret keys masked.

    Only texts with one of ``keys.literals`` or of :data:`SCHEMES` in them, in any case, can change.
    """
    lowered = text.lower()
    if any(scheme in lowered for scheme in SCHEMES):
        text = _SCHEME.sub(_mask_scheme, text)
    kept: list[str] = []
    done = at = 0
    while (pair := _PAIR.search(text, at)) is not None:
        at = pair.end()
        verdict = keys.verdict(pair[1])
        if verdict is Verdict.PLAIN or not _separates(text, pair):
            continue
        start, end = _value(text, pair)
        if end > start and not (verdict is Verdict.UNLESS_NUMBER and _NUMBER.fullmatch(text, start, end)):
            kept += (text[done:start], MASK)
            done = end
        at = end
    return "".join((*kept, text[done:])) if kept else text


def _words(key: str) -> tuple[str, ...]:
    return tuple(word for word in _BETWEEN.split(_HUMP.sub(" ", key).translate(_LOWER)) if word)


def _mask_userinfo(found: re.Match[str]) -> str:
    user, colon, _ = found[2].partition(":")
    if not found[2]:
        return found[0]
    return f"{found[1]}{user}:{MASK}@" if colon else f"{found[1]}{MASK}@"


def _mask_encoded(found: re.Match[str]) -> str:
    colon = _ENCODED_COLON.search(found[2])
    return f"{found[1]}{found[2][: colon.end()] if colon else ''}{MASK}%40"


def _mask_scheme(found: re.Match[str]) -> str:
    scheme, space, value = found.groups()
    if scheme.lower() == "basic":
        try:
            secret = b":" in base64.b64decode(value + "=" * (-len(value) % 4))
        except (binascii.Error, ValueError):
            secret = False
    else:
        secret = value.lower().rstrip(".") not in _PROSE
    return f"{scheme}{space}{MASK}" if secret else found[0]


def _separates(text: str, pair: re.Match[str]) -> bool:
    """Whether what stands between key and value makes a pair of them: a comma does so between quoted ones only."""
    if pair[3] == ",":
        return _OPENING.match(text, pair.end()) is not None
    return pair[3] != ">" or text[pair.start() - 1 : pair.start()] == "<"


def _value(text: str, pair: re.Match[str]) -> tuple[int, int]:
    """Where the value of a pair begins and ends, without its quotes."""
    at = pair.end()
    if opening := _OPENING.match(text, at):
        return opening.end(), _closing(text, opening)
    if text.startswith(MASK, at) and not text[at + len(MASK) : at + len(MASK) + 1].isalnum():
        return at, at
    if text[at : at + 1] in ("[", "(", "{"):
        return at, _end(_BARE, text, _after_brackets(text, at))
    key = pair[1].lower()
    if key.endswith(("authorization", "auth")) and (credentials := _CREDENTIALS.match(text, at)):
        return at, credentials.end()
    bare = _end(_BARE, text, at)
    while bare > at and text[bare : bare + 1] in ("[", "(", "{"):  # Secret('…')
        bare = _end(_BARE, text, _after_brackets(text, bare))
    if not key.endswith(("authorization", "cookie", "cookies")) or (pair[3] == "=" and _NEXT_PAIR.match(text, bare)):
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
    while escapes and at > 0 and text[at - 1] == "\\":  # the quote of a quote within
        at = text.find(escapes + quote, at + len(escapes) + 1)
    return at if at >= 0 else len(text)


def _after_brackets(text: str, at: int) -> int:
    depth = 0
    for found in _BRACKET.finditer(text, at):
        token = found[0]
        if token in ("[", "(", "{"):
            depth += 1
        elif token in ("]", ")", "}"):
            depth -= 1
            if not depth:
                return found.end()
    return len(text)
