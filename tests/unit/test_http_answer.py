"""What an answer means for the records, when to come again, and what of it people see."""

from __future__ import annotations

import email.utils

import pytest

from logbus.collectors.sinks.http.answer import SHOWN_CHARS, Answer, Verdict, excerpt, secrets_of
from logbus.collectors.sinks.http.options import AGAIN, basic
from logbus.collectors.writing.terms import RETRY_AFTER_S

NOW = 1_795_348_800.0  # 2026-11-22 12:00:00


def verdict(status: int, again: frozenset[int] = AGAIN) -> Verdict:
    """What a code means in TLS."""
    return Answer(status).verdict(again, tls=True)


@pytest.mark.parametrize(
    ("meaning", "codes"),
    [
        (Verdict.DELIVERED, [200, 201, 202, 204, 207, 299]),
        (Verdict.AGAIN, [408, 425, 429, 500, 501, 502, 503, 504, 507, 599, 600, 999]),
        (
            Verdict.MEND,
            [260, 300, 301, 302, 304, 307, 308, 401, 402, 403, 404, 405, 406, 407, 410, 411, 414, 415, 421, 431],
        ),
        (Verdict.TOO_LARGE, [413]),
        (Verdict.REFUSED, [400, 409, 412, 416, 418, 422, 424, 499]),
    ],
)
def test_a_code_says_what_became_of_the_records(meaning: Verdict, codes: list[int]) -> None:
    """Each code has one meaning; those of a request's head are nobody's fault but the operator's."""
    assert {code: verdict(code) for code in codes} == dict.fromkeys(codes, meaning)


def test_the_configuration_says_which_codes_are_tried_again() -> None:
    """What it names is tried again as it is, 413 too; what it doesn't name is what it is without that list."""
    again = frozenset({400, 404, 413, 503})
    assert {verdict(code, again) for code in again} == {Verdict.AGAIN}
    assert (verdict(500, again), verdict(429, again), verdict(401, again)) == (
        Verdict.REFUSED,
        Verdict.REFUSED,
        Verdict.MEND,
    )


def test_only_a_gateway_leaves_it_open_whether_the_records_arrived() -> None:
    """502 and 504 are said for a server that has perhaps got them."""
    assert [code for code in range(300, 600) if Answer(code).doubtful] == [502, 504]


def test_plain_text_at_a_port_for_tls_is_the_operators_to_mend() -> None:
    """Servers say so with a 400, which is not about any record."""
    answer = Answer(400, body=b"<center>The plain HTTP request was sent to HTTPS port</center>")
    assert answer.verdict(AGAIN, tls=False) is Verdict.MEND
    assert answer.verdict(AGAIN, tls=True) is Verdict.REFUSED


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", 0.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("120", 120.0),
        ("999999", RETRY_AFTER_S),
        ("9" * 400, RETRY_AFTER_S),
        ("-1", 0.0),
        ("1.5", 0.0),
        ("soon", 0.0),
        (email.utils.formatdate(NOW + 30, usegmt=True), 30.0),
        (email.utils.formatdate(NOW - 30, usegmt=True), 0.0),
        (email.utils.formatdate(NOW + 86_400, usegmt=True), RETRY_AFTER_S),
        ("Sunday, 22-Nov-26 12:00:10 GMT", 10.0),
        ("Sun Nov 22 12:00:11 2026", 11.0),
        ("Sun, 22 Nov 2026 13:00:12 +0100", 12.0),
        ("Sun, 22 Nov 2026 12:00:60 GMT", 59.0),
        ("Sun, 99 Nov 2026 99:99:99 GMT", 0.0),
        ("Sun, 22 Nov 99999999999999 12:00:00 GMT", 0.0),
        ("٣", 0.0),
    ],
)
def test_a_server_says_when_to_come_again(value: str, expected: float) -> None:
    """Seconds or a date in any form of HTTP's, up to an hour; what is neither is ignored."""
    assert Answer(503, retry_after=value).after_s(NOW) == expected


def test_a_date_is_read_by_the_servers_own_clock() -> None:
    """A server whose clock is an hour off means the same seconds."""
    theirs = NOW + 3600
    answer = Answer(
        503,
        retry_after=email.utils.formatdate(theirs + 20, usegmt=True),
        date=email.utils.formatdate(theirs, usegmt=True),
    )
    assert answer.after_s(NOW) == 20.0


def test_an_answer_is_told_in_one_line() -> None:
    """The code by its standard name, and the beginning of the body without tags and what a terminal would obey."""
    page = b"<html><body bgcolor='white'>\r\n<h1>Busy\x1b[31m \xe2\x80\xae now</h1>\n\xff</html>"
    assert Answer(503, body=page).words(()) == "answered 503 Service Unavailable: Busy [31m now \ufffd"
    assert Answer(599).words(()) == "answered 599"
    assert Answer(500, body=b"x" * 5000).words(()) == f"answered 500 Internal Server Error: {'x' * SHOWN_CHARS}…"


def test_a_redirection_is_told_with_its_place_and_without_its_query() -> None:
    """Where it points helps who mends it; the query may be a key."""
    answer = Answer(302, location="https://login.example.com/in?token=abcdef", body=b"unread")
    assert answer.words(()) == ("answered 302 Found, a redirection to https://login.example.com/in: none is followed")
    assert Answer(301).words(()) == "answered 301 Moved Permanently, a redirection: none is followed"


def test_what_an_answer_repeats_of_our_secrets_is_masked() -> None:
    """Values of headers, with or without their scheme, and of the query: in the body and in a redirection."""
    secrets = secrets_of([("Authorization", "Bearer t0ps3cret"), ("X-Id", "ab")], "/in?key=qu3ry&b=ab&bare-word")
    body = b"no such key=qu3ry&b=ab&bare-word: got [Bearer t0ps3cret], t0ps3cret, qu3ry, bare-word; ab is short"
    shown = excerpt(body, secrets)
    assert not any(word in shown for word in ("t0ps3cret", "qu3ry", "bare-word"))
    assert shown.endswith("ab is short")
    assert "t0ps3cret" not in Answer(302, location="http://h/t0ps3cret").words(secrets)


def test_a_key_in_the_path_is_masked_where_an_answer_repeats_it() -> None:
    """As many servers do for an address that they don't know; what else stands in the path helps."""
    secrets = secrets_of([], "/bulk/0f8fad5b-d9cb-469f-a165/in")
    assert (
        Answer(404, body=b"Cannot POST /bulk/0f8fad5b-d9cb-469f-a165/in").words(secrets).endswith("POST /bulk/***/in")
    )


@pytest.mark.parametrize(
    "said",
    [
        """no such user/password: alice/p"q<r>é s3""",
        r"""{"error": "alice:p\"q<r>\u00e9 s3"}""",
        "<p>password p&quot;q&lt;r&gt;é s3</p>",
        "<p>password p&quot;q&lt;r&gt;Ã© s3</p>",
        "no p%22q%3Cr%3E%C3%A9%20s3 here",
        "no such key: k/e+y 1",
        "no such key: K%2fE%2by+1",
    ],
)
def test_a_secret_is_masked_in_every_form_that_a_server_gives_it(said: str) -> None:
    """As it reads it, out of Base64 or a query, and as it writes it again: in JSON, in HTML, in another case."""
    secrets = secrets_of([basic("alice", 'p"q<r>é s3')], "/in?key=k%2Fe%2By+1")
    shown = excerpt(said.encode(), secrets)
    assert "***" in shown
    assert not any(part in shown.lower() for part in ("s3", "k/e", "k%2fe"))


def test_what_gives_itself_away_is_masked_too() -> None:
    """An answer with somebody else's password, even where the cut would end in it."""
    padding = "y" * (SHOWN_CHARS - 15)
    assert "hunter2" not in excerpt(f"{padding} password=hunter2hunter2".encode(), ())
