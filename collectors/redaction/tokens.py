r"""Secrets that say themselves what they are: known prefixes, JSON web tokens, authorization schemes, cookies' reprs.

- prefixes: makers of tokens give them one so that tools like this one find them. The list holds the ones that are
  frequent, or whose tokens open more than one door; the prefix stays, since it tells which token has to be revoked.
- ``eyJ….eyJ….…``, a JSON web token wherever it stands.
- an access key id of AWS, and in a text that has one whatever is as long as a secret access key.
- ``Bearer xxx``, and ``Basic xxx`` where xxx is base64 of something with a colon.
- ``<Cookie name=value for host/>``, ``Cookie(…, value='…')``, ``<SimpleCookie: …>``: what jars print.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from logbus.collectors.redaction.secret_keys import fold
from logbus.collectors.redaction.work import MASK, Work

#: Prefixes, each with what follows it: that much at least, so that a word of prose is no token. No pattern can match
#: again what it has masked.
_PREFIXED: Final = tuple(
    (literal, re.compile(pattern, re.ASCII))
    for literal, pattern in (
        ("gh", r"(gh[oprsu]_)[A-Za-z0-9]{16,}+"),  # GitHub
        ("github_pat_", r"(github_pat_)\w{16,}+"),
        ("glpat-", r"(glpat-)[\w\-.]{16,}+"),  # GitLab
        ("xox", r"(xox[a-z]-)[\w\-]{8,}+"),  # Slack
        ("xapp-", r"(xapp-)[\w\-]{8,}+"),
        ("hooks.slack.com/", r"(hooks\.slack\.com/\w++/)[\w/]{8,}+"),
        ("k_live_", r"([a-z]k_live_)\w{8,}+"),  # Stripe
        ("k_test_", r"([a-z]k_test_)\w{8,}+"),
        ("whsec_", r"(whsec_)[\w+/=]{16,}+"),
        ("sk-", r"((?:(?<![A-Za-z0-9])|(?<=\\[nrt]))sk-)[\w\-]{20,}+"),  # OpenAI, Anthropic
        ("AIza", r"(AIza)[\w\-]{30,}+"),  # Google
        ("ya29.", r"(ya29\.)[\w\-.]{16,}+"),
        ("GOCSPX-", r"(GOCSPX-)[\w\-]{16,}+"),
        ("SG.", r"(SG\.)[\w\-]{16,64}\.[\w\-]{16,}+"),  # SendGrid
        ("npm_", r"(npm_)[A-Za-z0-9]{30,}+"),
        ("pypi-", r"(pypi-)[\w\-]{50,}+"),
        ("hf_", r"(hf_)[A-Za-z0-9]{30,}+"),  # Hugging Face
        ("hvs.", r"(hvs\.)[\w\-]{20,}+"),  # Vault
        ("bot", r"(bot[0-9]{6,12}:)[\w\-]{30,}+"),  # Telegram: in the path of each URL
        ("AGE-SECRET-KEY-1", r"(AGE-SECRET-KEY-1)[A-Z0-9]{40,}+"),
    )
)

# The run goes with the match where no token follows it, so that no other match begins in it.
_JWT = re.compile(r"eyJ[\w\-]*+((?:\.[\w\-]*+){1,4})?", re.ASCII)
#: Characters of the first and the second part of the shortest token.
_JWT_CHARS: Final = 8

_AWS_ID = re.compile(r"(AKIA|ASIA)[A-Z0-9]{16}")
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}+={0,2}")
_HEXADECIMAL = re.compile(r"[\da-fA-F]++")

#: What the reprs of cookies begin with, and what of them is secret.
_COOKIES: Final = (
    ("<Cookie ", re.compile(r"(<Cookie [^\s=<>]{1,256}=)(?:(?! for )[^>])*+")),
    ("<SimpleCookie: ", re.compile(r"(<SimpleCookie: )[^>]*+")),
    ("<Morsel: ", re.compile(r"(<Morsel: [^\s=<>]{1,256}=)[^>;]*+")),
    (
        "Cookie(",
        re.compile(
            r"""(Cookie\((?:version=[^\s,]{1,8}, )?name=(?:'[^']{0,256}'|"[^"]{0,256}"), value=)"""
            r"""(?:'(?:[^'\\]|\\.)*+'?|"(?:[^"\\]|\\.)*+"?)"""
        ),
    ),
)

#: Steps for what stands behind a scheme.
_SCHEME_STEPS: Final = 3

#: Schemes of authorization, in lower case.
SCHEMES: Final = ("bearer", "basic")
_SCHEME = re.compile(r"(bearer|basic)((?:[ \t+]|%(?:25)*+20)++)([\w.~+/=\-]++)", re.IGNORECASE | re.ASCII)
#: What prose says after "bearer".
_PROSE: Final = frozenset(
    "token tokens auth authentication authorization scheme header headers is was or and of not for".split()
)

#: What RE2 has to find in a text that :func:`mask_tokens` or :func:`mask_schemes` may change; case does not count.
SIGNS: Final = (
    r"gh[oprsu]_", r"github_pat_", r"glpat-", r"xox[a-z]-", r"xapp-", r"hooks\.slack\.com/", r"k_live_", r"k_test_",
    r"whsec_", r"sk-[a-z0-9_-]{20}", r"aiza", r"ya29\.", r"gocspx-", r"sg\.[a-z0-9_-]{16}", r"npm_", r"pypi-", r"hf_",
    r"hvs\.", r"bot[0-9]{6}", r"age-secret-key-1", r"eyj", r"akia[a-z0-9]{4}", r"asia[a-z0-9]{4}", r"<cookie ",
    r"<simplecookie: ", r"<morsel: ", r"cookie\(", r"(?:bearer|basic)(?:[ \t+]|%(?:25)*20)",
)  # fmt: skip


def mask_tokens(text: str, work: Work | None = None) -> str:
    """The text without what is secret by its own looks."""
    work = work or Work()
    if "eyJ" in text:
        text = _mask_jwt(text, work)
    if found := _AWS_ID.search(text):
        if not work.take(text.count("AKIA") + text.count("ASIA")):
            return f"{text[: found.start()]}{MASK}"
        text = _AWS_SECRET.sub(_mask_aws_secret, _AWS_ID.sub(rf"\1{MASK}", text))
    for literal, pattern in (*_PREFIXED, *_COOKIES):
        if (count := text.count(literal)) and not work.take(count):
            text = f"{text[: text.index(literal)]}{MASK}"
        elif count:
            text = pattern.sub(rf"\1{MASK}", text)
    return text


def mask_schemes(text: str, work: Work | None = None) -> str:
    """The text without the credentials that follow the name of their scheme."""
    work = work or Work()
    lowered = fold(text)
    for scheme in SCHEMES:
        kept: list[str] = []
        done = 0
        at = lowered.find(scheme)
        while at >= 0:
            if not work.take(_SCHEME_STEPS):
                kept += (text[done:at], MASK)
                done = len(text)
                break
            found = _SCHEME.match(text, at)
            if found is not None and _is_secret(found):
                kept += (text[done : found.start(3)], MASK)
                done = found.end()
            at = lowered.find(scheme, max(done, at + len(scheme)))
        if kept:
            text = "".join((*kept, text[done:]))
            lowered = fold(text)
    return text


def _mask_jwt(text: str, work: Work) -> str:
    kept: list[str] = []
    done = 0
    for found in _JWT.finditer(text):
        if not work.take(1):
            return "".join((*kept, text[done : found.start()], MASK))
        tail = found[1]
        if tail is None or found.start(1) - found.start() < _JWT_CHARS or len(tail.split(".", 2)[1]) < _JWT_CHARS:
            continue
        kept += (text[done : found.start()], MASK)
        done = found.end()
    return "".join((*kept, text[done:])) if kept else text


def _mask_aws_secret(found: re.Match[str]) -> str:
    return found[0] if _HEXADECIMAL.fullmatch(found[0]) else MASK


def _is_secret(found: re.Match[str]) -> bool:
    scheme, _, value = found.groups()
    if scheme.lower() != "basic":
        return value.lower().rstrip(".") not in _PROSE
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return False
