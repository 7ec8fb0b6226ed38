"""Tells from a key whether its value is a secret: the words by which ``pairs.py`` knows one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import Final

from logbus.errors import ConfigurationError

#: Keys whose values are secrets, unless the configuration names others. ``pin`` is none of them: it is a pin of a chip
#: or of a processor more often than a secret. ``pass`` counts at the end of a key only, and not for a number.
DEFAULT_FIELDS: Final = (
    "password", "passwd", "pass", "user_pass", "proxy_pass", "db_pass", "pwd", "passphrase", "passcode", "secret",
    "token", "jwt", "bearer", "otp", "api_key", "access_key", "private_key", "encryption_key", "signing_key",
    "account_key", "master_key", "subscription_key", "authorization", "auth", "cookie", "session_id", "sessid",
    "session_key", "credential", "creds", "csrf", "xsrf", "signature", "sig", "secret_key", "auth_key", "app_key",
    "shared_key", "functions_key", "license_key", "fernet_key", "hmac_key", "aes_key", "psk", "totp",
    "cvv", "code_verifier", "passwort", "kennwort", "contraseña", "senha", "mot_de_passe",
)  # fmt: skip

#: Words that, at the end of a key, say that its value is about a secret and not the secret: ``token_count``.
_ABOUT: Final = frozenset(
    "count counts length len size limit total used usage budget type method scheme mode policy provider path file name "
    "ttl age expires expiry expired expiration at in enabled required valid error errors exception warning status "
    "version algorithm alg attempts failures retries ms seconds duration latency time url uri endpoint".split()
)
#: Fields that count at the end of a key only.
_LAST: Final = frozenset({("pass",)})
#: Letters from which on a field matches the end of a longer word too, as in ``PGPASSWORD``.
_SUFFIX_LETTERS: Final = 5
#: Keys remembered, and the longest of them in characters.
_KEYS_KEPT: Final = 4096
_KEY_CHARS: Final = 128

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])")
_BETWEEN = re.compile(r"[\W_]++")


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
    and, from five letters on, the end of a word (``PGPASSWORD``, ``JSESSIONID``). A key that ends in a word such as
    ``count``, ``type`` or ``expires`` is about a secret and stays, unless it is a field itself.

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
            literals.add(_literal(words))
        alone = [run for run in self._runs if len(run) == 1]
        #: Runs of words, of which one is in every key that is not PLAIN, with nothing or with ``_``, ``-`` or ``.``
        #: between its words; those that the last word of another gives away are left out.
        self.runs: tuple[tuple[str, ...], ...] = tuple(
            sorted(run for run in self._runs if not any(one[0] in run[-1] for one in alone if one != run))
        )
        self._last = self._runs & _LAST
        self._runs -= _LAST
        self._joined = {"".join(run) for run in self._runs}
        self._suffixes = tuple(one for one in self._joined if len(one) >= _SUFFIX_LETTERS)
        spaced = [" ".join(run) for run in self._runs if len(run) == 2]
        self._spaced = frozenset((*spaced, *[f"{one}s" for one in spaced]))
        self._longest = max((len(run) for run in self._runs), default=0)
        #: Lower-case texts one of which is in every key that is not PLAIN; none contains another.
        self.literals: tuple[str, ...] = tuple(
            sorted(one for one in literals if not any(other in one for other in literals if other != one))
        )
        self._needs = tuple((one, self._beside(one)) for one in self.literals)

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

    def is_run(self, first: str, second: str) -> bool:
        """Whether two words that stand side by side in prose, such as "API key", are a field, or its plural."""
        return fold(f"{first} {second}") in self._spaced

    def _beside(self, literal: str) -> tuple[str, ...]:
        """Texts of which one is in a secret key beside the literal: ``id`` for ``session``; none if none has to be."""
        runs = [run for run in self._runs | self._last if literal in _literal(run)]
        others = {max([word for word in run if word != _literal(run)], key=len, default="") for run in runs}
        return () if "" in others else tuple(sorted(others))

    def _may_be_secret(self, key: str) -> bool:
        """Whether the key has the letters of a field, in a tenth of the time that it takes to judge."""
        folded = fold(key)
        for literal, others in self._needs:
            if literal in folded and (not others or any(other in folded for other in others)):
                return True
        return False

    def _judge(self, key: str) -> Verdict:
        if not self._may_be_secret(key):
            return Verdict.PLAIN
        words = _words(key)
        if not words:
            return Verdict.PLAIN
        if words in self._runs:
            return Verdict.SECRET
        if words[-1] in _ABOUT:
            return Verdict.PLAIN
        chunks = _BETWEEN.split(fold(key))
        if any(chunk in self._joined or chunk.endswith(self._suffixes) for chunk in chunks):
            return Verdict.SECRET
        plural = any(chunk.endswith("s") and chunk[:-1] in self._joined for chunk in chunks)
        for start in range(len(words)):
            for end in range(start + 1, min(start + self._longest, len(words)) + 1):
                run = words[start:end]
                if run in self._runs:
                    return Verdict.SECRET
                plural = plural or (run[-1].endswith("s") and (*run[:-1], run[-1][:-1]) in self._runs)
        return Verdict.UNLESS_NUMBER if plural or words[-1:] in self._last else Verdict.PLAIN


def fold(text: str) -> str:
    """The text in lower case, for ASCII letters only, so that it keeps its length."""
    if text.isascii():
        return text.lower()
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")  # bytes: ASCII only


def _literal(run: tuple[str, ...]) -> str:
    """The word of a field by which it is sought: the last one, or the longest where that is short."""
    return run[-1] if len(run[-1]) > 2 else max(run, key=len)


def _words(key: str) -> tuple[str, ...]:
    return tuple(word for word in _BETWEEN.split(fold(_HUMP.sub(" ", key))) if word)
