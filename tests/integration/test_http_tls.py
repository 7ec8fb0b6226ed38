"""The HTTP sink in TLS, against a real server with certificates good and bad."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks.base import TryAgainError
from logbus.collectors.sinks.http.bodies import BODIES
from logbus.collectors.sinks.http.options import HttpOptions, parse_target
from logbus.collectors.sinks.http.sink import MEND_S, HttpSink
from logbus.collectors.sinks.tls import TlsFiles
from logbus.errors import SinkError
from tests.eventually import eventually
from tests.servers.certificates import Certificates, Identity
from tests.servers.faulty_http import FaultyHttp

FOUR = b"one\ntwo\nthree\nfour\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of one authority."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def good(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyHttp]:
    """A server that is what it says, at its address and as localhost."""
    server = FaultyHttp.start(
        tmp_path_factory.mktemp("good"), identity=certificates.issue("good", "127.0.0.1", "localhost")
    )
    yield server
    server.end()


@pytest.fixture
def server(good: FaultyHttp) -> FaultyHttp:
    """The same, as at its start."""
    good.forget()
    return good


MakeSink = Callable[..., HttpSink]


@pytest.fixture
def make_sink(certificates: Certificates) -> Iterator[MakeSink]:
    """Sinks that trust the authority, or what ``tls`` says; closed with the test."""
    made: list[HttpSink] = []

    def make(url: str, *, tls: TlsFiles | None = None, **options: Any) -> HttpSink:
        files = tls or TlsFiles(str(certificates.ca))
        made.append(HttpSink("web", HttpOptions(parse_target(url), tls=files, **options), BODIES["ndjson"]))
        made[-1].open()
        return made[-1]

    yield make
    for sink in made:
        sink.close()


def failure(sink: HttpSink) -> TryAgainError:
    """Why a write is to be tried again."""
    with pytest.raises(TryAgainError) as caught:
        sink.write(FOUR)
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_lines_arrive_over_one_connection(server: FaultyHttp, make_sink: MakeSink, host: str) -> None:
    """Where the certificate is for the host, name or address, and of the authority."""
    sink = make_sink(f"https://{host}:{server.port}/in")
    data = b"x" * 999 + b"\n"
    for _ in range(3):
        assert sink.write(data * 1000) is None
    report = server.report()
    assert (report["records"], report["connections"]) == (3000, 1)


def wrong(certificates: Certificates) -> list[tuple[Identity, TlsFiles, str]]:
    """Certificates that must be refused: the server's, what the client trusts, and what is said."""
    trusted = TlsFiles(str(certificates.ca))
    return [
        (certificates.issue("expired", "127.0.0.1", expired=True), trusted, "certificate has expired"),
        (certificates.issue("elsewhere", "logs.example.com"), trusted, "IP address mismatch"),
        (certificates.issue("unknown", "127.0.0.1"), TlsFiles(), "unable to get local issuer certificate"),
    ]


def test_a_certificate_that_is_wrong_is_named(
    certificates: Certificates, start_http: Callable[..., FaultyHttp], make_sink: MakeSink
) -> None:
    """Expired, of another host, of an unknown authority: nothing is sent, and the message says why."""
    for identity, files, words in wrong(certificates):
        server = start_http(identity=identity)
        error = failure(make_sink(server.url, tls=files))
        assert f"the certificate of 127.0.0.1 is refused: {words}" in str(error)
        assert (error.after_s, error.doubtful) == (MEND_S, 0)
        assert server.report()["requests"] == 0
        server.end()


def test_a_server_that_speaks_plain_text_gets_nothing(
    start_http: Callable[..., FaultyHttp], make_sink: MakeSink
) -> None:
    """There is no way down from TLS: the message names what is wrong, and the attempts are slow."""
    plain = start_http()
    error = failure(make_sink(f"https://127.0.0.1:{plain.port}"))
    assert "is it one for plain text?" in str(error)
    assert (error.after_s, error.doubtful) == (MEND_S, 0)
    assert plain.report()["requests"] == 0


def test_plain_text_is_not_taken_at_a_port_for_tls(server: FaultyHttp, make_sink: MakeSink) -> None:
    """The server closes; nothing is delivered."""
    error = failure(make_sink(f"http://127.0.0.1:{server.port}"))
    assert "connection" in str(error) or "https" in str(error)
    assert server.report()["requests"] == 0


def test_a_server_may_ask_for_a_certificate(
    certificates: Certificates, start_http: Callable[..., FaultyHttp], make_sink: MakeSink, tmp_path: Path
) -> None:
    """With one of its authority it takes the records; without, it says so, and after a look at the new file it does."""
    server = start_http(identity=certificates.issue("strict", "127.0.0.1"), client_ca=certificates.ca)
    error = failure(make_sink(server.url))
    assert "refuses our certificate, or the want of one" in str(error)
    assert (error.after_s, error.doubtful) == (MEND_S, 0)
    mine = Certificates(tmp_path).issue("mine", "client")  # of another authority
    sink = make_sink(server.url, tls=TlsFiles(str(certificates.ca), str(mine.certificate), str(mine.key)))
    assert "refuses our certificate" in str(failure(sink))
    known = certificates.issue("client", "client")
    mine.certificate.write_bytes(known.certificate.read_bytes())
    mine.key.write_bytes(known.key.read_bytes())
    sink.reopen()
    assert sink.write(FOUR) is None
    assert server.lines == FOUR.splitlines()


def test_certificates_that_can_not_be_read_leave_what_there_was(
    certificates: Certificates, server: FaultyHttp, make_sink: MakeSink, tmp_path: Path
) -> None:
    """A start with them is refused; a look at them later says what is wrong, and the sink goes on."""
    ca = tmp_path / "mine.pem"
    files = TlsFiles(str(ca))
    with pytest.raises(SinkError, match=r"tls\.ca .*mine\.pem"):
        make_sink(server.url, tls=files)
    ca.write_bytes(certificates.ca.read_bytes())
    sink = make_sink(server.url, tls=files)
    ca.unlink()
    with pytest.raises(SinkError, match=r"tls\.ca .*mine\.pem"):
        sink.reopen()
    assert "mine.pem" in str(sink.trouble)
    assert sink.write(FOUR) is None
    ca.write_bytes(certificates.ca.read_bytes())
    sink.reopen()
    assert sink.trouble is None


@pytest.mark.parametrize("do", ["hang", "mute", "drip"])
def test_a_server_that_takes_its_time_gets_so_much(server: FaultyHttp, make_sink: MakeSink, do: str) -> None:
    """One deadline for all of a request in TLS too; what was begun is doubtful."""
    sink = make_sink(server.url, timeout_s=0.4)
    sink.write(b"before\n")
    server.next({"do": do, "body": "x" * 10_000})
    began = time.monotonic()
    error = failure(sink)
    assert 0.4 <= time.monotonic() - began < 60
    assert "no answer within 0.4 s" in str(error)
    assert error.doubtful == 4
    assert sink.write(FOUR) is None


def test_a_body_that_is_not_read_has_the_same_time(server: FaultyHttp, make_sink: MakeSink) -> None:
    """What finds no room on its way ends at the deadline."""
    sink = make_sink(server.url, timeout_s=0.4)
    server.next({"do": "hang"})
    data = (b"x" * 999 + b"\n") * 20_000
    with pytest.raises(TryAgainError, match=r"no answer within 0\.4 s") as caught:
        sink.write(data)
    assert caught.value.doubtful == 20_000


@pytest.mark.parametrize("do", ["close", "reset"])
def test_a_connection_that_ends_without_an_answer_leaves_a_doubt(
    server: FaultyHttp, make_sink: MakeSink, do: str
) -> None:
    """With and without TLS's farewell; the next connection is as good as the first."""
    sink = make_sink(server.url)
    server.next({"do": do})
    error = failure(sink)
    assert "connection" in str(error)
    assert (error.doubtful, error.after_s) == (4, 0)
    assert sink.write(FOUR) is None


@contextlib.contextmanager
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def test_a_handshake_that_is_not_answered_ends_with_the_time(make_sink: MakeSink) -> None:
    """Nothing was sent, so nothing is doubtful."""
    with silent() as url:
        error = failure(make_sink(url, timeout_s=0.2))
    assert "no connection within 0.2 s" in str(error)
    assert error.doubtful == 0


def test_a_handshake_can_be_ended(make_sink: MakeSink) -> None:
    """By another thread, at once."""
    with silent() as url:
        sink = make_sink(url)
        caught: list[TryAgainError] = []
        writing = threading.Thread(target=lambda: caught.append(failure(sink)))
        writing.start()
        eventually(lambda: sink._watch._handle is not None)
        sink.abort()
        writing.join(10)
    assert "before anything was sent" in str(caught[0])
    assert caught[0].doubtful == 0


def test_a_request_in_tls_can_be_ended(server: FaultyHttp, make_sink: MakeSink) -> None:
    """Its records are doubtful; nothing goes out in plain text; the next write is one like any other."""
    sink = make_sink(server.url)
    server.next({"do": "mute"})
    caught: list[TryAgainError] = []
    writing = threading.Thread(target=lambda: caught.append(failure(sink)))
    writing.start()
    eventually(lambda: server.report()["requests"])
    sink.abort()
    writing.join(10)
    assert "given up by the collector" in str(caught[0])
    assert caught[0].doubtful == 4
    assert sink.write(FOUR) is None
