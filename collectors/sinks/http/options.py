"""What an HTTP sink is told: where it sends, with which headers, how long it waits. Parsers, each of one key.

What would change the meaning of a request, or smuggle a second one into it, is refused here, once: headers are
RFC 9110's tokens and visible characters (§5.1, §5.5), the ones that frame the body are not the user's, and a URL holds
neither credentials nor a fragment nor anything that a request line can't (RFC 9110 §4.2, RFC 9112 §3.2).

The values of headers are secrets as far as anybody knows: they are in no representation and no message. So is the
query, and what looks like a key in a path, where services that take logs want theirs ("/receiver/v1/http/ZaVnC4dh…").
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urlsplit

from logbus.collectors.shown import shown, without_secrets
from logbus.collectors.sinks.http.keys import without_keys
from logbus.collectors.sinks.tls import TlsFiles
from logbus.errors import ConfigurationError

#: Seconds of a request from its beginning to the end of its answer, unless the configuration says otherwise.
TIMEOUT_S: Final = 30.0
#: Codes of answers after which the same is sent again, unless the configuration names others.
AGAIN: Final = frozenset({408, 425, 429, *range(500, 600)})
#: Characters of the longest URL; servers take 8,000 (RFC 9110 §4.1).
MAX_URL: Final = 8000

#: Headers that say how the request is framed, or to whom it goes, by their names in lower case.
_OURS: Final = frozenset(
    "accept-encoding connection content-encoding content-length expect host keep-alive proxy-authorization "
    "proxy-connection te trailer transfer-encoding upgrade".split()
)
_PORTS: Final = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?")
_BEARER = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.\-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\]")
_TARGET = re.compile(r"/[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]*")


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. ``path`` begins with a slash and has the query; ``shown`` has neither that nor keys."""

    tls: bool
    host: str
    port: int
    path: str = field(repr=False)
    shown: str


@dataclass(frozen=True, slots=True)
class HttpOptions:
    """All that a request needs beside its body. ``headers`` are checked pairs, with Authorization among them.

    ``timeout_s`` is of a whole request, in seconds; ``statuses`` are the codes after which it is sent again.
    """

    target: Target
    method: Literal["POST", "PUT"] = "POST"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    tls: TlsFiles = field(default_factory=TlsFiles)
    compression: Literal["gzip", "zstd"] | None = None
    timeout_s: float = TIMEOUT_S
    statuses: frozenset[int] = AGAIN


def parse_target(url: str) -> Target:
    """The parts of a URL. Raises ConfigurationError, which shows nothing of it that may be secret.

    >>> parse_target("https://logs.example.com/ingest?key=s3cret")
    Target(tls=True, host='logs.example.com', port=443, shown='https://logs.example.com/ingest?***')
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused("a URL whose port is from 1 to 65535, and whose IPv6 address is whole and in brackets") from None
    if parts.scheme not in _PORTS:
        raise _refused(f"one that begins with http:// or https://, found {shown(parts.scheme)}")
    if "@" in parts.netloc:
        raise _refused("one without credentials, found a user before the host: say auth or headers.Authorization")
    if "#" in url:
        raise _refused("one without a fragment (#…), which is never sent")
    if len(url) > MAX_URL:
        raise _refused(f"at most {MAX_URL} characters, found {len(url)}")
    host = _ascii(parts.netloc[: parts.netloc.rfind(":")] if port is not None else parts.netloc.removesuffix(":"))
    labels = host.removesuffix(".").split(".")
    if not _HOST.fullmatch(host) or port == 0 or len(host) > 253 or not all(0 < len(label) <= 63 for label in labels):
        raise _refused("a host name or an address, and a port from 1 to 65535 if any")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    # urlsplit drops line ends and tabs from the middle of a URL in silence, and they were no URL's.
    if not _TARGET.fullmatch(path) or any(character <= " " for character in url):
        raise _refused("other characters than those of a URL written as %XX, found some as they are in its path")
    where = f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")
    masked = without_secrets(without_keys(where + parts.path)) + ("?***" if parts.query else "")
    return Target(parts.scheme == "https", host.strip("[]"), port or _PORTS[parts.scheme], path, masked)


def check_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The headers as they are sent. Raises ConfigurationError, one line per header: its name and what is wrong."""
    problems: list[str] = []
    seen: set[str] = set()
    for name, value in headers.items():
        lower = name.lower()
        if not _TOKEN.fullmatch(name):
            problems.append(f"{shown(name)}: expected a header's name: letters, digits and !#$%&'*+-.^_`|~")
        elif lower in _OURS:
            problems.append(f"{name}: this header is set by the sink, or by none: leave it out")
        elif lower in seen:
            problems.append(f"{name}: it stands there twice; a header's name is one in any case")
        elif not _VALUE.fullmatch(value):
            problems.append(f"{name}: expected visible ASCII characters, with spaces only between them, in one line")
        seen.add(lower)
    if problems:
        raise ConfigurationError(problems)
    return tuple(headers.items())


def basic(username: str, password: str) -> tuple[str, str]:
    """The Authorization header of RFC 7617, in UTF-8. Raises ConfigurationError, which doesn't show them."""
    if ":" in username or not (username + password).isprintable():
        raise ConfigurationError(["username and password: expected printable characters, and no colon in the name"])
    return "Authorization", "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def bearer(token: str) -> tuple[str, str]:
    """The Authorization header of RFC 6750 §2.1. Raises ConfigurationError, which doesn't show the token."""
    if not _BEARER.fullmatch(token):
        raise ConfigurationError(["bearer: expected a token of letters, digits and -._~+/ with = at its end only"])
    return "Authorization", f"Bearer {token}"


def parse_statuses(codes: Iterable[int]) -> frozenset[int]:
    """Codes after which a request is sent again. Raises ConfigurationError."""
    found = frozenset(codes)
    if wrong := sorted(code for code in found if not 400 <= code <= 599):
        raise ConfigurationError([f"statuses: expected codes from 400 to 599, found {', '.join(map(str, wrong))}"])
    return found


def _ascii(host: str) -> str:
    """The host as the name service and the Host header have it (IDNA); "" when it is none."""
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return ""


def _refused(expected: str) -> ConfigurationError:
    return ConfigurationError([f"url: expected {expected}"])
