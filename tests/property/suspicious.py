"""Texts that hold secrets, nearly hold one, or hold something that is often beside one."""

from __future__ import annotations

from hypothesis import strategies as st

#: Pieces of which secrets and their surroundings are made, and what disturbs them.
_PIECES = (
    "password token Api-Key apiKey Authorization cookie auth tokens author session_id pwd "
    "Basic Bearer dXNlcjpwYXNz u:p "
    "= : , ; & \" ' \\ \\\" b' ( ) [ ] { } < > :// http:// @ / ? # %40 %3A%2F%2F %3A h:80 "
    ". - _ *** x1 0 \u212a \u0130 é \ud7ff "
    # Forms of their own, whole and in parts.
    "--password -H value name= \\n \\x1b %25 %253D %2526 -> => \x1b[31m \x1b[0m <ns: </ failed "
    "-u [type=x,\u00a0input_value= ,\u00a0input_type= "
    "1.2.3.4:80:u: h.x:80 pass ghp_abcdefgh01234567 xoxb-12345678-a sk-abcdefghij0123456789 eyJhbGciOi "
    ".eyJzdWIiOi . AKIAABCDEFGH01234567 wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY deadbeef <Cookie Cookie(name='a' "
    "&quot; &#39; \\u0022 \\u003d \uff1a \uff1d \u200b \\r\\n \\x1b[31m u' \u201c \u201d ` api key session id "
    ":| [not LIKE in\u00a0( "
    'name=" \r\n\r\n -- login is IDENTIFIED\u00a0BY mysql -pw ?code=abcdefgH1 1.2.3.4:80@u: AUTH\u00a0PLAIN '
    "\u00a0[not\u00a0formatted\u00a0with\u00a0( ----\u00a0BEGIN\u00a0PRIVATE\u00a0KEY\u00a0---- Private-Lines:\u00a01 "
    "sha256: mailto: -----BEGIN\u00a0PRIVATE\u00a0KEY----- -----END\u00a0PRIVATE\u00a0KEY----- MIIE"
).split(" ")
PIECES = tuple(piece.replace("\u00a0", " ") for piece in _PIECES)
SUSPICIOUS = st.lists(st.sampled_from([*PIECES, " ", "\n", "\n  ", "\u00a0", "\u2028", " for h/>"]), max_size=9).map(
    "".join
)

#: What the parts of a URL may be, from what each has to what none may have; names of secrets, tokens and separators
#: among them.
_ODD = st.sampled_from(
    (
        "", "a", "7", "u-1", "session-4711-u", "session_id", "sid", "token", "x-token-1", "API_KEY", "key", "auth",
        "pass", "tokens", "Api", "ghp_abcdefgh01234567", "xoxb-12345678-a", "AKIAABCDEFGH01234567", "bearer", "basic",
        "é", "\u017f", "\u212aey", "%40", "%3A", "%2F", "%", "***", "=", "?", "#", "/", "//", ":", "@", "\\", "\\/",
        "'", '"', "<", "`", " ", "\n", "\x1c", "\u2028", "-u", "-u=a:b", "[::1]", "1.2.3.4", "1.2", ":80", ":65536",
        ":123456", ":80.", ".", "..", "...", "!", ",", ";", "&", "+", "~", "(", "{", "$1", "http://", "://",
        "eyJhbGciOi.eyJzdWIiOi.c", "eyJhbGciOiJ.eyJzdWIiOi1", "bot123456:" + "a" * 30, "code=abcdefgH1", "token=x",
        "/api/webhooks/12345/" + "a" * 20, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "x" * 40, "p" * 520,
    )
)  # fmt: skip
_PART = st.lists(_ODD, min_size=1, max_size=2).map("".join)
_PLAIN_PART = st.sampled_from(
    ("u", "10.0.0.1", "8080", "session-4711-user", "U.1", "session-id", "token", "api.key", "a_b", "p0", "keys-7")
)
_MOSTLY = _PLAIN_PART | _PLAIN_PART | _PART
_SCHEME = st.sampled_from(("http", "http", "HTTPS", "socks5h", "key", "", "git+ssh", "é", "token"))
_AFTER_HOST = st.sampled_from(
    ("", "", ":8080", ":0", ":99999", ":100000", "/", "/a/b.c", ":80/x?y#z", "?a&b", "#f", "/a:b")
)
#: URLs with a user and a password, nearly so, or so at first sight.
URLS = st.builds("{}://{}:{}@{}{}{}".format, _SCHEME, _MOSTLY, _MOSTLY, _MOSTLY, _AFTER_HOST, st.just("") | _PART)
#: The same in a message, beside one another, cut off, and as arguments of others.
URL_MESSAGES = st.builds(
    lambda before, url, between, other, end: f"{before}{url}{between}{other}"[: end or None],
    _PART | st.just("via "),
    URLS,
    st.sampled_from((" ", ",", "?next=", "->", " token=", "='", "\n", "")),
    URLS | _PART,
    st.just(0) | st.integers(0, 60),
)
