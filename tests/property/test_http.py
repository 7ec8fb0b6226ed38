"""Requests and answers of the HTTP sink, whatever the server says."""

from __future__ import annotations

import re
import socket

from hypothesis import given, strategies as st

from logbus.collectors.sinks.http.answer import SHOWN_CHARS, Answer, excerpt
from logbus.collectors.sinks.http.client import Client, _Connection
from logbus.collectors.sinks.http.failure import NoAnswerError
from logbus.collectors.sinks.http.options import AGAIN, HttpOptions, check_headers, parse_target
from logbus.collectors.sinks.http.share import Share
from logbus.collectors.sinks.http.watch import Watch, WatchedSocket
from logbus.collectors.writing.terms import RETRY_AFTER_S
from logbus.errors import ConfigurationError


@given(st.text(), st.text(), st.floats(0, 1e11))
def test_any_retry_after_is_a_time_that_can_be_waited(value: str, date: str, now: float) -> None:
    """From 0 to an hour, and never an error."""
    assert 0 <= Answer(503, retry_after=value, date=date).after_s(now) <= RETRY_AFTER_S


@given(
    st.from_regex(re.compile(r"[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,9} [A-Z+0-9\-]{1,6}", re.A))
)
def test_any_date_is_a_time_that_can_be_waited(value: str) -> None:
    """What looks like a date and is none is ignored."""
    assert 0 <= Answer(503, retry_after=value).after_s(0.0) <= RETRY_AFTER_S


@given(st.binary(max_size=2000), st.integers(-1, 10**6))
def test_any_answer_is_one_printable_line(body: bytes, status: int) -> None:
    """Short, without control characters, and with a meaning."""
    answer = Answer(status, location=body.decode("latin-1"), body=body)
    words = answer.words(())
    assert words.isprintable()
    assert len(words) < SHOWN_CHARS + 100
    answer.verdict(AGAIN, tls=False)


@given(st.binary(max_size=300), st.sampled_from(["t0ps3cret", "Bearer t0ps3cret"]), st.binary(max_size=300))
def test_no_answer_shows_what_it_repeats(before: bytes, secret: str, after: bytes) -> None:
    """A secret of ours is masked wherever it stands."""
    assert "t0ps3cret" not in excerpt(before + secret.encode() + after, (secret, "t0ps3cret"))


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=4))
def test_headers_that_are_taken_fit_on_their_lines(headers: dict[str, str]) -> None:
    """Whatever passes has no line end, no colon in its name, and only visible characters."""
    try:
        taken = check_headers(headers)
    except ConfigurationError:
        return
    for name, value in taken:
        assert re.fullmatch(r"[^\s:\x00-\x20\x7f-\U0010ffff]+", name)
        assert re.fullmatch(r"[\t\x20-\x7e]+", value)


@given(
    st.lists(st.integers(0, 3000), min_size=1, max_size=60),
    st.sets(st.integers(0, 59)),
    st.integers(100, 40_000),
)
def test_every_record_ends_once_and_in_order(sizes: list[int], bad: set[int], limit: int) -> None:
    """Good records that fit are delivered, each once and in order; those too large are refused, and so are bad ones.

    Where eight bad ones come in a row, good ones may be refused with others: then only the order is looked at.
    """
    lines = [b"%d %s\n" % (number, b"x" * size) for number, size in enumerate(sizes)]
    share = Share()
    delivered: list[bytes] = []
    refused: list[bytes] = []
    was_whole = False
    data = b"".join(lines)
    requests = 0
    while data:
        piece, records = share.cut(data)
        requests += 1
        found = piece.splitlines(keepends=True)
        assert len(found) == records > 0
        assert data.startswith(piece)
        was_whole = was_whole or share.whole
        if len(piece) > limit:
            if share.too_large(len(piece), records):
                continue
            refused += found
        elif any(int(line.split()[0]) in bad for line in found):
            if share.refused(records):
                continue
            refused += found
        else:
            share.accepted(records)
            delivered += found
        data = data[len(piece) :]
    assert sorted(delivered + refused, key=lines.index) == lines
    assert delivered == sorted(delivered, key=lines.index)
    if not was_whole:
        hopeless = [line for at, line in enumerate(lines) if at in bad or len(line) > limit]
        assert refused == hopeless
    assert requests <= 8 * len(lines)


class Prepared(Client):
    """A client whose server has answered before it was asked, and closed."""

    def __init__(self, answer: bytes) -> None:
        watch = Watch()
        watch.begin()
        super().__init__(HttpOptions(parse_target("http://host/")), "web", watch)
        ours, self.theirs = socket.socketpair()
        self.theirs.sendall(answer)
        self.theirs.shutdown(socket.SHUT_WR)
        self.stream = WatchedSocket(ours.family, ours.type, ours.proto, ours.detach())
        self.stream.watch = watch

    def _connected(self) -> _Connection:
        self._connection = _Connection("host", 80, self.stream)
        return self._connection


WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nKeep-Alive: timeout=5\r\nRetry-After: 3\r\n\r\nabc"
CHUNKED = b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nTrailer: x\r\n\r\n"
EARLY = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + WHOLE


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda answer, at, size, put: answer[:at] + put + answer[at + size :],
        st.sampled_from([WHOLE, CHUNKED, EARLY]),
        st.integers(0, 150),
        st.integers(0, 40),
        st.sampled_from(
            [b"", b"\r\n", b"\n", b"\x00", b"9" * 30, b"-1", b":", b"\xff", b"A" * 70_000, b"a: b\r\n" * 200]
        ),
    )
)
def test_any_bytes_are_an_answer_or_none(answer: bytes) -> None:
    """Whatever a server sends: a code with a meaning, or an error that says that none came, and nothing else."""
    client = Prepared(answer)
    found: Answer | None = None
    begun = True
    with client.theirs:
        try:
            found = client.send(b"one\n", {"Content-Type": "text/plain"})
        except NoAnswerError as error:
            begun = error.begun
        finally:
            client.drop()
            client.stream.close()
    assert begun
    if found is not None:
        assert found.status >= 200
        found.verdict(AGAIN, tls=False)
        assert 0 <= found.after_s(0.0) <= RETRY_AFTER_S
