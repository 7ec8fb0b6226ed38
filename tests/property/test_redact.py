from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given, strategies as st

from logbus.collectors.decode import Batch, Raised, Site
from logbus.collectors.format import JsonFormat, TextFormat
from logbus.collectors.mask import DEFAULT_FIELDS, MASK, SecretKeys, Verdict, mask_pairs, mask_urls
from logbus.collectors.redact import Redactor
from tests.property.batches import SCALARS, TEXTS, batch_of, payload_of

KEYS = SecretKeys(DEFAULT_FIELDS)
#: Pieces of which secrets and their surroundings are made, and what disturbs them.
PIECES = (
    "password token Api-Key apiKey Authorization cookie auth tokens author session_id pwd "
    "Basic Bearer dXNlcjpwYXNz u:p "
    "= : , ; & \" ' \\ \\\" b' ( ) [ ] { } < > :// http:// @ / ? # %40 %3A%2F%2F %3A h:80 "
    ". - _ *** x1 0 \u212a \u0130 é \ud7ff"
).split()
SUSPICIOUS = st.lists(st.sampled_from([*PIECES, " ", "\n"]), max_size=9).map("".join)
ANY_TEXT = SUSPICIOUS | TEXTS
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


def _slow_text(text: str) -> str:
    return mask_pairs(mask_urls(text), KEYS)


def _slow_under(key: str, value: Any) -> Any:
    verdict = KEYS.verdict(key)
    number = value is None or isinstance(value, int | float)
    if verdict is Verdict.SECRET or (verdict is Verdict.UNLESS_NUMBER and not number):
        return MASK
    return _slow_tree(value)


def _slow_tree(value: Any) -> Any:
    if isinstance(value, str):
        return _slow_text(value)
    if isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str):
            return [_slow_text(value[0]), _slow_under(value[0], value[1])]
        return [_slow_tree(one) for one in value]
    if isinstance(value, dict):
        renamed: dict[str, Any] = {}
        for key, one in value.items():
            name = _slow_text(key)
            names = [name, *(f"{name}~{again}" for again in range(2, len(value) + 1))]
            renamed[next(free for free in names if free not in renamed)] = _slow_under(key, one)
        return renamed
    return value


def _slow_raised(raised: Raised | None) -> Raised | None:
    if raised is None:
        return None
    return Raised(
        _slow_text(raised.type),
        _slow_text(raised.message),
        [_slow_text(line) for line in raised.traceback],
        _slow_raised(raised.cause),
        _slow_raised(raised.context),
        [one for one in map(_slow_raised, raised.members) if one is not None],
    )


def _slow_redact(batch: Batch) -> None:
    """Every pattern on every field: what the quick way must be equal to."""
    batch.threads = [_slow_text(thread) for thread in batch.threads]
    batch.sites = [
        Site(
            _slow_text(site.logger),
            site.level_no,
            _slow_text(site.level_name),
            _slow_text(site.module),
            _slow_text(site.function),
            site.line,
            _slow_text(site.component),
        )
        for site in batch.sites
    ]
    batch.source.worker, batch.source.app_name = _slow_text(batch.source.worker), _slow_text(batch.source.app_name)
    for record in batch.records:
        record.message = _slow_text(record.message)
        record.extra, record.nested = _slow_tree(record.extra), _slow_tree(record.nested)
        record.exception = _slow_raised(record.exception)


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
    _slow_redact(slow)
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
        _slow_redact(slow)
        assert quick == slow


@given(SUSPICIOUS)
def test_masking_twice_is_masking_once(text: str) -> None:
    """A masked text has nothing left to mask."""
    once = _slow_text(text)
    assert _slow_text(once) == once


@given(TEXTS)
def test_only_texts_with_a_literal_change(text: str) -> None:
    """What has neither @ nor a literal of a secret key or scheme comes back as it is."""
    lowered = text.lower()
    if not any(literal in lowered for literal in ("@", "%40", "bearer", "basic", *KEYS.literals)):
        assert _slow_text(text) == text


SECRETS = st.text(st.sampled_from("abcXYZ0189_-.~"), min_size=1, max_size=12).map("zq9Q".__add__)
#: How a secret may stand in a text.
CARRIERS = (
    "via http://user:{}@host:8080/path", "http://{}@host", "u:{}@proxy.example.com:3128", r"http:\/\/u:{}@h",
    "?u=http%3A%2F%2Fu%3A{}%40h", "Authorization: Bearer {}", "authorization: Token {}", "Proxy-Authorization: X {}",
    "{{'Authorization': 'Basic {}'}}", "Cookie: a=1; b={}", "[(b'set-cookie', b'{}; Path=/')]", '{{"api_key": "{}"}}',
    r'{{\"clientSecret\": \"{}\"}}', "GET /?token={}&n=1", "password={}", "password: {}, n", "db_password = '{} x'",
    "<secret>{}</secret>", "bearer {}", "session_id='{}", "auth=('u', '{}')", "Set-Cookie: n={}; HttpOnly",
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
