"""The URL of a proxy as records may show it: ``http://***:***@host:port``, and nothing that could be a credential.

The form is proxywhirl's own: its records have a ``proxy_url`` too, and one proxy is to have one name.

A URL's parser answers what a well-formed URL means. Proxy lists hold others: a password with ``/``, ``#`` or ``@`` in
it, ``host:port:user:password``, no scheme at all. So nothing is parsed: what stands before the last ``@`` is masked
whatever it is, and what is left is shown only if it is a host with a port or without one, and a scheme only if
proxies have it. Path and query, which mean nothing for a proxy, are left out; and where the ``@`` may as well be one of
theirs, nobody knows which part is the host, and none is shown. Rather too little is shown than too much.

Errors quote URLs, whole ones and pieces: :func:`masked_text` is for their words.
"""

from __future__ import annotations

import functools
import re
from typing import Final

#: What stands for anything that may be a credential.
MASK: Final = "***"
#: What stands for a user and a password, as proxywhirl writes it.
CREDENTIALS: Final = "***:***"
#: Masks that are kept, by URL: a pool has a few hundred proxies.
CACHED: Final = 4096
#: Characters of a URL; a longer one is masked as a whole.
MAX_URL_CHARS: Final = 2048

_SCHEMES: Final = frozenset({"http", "https", "socks", "socks4", "socks4a", "socks5", "socks5h"})
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,45}(?:%[\w.-]{1,32})?\]|[\w.-]{1,253})(?::[0-9]{1,5})?\Z", re.ASCII)
_END: Final = re.compile(r"[/?#]")
#: What stands between the words of a text.
_BETWEEN: Final = re.compile(r"([\s\"'<>()]+)")
_STOPS: Final = ".,;:!"
#: A piece of a URL that somebody could not read: a password with ``/`` in it leaves half of itself where the port is.
_PIECE: Final = re.compile(
    r"\b((?:port|address|hostname|authority|userinfo)\b[^'\"\n]{0,40})(['\"])[^\n]*\2", re.IGNORECASE
)


@functools.lru_cache(CACHED)
def masked_url(url: str) -> str:
    """The scheme, ``***:***@`` where there is something before the host, and the host with its port; else ``***``.

    The form of RFC 3986, section 3.2, with its userinfo masked; what is not of that form is not shown.
    """
    if len(url) > MAX_URL_CHARS:
        return MASK
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    elif scheme.lower() not in _SCHEMES:
        scheme = MASK
    before, at, host = rest.rpartition("@")
    host = _END.split(host, 1)[0]
    other, *path = _END.split(before, 1)
    if not _HOST.match(host) or (path and _HOST.match(other.rpartition("@")[2])):
        host = MASK
    return f"{scheme}{mark}{CREDENTIALS + at if at and host != MASK else ''}{host}"


def masked_text(text: str) -> str:
    """A text about requests, such as an error's: what may be a credential in its URLs is masked, and their queries.

    Whatever stands before an ``@`` is taken for one, back to the beginning of the URL. Takes linear time.
    """
    words = _BETWEEN.split(_PIECE.sub(rf"\1\2{MASK}\2", text))
    url: int | None = None  # where one begins that has had no "@" yet: passwords may have blanks in them
    for at, word in enumerate(words):
        scheme, mark, rest = word.rpartition("://")
        if mark:
            url = at
            if "@" in scheme:
                words[at] = f"{MASK}{scheme[scheme.rindex('@') :]}{mark}{rest}"
        if "@" in rest:
            first = at if url is None else url
            whole = "".join(words[first : at + 1])
            bare = whole.rstrip(_STOPS)
            words[first : at + 1] = [masked_url(bare) + whole[len(bare) :], *[""] * (at - first)]
            url = None
        elif mark and "?" in rest:
            words[at] = f"{words[at].partition('?')[0]}?{MASK}"
    return "".join(words)
