"""What an HTTP sink may be told, and what it refuses to be told."""

from __future__ import annotations

import base64

import pytest

from logbus.collectors.sinks.http.options import (
    MAX_URL,
    HttpOptions,
    basic,
    bearer,
    check_headers,
    parse_statuses,
    parse_target,
)
from logbus.errors import ConfigurationError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://logs", (False, "logs", 80, "/")),
        ("HTTPS://Logs.Example.com/a/b", (True, "Logs.Example.com", 443, "/a/b")),
        ("http://127.0.0.1:9000/a?b=c&d", (False, "127.0.0.1", 9000, "/a?b=c&d")),
        ("https://[::1]:8443/", (True, "::1", 8443, "/")),
        ("http://[fe80::1]", (False, "fe80::1", 80, "/")),
        ("http://h:/x", (False, "h", 80, "/x")),
        ("http://h?k=v", (False, "h", 80, "/?k=v")),
        ("http://bücher.example/", (False, "xn--bcher-kva.example", 80, "/")),
        ("http://my_service.:80/", (False, "my_service.", 80, "/")),
    ],
)
def test_a_url_is_taken_apart(url: str, expected: tuple[bool, str, int, str]) -> None:
    """Scheme, host as the name service has it, port, and the path with its query."""
    target = parse_target(url)
    assert (target.tls, target.host, target.port, target.path) == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/", "begins with http:// or https://"),
        ("host:80/x", "begins with http:// or https://"),
        ("", "begins with http:// or https://"),
        ("http://user:s3cret@host/", "without credentials"),
        ("http://s3cret@host/", "without credentials"),
        ("http://host/#part", "without a fragment"),
        ("http://host/#", "without a fragment"),
        ("http://", "a host name"),
        ("http:///path", "a host name"),
        ("http://-x/", "a host name"),
        ("http://ho st/", "a host name"),
        (f"http://{'a' * 64}/", "a host name"),
        ("http://host:0/", "port from 1 to 65535"),
        ("http://host:65536/", "port is from 1 to 65535"),
        ("http://host:abc/", "port is from 1 to 65535"),
        ("http://[::1/", "in brackets"),
        ("http://[fe80::1%25eth0]/", "a host name"),
        ("http://host/a b", "%XX"),
        ("http://a..b/", "a host name"),
        ("http://.a/", "a host name"),
        ("http://host/ü", "%XX"),
        ("http://host/a\r\nX-Smuggled: 1", "%XX"),
        ("http://host/a\tb", "%XX"),
        ("http://host/?q=\x7f", "%XX"),
        (f"http://host/{'a' * MAX_URL}", f"at most {MAX_URL} characters"),
    ],
)
def test_what_is_no_url_to_send_to_is_refused(url: str, words: str) -> None:
    """One message that says what would be right, and shows no credentials."""
    with pytest.raises(ConfigurationError) as caught:
        parse_target(url)
    assert words in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_what_is_shown_of_a_url_has_no_query() -> None:
    """A query may be a key; neither the text for logs nor a representation has it."""
    options = HttpOptions(parse_target("https://h:8443/in?key=s3cret"), headers=(("X-Key", "s3cret"),))
    assert options.target.shown == "https://h:8443/in?***"
    assert "s3cret" not in repr(options)
    assert parse_target("http://h").shown == "http://h"
    assert parse_target("http://h/v1/ZaVnC4dhaV1gYbXQdPQ2s3cret==/x").shown == "http://h/v1/***/x"


def test_headers_come_as_they_were_given() -> None:
    """Names in their case, values with spaces and tabs between their words."""
    headers = {"Authorization": "Bearer x", "x-Tenant": "a b\tc", "Content-Type": "text/plain", "DD-API-KEY": "~!"}
    assert check_headers(headers) == tuple(headers.items())
    assert check_headers({}) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("", "x"),
        ("A B", "x"),
        ("A:", "x"),
        ("A\r\nB", "x"),
        ("Ä", "x"),
        ("A", ""),
        ("A", " x"),
        ("A", "x "),
        ("A", "s3cret\r\nX: y"),
        ("A", "s3cret\n"),
        ("A", "s3cret\x00"),
        ("A", "s3cretü"),
        *[
            (name, "1")
            for name in ("Content-Length", "HOST", "transfer-encoding", "Content-Encoding", "Connection", "TE")
        ],
    ],
)
def test_a_header_that_could_change_the_request_is_refused(name: str, value: str) -> None:
    """RFC 9110's names and values, and none that frames the body; the message doesn't show the value."""
    with pytest.raises(ConfigurationError) as caught:
        check_headers({name: value})
    assert "s3cret" not in str(caught.value)
    assert len(caught.value.problems) == 1


def test_every_wrong_header_is_told_at_once() -> None:
    """One line for each, and a name that stands there twice is one of them."""
    with pytest.raises(ConfigurationError) as caught:
        check_headers({"A": "x", "a": "y", "Host": "h", "B": "ok", "C": "\n"})
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["a", "Host", "C"]


def test_credentials_become_a_header() -> None:
    """Basic in UTF-8, and a bearer's token as it is."""
    name, value = basic("jörg", "pass:word")
    assert name == "Authorization"
    assert base64.b64decode(value.removeprefix("Basic ")).decode() == "jörg:pass:word"
    assert bearer("abc.DEF-_~+/==") == ("Authorization", "Bearer abc.DEF-_~+/==")
    check_headers(dict([basic("a", ""), ("X", "y")]))


@pytest.mark.parametrize(("username", "password"), [("a:b", "s3cret"), ("a", "s3cret\n"), ("a\x00", "s3cret")])
def test_credentials_that_no_header_can_hold_are_refused(username: str, password: str) -> None:
    """And are not shown."""
    with pytest.raises(ConfigurationError) as caught:
        basic(username, password)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "s3cret token", "s3cret\n", "=s3cret", "s3crét"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    """RFC 6750's characters, and the message doesn't show it."""
    with pytest.raises(ConfigurationError) as caught:
        bearer(token)
    assert "s3c" not in str(caught.value)


def test_statuses_are_codes_of_errors() -> None:
    """From 400 to 599; others are named."""
    assert parse_statuses([429, 503, 503]) == {429, 503}
    with pytest.raises(ConfigurationError, match="from 400 to 599, found 200, 302, 600"):
        parse_statuses([600, 200, 500, 302])
