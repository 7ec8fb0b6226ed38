"""The HTTP sink and its client against a server that says, byte by byte, what a test wants."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logbus.collectors.sinks.base import TryAgainError
from logbus.collectors.sinks.http import client as client_module
from logbus.collectors.sinks.http.bodies import BODIES
from logbus.collectors.sinks.http.options import HttpOptions, bearer, parse_target
from logbus.collectors.sinks.http.sink import HttpSink
from logbus.collectors.sinks.http.watch import WatchedSocket

MakeSink = Callable[..., HttpSink]

FOUR = b"one\ntwo\nthree\nfour\n"
#: As the format ``otlp`` writes it: resource, scope and record.
OTLP_LINE = b'[{"attributes":[]}\t,{"name":"x"}\t,{"body":{"stringValue":"x"}}]\n'
MEBIBYTE = 1024 * 1024


class Saying:
    """Takes one connection after the other, reads what comes first, and says ``words``; then ``more`` mebibytes."""

    def __init__(self) -> None:
        self.words = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        self.more = 0
        #: What is said instead, to a request's body.
        self.answer: Callable[[bytes], bytes] | None = None
        #: Mebibytes of those that have found their way.
        self.gone = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Leaves nothing behind."""
        with contextlib.suppress(OSError):  # it has ended before
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    request = b""
                    while not request.partition(b"\r\n\r\n")[2]:  # small bodies come whole
                        request += connection.recv(65_536) or b"\r\n\r\nnothing"
                    answer = self.answer
                    connection.sendall(answer(request.partition(b"\r\n\r\n")[2]) if answer else self.words)
                    for _ in range(self.more):
                        connection.sendall(bytes(MEBIBYTE))
                        self.gone += 1
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65_536):
                        pass


@pytest.fixture
def server() -> Iterator[Saying]:
    """One that says yes."""
    server = Saying()
    yield server
    server.end()


@pytest.fixture
def make_sink(server: Saying) -> Iterator[MakeSink]:
    """Sinks that send to it; closed with the test."""
    made: list[HttpSink] = []

    def make(body: str = "ndjson", **options: Any) -> HttpSink:
        target = parse_target(f"http://127.0.0.1:{server.port}/in")
        made.append(HttpSink("web", HttpOptions(target, **options), BODIES[body]))
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def test_an_address_of_a_kind_that_the_machine_lacks_leaves_the_others(
    server: Saying, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel without IPv6 refuses the socket itself: the next address is tried all the same."""

    class Four(WatchedSocket):
        def __init__(self, family: int = -1, *arguments: Any, **named: Any) -> None:
            if family == socket.AF_INET6:
                raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
            super().__init__(family, *arguments, **named)

    found = [
        (family, socket.SOCK_STREAM, 6, "", (host, server.port))
        for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: found)
    monkeypatch.setattr(client_module, "WatchedSocket", Four)
    assert make_sink().write(FOUR) is None
    found.pop()
    with pytest.raises(TryAgainError, match="no connection: Address family not supported"):
        make_sink().write(FOUR)


def test_a_chunk_of_negative_size_is_not_read(server: Saying, make_sink: MakeSink) -> None:
    """It would have no end: the code counts, and no more of the body is taken in than of any other."""
    server.words = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n"
    server.more = 64
    assert make_sink().write(FOUR) is None
    server.end()
    assert server.gone < 64  # what the kernel's buffers hold, and not all there is


def test_what_a_server_says_of_what_it_leaves_out_is_without_secrets(server: Saying, make_sink: MakeSink) -> None:
    """The reason goes into the status and the dead letters, also where it is longer than what is shown of it."""
    reason = b"x" * 190 + b" t0ps3cretToken and what comes behind it"
    body = b'{"partialSuccess": {"rejectedLogRecords": 1, "errorMessage": "%b"}}' % reason
    server.words = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    sent = make_sink("otlp", headers=(bearer("t0ps3cretToken"),)).write(OTLP_LINE)
    assert sent is not None
    assert sent.refused[0].reason == f"{'x' * 190} *** and w…"


def test_headers_that_make_no_sense_are_logged_nowhere(
    server: Saying, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
) -> None:
    """The library would, with the address and its query: into whatever logging a plug-in has set up."""
    server.words = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n: bad\r\nfoo bar\r\n\r\n"
    assert make_sink().write(FOUR) is None
    assert caplog.records == []


def test_what_a_refused_request_may_have_left_is_counted(server: Saying, make_sink: MakeSink) -> None:
    """A server that reads line by line keeps what stands before the wrong one: that may be there twice."""
    kept: list[bytes] = []

    def read(body: bytes) -> bytes:
        for line in body.splitlines():
            if line == b"three":
                return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            kept.append(line)
        return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    server.answer = read
    sink, data, resent, refused = make_sink(), FOUR, 0, b""
    while data:
        sent = sink.write(data)
        ended = 4 if sent is None else sent.records
        if sent is not None:
            resent += sent.resent
            refused += b"".join([refusal.lines for refusal in sent.refused])
        data = b"".join(data.splitlines(keepends=True)[ended:])
    assert refused == b"three\n"
    assert {*kept} == {b"one", b"two", b"four"}
    assert len(kept) > 3
    assert resent >= len(kept) - 3


def test_an_answer_without_a_refusal_leaves_no_doubt(server: Saying, make_sink: MakeSink) -> None:
    """Of a write whose request was taken, nothing is counted of one before."""
    sink = make_sink()
    server.words = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    refused = sink.write(b"one\ntwo\n")
    assert refused is not None
    assert (refused.records, refused.resent) == (1, 2)
    server.words = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with pytest.raises(TryAgainError) as caught:
        sink.write(b"two\n")
    assert caught.value.doubtful == 0


def test_a_write_may_take_as_long_as_its_requests(make_sink: MakeSink) -> None:
    """It is called one that hangs when all of them should be over, and no sooner."""
    assert 30.0 < make_sink(timeout_s=30.0).patience_s <= 40.0
