from __future__ import annotations

import pytest

from logbus.collectors.redaction.mask import DEFAULT_FIELDS, SecretKeys
from logbus.collectors.redaction.pairs import mask_pairs
from logbus.collectors.redaction.work import Work

KEYS = SecretKeys(DEFAULT_FIELDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
        ("authorization: bearer abc.def failed with 401", "authorization: *** failed with 401"),
        ("Proxy-Authorization: Negotiate YII= x", "Proxy-Authorization: *** x"),
        ("Authorization: AWS4-HMAC-SHA256 Credential=AKIA/x, Signature=ab", "Authorization: ***"),
        ('Authorization: Digest username="u", response="ab"\nHost: h', "Authorization: ***\nHost: h"),
        ("HTTP_PROXY_AUTHORIZATION=Basic abc= n=1", "HTTP_PROXY_AUTHORIZATION=*** n=1"),
        ("authorization=opaque n=1", "authorization=*** n=1"),
        ("Cookie: a=b; c=d\r\nHost: h", "Cookie: ***\r\nHost: h"),
        (r"'Set-Cookie: a=b; Path=/\r\nHost: h'", r"'Set-Cookie: ***\r\nHost: h'"),
        ("{'Authorization': 'Basic dXNlcjpwYXNz', 'n': 1}", "{'Authorization': '***', 'n': 1}"),
        ("[(b'A', b'b'), (b'Set-Cookie', b's=1; Path=/')]", "[(b'A', b'b'), (b'Set-Cookie', b'***')]"),
        ('["authorization", "x y"], ["a", "b"]', '["authorization", "***"], ["a", "b"]'),
        ('Cookie: a="b"; c=d', "Cookie: ***"),
        ("> cookie: a=b\n< set-cookie: c=d; Path=/\n", "> cookie: ***\n< set-cookie: ***\n"),
        ("<CIMultiDict('Authorization': 'Bearer x', 'A': 'b')>", "<CIMultiDict('Authorization': '***', 'A': 'b')>"),
        ("Headers([('authorization', '[secure]'), ('a', 'b')])", "Headers([('authorization', '***'), ('a', 'b')])"),
        ("curl -H 'X-Api-Key: abc' http://h", "curl -H 'X-Api-Key: ***' http://h"),
    ],
)
def test_authorization_and_cookies_are_masked(text: str, expected: str) -> None:
    """Header values are masked in the forms in which headers are logged."""
    assert mask_pairs(text, KEYS) == expected


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
        ("mysql --password hunter2 --user bob", "mysql --password *** --user bob"),
        ("java -token 'a b' x", "java -token '***' x"),
        ("--api-key=abc --password --verbose", "--api-key=*** --password --verbose"),
        ("['curl', '--password', 'hunter2']", "['curl', '--password', '***']"),
        ('{"name": "DB_PASSWORD", "value": "abc", "n": 1}', '{"name": "DB_PASSWORD", "value": "***", "n": 1}'),
        ("- name: DB_PASSWORD\n  value: abc\n", "- name: DB_PASSWORD\n  value: ***\n"),
        (r"first line\npwd=abc", r"first line\npwd=***"),
        ("next=%2Fcb%3Fauth%3Dabc", "next=%2Fcb%3Fauth%3D***"),
        ("next=%252Fcb%253Fauth%253Dabc", "next=%252Fcb%253Fauth%253D***"),
        ("\x1b[36mpwd\x1b[0m=\x1b[35mabc\x1b[0m n", "\x1b[36mpwd\x1b[0m=\x1b[35m***\x1b[0m n"),
        ("\x1b[1;31mauth=abc", "\x1b[1;31mauth=***"),
        ('<w:Password Type="t">a b</w:Password>', '<w:Password Type="t">***</w:Password>'),
        ("Server=s;Password=a;Database=d", "Server=s;Password=***;Database=d"),
        ("https://h/c?sv=1&sig=abc%3D&se=2 X-Amz-Signature=ab", "https://h/c?sv=1&sig=***&se=2 X-Amz-Signature=***"),
        ("password=***-and-the-rest n", "password=*** n"),
        ("password=a<b>c!d n", "password=*** n"),
        ("user=bob pass=abc", "user=bob pass=***"),
        (
            "passcode=1 jwt=a creds=b X-CSRF-Token: c otp: 123456",
            "passcode=*** jwt=*** creds=*** X-CSRF-Token: *** otp: ***",
        ),
        ("password: failed", "password: ***"),
        ("ALTER USER bob WITH PASSWORD 'abc' n", "ALTER USER bob WITH PASSWORD '***' n"),
        (
            "M\na.password\n  Bad input [type=string_type, input_value='a, b', input_type=str]\nb\n",
            "M\na.password\n  Bad input [type=string_type, input_value=***, input_type=str]\nb\n",
        ),
        ("auth: failed_but_secret", "auth: ***"),
    ],
)
def test_values_of_secret_keys_are_masked(text: str, expected: str) -> None:
    """A value after a secret key is masked to its end, as it is quoted, escaped or bracketed."""
    assert mask_pairs(text, KEYS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "AuthError: no route",
        'File "/app/auth.py", line 3, in token',
        "author=bob monkey: 3 tokens_used=7 max_tokens=512 token_count: 9 token_type=x",
        "token > 5, secret://vault",
        "the token, and a secret",
        "password=",
        "password: ***, token=*** and more",
        "auth: failed, token: expired; session_id: missing",
        "12 passed, pass=12 fail=0 first_pass: 3",
        "assigned token 5 to the session with signature valid",
        "rate limit key: monkey",
        "use --token-file /run/x",
    ],
)
def test_words_that_give_nothing_away_stay(text: str) -> None:
    """Prose about secrets, quantities of tokens and what is masked already stay as they are."""
    assert mask_pairs(text, KEYS) == text


def test_where_the_steps_end_the_rest_is_masked() -> None:
    """More pairs than there are steps for: what stands behind the last step goes whole."""
    for text in (
        "token=secret and so on " * 2000,
        "monkey and " * 3000 + "token=secret",
        "key" * 4000 + "token=secret",
    ):
        work = Work()
        masked = mask_pairs(text, KEYS, work)
        assert work.overrun
        assert masked.endswith("***")
        assert "secret" not in masked


def test_brackets_and_quotes_without_end_take_the_rest() -> None:
    """A value whose end is not found among a thousand brackets or escaped quotes goes to the end of the text."""
    assert mask_pairs("token=" + "[" * 5000 + "]" * 5000 + " n", KEYS) == "token=***"
    assert mask_pairs(r"token=\"" + r"\\\"" * 3000 + r"\" n", KEYS) == r"token=\"***"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # How http.client shows a request: the next header is not part of the value before it.
        (
            r"send: b'X-Api-Key: a\r\nCookie: b=c; d=e\r\nHost: h'",
            r"send: b'X-Api-Key: ***\r\nCookie: ***\r\nHost: h'",
        ),
        (r"password=a\nb\nuser=c", r"password=***\nuser=c"),
        # Keys of several words.
        ("API key: abc, n", "API key: ***, n"),
        ("Session ID = abc n", "Session ID = *** n"),
        ('{"Private Key": "abc"}', '{"Private Key": "***"}'),
        ("with api key 'abc' n", "with api key '***' n"),
        # Values of several words and lines.
        ("db_password = correct horse staple\nuser = bob", "db_password = ***\nuser = bob"),
        ("a:\n  password: |\n    abc\n    def\n  port: 1", "a:\n  password: ***\n  port: 1"),
        ("tokens:\n  - abc\n  - def\nport: 1", "tokens:***\nport: 1"),
        ("secrets:\n- abc\n- def\nport: 1", "secrets:***\nport: 1"),
        # Forms.
        ('name="password"\r\n\r\na b\r\n--x--', 'name="password"\r\n\r\n***\n--x--'),
        (r"""b'name="password"\r\n\r\na b\r\n--x--'""", r"""b'name="password"\r\n\r\n***\n--x--'"""),
        ("user=a&password=S3c&ret!&n=1", "user=a&password=***&n=1"),
        # Other quotes, escapes, spaces and separators.
        ("&quot;password&quot;:&quot;a b&quot;,", "&quot;password&quot;:&quot;***&quot;,"),
        (r"\u0022token\u0022:\u0022abc\u0022, n", r"\u0022token\u0022:***, n"),
        (r"?a=1\u0026token\u003dabc n", r"?a=1\u0026token\u003d*** n"),
        ("%27password%27%3A%27abc%27 n", "%27password%27%3A*** n"),
        ("{u'password': u'a b'} f", "{u'password': u'***'} f"),
        ("password=\u201ca b\u201d n", "password=\u201c***\u201d n"),
        ("password=`a b` n", "password=`***` n"),
        ("password:\u00a0abc n", "password:\u00a0*** n"),
        ("password\u200b\uff1aabc n", "password\u200b\uff1a*** n"),
        (r"\x1b[1mtoken\x1b[0m=\x1b[31mabc\x1b[0m n", r"\x1b[1mtoken\x1b[0m=\x1b[31m*** n"),
        ("\x1b[1mpassword\x1b[K=abc n", "\x1b[1mpassword\x1b[K=*** n"),
        # SQL, calls, errors of pydantic, netrc.
        ("WHERE token IN ('a', 'b') AND x", "WHERE token IN *** AND x"),
        ("WHERE password LIKE 'abc%' AND x", "WHERE password LIKE '***' AND x"),
        ("HTTPBasicAuth('bob', 'abc') n", "HTTPBasicAuth(***) n"),
        ("Token(value='abc', n=1) n", "Token(***) n"),
        (
            "{'loc': ('body', 'password'), 'msg': 'too short', 'input': 'abc', 'n': 1}",
            "{'loc': ('body', 'password'), 'msg': 'too short', 'input': '***', 'n': 1}",
        ),
        ("machine h login bob password abc n", "machine h login bob password *** n"),
        # Other languages, and keys that are written together.
        ("secretkey=a passwort=b mot_de_passe=c", "secretkey=*** passwort=*** mot_de_passe=***"),
        ("contrase\u00f1a=d kennwort: e", "contrase\u00f1a=*** kennwort: ***"),
    ],
)  # fmt: skip
def test_values_are_masked_as_applications_write_them(text: str, expected: str) -> None:
    """Dumps of requests, configuration and SQL, in the forms that libraries and people give them."""
    assert mask_pairs(text, KEYS) == expected
    assert mask_pairs(expected, KEYS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "duplicate key: bob, primary key: id, cache key: user:1, public key: ssh-ed25519",
        'SELECT "auth_user"."password", "auth_user"."last_login" FROM "auth_user"',
        'File "/app/auth.py", line 3, in get_token: return self.load(user)',
        "auth: ok, token: none; csrf: disabled, master key: loaded",
        "Settings(password=None, token=None, secret=False)",
        "InvalidToken('no such user') and SecretStr('**********')",
        "the token author: bob",
        "session: new connection",
        "is the password in (a, b) the old one",
    ],
)
def test_ordinary_lines_of_libraries_stay(text: str) -> None:
    """What Django, loguru, pydantic and tracebacks write all day, without a secret in it."""
    assert mask_pairs(text, KEYS) == text
