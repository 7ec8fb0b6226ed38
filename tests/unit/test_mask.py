from __future__ import annotations

import statistics
import time

import pytest

from logbus.collectors.redaction.mask import (
    DEFAULT_FIELDS,
    MAX_CHARS,
    SecretKeys,
    Signs,
    Work,
    mask_lone_urls,
    mask_text,
    probe,
)
from logbus.collectors.redaction.redact import Redactor

KEYS = SecretKeys(DEFAULT_FIELDS)
SIGNS = Signs(KEYS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
        ("authorization: bearer abc.def failed with 401", "authorization: *** failed with 401"),
        ("token=abc via http://u:p@h", "token=*** via http://u:***@h"),
        ("private_key='-----BEGIN PRIVATE KEY-----\nMIIE'", "private_key='***"),
        ("GET http://u:p@h/x?api_key=abc&page=3", "GET http://u:***@h/x?api_key=***&page=3"),
        ("{'token': 'ghp_abcdefgh12345678'}", "{'token': '***'}"),
        (
            "token=%s for %d [not formatted with ('abc', 'x'): TypeError: %d format]",
            "token=*** for %d [not formatted with ***",
        ),
    ],
)
def test_the_passes_work_together(text: str, expected: str) -> None:
    """What one pass has left is what the next one looks at."""
    assert mask_text(text, KEYS) == expected
    assert mask_text(expected, KEYS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Selected proxy 10.0.0.1:8080 for the request: healthy, lowest latency of the pool",
        "author bob@example.com, tokens_used at 12:30:05",
        'File "/app/auth.py", line 3, in token',
        'HTTP Request: GET https://example.com:8443/a?page=3 "HTTP/1.1 200 OK"',
        "Invalid token, authentication failed, 12 tests passed",
    ],
)
def test_texts_without_secrets_stay_and_are_not_even_looked_at(text: str) -> None:
    """Prose, addresses and URLs without credentials stay, and the probe finds nothing in them."""
    assert mask_text(text, KEYS) == text
    assert probe(KEYS).search(text.encode()) is None


def test_the_url_of_a_proxy_is_masked_the_short_way() -> None:
    """URLs with credentials and nothing else are masked together, also those with a user for each session."""
    urls = {
        "http://user:pw@host": "http://user:***@host",
        "http://session-4711-user:p:w@proxy-07.example.net:8080": "http://session-4711-user:***@proxy-07.example.net:8080",
        "socks5://u:p@10.0.0.1:1080/x//": None,
        "HTTPS://U:P@H:1/a?b#c": "HTTPS://U:***@H:1/a?b#c",
        "http://u:***@h": "http://u:***@h",
        "http://h:80": None,
    }
    expected = {url: masked for url, masked in urls.items() if masked is not None}
    assert mask_lone_urls(urls, SIGNS, Work()) == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://u:p@token.example.net:80",
        "http://api-key:p@h",
        "http://u:p@api.telegram.org/bot123456:" + "a" * 30,
        "http://u:p@h/ghp_abcdefgh01234567",
        "http://u:p@h?token=abc",
        "http://u:p@h/x?next=http://v:q@i",
        "http://u:p@ss@h",
        "http://token@h",
        "http://u:p@h and more",
        "http://u:p@h\ntoken: abc",
        r"http:\/\/u:p@h",
        "http://u:p%40@h",
        "http://1.2.3.4:80@u:p",
        "http://1.2.3.4:80@u:1234",
        "http://u:p@h:123456",
        "http://u:p@h:80:v:q",
        f"http://u:p@h/{'x' * 300}",
    ],
)
def test_urls_beside_which_there_may_be_more_go_the_long_way(text: str) -> None:
    """What may hold another secret than one password, or is written in another way, meets all the passes."""
    urls = ["http://u:p@h", text]
    assert mask_lone_urls(urls, SIGNS, Work()) == {"http://u:p@h": "http://u:***@h"}


def test_lone_urls_for_which_no_steps_are_left_go_the_long_way() -> None:
    """The short way takes its steps like every other, and where there are none it masks nothing."""
    work = Work()
    found = mask_lone_urls([f"http://u{number}:p@h" for number in range(5000)], SIGNS, work)
    assert len(found) == 800
    assert work.left == 0
    assert not work.overrun
    assert mask_text("http://u:p@h", KEYS, work) == "***"


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("connecting via http://session-4711-user:***@proxy.example.net:8080", ()),
        ("the key of the session, the API and its id", ()),
        ("cache key=7 in session: new", ()),
        ("ghp_abcdefgh01234567", (Signs.TOKENS,)),
        ("Bearer abc", (Signs.SCHEMES,)),
        ("session id: 7", (Signs.PAIRS,)),
        ("API key: 7", (Signs.PAIRS,)),
    ],
)
def test_a_text_is_asked_for_the_passes_that_it_needs(text: str, passes: tuple[int, ...]) -> None:
    """A pass is made where all that its key or prefix consists of is in the text, with what follows it."""
    assert SIGNS.passes(text) == passes


def test_a_long_text_is_masked_without_being_asked() -> None:
    """In a text of any length what is masked is the same, with signs and without."""
    text = "see http://u:p@h with token=abc " + "and Bearer abcd1 ghp_abcdefgh01234567 " * 20
    assert mask_text(text, KEYS, signs=SIGNS) == mask_text(text, KEYS)
    assert "abc" not in mask_text(text, KEYS, signs=SIGNS)


def test_what_is_longer_than_any_text_of_a_producer_is_cut() -> None:
    """The end of a giant is masked unseen, from between two words on; a giant of one word goes whole."""
    masked = mask_text("token=secret " + "word " * 20_000 + "password=hunter2", KEYS)
    assert masked.startswith("token=*** word ")
    assert masked.endswith("word ***")
    assert MAX_CHARS - 100 < len(masked) < MAX_CHARS
    assert mask_text("x" * (MAX_CHARS + 1), KEYS) == "***"


HOSTILE = (
    "://", "://a:b", "://@", "://a:x/", "a:b/", "a:a@", "@", "a" * 64 + ":", "x.:", "%3A%2F%2F", "%40", "%25",
    "bearer ", "auth=basic ", "-", "\\", "a ", " ", "password=", "password='", 'password="\\"', "password='''",
    "password=[", "password=,a", "a,", ",a", "'a", "(", "[", 'password=\\\\"', "cookie: \\", "authorization: ", "api",
    "apiKey_", "Aa", "token\t", "token\u2028", "%5D", '"', "'password',", "a=1,", "é", "eyJ", "eyJa.",
    "eyJaaaaaaa.eyJaaaaaaaa.x ",
    "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "-----BEGIN ", "--password ", "--token",
    "AKIAAAAAAAAAAAAAAAAA ", "ghp_aaaaaaaaaaaaaaaaaaaa ", "sk-", "<Cookie a=", "Cookie(name='a', value='",
    "1.1.1.1:1:a:b ", "1.1.1.1:1:a:b:", "a.a.", ":80:", "a:!", "key", "sig", "token value=", "token,value:",
    "<token>", "<token a=", "token a=b", "token: failed ", "token\x1b[0m", "token=a(", '\\"token\\":\\"', "pass=1 ",
    "mysql -p", "curl -b a=b ", "?code=aaaaaaaa1", "password=a&", "password=\\n", "password: a a\n", "password:\n  a\n",
    "api key ", "session id ", 'name="password"\n\n', "login ", "token('a'", "token in ('", "&quot;",
    "user identified ",
    "Private-Lines: 1\n", "aaaa\n", "1.1.1.1:1@a:", "password\u200b", "password\u00a0", "\\x1b[31m", "'password'), ",
    " [not formatted with ", "SET PASSWORD FOR ", "jdbc:oracle:thin:a/",
    'cookie=a="', "SG.aaaaaaaaaaaaaaaa", "bot1234567:", "u:p@h ", "http://u:p@h:80/", "(a+)+$", "((a*)*)*", "\ud800",
)  # fmt: skip
#: What a hostile text may begin with, so that all of it lies within a value.
BEFORE = ("", "://u:", "password=", 'token="', "pwd=[")


def _seconds(text: str, *, endless: bool = False) -> float:
    """The CPU seconds that it takes to mask a text, of two times the less; ``endless``: with all the steps it wants."""
    taken = []
    for _ in range(2):
        work = Work()
        work.left = 10**9 if endless else work.left
        before = time.process_time()
        mask_text(text, KEYS, work)
        taken.append(time.process_time() - before)
    return min(taken)


@pytest.mark.parametrize("before", BEFORE)
def test_hostile_texts_take_linear_time(before: str) -> None:
    """Four times as much of anything repeated takes about four times as long, where quadratic work takes sixteen.

    The bound of each is wide enough for a busy machine; the one of their median is tighter.
    """
    ratios = []
    for hostile in HOSTILE:
        small, large = (
            _seconds(before + hostile * (size // len(hostile)) + " @", endless=True) for size in (15_000, 60_000)
        )
        assert large < 12 * small + 0.01, (hostile, small, large)
        ratios.append((large + 1e-4) / (small + 1e-4))
    assert statistics.median(ratios) < 8


def test_the_steps_bound_what_a_text_may_cost() -> None:
    """A quarter of a megabyte of anything takes a few times as long at most as one that takes all the steps there are.

    The promise is 5 ms, of which this measure takes the most: words that are looked at one by one until the end.
    """
    bound = 5 * max(_seconds("token=a " * 40_000) for _ in range(3)) + 0.005
    for hostile in HOSTILE:
        for before in BEFORE:
            assert _seconds(before + hostile * (256 * 1024 // len(hostile))) < bound, (before, hostile)


@pytest.mark.parametrize("end", ["8080***", "8080*", "8080?x", "8080#x", "hunter2"])
def test_what_stands_for_a_port_and_is_none_is_a_password(end: str) -> None:
    """In a URL that names the host first and its user behind the @, no short way takes a password for a port."""
    text = f"http://example.net:8080@user:{end}"
    assert Redactor().field("x", [text]) == ["http://example.net:***@user:***"]
    assert mask_text(text, KEYS) == "http://example.net:***@user:***"
