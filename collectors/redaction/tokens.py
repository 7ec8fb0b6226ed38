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
from typing import Any, Final

import re2

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
        ("hvb.", r"(hvb\.)[\w\-]{20,}+"),
        ("glrt-", r"(glrt-)[\w\-.]{16,}+"),  # GitLab's runners and deployments
        ("gldt-", r"(gldt-)[\w\-.]{16,}+"),
        ("_v1_", r"(do[opr]_v1_)\w{32,}+"),  # DigitalOcean
        ("shp", r"(shp(?:at|ca|pa|ss)_)\w{24,}+"),  # Shopify
        ("dckr_pat_", r"(dckr_pat_)[\w\-]{16,}+"),
        ("gsk_", r"(gsk_)\w{32,}+"),  # Groq
        ("xai-", r"(xai-)\w{32,}+"),
        ("nvapi-", r"(nvapi-)[\w\-]{24,}+"),
        ("lin_api_", r"(lin_api_)\w{24,}+"),
        ("rubygems_", r"(rubygems_)[\da-f]{32,}+"),
        ("ATATT3", r"(ATATT3)[\w\-=]{16,}+"),  # Atlassian
        ("NRAK-", r"(NRAK-)[A-Z0-9]{20,}+"),  # New Relic
        ("dapi", r"(dapi)[\da-f]{32,}+"),  # Databricks
        ("key-", r"((?:(?<![\w\-])|(?<=\\[nrt]))key-)[\da-f]{32,}+"),  # Mailgun
        ("/api/webhooks/", r"(/api/webhooks/[0-9]{5,20}/)[\w\-]{20,}+"),  # Discord
        (".webhook.office.com/", r"(\.webhook\.office\.com/\w{1,32}/)[\w\-@/]{16,}+"),
        ("LS0tLS1CRUdJTi", r"(LS0tLS1CRUdJTi)[A-Za-z0-9+/=]{16,}+"),  # a key in PEM, in base64
        ("bot", r"(bot[0-9]{6,12}:)[\w\-]{30,}+"),  # Telegram: in the path of each URL
        ("AGE-SECRET-KEY-1", r"(AGE-SECRET-KEY-1)[A-Z0-9]{40,}+"),
        # PuTTY's keys; what follows the number of lines is base64.
        (
            "Private-Lines: ",
            r"(Private-Lines: [0-9]{1,4}+(?:\s|\\[rn]){1,4}+)(?:[A-Za-z0-9+/=]{1,80}+(?:\s|\\[rn]|$)++)++",
        ),
        # What is only in its place a secret: in the queries of OAuth, SAML and of services that call their key "key",
        # in SMTP, SQL, Oracle's URLs and on the command lines of clients.
        ("code=", r"((?:[?&]|device_)code=)(?=[^&\s]{0,256}?[0-9])(?=[^&\s]{0,256}?[a-z])[\w\-.~%/+]{8,}+"),
        ("key=", r"([?&]key=)[\w\-]{24,}+"),
        ("appid=", r"([?&]appid=)[\w\-]{24,}+"),
        ("SAMLRe", r"(SAMLRe(?:sponse|quest)=)[\w%+/=\-]{8,}+"),
        ("AUTH ", r"(AUTH (?:PLAIN|LOGIN|XOAUTH2) )[A-Za-z0-9+/=]{4,}+"),
        ("IDENTIFIED ", r"(IDENTIFIED (?:WITH [^\s]{1,64} )?(?:BY|AS) (?:PASSWORD )?['\"])[^'\"*][^'\"]*+"),
        (
            "identified ",
            r"(user [^\n]{1,128}? identified (?:with [^\s]{1,64} )?by (?:password )?['\"])[^'\"*][^'\"]*+",
        ),
        ("SET PASSWORD FOR ", r"(SET PASSWORD FOR [^\n=]{1,128}= ?(?:PASSWORD\()?['\"])[^'\"*][^'\"]*+"),
        ("jdbc:oracle:", r"(jdbc:oracle:\w{1,8}:[^\s/@:]{1,64}/)[^\s@\"'*]{1,128}+(?=@)"),
        ("sshpass", r"(sshpass(?:[\"'],)? [\"']?-p(?:[\"'],)?(?: [\"']?)?)[^\s\"'*]++"),
        ("redis-cli", r"(redis-cli\b[^\n]{0,100}?[ '\"]-a(?:[\"'],)? [\"']?)[^\s\"'*]++"),
        ("mysql", r"(mysql(?:dump|admin|import|show)?\b(?:(?! -p)[^\n]){0,100}?[ '\"]-p)[^\s\"'*]++"),
        ("curl", r"(curl\b[^\n]{0,200}?[ '\"]-b(?:[\"'],)? ?[\"']?[\w.\-]{1,64}=)[^\"'\n*]++"),
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
#: The next pair, as in "token_type=Bearer expires_in=3600".
_PAIR = re.compile(r"[a-z_]{2,32}=[^=]")
#: What prose says after "bearer".
_PROSE: Final = frozenset(
    "token tokens auth authentication authorization scheme header headers is was or and of not for".split()
)

#: What RE2 has to find in a text that :func:`mask_schemes` may change; case does not count.
SCHEME_SIGN: Final = rf"(?:{'|'.join(SCHEMES)})(?:[ \t+]|%(?:25)*20)"
#: The same for :func:`mask_tokens`: one of these.
SIGNS: Final = (
    r"gh[oprsu]_", r"github_pat_", r"glpat-", r"xox[a-z]-", r"xapp-", r"hooks\.slack\.com/", r"k_live_", r"k_test_",
    r"whsec_", r"sk-[a-z0-9_-]{20}", r"aiza", r"ya29\.", r"gocspx-", r"sg\.[a-z0-9_-]{16}", r"npm_", r"pypi-", r"hf_",
    r"hvs\.", r"bot[0-9]{6}", r"age-secret-key-1", r"eyj", r"akia[a-z0-9]{4}", r"asia[a-z0-9]{4}", r"<cookie ",
    r"<simplecookie: ", r"<morsel: ", r"cookie\(",
    r"hvb\.[a-z0-9_-]{20}", r"gl[rd]t-[a-z0-9_.-]{16}", r"do[opr]_v1_", r"shp(?:at|ca|pa|ss)_", r"dckr_pat_", r"gsk_",
    r"xai-[a-z0-9_]{32}", r"nvapi-", r"lin_api_", r"rubygems_", r"atatt3", r"nrak-", r"dapi[0-9a-f]{32}",
    r"key-[0-9a-f]{32}", r"/api/webhooks/", r"\.webhook\.office\.com/", r"ls0tls1crudjti", r"private-lines: ",
    r"(?:[?&]|device_)code=[a-z0-9_.~%/+-]{8}", r"[?&](?:key|appid)=[a-z0-9_-]{24}", r"samlre(?:sponse|quest)=",
    r"auth (?:plain|login|xoauth2) ", r"identified (?:with [^\n]+)?(?:by|as) ", r"set password for ", r"jdbc:oracle:",
    r"sshpass[\"', ]", r"redis-cli\b[^\n]*[ '\"]-a", r"mysql[^\n]*[ '\"]-p[^ ]", r"curl\b[^\n]*[ '\"]-b",
)  # fmt: skip


#: Characters from which on one pass of RE2 costs less than looking for sixty prefixes.
_LONG: Final = 1024


def _any_sign() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.never_capture = True
    options.log_errors = False
    return re2.compile("|".join(SIGNS), options)


_ANY_SIGN: Final = _any_sign()


def mask_tokens(text: str, work: Work | None = None) -> str:
    """The text without what is secret by its own looks."""
    work = work or Work()
    if len(text) > _LONG and _ANY_SIGN.search(text.encode("utf-8", "surrogatepass")) is None:
        return text
    if "eyJ" in text:
        text = _mask_jwt(text, work)
    if found := _AWS_ID.search(text):
        if not work.take(text.count("AKIA") + text.count("ASIA")):
            return f"{text[: found.start()]}{MASK}"
        text = _AWS_SECRET.sub(_mask_aws_secret, _AWS_ID.sub(rf"\1{MASK}", text))
    for literal, pattern in (*_PREFIXED, *_COOKIES):
        if literal not in text:
            continue
        if not work.take(text.count(literal)):
            text = f"{text[: text.index(literal)]}{MASK}"
        else:
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
        return value.lower().rstrip(".") not in _PROSE and not _PAIR.match(value)
    try:
        return b":" in base64.b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return False
