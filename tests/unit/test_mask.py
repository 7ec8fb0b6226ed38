from __future__ import annotations

import time

import pytest

from logbus.collectors.mask import DEFAULT_FIELDS, SecretKeys, Verdict, mask_pairs, mask_urls
from logbus.errors import ConfigurationError

KEYS = SecretKeys(DEFAULT_FIELDS)


def _masked(text: str) -> str:
    return mask_pairs(mask_urls(text), KEYS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:pw@host", "http://user:***@host"),
        ("http://token@host/x", "http://***@host/x"),
        ("redis://:pw@host", "redis://:***@host"),
        ("failed via http://u:p@h:80, then socks5://v:q@i", "failed via http://u:***@h:80, then socks5://v:***@i"),
        ("http://u:p@[2001:db8::1]:8080/x", "http://u:***@[2001:db8::1]:8080/x"),
        ("http://u:p%40ss%3A@h", "http://u:***@h"),
        ("http://u:p@ss@h", "http://u:***@h"),
        ("http://u:p@h:99999", "http://u:***@h:99999"),
        ("http://u:pa/s?s#@h:80", "http://u:***@h:80"),
        ("http://u:pa/s@s@h:80", "http://u:***@h:80"),
        ("{'http': 'http://u:p@h', 'n': 1}", "{'http': 'http://u:***@h', 'n': 1}"),
        (r'{"u":"http:\/\/u:p@h\/x"}', r'{"u":"http:\/\/u:***@h\/x"}'),
        ("GET /?url=http%3A%2F%2Fu%3Ap%40h&x=1", "GET /?url=http%3A%2F%2Fu%3A***%40h&x=1"),
        ("GET /?url=http%3a%2f%2ftok%40h", "GET /?url=http%3a%2f%2f***%40h"),
        ("bad proxy u:p@proxy.example.com:8080 skipped", "bad proxy u:***@proxy.example.com:8080 skipped"),
        ("HTTP://U:P@H", "HTTP://U:***@H"),
        ("http://ü:ß@h", "http://ü:***@h"),
        ("//u:p@h/x and http:/v:q@h/x", "//u:***@h/x and http:/v:***@h/x"),
        ("SplitResult(netloc='u:p@h', path='')", "SplitResult(netloc='u:***@h', path='')"),
        ("SplitResultBytes(netloc=b'u:p@h')", "SplitResultBytes(netloc=b'u:***@h')"),
    ],
)
def test_credentials_of_urls_are_masked(text: str, expected: str) -> None:
    """The password of a URL is masked and its user kept, wherever and however the URL stands in a text."""
    assert _masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "mail bob@example.com at http://example.com/",
        "https://example.com/@user/post",
        "https://example.com:8080/@user?to=a@b.c",
        "http://[::1]:80/a@b",
        "http://@host/",
        '{"url":"http://h","mail":"a@b.c"}',
        "12:30 a@b",
        "x // why: bob@h",
        "a//b:c@d",
        "copy host:/srv/bob@h",
    ],
)
def test_other_texts_with_an_at_sign_stay(text: str) -> None:
    """An @ that ends no userinfo changes nothing."""
    assert _masked(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
        ("authorization: bearer abc.def failed with 401", "authorization: *** failed with 401"),
        ("Proxy-Authorization: Negotiate YII= x", "Proxy-Authorization: *** x"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=ab", "Authorization: ***"),
        ('Authorization: Digest username="u", response="ab"\nHost: h', 'Authorization: ***"\nHost: h'),
        ("HTTP_PROXY_AUTHORIZATION=Basic abc= n=1", "HTTP_PROXY_AUTHORIZATION=*** n=1"),
        ("authorization=opaque n=1", "authorization=*** n=1"),
        ("Cookie: a=b; c=d\r\nHost: h", "Cookie: ***\r\nHost: h"),
        (r"'Set-Cookie: a=b; Path=/\r\nHost: h'", r"'Set-Cookie: ***\r\nHost: h'"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz', 'n': 1}", "{'Authorization': '***', 'n': 1}"),
        ("[(b'A', b'b'), (b'Set-Cookie', b's=1; Path=/')]", "[(b'A', b'b'), (b'Set-Cookie', b'***')]"),
        ('["authorization", "x y"], ["a", "b"]', '["authorization", "***"], ["a", "b"]'),
        ("sent Bearer abc123, got 401", "sent Bearer ***, got 401"),
        ("sent Basic dXNlcjpwYXNz", "sent Basic ***"),
    ],
)
def test_authorization_and_cookies_are_masked(text: str, expected: str) -> None:
    """Header values are masked in the forms in which headers are logged."""
    assert _masked(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter2 n=1", "password=*** n=1"),
        ("password: hunter2, n: 1", "password: ***, n: 1"),
        ("password = 'hun ter', n", "password = '***', n"),
        (r'{"api_key": "a\"b", "n": 1}', '{"api_key": "***", "n": 1}'),
        (r'"{\"api_key\": \"a\\\"b\", \"n\": 1}"', r'"{\"api_key\": \"***\", \"n\": 1}"'),
        ("GET /x?api_key=abc&token=def&page=3", "GET /x?api_key=***&token=***&page=3"),
        ("user[password]=abc&user%5Bsecret%5D=abc&n=1", "user[password]=***&user%5Bsecret%5D=***&n=1"),
        ("<password>hunter2</password>", "<password>***</password>"),
        ('password="""a"b""" n', 'password="""***""" n'),
        ("password='never closed", "password='***"),
        ("auth=('u', 'p') n=1", "auth=*** n=1"),
        ("secrets: ['a]', {\"b\": 'c'}] n", "secrets: *** n"),
        ("secret=(never (closed)", "secret=***"),
        ("password=a,b;c)d'e n=1", "password=*** n=1"),
        ("(password=abc), n", "(password=***), n"),
        ("password=abc,user=bob", "password=***,user=bob"),
        ("dbPassword=a PGPASSWORD=b db.password=c", "dbPassword=*** PGPASSWORD=*** db.password=***"),
        ('  password = "hunter2"  # line of a traceback', '  password = "***"  # line of a traceback'),
        ("tokens=abc", "tokens=***"),
        ("Proxy(password=Secret('hunter2'), n=1)", "Proxy(password=***, n=1)"),
        ("{'password':\n   'hunter2',\n 'n': 1}", "{'password':\n   '***',\n 'n': 1}"),
        ("ключpassword=abc", "ключpassword=***"),
    ],
)
def test_values_of_secret_keys_are_masked(text: str, expected: str) -> None:
    """A value after a secret key is masked to its end, as it is quoted, escaped or bracketed."""
    assert _masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Invalid bearer token",
        "basic authentication failed",
        "AuthError: no route",
        'File "/app/auth.py", line 3, in token',
        "author=bob monkey: 3 tokens_used=7 max_tokens=512 token_count: 9 token_type=x",
        "token > 5, secret://vault",
        "the token, and a secret",
        "password=",
        "password: ***, token=*** and more",
    ],
)
def test_words_that_give_nothing_away_stay(text: str) -> None:
    """Prose about secrets, quantities of tokens and what is masked already stay as they are."""
    assert _masked(text) == text


@pytest.mark.parametrize(
    "key",
    "password PassWord user_password userPassword X-Api-Key apiKey APIKey apikey api.key sessionId oauth2_token token2 "
    "PGPASSWORD dbpassword client_secret Proxy-Authorization set_cookie proxy_pass author_token passwordHash".split(),
)
def test_secret_keys(key: str) -> None:
    """A field is found as whole words in any case and spelling."""
    assert KEYS.verdict(key) is Verdict.SECRET


@pytest.mark.parametrize(
    "key", "author monkey compass bypass secretary keyapi tokens_used token_count cookie_name auth_method _ é".split()
)
def test_plain_keys(key: str) -> None:
    """Parts of words, and keys about a secret, are no secrets."""
    assert KEYS.verdict(key) is Verdict.PLAIN


@pytest.mark.parametrize("key", ["max_tokens", "tokens", "apiKeys", "api_keys", "cookies"])
def test_plurals_are_secret_unless_numbers(key: str) -> None:
    """A plural may be a quantity, which its value tells."""
    assert KEYS.verdict(key) is Verdict.UNLESS_NUMBER


def test_fields_of_ones_own() -> None:
    """Given fields replace the default ones, in any spelling, and beat what their last word would say."""
    keys = SecretKeys(["accountNumber", "token_limit", "contraseña"])
    for key in ("account_number", "Account-Number", "accountnumber", "token_limit", "contraseña"):
        assert keys.verdict(key) is Verdict.SECRET
    for key in ("password", "account", "number", "token"):
        assert keys.verdict(key) is Verdict.PLAIN
    assert mask_pairs("contraseña=x password=y", keys) == "contraseña=*** password=y"


def test_literals_are_few() -> None:
    """What a key must hold to be secret is one word of each field, and none that another makes needless."""
    assert SecretKeys(["auth", "authorization", "api_key", "private_key", "session_id"]).literals == (
        "auth",
        "key",
        "session",
    )


def test_a_field_without_a_word_is_refused() -> None:
    """A field with neither letter nor digit can't match and is a configuration error."""
    with pytest.raises(ConfigurationError, match=r"redaction\.fields: '--'"):
        SecretKeys(["password", "--"])


def test_verdicts_stay_right_when_more_keys_come_than_are_remembered() -> None:
    """Thousands of keys, and keys of any length, are judged alike before and after the memory is emptied."""
    keys = SecretKeys(["token"])
    for index in range(5000):
        assert keys.verdict(f"token_{index}") is Verdict.SECRET
        assert keys.verdict(f"plain_{index}") is Verdict.PLAIN
    assert keys.verdict("x_" * 10_000 + "token") is Verdict.SECRET


@pytest.mark.parametrize(
    "hostile",
    [
        "://", "://a:b", "://@", "://a:x/", "a:b/", "a:a@", "@", ("a" * 64 + ":"), "x.:", "%3A%2F%2F", "%40", "bearer ",
        "auth=basic ", "-", "\\", "a ", " ", "password=", "password='", 'password="\\"', "password='''", "password=[",
        "password=,a", "a,", ",a", "'a", "(", "password=\\\\\"", "cookie: \\", "authorization: ", "api", "apiKey_",
        "Aa", "token\t", "%5D", '"', "'password',", "a=1,", "é", "\ud800",
    ],
)  # fmt: skip
def test_hostile_texts_take_linear_time(hostile: str) -> None:
    """A quarter of a megabyte of anything repeated, alone or within a value, takes far less than a second of CPU.

    Quadratic work would take minutes at this length, so that the generous bound does not depend on the machine.
    """
    for start, end, kib in (
        ("", "", 256),
        ("://u:", "@", 64),
        ("password=", "=", 64),
        ('token="', "", 64),
        ("pwd=[", "]", 64),
    ):
        text = start + hostile * (kib * 1024 // len(hostile)) + end
        before = time.process_time()
        _masked(text)
        assert time.process_time() - before < 2.5, f"after {start!r}"
