from __future__ import annotations

import pytest

from logbus.collectors.sinks.syslog.address import Address, parse_address
from logbus.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("/dev/log", Address("unix", path="/dev/log"), "unix:///dev/log"),
        ("unix:///run/log.sock", Address("unix", path="/run/log.sock"), "unix:///run/log.sock"),
        ("udp://logs", Address("udp", "logs", 514), "udp://logs:514"),
        ("UDP://127.0.0.1:5140", Address("udp", "127.0.0.1", 5140), "udp://127.0.0.1:5140"),
        ("tcp://logs.example.com:601", Address("tcp", "logs.example.com", 601), "tcp://logs.example.com:601"),
        ("tls://logs.example.com", Address("tls", "logs.example.com", 6514), "tls://logs.example.com:6514"),
        ("tls://[2001:db8::1]:6514", Address("tls", "2001:db8::1", 6514), "tls://[2001:db8::1]:6514"),
        ("udp://[::1]", Address("udp", "::1", 514), "udp://[::1]:514"),
    ],
)
def test_addresses(text: str, address: Address, shown: str) -> None:
    """Each way has its form, and what is printed is read as the same."""
    assert parse_address(text) == address
    assert str(address) == shown
    assert parse_address(shown) == address


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", '"/dev/log", "unix:///path", "udp://host:514"'),
        ("localhost:514", '"/dev/log", "unix:///path", "udp://host:514"'),
        ("logs", '"/dev/log", "unix:///path", "udp://host:514"'),
        ("http://logs:514", '"/dev/log", "unix:///path", "udp://host:514"'),
        ("unix://dev/log", "an absolute path"),
        ("/tmp/" + "n" * 103, "a path of at most 107 bytes"),
        ("/tmp/a\0b", "an absolute path"),
        ("tcp://logs", 'a port from 1 to 65535, as in "tcp://host:601"'),
        ("udp://logs:", "a port from 1 to 65535"),
        ("udp://logs:0", "a port from 1 to 65535"),
        ("udp://logs:65536", "a port from 1 to 65535"),
        ("udp://logs:5l4", "a port from 1 to 65535"),
        ("udp://logs:٥١٤", "a port from 1 to 65535"),
        ("udp://logs:514/path", "a port from 1 to 65535"),
        ("udp://:514", "the name or the address of a host"),
        ("udp://a b:514", "the name or the address of a host"),
        ("udp://-a:514", "the name or the address of a host"),
        ("tcp://::1:601", "an IPv6 address in brackets"),
        ("tcp://[::1:601", "an IPv6 address between brackets"),
        ("tcp://[::1]601", "an IPv6 address between brackets"),
        ("tcp://[logs]:601", "an IPv6 address between brackets"),
        ("tls://user:secret@logs:6514", "a host and a port without a user or a password"),
    ],
)
def test_what_is_no_address_is_refused(text: str, expected: str) -> None:
    """The problem says what would be right, and gives no password away."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(text)
    [problem] = caught.value.problems
    assert problem.startswith(f"address: expected {expected}")
    assert "secret" not in problem
    assert problem.isprintable()


def test_an_address_knows_what_its_receivers_expect() -> None:
    """A local daemon expects what the C library writes; a datagram has less room than a stream."""
    local, udp, tcp = parse_address("/dev/log"), parse_address("udp://h"), parse_address("tcp://h:1")
    assert (local.protocol, udp.protocol, tcp.protocol) == ("rfc3164", "rfc5424", "rfc5424")
    assert [one.max_message("rfc5424") for one in (local, udp, tcp)] == [8096, 2048, 8096]
    assert [one.max_message("rfc3164") for one in (local, udp, tcp)] == [8096, 1024, 8096]
    assert all(one.max_message("rfc5424") <= one.most for one in (local, udp, tcp))
