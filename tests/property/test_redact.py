from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given, strategies as st

from logbus.collectors.format import JsonFormat, TextFormat
from logbus.collectors.redaction.mask import DEFAULT_FIELDS, SecretKeys, mask_text
from logbus.collectors.redaction.redact import Redactor
from tests.property.batches import SCALARS, TEXTS, batch_of, payload_of
from tests.property.plain_redaction import PlainRedactor
from tests.property.suspicious import SUSPICIOUS, URLS

KEYS = SecretKeys(DEFAULT_FIELDS)
PLAIN = PlainRedactor()
ANY_TEXT = SUSPICIOUS | URLS | TEXTS
VALUES = SUSPICIOUS | SCALARS
TREES = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3), max_leaves=6
)


def _exceptions(text: st.SearchStrategy[str]) -> st.SearchStrategy[list[Any]]:
    leaf = st.tuples(text, text, st.lists(text, max_size=2), st.none(), st.none(), st.just([])).map(list)
    linked = st.none() | leaf
    return st.tuples(text, text, st.lists(text, max_size=2), linked, linked, st.lists(leaf, max_size=1)).map(list)


RECORDS = st.tuples(
    st.just(0),
    st.just(0),
    st.just(0),
    ANY_TEXT,
    st.none() | st.dictionaries(ANY_TEXT, VALUES, max_size=3),
    st.none() | st.dictionaries(ANY_TEXT, TREES, max_size=2),
    st.none() | _exceptions(ANY_TEXT),
).map(list)


@given(st.lists(RECORDS, max_size=4), st.lists(ANY_TEXT, min_size=1, max_size=2), ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_the_quick_look_at_the_batch_changes_no_result(
    records: list[Any], threads: list[str], worker: str, app_name: str, logger: str
) -> None:
    """Redacting a batch equals putting each of its texts through every pattern."""
    payload = payload_of(*records, threads=threads)
    payload[0][2:] = [worker, app_name]
    payload[1][0] = [logger, 20, worker, app_name, logger, 7, logger]
    quick, slow = batch_of(copy.deepcopy(payload)), batch_of(payload)
    Redactor().redact(quick)
    PLAIN.redact(slow)
    assert quick == slow


@given(st.lists(st.lists(RECORDS, max_size=3), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_what_a_redactor_remembers_changes_no_result(batches: list[list[Any]], order: random.Random) -> None:
    """Batch after batch with the same texts, in any place, a redactor does what one without a memory does."""
    redactor = Redactor()
    for records in [*batches, *order.sample(batches, len(batches))]:
        texts = [record[3] for record in records]
        payload = payload_of(*records, *[[0, 0, 0, "m", {"detail": text}, {text: [text]}, None] for text in texts])
        quick, slow = batch_of(copy.deepcopy(payload)), batch_of(payload)
        redactor.redact(quick)
        PLAIN.redact(slow)
        assert quick == slow


@given(SUSPICIOUS)
def test_masking_twice_is_masking_once(text: str) -> None:
    """A masked text has nothing left to mask."""
    once = mask_text(text, KEYS)
    assert mask_text(once, KEYS) == once


@given(texts=st.lists(SUSPICIOUS | TEXTS, max_size=6), wide=st.integers(0, 1))
def test_the_probe_is_found_in_every_text_that_is_masked(texts: list[str], wide: int) -> None:
    """RE2 finds each of the joined texts in which there is something to mask, whatever stands before and behind it."""
    if wide:
        texts = [f"é{text}\U0001f511" for text in texts]
    suspects = Redactor()._suspects(texts, "\n".join(texts).encode("utf-8", "surrogatepass"))
    assert [text for text in texts if PLAIN.text(text) != text and text not in suspects] == []


@given(SUSPICIOUS)
def test_one_text_is_masked_as_the_reference_says(text: str) -> None:
    """The passes find from their literals what the rules find when they are applied everywhere."""
    assert mask_text(text, KEYS) == PLAIN.text(text)


#: Users' patterns, with and without groups, with what says where a text begins and ends, and what newlines disturb.
PATTERNS = (
    "acct-[0-9]{2}", "acct-([0-9]+)", "^x1", "x1$", "(?i)ACCT", r"\Ax1", r"x1\z", r"\bx1\b", "[^a]x1", "(a)|(c)t",
    "a.*0", "(?s)a.*0", "é", "(?m)^0$", "x(1(0))", "(?-m)^a", "1", "-7", "(x)?1",
)  # fmt: skip
MARKED = st.lists(
    st.sampled_from(["acct-", "01", "7", "x1", "x10", "a", "é", " ", "\n", "ct", "***", "token=", ""]), max_size=5
).map("".join)


@given(
    st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2, unique=True),
    st.lists(st.tuples(MARKED, st.dictionaries(MARKED, MARKED | st.integers(-10, 20) | st.booleans(), max_size=3))),
)
def test_users_patterns_are_masked_as_if_each_text_were_asked(
    patterns: list[str], records: list[tuple[str, dict[str, Any]]]
) -> None:
    """Asking for a pattern in the joined texts finds what asking in each text by itself finds, in numbers too."""
    payload = payload_of(*[[0, 0, 0, text, extra, {"k": [text, extra]}, None] for text, extra in records])
    redactor, plain = Redactor(patterns=patterns), PlainRedactor(patterns=tuple(patterns))
    for _ in range(2):
        quick, slow = batch_of(copy.deepcopy(payload)), batch_of(copy.deepcopy(payload))
        redactor.redact(quick)
        plain.redact(slow)
        assert quick == slow


@given(TEXTS)
def test_only_texts_with_a_literal_change(text: str) -> None:
    """What has no colon, no literal of a secret key or scheme and no prefix of a token comes back as it is."""
    lowered = text.lower()
    if not any(literal in lowered for literal in (":", "%3a", "bearer", "basic", *KEYS.literals)):
        assert mask_text(text, KEYS) == text


SECRETS = st.text(st.sampled_from("abcXYZ0189_-.~"), min_size=1, max_size=12).map("zq9Q".__add__)
#: How a secret may stand in a text.
CARRIERS = (
    "via http://user:{}@host:8080/path", "http://{}@host", "u:{}@proxy.example.com:3128", r"http:\/\/u:{}@h",
    "?u=http%3A%2F%2Fu%3A{}%40h", "Authorization: Bearer {}", "authorization: Token {}", "Proxy-Authorization: X {}",
    "{{'Authorization': 'Basic {}'}}", "Cookie: a=1; b={}", "[(b'set-cookie', b'{}; Path=/')]", '{{"api_key": "{}"}}',
    r'{{\"clientSecret\": \"{}\"}}', "GET /?token={}&n=1", "password={}", "password: {}, n", "db_password = '{} x'",
    "<secret>{}</secret>", "bearer {}", "session_id='{}", "auth=('u', '{}')", "Set-Cookie: n={}; HttpOnly",
    "curl -u bob:{} x", "ALTER USER bob PASSWORD '{}'", "M\na.token\n  Bad [type=x, input_value='{}', input_type=str]",
    "login --password {} --n 1", "['x', '--api-key', '{}']", "10.0.0.1:8080:bob:{}", "bob:{}@host",
    "bob:{}:10.0.0.1:8080", "<CookieJar[<Cookie s={} for h/>]>", "Cookie(version=0, name='s', value='{}', port=None)",
    "<SimpleCookie: s='{}'>",
    "?u=http%253A%252F%252Fu%253A{}%2540h", "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n{}", "ghp_abcdefghijklmnop{}",
    "https://api.telegram.org/bot123456:" + "a" * 30 + "{}/x",
    '{{"name": "DB_PASSWORD", "value": "{}"}}', "<w:Password T='x'>{} y</w:Password>",
    "\x1b[36mpwd\x1b[0m=\x1b[35m{}\x1b[0m",
    r"line\npwd={}", "next=%2F%3Fauth%3D{}", "%26auth%3D{}", 'Cookie: a="b"; c={}', "passcode={}&n=1", "http://bob:{}",
    "API key: {}", "b'X-Api-Key: 1\\r\\nCookie: a={}; b=1'", "a:\n  password: |\n    {}\n", "a:\n  tokens:\n  - {}\n",
    "&quot;password&quot;:&quot;{} a&quot;", "password:\u00a0{}", 'name="password"\r\n\r\n{}\r\n--x', "Token('{}')",
    "1.2.3.4:80@bob:{}", "mysql -p{}", "alter user bob identified by '{}'", "login bob password {}",
    "[{{'loc': ('body', 'password'), 'msg': 'm', 'input': '{}'}}]", "password=%s [not formatted with ('{}', 1): x]",
    "creds -> {}", "password=***-{}", "X-Csrf-Token: {}", "smtp_pass={}", "Server=s;Password={};Database=d",
)  # fmt: skip


def _in_message(payload: list[Any], text: str) -> None:
    payload[3][0][3] = text


def _in_extra(payload: list[Any], text: str) -> None:
    payload[3][0][4] = {"n": 1, "detail": text}


def _in_extra_key(payload: list[Any], text: str) -> None:
    payload[3][0][4] = {text: 1}


def _in_promoted(payload: list[Any], text: str) -> None:
    payload[3][0][4] = {"operation": text}


def _in_nested(payload: list[Any], text: str) -> None:
    payload[3][0][5] = {"a": [1, [{"b": text}]], text: [text]}


def _in_exception(payload: list[Any], text: str) -> None:
    leaf = [text, text, ["x", text], None, None, []]
    payload[3][0][6] = ["E", text, [text], leaf, leaf, [leaf]]


def _in_names(payload: list[Any], text: str) -> None:
    payload[0][2:] = [text, text]
    payload[2][0] = text


POSITIONS: tuple[Callable[[list[Any], str], None], ...] = (
    _in_message, _in_extra, _in_extra_key, _in_promoted, _in_nested, _in_exception, _in_names,
)  # fmt: skip


def _written(payload: list[Any]) -> str:
    batch = batch_of(payload)
    Redactor().redact(batch)
    line = JsonFormat().encode(batch)
    json.loads(line)
    return (line + TextFormat().encode(batch) + TextFormat(colour=True).encode(batch)).decode()


@given(st.sampled_from(POSITIONS), st.sampled_from(CARRIERS), SECRETS, st.sampled_from(["", "see ", "é\n", "a=b, "]))
def test_a_secret_in_a_text_reaches_no_format(
    put: Callable[[list[Any], str], None], carrier: str, secret: str, before: str
) -> None:
    """However a secret stands in a text, and wherever the text stands in a record, no line shows it."""
    payload = payload_of([0, 0, 0, "m", None, None, None])
    put(payload, before + carrier.format(secret))
    assert secret not in _written(payload)


@given(
    st.sampled_from(
        ["password", "X-Api-Key", "clientSecret", "proxy_authorization", "Set-Cookie", "authToken", "PGPASSWORD"]
    ),
    SECRETS,
)
def test_a_secret_under_its_key_reaches_no_format(key: str, secret: str) -> None:
    """Under a secret key nothing is shown, among the scalars and at any depth."""
    extra, nested = {key: secret}, {"a": [{key: [secret, {"x": secret}]}, [key, secret]], key: {secret: 1}}
    assert secret not in _written(payload_of([0, 0, 0, "m", extra, nested, None]))
