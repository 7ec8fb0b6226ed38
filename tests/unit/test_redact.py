from __future__ import annotations

import time
from typing import Any

import pytest

from logbus.collectors.decode import Batch, Raised, Record, Source
from logbus.collectors.redaction.redact import DEFAULT_FIELDS, Redactor
from logbus.errors import ConfigurationError
from tests.property.batches import batch_of, payload_of


def _redacted(*records: list[Any], threads: list[str] | None = None, **given: Any) -> Batch:
    batch = batch_of(payload_of(*records, threads=threads))
    Redactor(**given).redact(batch)
    return batch


def _record(message: str = "m", extra: Any = None, nested: Any = None, exception: Any = None) -> list[Any]:
    return [0, 0, 0, message, extra, nested, exception]


def test_messages_are_masked_and_others_stay() -> None:
    """Only the messages that hold a secret change."""
    batch = _redacted(_record("via http://u:p@h"), _record("mail a@b.c"), _record("token=abc"), _record("a token"))
    assert [one.message for one in batch.records] == ["via http://u:***@h", "mail a@b.c", "token=***", "a token"]


def test_extra_values_are_masked_by_key_and_by_content() -> None:
    """A secret key hides its value whatever it is; another value is masked as a text."""
    extra = {
        "password": 12345,
        "apiKey": "k",
        "url": "http://u:p@h",
        "max_tokens": 512,
        "tokens": "x",
        "token": None,
        "n": 1,
    }
    [one] = _redacted(_record(extra=extra)).records
    assert one.extra == {
        "password": "***",
        "apiKey": "***",
        "url": "http://u:***@h",
        "max_tokens": 512,
        "tokens": "***",
        "token": "***",
        "n": 1,
    }


def test_nested_values_are_masked_at_any_depth() -> None:
    """Keys, texts and headers as pairs are masked in lists and maps; what stands under a secret key goes whole."""
    nested = {
        "headers": {"Cookie": ["a=b", {"c": "d"}], "Host": "h"},
        "raw": [["authorization", "Basic x"], ["host", "h"], ["via http://u:p@h", 1]],
        "max_tokens": [1],
        "deep": [[[{"x": "token=abc", "n": 3}]]],
        "usage": {"tokens": 7},
    }
    [one] = _redacted(_record(nested=nested)).records
    assert one.nested == {
        "headers": {"Cookie": "***", "Host": "h"},
        "raw": [["authorization", "***"], ["host", "h"], ["via http://u:***@h", 1]],
        "max_tokens": "***",
        "deep": [[[{"x": "token=***", "n": 3}]]],
        "usage": {"tokens": 7},
    }


def test_keys_are_masked_and_none_is_lost() -> None:
    """A key that holds a secret is masked too; two that become one stay two."""
    extra = {"http://u:p@h": 1, "http://u:q@h": 2}
    [one, other] = _redacted(_record(extra=dict(extra), nested={"k": dict(extra)}), _record(extra={"n": 1})).records
    assert one.extra == {"http://u:***@h": 1, "http://u:***@h~2": 2}
    assert one.nested == {"k": one.extra}
    assert other.extra == {"n": 1}


def test_exceptions_are_masked_with_their_chains() -> None:
    """Type, message and traceback lines are masked in an exception, its cause, its context and its members."""

    def raised(*linked: Any) -> list[Any]:
        cause, context, members = linked or (None, None, [])
        return ["Bad http://u:p@h", "password=x", ["  c = Client('http://u:p@h')", "  pass"], cause, context, members]

    [one] = _redacted(_record(exception=raised(raised(), raised(), [raised(), raised()]))).records
    leaf = Raised("Bad http://u:***@h", "password=***", ["  c = Client('http://u:***@h')", "  pass"], None, None, [])
    assert one.exception == Raised(leaf.type, leaf.message, leaf.traceback, leaf, leaf, [leaf, leaf])


def test_names_of_threads_and_source_are_masked() -> None:
    """Names that an application gives to threads and workers are texts like others."""
    payload = payload_of(_record(), threads=["poll http://u:p@h"])
    payload[0] = ["h", 1, "worker token=abc", "app http://u:p@h"]
    batch = batch_of(payload)
    Redactor().redact(batch)
    assert batch.threads == ["poll http://u:***@h"]
    assert (batch.source.worker, batch.source.app_name) == ("worker token=***", "app http://u:***@h")


def test_names_of_call_sites_are_masked() -> None:
    """A logger may be named for a URL with credentials, and is then masked in every batch."""
    payload = payload_of(_record("m"), _record("n"))
    payload[1] = [["client.http://u:p@h", 20, "INFO", "m", "f", 7, "client"], payload[1][0]]
    redactor = Redactor()
    for _ in range(2):
        batch = batch_of(payload)
        redactor.redact(batch)
        assert [site.logger for site in batch.sites] == ["client.http://u:***@h", "app.db"]


def test_call_sites_named_after_secrets_stay() -> None:
    """A logger or a function named after a secret keeps its name: there is no secret in it."""
    payload = payload_of(_record("token=abc"))
    payload[1] = [["app.auth.token", 20, "INFO", "token", "password", 7, "auth"]]
    batch = batch_of(payload)
    Redactor().redact(batch)
    assert (batch.sites[0].logger, batch.sites[0].function) == ("app.auth.token", "password")


def test_what_proxywhirl_leaks_is_masked() -> None:
    """The credentials that proxywhirl 0.3.3, httpx and httpcore were seen to log are gone."""
    batch = _redacted(
        _record("Added chain", {"entry_proxy": "http://user:s3cret@10.0.0.1:8080"}),
        _record("Cache put: abc url=http://user:s3cret@10.0.0.1:8080"),
        _record("AUDIT", None, {"body_summary": {"url": "http://user:s3cret@h"}, "headers": {"Cookie": "sid=s3cret"}}),
        _record('HTTP Request: GET http://user:s3cret@h/?api_key=s3cret "HTTP/1.1 200 OK"'),
        _record(
            "receive_response_headers.complete return_value=(b'HTTP/1.1', 200, b'OK', [(b'Set-Cookie', b's3cret=1')])"
        ),
        _record("1 validation error: input_value='http://user:s3cret@h', input_type=str"),
        _record("Proxy(id=1, url='http://user:s3cret@h', username=SecretStr('**********'))"),
        _record("Request failed via http://user:s3cret@h:99999: connection refused"),
    )
    assert "s3cret" not in repr(batch)


def test_given_fields_replace_the_default_ones() -> None:
    """With fields of one's own, the default keys are plain, and URLs and schemes are masked all the same."""
    text = "iban=x password=y http://u:p@h Bearer abc1"
    [one] = _redacted(_record(text, {"IBAN": "x", "password": "y"}), fields=["iban"]).records
    assert one.message == "iban=*** password=y http://u:***@h Bearer ***"
    assert one.extra == {"IBAN": "***", "password": "y"}


def test_without_fields_no_key_is_secret() -> None:
    """An empty list of fields leaves URLs and schemes."""
    [one] = _redacted(_record("token=x http://u:p@h"), fields=[]).records
    assert one.message == "token=x http://u:***@h"


def test_an_empty_field_is_refused() -> None:
    """A field that can't match anything is a configuration error."""
    with pytest.raises(ConfigurationError):
        Redactor([*DEFAULT_FIELDS, ""])


def test_a_batch_without_records_is_redacted() -> None:
    """An empty batch is no special case."""
    assert _redacted(threads=["token=abc"]).threads == ["token=***"]


def test_more_urls_than_are_remembered() -> None:
    """Masked texts are remembered up to a bound and are right beyond it, and again after it."""
    redactor = Redactor()
    for start in (*range(0, 6000, 500), 0):
        batch = batch_of(payload_of(*[_record(f"http://u{n}:p{n}@h") for n in range(start, start + 500)]))
        redactor.redact(batch)
        assert [one.message for one in batch.records] == [f"http://u{n}:***@h" for n in range(start, start + 500)]


def test_more_messages_than_are_remembered() -> None:
    """Messages without a secret are remembered up to a bound; those with one are masked before, beyond and after it."""
    redactor = Redactor()
    for start in (*range(0, 6000, 500), 0):
        texts = [f"took {n}" for n in range(start, start + 500)]
        batch = batch_of(payload_of(*map(_record, [*texts, "token=abc", "x" * 600, "x" * 600 + " token=abc"])))
        redactor.redact(batch)
        assert [one.message for one in batch.records] == [*texts, "token=***", "x" * 600, "x" * 600 + " token=***"]


def test_records_with_different_keys_are_masked_in_all_of_them() -> None:
    """Whether records have the same keys or not, in the same order or not, each value is masked in its place."""
    url, masked = "http://u:p@h", "http://u:***@h"
    cases: tuple[list[dict[str, Any]], ...] = (
        [{"a": url, "b": "x", "token": "t"}, {"token": "t", "b": url, "a": 1}],
        [{"a": url}, {"b": url, "token": "t"}, {"c": 1}],
        [{"a": url, "b": 1}, {"b": url}, {}],
        [{"b": url}, {"b": 1, "a": url}],
    )
    for extras in cases:
        batch = _redacted(*[_record(extra=dict(extra)) for extra in extras])
        assert [one.extra for one in batch.records] == [
            {key: masked if value == url else "***" if key == "token" else value for key, value in extra.items()}
            for extra in extras
        ]


def test_a_batch_built_by_hand_is_redacted() -> None:
    """Redaction looks at the texts themselves, so that it may run on anything, and twice."""
    batch = batch_of(payload_of(_record()))
    batch.records.append(Record(0, 0, 0, "token=abc \ud800", {"url": "http://u:p@h"}))
    for _ in range(2):
        Redactor().redact(batch)
        assert batch.records[1].message == "token=*** \ud800"
        assert batch.records[1].extra == {"url": "http://u:***@h"}


def test_a_frame_full_of_hostile_texts_takes_linear_time() -> None:
    """A frame of the largest size, in one text or in thousands, is redacted in far less than a second of CPU."""
    for size, count in ((240_000, 1), (60, 4000)):
        text = 'token=password="://a:b'
        batch = batch_of(payload_of(*[_record((text * (size // len(text) + 1))[:size]) for _ in range(count)]))
        before = time.process_time()
        Redactor().redact(batch)
        assert time.process_time() - before < 2.5


def test_a_key_that_is_a_value_masks_the_value_beside_it() -> None:
    """Pairs that are written as two, as in the environment of a container, are pairs all the same."""
    extra = {"name": "DB_PASSWORD", "value": "abc"}
    nested = {"env": [dict(extra), {"Key": "api-key", "Value": ["abc"]}, {"name": "PATH", "value": "/bin"}]}
    [one] = _redacted(_record(extra=dict(extra), nested=nested)).records
    assert one.extra == {"name": "DB_PASSWORD", "value": "***"}
    assert one.nested == {
        "env": [one.extra, {"Key": "api-key", "Value": "***"}, {"name": "PATH", "value": "/bin"}],
    }


def test_options_of_a_command_mask_the_argument_behind_them() -> None:
    """In a list of arguments the one behind a secret option goes, unless it is an option itself."""
    argv = ["curl", "--password", "abc", "--token", "--user", "bob", "--api-key=abc", "-token", 7, "n"]
    [one] = _redacted(_record(nested={"argv": argv})).records
    assert one.nested == {
        "argv": ["curl", "--password", "***", "--token", "--user", "bob", "--api-key=***", "-token", "***", "n"]
    }


def test_private_keys_in_several_lines_are_masked() -> None:
    """A key whose lines are a list, in a field or in a traceback, goes with all of its lines."""
    lines = ["read:", "-----BEGIN PRIVATE KEY-----", "MIIEabc", "def=", "-----END PRIVATE KEY-----", "done"]
    exception = ["ValueError", "\n".join(lines), list(lines), None, None, []]
    [one] = _redacted(_record(nested={"pem": [*lines, None]}, exception=exception)).records
    assert one.nested is not None
    assert one.exception is not None
    assert one.nested["pem"][2:4] == ["***", "***"]
    assert one.exception.traceback[2:4] == ["***", "***"]
    assert "MIIE" not in repr(one)
    assert "def=" not in repr(one)
    assert one.exception.traceback[::5] == ["read:", "done"]


def test_users_patterns_are_masked_everywhere() -> None:
    """What a pattern matches goes from every text of a record, and numbers in which it is found go too."""
    text = "acct-12345678 done"
    payload = payload_of(
        _record(text, {"account": text, text: 1, "n": 12345678, "ok": True}, {"a": [12345678, {text: text}]}),
        threads=[text],
    )
    payload[3][0][6] = ["Error", text, [text], None, None, []]
    payload[1][0][0] = text
    batch = batch_of(payload)
    redactor = Redactor(patterns=["acct-[0-9]{8}", "^1234", "^1$"])
    redactor.redact(batch)
    assert "acct-1" not in repr(batch)
    [one] = batch.records
    assert one.message == "*** done"
    assert one.extra == {"account": "*** done", "*** done": "***", "n": "***5678", "ok": True}
    assert one.nested == {"a": ["***5678", {"*** done": "*** done"}]}


def test_users_patterns_see_the_texts_as_they_were_logged() -> None:
    """Built-in masks come after, so that a pattern finds what stands beside a secret, and a secret what is left."""
    [one] = _redacted(_record("token=abc acct=123 x"), patterns=["token=abc acct=([0-9]+)"]).records
    assert one.message == "token=*** acct=*** x"


def test_patterns_that_cannot_be_used_are_refused_together() -> None:
    """Every pattern that RE2 refuses, or that would be found everywhere, is named with its place."""
    with pytest.raises(ConfigurationError) as caught:
        Redactor(patterns=["fine", "(?=x)", "x*"])
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "redaction.patterns[1]",
        "redaction.patterns[2]",
    ]


def test_one_field_is_masked_as_a_record_would_show_it() -> None:
    """A value that is no record's, such as a static field of a format, is masked by its key and by its content."""
    redactor = Redactor(patterns=["acct-([0-9]+)", "^77$"])
    assert redactor.field("api_key", "abc") == "***"
    assert redactor.field("origin", "http://u:p@h acct-12") == "http://u:***@h acct-***"
    assert redactor.field("count", 77) == "***"
    assert redactor.field("environment", "production") == "production"


def test_a_giant_takes_no_steps_from_others() -> None:
    """Where one text has more secrets than there are steps for, its end is masked, and the others are whole."""
    giant = "token=abc and " * 4000 + "password=hunter2"
    redactor = Redactor()
    for _ in range(2):
        batch = batch_of(payload_of(_record(giant), *[_record(f"token=abc {n}") for n in range(50)]))
        redactor.redact(batch)
        assert "abc" not in repr(batch)
        assert "hunter2" not in repr(batch)
        assert batch.records[0].message.endswith("and ***")
        assert [one.message for one in batch.records[1:]] == [f"token=*** {n}" for n in range(50)]


def test_a_record_of_a_thousand_suspicious_texts_passes_none_unseen() -> None:
    """Texts for which no steps are left are masked whole, the innocent ones beside them are not even looked at."""
    texts = [f"{n} http://u:hunter2@h and token=hunter2" for n in range(900)] + ["plain"] * 20
    batch = _redacted(_record(nested={"texts": texts}))
    [one] = batch.records
    assert one.nested is not None
    masked = one.nested["texts"]
    assert "hunter2" not in repr(batch)
    assert masked.count("***") > 500
    assert sum(text.endswith("token=***") for text in masked) > 40
    assert masked[900:] == ["plain"] * 20


def test_who_speaks_is_masked_without_records_too() -> None:
    """The names of a MARK, of a counter page and of the loggers that a worker has go where nobody redacts again."""
    source = Source("h", 7, "http://u:hunter2@w", "token=hunter2")
    names = ["app", "password=hunter2"]
    Redactor().source(source, names)
    assert source == Source("h", 7, "http://u:***@w", "token=***")
    assert names == ["app", "password=***"]


def test_call_sites_with_giant_names_are_not_remembered() -> None:
    """What a redactor remembers of call sites is bounded in bytes, not in their number alone."""
    redactor = Redactor()
    for name in ("app", "x" * 200_000):
        payload = payload_of(_record("m"))
        payload[1][0][0] = name
        redactor.redact(batch_of(payload))
    assert [site.logger for site in redactor._clean_sites] == ["app"]


def test_giants_are_not_remembered_for_their_short_neighbours() -> None:
    """A long message or name is not kept because there are many short texts in its batch: others come with the next."""
    redactor = Redactor()
    for number in range(8):
        extras = [_record(extra={"request_id": f"r-{number}-{at}"}) for at in range(99)]
        payload = payload_of(*extras, _record(f"{number}{'x' * 9000}"), threads=[f"{number}{'y' * 9000}"])
        payload[1] += [[f"l-{number}-{at}", 20, "INFO", "m", f"f-{number}-{at}", 7, "c"] for at in range(99)]
        redactor.redact(batch_of(payload))
    assert sum(map(len, redactor._clean)) < 1000


def test_errors_of_pydantic_are_masked_by_their_location() -> None:
    """The input of a field that is a secret stands beside the name of the field, not under it."""
    errors = [{"loc": ["body", name], "msg": "m", "input": "hunter2"} for name in ("password", "city")]
    batch = _redacted(_record(nested={"errors": errors}))
    assert batch.records[0].nested == {"errors": [errors[0] | {"input": "***"}, errors[1]]}
