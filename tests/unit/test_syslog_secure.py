from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.sinks.syslog import secure, stream
from logbus.collectors.sinks.syslog.address import parse_address
from logbus.collectors.sinks.syslog.sink import SyslogSink
from logbus.collectors.sinks.tls import TlsFiles
from logbus.errors import SinkError
from tests.eventually import eventually
from tests.servers.certificates import Certificates, Identity
from tests.syslog_sender import MakeSender, Sender, senders
from tests.syslog_server import StreamServer, duplicates, lines_of, numbers


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority for all tests here: to make keys takes a while."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def local(certificates: Certificates) -> Identity:
    """A good certificate."""
    return certificates.issue("local", "localhost", "127.0.0.1")


@pytest.fixture
def sender(certificates: Certificates) -> Iterator[MakeSender]:
    """Makes senders that trust the authority, and closes their sinks."""
    with senders(ca=str(certificates.ca)) as make:
        yield make


def context_of(identity: Identity, *, clients: Path | None = None, version: Any = None) -> ssl.SSLContext:
    """What a server speaks; with ``clients``, to those only whom that authority knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(identity.certificate, identity.key)
    if clients is not None:
        context.load_verify_locations(clients)
        context.verify_mode = ssl.CERT_REQUIRED
    if version is not None:
        context.maximum_version = version
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_messages_over_tls(sender: MakeSender, local: Identity, version: Any, host: str) -> None:
    """They arrive in order, many and few, by name and by address, and the connection is ended in order."""
    with StreamServer(context=context_of(local, version=version)) as server:
        one = sender(f"tls://{host}:{server.port}")
        one.sink.open()
        assert one.send(lines_of(0, 10))
        assert one.send(lines_of(10, 2000, 400))
        one.sink.close()
        assert eventually(lambda: server.ends) == ["end"]
        assert numbers(server.messages) == list(range(2010))
        assert one.resent == 0


def test_a_certificate_that_has_expired(sender: MakeSender, certificates: Certificates) -> None:
    """Nothing is sent, and the failure says what is wrong with it."""
    expired = certificates.issue("expired", "localhost", expired=True)
    with StreamServer(context=context_of(expired)) as server:
        one = sender(f"tls://localhost:{server.port}")
        assert not one.send(lines_of(0, 1))
        assert one.failures == [
            f"tls://localhost:{server.port}: the certificate of localhost is refused: certificate has expired"
        ]
        assert (server.messages, one.resent) == ([], 0)


def test_a_certificate_of_another_host(sender: MakeSender, certificates: Certificates) -> None:
    """A name that the certificate does not have is refused."""
    other = certificates.issue("other", "other.example.com")
    with StreamServer(context=context_of(other)) as server:
        one = sender(f"tls://localhost:{server.port}")
        assert not one.send(lines_of(0, 1))
        assert "the certificate of localhost is refused: Hostname mismatch" in one.failures[0]
        assert server.messages == []


def test_a_certificate_of_nobody_who_is_trusted(local: Identity, directories: Path) -> None:
    """Without the authority's own certificate the system's are trusted, and this one is none of them."""
    with StreamServer(context=context_of(local)) as server:
        one = Sender(f"tls://localhost:{server.port}")
        assert not one.send(lines_of(0, 1))
        assert "the certificate of localhost is refused: unable to get local issuer certificate" in one.failures[0]
        assert server.messages == []


def test_a_server_of_plain_text(sender: MakeSender) -> None:
    """Nothing is sent to a server that does not speak TLS, and the failure says what it may be."""
    came = b""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            nonlocal came
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"220 who are you?\r\n")
                while more := sock.recv(4096):
                    came += more

        thread = threading.Thread(target=answer)
        thread.start()
        one = sender(f"tls://localhost:{listener.getsockname()[1]}")
        assert not one.send(b"a secret\n")
        thread.join()
    assert "is it one for plain text?" in one.failures[0]
    assert b"secret" not in came


def test_a_server_that_does_not_shake_hands(sender: MakeSender, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for no longer than a deadline, and less where somebody wants it to end."""
    monkeypatch.setattr(secure, "HANDSHAKE_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = sender(f"tls://localhost:{listener.getsockname()[1]}")
        assert not one.send(lines_of(0, 1))
        assert one.failures[-1].endswith(": no TLS handshake within 0.1 s")
        one.sink.abort()
        assert not one.send(b"")
        assert "interrupted" in one.failures[-1]


def test_an_old_version_is_refused(sender: MakeSender, local: Identity) -> None:
    """TLS 1.1 is not spoken, whatever the server would like."""
    context = context_of(local)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with StreamServer(context=context) as server:
        one = sender(f"tls://localhost:{server.port}")
        assert not one.send(lines_of(0, 1))
        assert server.messages == []


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_ours(sender: MakeSender, certificates: Certificates, local: Identity, version: Any) -> None:
    """A server that wants one gets it; without one nothing counts as delivered, though the handshake may succeed."""
    client = certificates.issue("client", "collector.example.com")
    with StreamServer(context=context_of(local, clients=certificates.ca, version=version)) as server:
        without = sender(f"tls://localhost:{server.port}")
        for _ in range(2):
            assert not without.send(b"" if without.queue else lines_of(0, 5))
        assert (without.delivered, server.messages) == (0, [])
        assert "localhost refuses " in without.failures[0]
        one = sender(f"tls://localhost:{server.port}", certificate=str(client.certificate), key=str(client.key))
        assert one.send(lines_of(0, 5))
        assert numbers(server.wait(5)) == list(range(5))


def test_a_server_that_restarts(sender: MakeSender, local: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a reset what was sent last is sent again over the next connection."""
    monkeypatch.setattr(stream, "TAIL_S", 60.0)
    with StreamServer(context=context_of(local)) as server:
        one = sender(f"tls://localhost:{server.port}")
        one.until_held(server, 500)
    with StreamServer(port=server.port, context=context_of(local)) as successor:
        one.until_sent(lines_of(510, 5))
        came = server.messages + successor.wait(505)
        assert set(numbers(came)) == set(range(515))
        assert one.resent >= duplicates(came)


def test_a_server_that_stops_reading(sender: MakeSender, local: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it reads again all arrives, over the same connection and nothing twice."""
    monkeypatch.setattr("logbus.collectors.sinks.syslog.connection.STALL_S", 0.2)
    monkeypatch.setattr(stream, "PROOF_S", 0.05)
    with StreamServer(context=context_of(local), buffer=4096) as server:
        one = sender(f"tls://localhost:{server.port}")
        one.until_read(server, 0, 1)
        server.pause()
        assert not one.send(lines_of(1, 20_000, 300))
        server.resume()
        one.until_sent()
        assert numbers(server.wait(20_001)) == list(range(20_001))
        assert server.accepted == 1


def test_files_that_are_wrong(tmp_path: Path) -> None:
    """A sink does not open without what it needs, and says which key names which file."""
    wrong = tmp_path / "none.pem"
    sink = SyslogSink("logs", parse_address("tls://localhost"), TlsFiles(ca=str(wrong)))
    with pytest.raises(SinkError, match=r"sink 'logs': tls\.ca .*none\.pem"):
        sink.open()
