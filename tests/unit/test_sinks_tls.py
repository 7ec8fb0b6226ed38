"""The context of a TLS client: what is checked, and what is said of files that are not what they should be."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from logbus.collectors.sinks.tls import TlsFiles, client_context, wrong_with
from logbus.errors import SinkError
from tests.servers.certificates import Certificates


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with an authority's certificate, ca.pem, and a client's, client.pem with client.key."""
    directory = tmp_path_factory.mktemp("certificates")
    certificates = Certificates(directory)
    certificates.issue("client", "client.example")
    certificates.issue("other", "other.example")
    return directory


def test_certificate_and_name_are_checked_in_a_safe_version(made: Path) -> None:
    """Whatever is configured; and only the authority that is named is trusted."""
    for files in (
        TlsFiles(),
        TlsFiles(str(made / "ca.pem")),
        TlsFiles(None, str(made / "client.pem"), str(made / "client.key")),
    ):
        context = client_context(files, "web")
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert len(client_context(TlsFiles(str(made / "ca.pem")), "web").get_ca_certs()) == 1


def test_a_key_may_stand_beside_its_certificate(made: Path, tmp_path: Path) -> None:
    """In one file."""
    both = tmp_path / "both.pem"
    both.write_bytes((made / "client.pem").read_bytes() + (made / "client.key").read_bytes())
    client_context(TlsFiles(None, str(both)), "web")


@pytest.mark.parametrize("content", [None, b"", b"no certificate\n"])
def test_an_authority_that_is_none_is_named(tmp_path: Path, content: bytes | None) -> None:
    """The key, the file and the reason."""
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SinkError, match=r"sink 'web': tls\.ca .*ca\.pem: expected certificates in PEM"):
        client_context(TlsFiles(str(path)), "web")


def test_a_certificate_without_its_key_is_named(made: Path) -> None:
    """Missing files, and a key that belongs to another."""
    for files in (
        TlsFiles(None, str(made / "missing.pem")),
        TlsFiles(None, str(made / "client.pem")),
        TlsFiles(None, str(made / "client.pem"), str(made / "other.key")),
        TlsFiles(None, str(made / "client.pem"), str(made / "missing.key")),
    ):
        with pytest.raises(SinkError, match=r"tls\.certificate .*: expected a certificate and its key"):
            client_context(files, "web")


def test_nobody_is_asked_for_a_passphrase(made: Path, tmp_path: Path) -> None:
    """An encrypted key is an error at once, and no question on the terminal."""
    key = serialization.load_pem_private_key((made / "client.key").read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    with pytest.raises(SinkError, match="the key is encrypted"):
        client_context(TlsFiles(None, str(made / "client.pem"), str(locked)), "web")


def test_what_is_wrong_is_said_in_words() -> None:
    """Of an error without a reason of its own, too."""
    assert wrong_with(ssl.SSLError(1, "[SSL] something"), "h") == "no TLS connection to h: [SSL] something"
