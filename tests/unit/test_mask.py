from __future__ import annotations

import statistics
import time

import pytest

from logbus.collectors.redaction.mask import DEFAULT_FIELDS, MAX_CHARS, SecretKeys, Work, mask_text, probe

KEYS = SecretKeys(DEFAULT_FIELDS)


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
