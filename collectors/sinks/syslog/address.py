"""Where a syslog server listens: ``/dev/log``, ``udp://host:514``, ``tcp://host:601``, ``tls://host:6514``.

A host is a name, an IPv4 address, or an IPv6 address in brackets. UDP and TLS have ports of their own (RFC 5426 §3.3,
RFC 5425 §4.1) that need not be written. For TCP there is none that all servers agree on: it is always written. A path
is a Unix socket, of whichever kind it is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Final, Literal

from logbus.collectors.format.syslog_head import Protocol
from logbus.collectors.shown import shown
from logbus.errors import ConfigurationError

Transport = Literal["unix", "udp", "tcp", "tls"]

#: Ports that need not be written.
PORTS: Final = {"udp": 514, "tls": 6514}
#: Bytes of a Unix socket's path: ``sun_path`` without its zero byte.
MAX_PATH: Final = 107
#: Characters of a host name (RFC 1035 §2.3.4).
MAX_HOST: Final = 253

#: Bytes of a message that the receivers of a transport take as they come. rsyslog's default is 8,096, less than the
#: 8,192 that RFC 5425 §4.3.1 asks for: it cuts a longer one, and over TCP takes the rest for another message. In one
#: datagram as much as RFC 5426 §3.2 asks for, or RFC 3164 §4.1 allows.
STREAM_MESSAGE: Final = 8096
UDP_MESSAGE: Final = 2048
UDP_3164_MESSAGE: Final = 1024
#: Bytes of a message that can be sent at all: in a UDP datagram over IPv4; in a datagram of a Unix socket with the
#: kernel's default buffer (``net.core.wmem_default``); and in a stream no more than a record can have.
MOST: Final = {"udp": 65_507, "unix": 131_072, "tcp": 1_048_576, "tls": 1_048_576}

EXPECTED: Final = '"/dev/log", "unix:///path", "udp://host:514", "tcp://host:601" or "tls://host:6514"'

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)\Z", re.DOTALL)
_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?\Z")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to send. ``host`` is without brackets; of ``path`` and ``host`` with ``port`` one is set."""

    transport: Transport
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.transport == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it is this machine's own daemon, whose messages have no host name in RFC 3164's form."""
        return self.transport == "unix"

    @property
    def protocol(self) -> Protocol:
        """What its receivers expect unless they are told otherwise.

        A local daemon expects what the C library writes: rsyslog and journald take no RFC 5424 from ``/dev/log``.
        """
        return "rfc3164" if self.local else "rfc5424"

    def max_message(self, protocol: Protocol) -> int:
        """Bytes of a message, unless configuration says otherwise."""
        if self.transport == "udp":
            return UDP_3164_MESSAGE if protocol == "rfc3164" else UDP_MESSAGE
        return STREAM_MESSAGE

    @property
    def most(self) -> int:
        """Bytes that a message may be configured to have."""
        return MOST[self.transport]


def parse_address(text: str) -> Address:
    """The address in a text. Raises ConfigurationError, whose one problem begins with ``address: ``.

    >>> str(parse_address("/dev/log")), str(parse_address("udp://logs.example.com")), parse_address("tcp://[::1]:601")
    ('unix:///dev/log', 'udp://logs.example.com:514', Address(transport='tcp', host='::1', port=601, path=''))
    """
    if text.startswith("/"):
        return _unix(text, text)
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    if match is None or scheme not in ("unix", "udp", "tcp", "tls"):
        raise _refusal(EXPECTED, text)
    if scheme == "unix":
        return _unix(text, match[2])
    host, port = _host_and_port(text, scheme, match[2])
    return Address("udp" if scheme == "udp" else "tcp" if scheme == "tcp" else "tls", host, port)


def _unix(text: str, path: str) -> Address:
    if not path.startswith("/") or "\0" in path:
        raise _refusal('an absolute path, as in "unix:///dev/log"', text)
    if len(path.encode("utf-8", "surrogateescape")) > MAX_PATH:
        raise _refusal(f"a path of at most {MAX_PATH} bytes, which is what a Unix socket can have", text)
    return Address("unix", path=path)


def _host_and_port(text: str, scheme: str, rest: str) -> tuple[str, int]:
    """What stands behind ``scheme://``."""
    example = f"{scheme}://host:{PORTS.get(scheme, 601)}"
    if "@" in rest:
        raise _refusal(f'a host and a port without a user or a password, as in "{example}"', text)
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise _refusal(f'an IPv6 address between brackets and a port, as in "{scheme}://[::1]:601"', text)
        digits, written = tail[1:], bool(tail)
        try:
            IPv6Address(host)
        except AddressValueError:
            raise _refusal(f'an IPv6 address between brackets, as in "{scheme}://[::1]:601"', text) from None
    else:
        host, colon, digits = rest.partition(":")
        written = bool(colon)
        if ":" in digits:
            raise _refusal(f'an IPv6 address in brackets, as in "{scheme}://[::1]:601"', text)
        if len(host) > MAX_HOST or not _HOST.match(host):
            raise _refusal(f'the name or the address of a host, as in "{example}"', text)
    if not written and scheme in PORTS:
        return host, PORTS[scheme]
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) <= 65_535):
        raise _refusal(f'a port from 1 to 65535, as in "{example}"', text)
    return host, int(digits)


def _refusal(expected: str, text: str) -> ConfigurationError:
    return ConfigurationError([f"address: expected {expected}, found {shown(text)}"])
