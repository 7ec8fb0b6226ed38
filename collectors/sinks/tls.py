"""TLS as every remote sink speaks it: the certificate and the host name are checked, from TLS 1.2 on, always.

There is no way to switch that off, and none to fall back to plain text: a log that anybody could read or take for
himself is worse than one that waits. What is wrong with a certificate is said in words that name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from logbus.errors import SinkError

if TYPE_CHECKING:
    import ssl


#: What OpenSSL makes of an answer that is no TLS.
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
#: Words of the alerts about a client's certificate (RFC 8446 §6.2).
_CLIENT: Final = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files. Without ``ca`` the system's authorities are trusted, with it those in it and no others.

    ``certificate`` is the client's own with what it needs up to its authority; its key is in ``key``, or beside it.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


def client_context(files: TlsFiles, sink: str) -> ssl.SSLContext:
    """A context for a client, with the files as they are now. Raises SinkError, which names the key and the file."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=files.ca)
    except (OSError, ValueError) as error:
        raise SinkError(sink, f"tls.ca {files.ca}: expected certificates in PEM: {_reason(error)}") from None
    if context.minimum_version < ssl.TLSVersion.TLSv1_2:  # what the system sets may be more, and stays
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.certificate is not None:
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_passphrase)
        except (OSError, ValueError) as error:
            key = f", tls.key {files.key}" if files.key else ""
            raise SinkError(
                sink,
                f"tls.certificate {files.certificate}{key}: expected a certificate and its key, not encrypted, in PEM: "
                f"{_reason(error)}",
            ) from None
    return context


def wrong_with(error: ssl.SSLError, host: str) -> str:
    """What is wrong, for the one who can mend it: with the server's certificate, with ours, or with the protocol."""
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {host} is refused: {error.verify_message.rstrip('.')}"
    name = _name(error)
    reason = name.replace("_", " ").lower() or str(error)
    if name in _NO_TLS:
        return f"{host} does not answer in TLS at this port ({reason}): is it one for plain text?"
    if refuses_client(error):
        return f"{host} refuses our certificate, or the want of one: {reason}"
    if "_ALERT_" in name:
        return f"{host} refuses the TLS connection: {reason}"
    return f"no TLS connection to {host}: {reason}"


def refuses_client(error: ssl.SSLError) -> bool:
    """Whether it is the server's word on the client's certificate: whatever was sent it has not read."""
    name = _name(error)
    return "_ALERT_" in name and any(word in name for word in _CLIENT)


def _name(error: ssl.SSLError) -> str:
    """OpenSSL's name for it, "" without one."""
    return getattr(error, "reason", None) or ""


def _no_passphrase() -> str:
    # Without this OpenSSL asks on the terminal, and the collector stands still.
    raise ValueError("the key is encrypted, and nobody is there to be asked for its passphrase")


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).replace("_", " ")
