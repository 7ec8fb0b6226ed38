from __future__ import annotations

import base64

import pytest

from logbus.collectors.redaction.tokens import mask_schemes, mask_tokens
from logbus.collectors.redaction.work import Work

HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256"}').decode().rstrip("=")
PAYLOAD = base64.urlsafe_b64encode(b'{"sub":"1234567890"}').decode().rstrip("=")
AWS_ID, AWS_SECRET = "AKIA" + "IOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(
    ("prefix", "rest"),
    [
        ("ghp_", "a1" * 18), ("gho_", "a1" * 18), ("github_pat_", "a1_" * 20), ("glpat-", "a1-" * 7),
        ("xoxb-", "123456-abc"), ("xapp-", "1-A1-abc"), ("sk_live_", "a1" * 12), ("rk_test_", "a1" * 12),
        ("whsec_", "a1" * 16), ("sk-", "proj-" + "a1" * 20), ("AIza", "a1" * 18), ("ya29.", "a1" * 18),
        ("GOCSPX-", "a1" * 14), ("SG.", "a1" * 11 + "." + "a1" * 21), ("npm_", "a1" * 18), ("pypi-", "a1" * 40),
        ("glrt-", "a1-" * 7), ("gldt-", "a1-" * 7), ("dop_v1_", "a1" * 32), ("shpat_", "a1" * 16), ("gsk_", "a1" * 26),
        ("dckr_pat_", "a1_" * 9), ("xai-", "a1" * 40), ("nvapi-", "a1" * 32), ("lin_api_", "a1" * 20),
        ("hvb.", "a1" * 12),
        ("rubygems_", "a1" * 24), ("ATATT3", "xFfGF0" * 9), ("NRAK-", "A1" * 13), ("dapi", "a1" * 16),
        ("key-", "a1" * 16),
        ("hf_", "a1" * 17), ("hvs.", "a1" * 24), ("bot123456789:", "a1" * 17), ("AGE-SECRET-KEY-1", "A1" * 29),
        ("https://hooks.slack.com/services/", "T0/B0/a1b2c3"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("text", ["{}", "got {}, 401", "'{}'", r"line\n{}", "x={}&n=1", "/{}/m"])
def test_tokens_with_a_known_prefix_are_masked(prefix: str, rest: str, text: str) -> None:
    """The prefix stays, to tell whose token has to be revoked; of the token nothing does."""
    masked = mask_tokens(text.format(prefix + rest))
    assert masked.startswith(text.partition("{")[0] + prefix + "***")
    assert rest[-5:] not in masked
    assert rest[-5:] not in mask_tokens(text.format(prefix + rest) + " and words" * 200)


@pytest.mark.parametrize(
    "text",
    [
        "ghp_short",
        "task-force sk-learn",
        "a.sk-toggle x",
        "robot 12:30",
        "shelf_abc",
        "SG.1",
        "xox-",
        "npm_config_cache",
    ],
)
def test_words_that_only_begin_like_a_token_stay(text: str) -> None:
    """A prefix alone, or within another word, is no token."""
    assert mask_tokens(text) == text


def test_json_web_tokens_are_masked_wherever_they_stand() -> None:
    """A JWT needs no key before it, and goes with its signature, or without one."""
    token = f"{HEADER}.{PAYLOAD}.c2lnbmF0dXJl"
    assert mask_tokens(f"got {token}, x") == "got ***, x"
    assert mask_tokens(rf"line\n{token}") == r"line\n***"
    assert mask_tokens(f"{HEADER}.{PAYLOAD}.") == "***"
    assert mask_tokens("eyJ.eyJ and eyJhbGciOi without a dot") == "eyJ.eyJ and eyJhbGciOi without a dot"


def test_access_keys_of_aws_are_masked_with_the_secret_beside_them() -> None:
    """In a text with an access key id, what is as long as a secret key goes, but for hexadecimal digests."""
    digest = "0123456789abcdef" * 4
    assert mask_tokens(f"{AWS_ID} {AWS_SECRET} {digest}") == f"AKIA*** *** {digest}"
    assert mask_tokens(f"aws {AWS_ID}:{AWS_SECRET}") == "aws AKIA***:***"
    assert mask_tokens(f"no id: {AWS_SECRET}") == f"no id: {AWS_SECRET}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "<CookieJar[<Cookie s=abc for h/>, <Cookie t=d e for h/p>]>",
            "<CookieJar[<Cookie s=*** for h/>, <Cookie t=*** for h/p>]>",
        ),
        ("Cookie(version=0, name='s', value='a\\'b', port=None)", "Cookie(version=0, name='s', value=***, port=None)"),
        ("<SimpleCookie: s='abc' t='d'>", "<SimpleCookie: ***>"),
        ("<Morsel: s=abc; Path=/>", "<Morsel: s=***; Path=/>"),
    ],
)
def test_reprs_of_cookies_are_masked(text: str, expected: str) -> None:
    """What the jars of the standard library, requests and httpx print shows names and hosts and no values."""
    assert mask_tokens(text) == expected
    assert mask_tokens(expected) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sent Bearer abc123, got 401", "sent Bearer ***, got 401"),
        ("sent Basic dXNlcjpwYXNz", "sent Basic ***"),
        ("a=Bearer%20abc&b=Bearer+abc", "a=Bearer%20***&b=Bearer+***"),
        (r"line\nBearer abc1", r"line\nBearer ***"),
        ("Bearer a, basic dTpw, bearer b", "Bearer ***, basic ***, bearer ***"),
        ("Invalid bearer token", "Invalid bearer token"),
        ("basic authentication failed", "basic authentication failed"),
        ("the bearer of this", "the bearer of this"),
    ],
)
def test_what_follows_an_authorization_scheme_is_masked(text: str, expected: str) -> None:
    """``Bearer`` is followed by a secret unless it is prose, ``Basic`` by one if it is base64 of a pair."""
    assert mask_schemes(text) == expected


def test_where_the_steps_end_the_rest_is_masked() -> None:
    """More of them than there are steps for: what stands behind the last step goes whole."""
    for text, masks in (
        ("bearer secret1 " * 3000 + "basic dTpw", mask_schemes),
        (f"{HEADER}.{PAYLOAD}.secret " * 3000, mask_tokens),
        (f"{AWS_ID} secret " * 3000, mask_tokens),
        ("ghp_secretsecretsecret " * 20_000, mask_tokens),
    ):
        work = Work()
        masked = masks(text, work)
        assert work.overrun
        assert masked.endswith("***")
        assert "secret" not in masked


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /callback?code=4a0AbCdEf12&state=x", "GET /callback?code=***&state=x"),
        ("GET /x?code=NOT_FOUND&n=1 and ?code=404", "GET /x?code=NOT_FOUND&n=1 and ?code=404"),
        ("?key=a1b2c3d4e5f6a1b2c3d4e5f6&q=x", "?key=***&q=x"),
        ("?key=users&appid=7", "?key=users&appid=7"),
        ("SAMLResponse=PHNhbWxwOlJlc3A%2B&x=1", "SAMLResponse=***&x=1"),
        (r"send: 'AUTH PLAIN AGJvYgBodW50ZXI=\r\n'", r"send: 'AUTH PLAIN ***\r\n'"),
        ("CREATE USER bob IDENTIFIED BY 'a b' x", "CREATE USER bob IDENTIFIED BY '***' x"),
        ("alter user bob identified by 'a b' x", "alter user bob identified by '***' x"),
        ("vehicle identified by 'scanner 3'", "vehicle identified by 'scanner 3'"),
        ("SET PASSWORD FOR bob = 'a b'", "SET PASSWORD FOR bob = '***'"),
        ("jdbc:oracle:thin:bob/abc@h:1521:orcl", "jdbc:oracle:thin:bob/***@h:1521:orcl"),
        ("sshpass -p abc ssh h", "sshpass -p *** ssh h"),
        ("['sshpass', '-p', 'abc', 'ssh']", "['sshpass', '-p', '***', 'ssh']"),
        ("redis-cli -h r -a abc ping", "redis-cli -h r -a *** ping"),
        ("mysqldump -u root -pabc shop > x", "mysqldump -u root -p*** shop > x"),
        ("mysqldump --port 3306 -P 3307 shop", "mysqldump --port 3306 -P 3307 shop"),
        ("curl -b 'sid=abc; b=d' https://h", "curl -b 'sid=***' https://h"),
        ("curl -b cookies.txt https://h", "curl -b cookies.txt https://h"),
        ("Private-Lines: 2\nAAAB\nCCCD==\nPrivate-MAC: x", "Private-Lines: 2\n***Private-MAC: x"),
        ("client-key-data: LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVk", "client-key-data: LS0tLS1CRUdJTi***"),
        ("/api/webhooks/123456789012/abcdefghij-ABCDEFGHIJ_0", "/api/webhooks/123456789012/***"),
    ],
)
def test_what_its_place_makes_a_secret_is_masked(text: str, expected: str) -> None:
    """Queries of OAuth and of services, SMTP, SQL and the command lines of clients; not what only looks like them."""
    assert mask_tokens(text) == expected
    assert mask_tokens(expected) == expected
    around = "words of prose, " * 100
    assert mask_tokens(f"{around}\n{text}\n{around}") == f"{around}\n{expected}\n{around}"


def test_a_pair_behind_bearer_is_no_token() -> None:
    """What an answer of OAuth says beside its type stays readable."""
    assert mask_schemes("token_type=Bearer expires_in=3600") == "token_type=Bearer expires_in=3600"
