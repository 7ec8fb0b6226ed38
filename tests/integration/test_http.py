"""The HTTP sink against a real server that has every fault a server can have (``tests/servers/faulty_http.py``)."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logbus.collectors.sinks.base import Refusal, Sent, TryAgainError
from logbus.collectors.sinks.http import client as client_module
from logbus.collectors.sinks.http.bodies import BODIES
from logbus.collectors.sinks.http.options import HttpOptions, basic, bearer, check_headers, parse_target
from logbus.collectors.sinks.http.share import IN_A_ROW
from logbus.collectors.sinks.http.sink import MEND_S, HttpSink
from tests.eventually import eventually
from tests.servers.faulty_http import FaultyHttp, Program

MakeSink = Callable[..., HttpSink]

#: As the format ``otlp`` writes it: resource, scope and record.
OTLP_LINE = b'[{"attributes":[]}\t,{"name":"x"}\t,{"body":{"stringValue":"x"}}]\n'
FOUR = b"one\ntwo\nthree\nfour\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyHttp]:
    """One process for all tests of this file."""
    server = FaultyHttp.start(tmp_path_factory.mktemp("http"))
    yield server
    server.end()


@pytest.fixture
def server(shared: FaultyHttp) -> FaultyHttp:
    """As at its start."""
    shared.forget()
    return shared


@pytest.fixture
def make_sink(server: FaultyHttp) -> Iterator[MakeSink]:
    """Sinks that send to the server, or to ``url``; closed with the test."""
    made: list[HttpSink] = []

    def make(path: str = "/in", *, url: str | None = None, body: str = "ndjson", **options: Any) -> HttpSink:
        made.append(HttpSink("web", HttpOptions(parse_target(f"{url or server.url}{path}"), **options), BODIES[body]))
        made[-1].open()
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def failure(sink: HttpSink, data: bytes = FOUR) -> TryAgainError:
    """Why a write is to be tried again."""
    with pytest.raises(TryAgainError) as caught:
        sink.write(data)
    return caught.value


def test_lines_arrive_over_one_connection(server: FaultyHttp, make_sink: MakeSink) -> None:
    """Each write is a request, whole, with what a request should say of itself."""
    sink = make_sink()
    for number in range(3):
        assert sink.write(b"%d\n" % number) is None
    assert server.lines == [b"0", b"1", b"2"]
    report = server.report()
    assert (report["requests"], report["connections"]) == (3, 1)
    last = report["last"]
    assert (last["method"], last["path"], last["headers"]["content-length"]) == ("POST", "/in", "2")
    assert last["headers"]["content-type"] == "application/x-ndjson"
    assert last["headers"]["user-agent"].startswith("logbus/")
    assert last["headers"]["host"] == f"127.0.0.1:{server.port}"
    assert sink.document() == {
        "url": f"{server.url}/in",
        "requests": 3,
        "connections": 1,
        "request_bytes": 6,
        "last_status": 200,
        "max_request_bytes": None,
    }
    assert (sink.look(), sink.trouble, sink.checkable) == (sys.maxsize, None, False)


def test_the_configuration_says_how_it_is_sent(server: FaultyHttp, make_sink: MakeSink) -> None:
    """Method, path with its query, and headers, also those that the sink would set."""
    headers = (*check_headers({"content-type": "text/plain", "X-Tenant": "blue"}), basic("u", "p"))
    make_sink("/a?b=c", method="PUT", headers=headers).write(FOUR)
    last = server.report()["last"]
    assert (last["method"], last["path"]) == ("PUT", "/a?b=c")
    assert last["headers"]["content-type"] == "text/plain"
    assert last["headers"]["x-tenant"] == "blue"
    assert last["headers"]["authorization"] == "Basic dTpw"


def test_no_proxy_is_used_that_only_the_environment_names(
    server: FaultyHttp, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records go to the server that the configuration names."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, server.trap_url)
    assert make_sink().write(FOUR) is None
    assert server.report()["trapped"] == 0


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_body_may_be_compressed(server: FaultyHttp, make_sink: MakeSink, compression: Any) -> None:
    """The server reads what was written; it travels as less, and says how."""
    sink = make_sink(compression=compression)
    data = b"the same again and again\n" * 1000
    assert sink.write(data) is None
    assert server.kept.read_bytes() == data
    assert server.report()["last"]["headers"]["content-encoding"] == compression
    assert sink.document()["request_bytes"] < len(data) // 10


ANSWERS: list[tuple[Program, str, float, int]] = [
    ({"status": 500}, "answered 500 Internal Server Error", 0, 0),
    ({"status": 503, "headers": {"Retry-After": "7"}, "body": "<b>busy</b>"}, "Unavailable: busy", 7, 0),
    ({"status": 429, "headers": {"Retry-After": "1000000"}}, "answered 429 Too Many Requests", 3600, 0),
    ({"status": 408}, "answered 408 Request Timeout", 0, 0),
    ({"status": 502}, "answered 502 Bad Gateway", 0, 4),
    ({"status": 504}, "answered 504 Gateway Timeout", 0, 4),
    ({"status": 401, "body": "who?"}, "answered 401 Unauthorized: who?", MEND_S, 0),
    ({"status": 404, "headers": {"Retry-After": "60"}}, "answered 404 Not Found", 60, 0),
    ({"status": 415}, "answered 415 Unsupported Media Type", MEND_S, 0),
    ({"status": 400, "body": "The plain HTTP request was sent to HTTPS port"}, "HTTPS port", MEND_S, 0),
    ({"status": 101, "keep": False}, "answered 101, which ends no request", 0, 4),
    ({"do": "close"}, "closed the connection without an answer", 0, 4),
    ({"do": "reset"}, "the connection broke before an answer came", 0, 4),
    ({"do": "garbage"}, "answered with what is no HTTP", 0, 4),
    ({"do": "garbage", "body": "HTTP/1.1 20x OK\r\n\r\n"}, "answered with what is no HTTP", 0, 4),
    ({"do": "garbage", "body": "HTTP/1.1 200 OK\r\n" + "A: b\r\n" * 500}, "answered with what is no HTTP", 0, 4),
    ({"do": "garbage", "body": "\x15\x03\x01\x00\x02\x02\x46"}, "is it an https:// server?", MEND_S, 0),
    ({"do": "early", "status": 500}, "answered 500 Internal Server Error", 0, 0),
]


@pytest.mark.parametrize(("program", "words", "after_s", "doubtful"), ANSWERS)
def test_what_goes_wrong_is_tried_again(
    server: FaultyHttp, make_sink: MakeSink, program: Program, words: str, after_s: float, doubtful: int
) -> None:
    """With the reason, the time that the server asks for, and how many may have arrived; then it works again."""
    sink = make_sink("/in?key=s3cret", headers=check_headers({"X-Token": "t0ps3cret"}))
    assert sink.write(b"before\n") is None
    server.next(program)
    error = failure(sink)
    assert words in str(error)
    assert str(error).startswith(f"{server.url}/in?***: ")
    assert (error.after_s, error.doubtful) == (after_s, doubtful)
    if "do" in program:  # who writes before the server's end of the connection is closed is told that it broke
        eventually(lambda: not server.report()["open"], 10.0)
    assert sink.write(FOUR) is None
    assert server.lines == [b"before", *FOUR.splitlines()]


@pytest.mark.parametrize(
    "program",
    [
        {"status": 204},
        {"status": 202, "body": "queued"},
        {"do": "continue", "count": 3},
        {"do": "continue", "count": 3, "code": 103},
        {"do": "cut", "body": "half of what it says"},
        {"do": "flood", "size": 10_000_000},
        {"headers": {"Connection": "close"}},
        {"headers": {"Keep-Alive": "timeout=0"}},
        {"headers": {"Content-Encoding": "gzip"}, "body": "no gzip"},
        {"headers": {"No Header": "at all"}},
    ],
)
def test_an_odd_answer_is_an_answer(server: FaultyHttp, make_sink: MakeSink, program: Program) -> None:
    """A 2xx delivers, whatever comes with it, and the next write finds the way too: nothing is there twice."""
    sink = make_sink()
    server.next(program)
    assert sink.write(FOUR) is None
    assert sink.write(FOUR) is None
    assert server.report()["records"] == 8


def test_a_connection_that_was_closed_meanwhile_costs_nothing(server: FaultyHttp, make_sink: MakeSink) -> None:
    """The server has closed it between two requests: the next one takes a new connection, without any doubt."""
    sink = make_sink()
    for _ in range(5):
        server.next({"close": True})
        assert sink.write(FOUR) is None
        eventually(lambda: not sink._client._connection or not sink._client._connection.is_connected)
    report = server.report()
    assert (report["records"], report["connections"]) == (20, 5)


def test_a_connection_is_not_used_up_to_its_last_second(server: FaultyHttp, make_sink: MakeSink) -> None:
    """The server says how long it keeps one; a second before that a new one is better."""
    sink = make_sink()
    server.next(*[{"headers": {"Keep-Alive": "timeout=1, max=100"}}] * 2, {"headers": {"Keep-Alive": "timeout=500"}})
    for _ in range(4):
        sink.write(FOUR)
    assert server.report()["connections"] == 3


def test_no_redirection_is_followed(server: FaultyHttp, make_sink: MakeSink) -> None:
    """Whoever can redirect gets no records; the message says where it points, and the attempts are slow."""
    for status in (301, 302, 303, 307, 308):
        server.next({"status": status, "headers": {"Location": f"{server.trap_url}/x?token=s3cret"}})
        error = failure(make_sink())
        assert f"a redirection to {server.trap_url}/x: none is followed" in str(error)
        assert error.after_s == MEND_S
    assert server.report()["trapped"] == 0


@pytest.mark.parametrize("program", [{"do": "hang"}, {"do": "mute"}, {"do": "drip", "body": "x" * 10_000}])
def test_a_server_that_takes_its_time_gets_so_much(server: FaultyHttp, make_sink: MakeSink, program: Program) -> None:
    """One deadline for all of a request: nothing read, nothing answered, or a byte now and then."""
    sink = make_sink(timeout_s=0.3)
    sink.write(b"before\n")
    server.next(program)
    began = time.monotonic()
    error = failure(sink)
    assert 0.3 <= time.monotonic() - began < 60
    assert "no answer within 0.3 s" in str(error)
    assert error.doubtful == 4
    assert sink.write(FOUR) is None


def test_a_body_that_is_not_read_has_the_same_time(server: FaultyHttp, make_sink: MakeSink) -> None:
    """What finds no room on its way ends at the deadline too, and some of it may have arrived."""
    sink = make_sink(timeout_s=0.3)
    server.next({"do": "hang"})
    error = failure(sink, b"x" * 999 + b"\n" + b"y\n" * 10_000_000)
    assert "no answer within 0.3 s" in str(error)
    assert error.doubtful == 10_000_001


def test_the_words_of_an_answer_have_little_time(
    server: FaultyHttp, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code has said that all is well: a body that drips holds nobody for the whole time."""
    monkeypatch.setattr(client_module, "ANSWER_S", 0.1)
    sink = make_sink()
    server.next({"do": "drip_body", "body": "x" * 10_000})
    began = time.monotonic()
    assert sink.write(FOUR) is None
    assert time.monotonic() - began < 60
    assert sink.write(FOUR) is None


def test_no_secret_is_in_any_message(server: FaultyHttp, make_sink: MakeSink) -> None:
    """A server that repeats headers and query is quoted without them; neither does the status have them."""
    headers = (*check_headers({"X-Key": "k3y-of-ours"}), bearer("b3arer-token"))
    sink = make_sink("/in?key=s3cret", headers=headers)
    body = "you said k3y-of-ours, b3arer-token, Bearer b3arer-token, s3cret and key=s3cret"
    server.always(status=400, body=body, headers={"Location": "http://h/s3cret"})
    sent = sink.write(b"one\n")
    assert sent is not None
    server.always(status=302, body=body, headers={"Location": "http://h/s3cret"})
    shown = f"{sent.refused[0].reason} {failure(sink)} {sink.document()} {sink._options}"
    assert "you said" in shown
    assert not [word for word in ("k3y-of-ours", "b3arer-token", "s3cret") if word in shown]


def test_the_one_that_is_refused_is_found(server: FaultyHttp, make_sink: MakeSink) -> None:
    """Halves of what was refused lead to it; it alone is given up, with the reason, and the others arrive in order."""
    sink = make_sink()
    server.always(status=422, when={"marked": "poison"}, body="no poison here")
    lines = [b"poison %d\n" % number if number in {70, 150} else b"%d\n" % number for number in range(200)]
    refused = send_all(sink, b"".join(lines))
    assert [refusal.lines for refusal in refused] == [lines[70], lines[150]]
    assert refused[0].reason.startswith("answered 422 Unprocessable")  # Python 3.13 calls it another content
    assert refused[0].reason.endswith(": no poison here")
    assert server.kept.read_bytes() == b"".join(line for line in lines if b"poison" not in line)
    assert server.report()["requests"] < 60


def test_a_server_that_refuses_everything_is_not_asked_for_each_record(server: FaultyHttp, make_sink: MakeSink) -> None:
    """After eight in a row whole requests are given up; one that is accepted ends that."""
    sink = make_sink()
    server.always(status=400)
    refused = send_all(sink, b"x\n" * 500)
    assert [refusal.records for refusal in refused] == [1] * IN_A_ROW + [500 - IN_A_ROW]
    assert server.report()["requests"] < 30
    server.always()
    assert sink.write(FOUR) is None
    server.always(status=400, when={"marked": "two"})
    assert [refusal.lines for refusal in send_all(sink, FOUR)] == [b"two\n"]


def test_what_is_too_large_goes_in_smaller_requests(server: FaultyHttp, make_sink: MakeSink) -> None:
    """The writer is told how much fits; a record that never fits is refused, and the others arrive."""
    sink = make_sink()
    server.always(status=413, when={"over": 50_000})
    lines = [b"%04d %s\n" % (number, b"x" * (60_000 if number == 30 else 994)) for number in range(200)]
    refused = send_all(sink, b"".join(lines))
    assert [(refusal.lines, refusal.records) for refusal in refused] == [(lines[30], 1)]
    assert "answered 413" in refused[0].reason
    assert server.kept.read_bytes() == b"".join(lines[:30] + lines[31:])
    assert 16_384 // 2 <= sink.look() <= 50_000
    assert sink.look(70_000) == 70_000
    assert sink.document()["max_request_bytes"] == sink.look()


def test_a_record_that_is_too_large_for_now_is_tried_again(server: FaultyHttp, make_sink: MakeSink) -> None:
    """A 413 with a Retry-After is for a while only (RFC 9110 §15.5.14)."""
    sink = make_sink()
    server.next({"status": 413, "headers": {"Retry-After": "5"}})
    assert failure(sink, b"one\n").after_s == 5
    assert sink.write(b"one\n") is None


def test_a_refusal_before_the_body_was_read_counts(server: FaultyHttp, make_sink: MakeSink) -> None:
    """The server answers 413 and closes while megabytes are on their way: less is sent next, without any doubt."""
    sink = make_sink()
    server.next({"do": "early", "status": 413})
    data = (b"x" * 999 + b"\n") * 8000
    assert sink.write(data) == Sent(4000)


def test_the_configuration_says_what_is_tried_again(server: FaultyHttp, make_sink: MakeSink) -> None:
    """A 400 that it names is tried again whole; a 500 that it doesn't name is refused."""
    sink = make_sink(statuses=frozenset({400}))
    server.always(status=400)
    assert "answered 400" in str(failure(sink))
    server.always(status=500)
    assert [refusal.records for refusal in send_all(sink, FOUR)] == [1, 1, 1, 1]


def test_what_a_server_leaves_out_of_an_accepted_request_is_refused(server: FaultyHttp, make_sink: MakeSink) -> None:
    """OTLP's partial success: so many records, which ones it doesn't say, never more than were sent."""
    sink = make_sink(body="otlp")
    for count, expected in (("2", 2), ("9", 3)):
        answer = f'{{"partialSuccess": {{"rejectedLogRecords": "{count}", "errorMessage": "too old"}}}}'
        server.next({"body": answer})
        sent = sink.write(OTLP_LINE * 3)
        assert sent == Sent(3, (Refusal(b"", expected, "too old"),))


def test_a_server_that_is_away_is_tried_again(server: FaultyHttp, make_sink: MakeSink) -> None:
    """Nothing is doubtful while nobody listens; it goes on where the server comes back."""
    sink = make_sink()
    sink.write(b"before\n")
    server.down()
    for _ in range(3):
        error = failure(sink)
        assert "no connection: Connection refused" in str(error)
        assert (error.doubtful, error.after_s) == (0, 0)
    server.up()
    assert sink.write(FOUR) is None
    assert server.lines == [b"before", *FOUR.splitlines()]


def test_an_address_without_answer_leaves_time_for_the_next(
    server: FaultyHttp, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two addresses the first swallows everything: the second one is tried while there is time."""
    with full() as address:
        real = socket.getaddrinfo
        found = [real(*at, type=socket.SOCK_STREAM)[0] for at in (address, ("127.0.0.1", server.port))]
        sink = make_sink(timeout_s=1.0)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: found)
        assert sink.write(FOUR) is None
        assert server.lines == FOUR.splitlines()


@pytest.mark.parametrize("program", [{"do": "mute"}, {"do": "drip", "every": 0.2}])
def test_a_request_under_way_can_be_ended(server: FaultyHttp, make_sink: MakeSink, program: Program) -> None:
    """From another thread, at once; its records are doubtful, and the next request is one like any other."""
    sink = make_sink()
    server.next(program)
    error = aborted(sink, lambda: server.report()["requests"])
    assert "given up by the collector before an answer came" in str(error)
    assert error.doubtful == 4
    assert sink.write(FOUR) is None


def test_a_connection_attempt_can_be_ended(make_sink: MakeSink) -> None:
    """One that nobody answers: nothing was sent, so nothing is doubtful."""
    with full() as (host, port):
        sink = make_sink(url=f"http://{host}:{port}")
        error = aborted(sink, lambda: sink._watch._handle is not None)
    assert "before anything was sent" in str(error)
    assert error.doubtful == 0


def test_a_name_service_that_hangs_holds_neither_deadline_nor_end(
    make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lookup goes on alone: the deadline holds, an abort ends the write, and closing waits for nothing."""
    answers, asked = threading.Event(), threading.Event()

    def hang(host: str, port: int, *, flags: int, **options: int) -> list[Any]:
        if flags:
            raise socket.gaierror(socket.EAI_NONAME, "a name")
        asked.set()
        answers.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        sink = make_sink(url="http://logs.example.invalid", timeout_s=0.2)
        assert "no connection within 0.2 s" in str(failure(sink))
        sink = make_sink(url="http://logs.example.invalid")
        asked.clear()
        assert aborted(sink, asked.is_set).doubtful == 0
        sink.close()
    finally:
        answers.set()
    assert "no address found for logs.example.invalid: Temporary failure" in str(failure(sink))
    eventually(lambda: not any(thread.name.startswith("logbus-lookup") for thread in threading.enumerate()))


def test_an_end_that_comes_between_requests_is_none(server: FaultyHttp, make_sink: MakeSink) -> None:
    """Nothing is under way: the connection stays, and so does the next request."""
    sink = make_sink()
    for _ in range(3):
        sink.abort()
        assert sink.write(FOUR) is None
    assert server.report()["connections"] == 1


def send_all(sink: HttpSink, data: bytes) -> list[Refusal]:
    """Writes as a writer does, what a write has left again; what was refused."""
    refused: list[Refusal] = []
    while data:
        sent = sink.write(data)
        if sent is None:
            break
        refused += sent.refused
        data = b"".join(data.splitlines(keepends=True)[sent.records :])
    return refused


def aborted(sink: HttpSink, under_way: Callable[[], Any]) -> TryAgainError:
    """How a write ends that is aborted once it is under way."""
    caught: list[TryAgainError] = []

    def write() -> None:
        try:
            sink.write(FOUR)
        except TryAgainError as error:
            caught.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        eventually(under_way)
    finally:
        sink.abort()
        writing.join(10)
    assert caught
    return caught[0]


@contextlib.contextmanager
def full() -> Iterator[tuple[str, int]]:
    """An address at which connections are neither taken nor refused: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address: tuple[str, int] = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield address
