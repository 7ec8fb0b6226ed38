"""The mask of a proxy's URL: what is a host is shown, and whatever else might be there is not."""

from __future__ import annotations

import pytest

from logbus.integrations.proxywhirl.mask import MAX_URL_CHARS, masked_text, masked_url


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("http://proxy.example.com:8080", "http://proxy.example.com:8080"),
        ("http://10.0.0.1", "http://10.0.0.1"),
        ("socks5://[::1]:1080", "socks5://[::1]:1080"),
        ("http://[fe80::1%eth0]:1", "http://[fe80::1%eth0]:1"),
        ("10.0.0.1:3128", "10.0.0.1:3128"),
        ("http://user:word@10.0.0.1:3128", "http://***:***@10.0.0.1:3128"),
        ("http://user@10.0.0.1:3128", "http://***:***@10.0.0.1:3128"),
        ("http://user:word@[::1]:3128", "http://***:***@[::1]:3128"),
        ("user:word@10.0.0.1:3128", "***:***@10.0.0.1:3128"),
        ("http://user:w@rd@10.0.0.1:3128", "http://***:***@10.0.0.1:3128"),
        ("http://user:w/o#r?d@10.0.0.1:3128", "http://***:***@10.0.0.1:3128"),
        ("http://user:w%40rd@10.0.0.1:3128/path?key=secret#part", "http://***:***@10.0.0.1:3128"),
        ("http://10.0.0.1:3128/?key=secret", "http://10.0.0.1:3128"),
        ("http://10.0.0.1:3128:user:word", "http://***"),
        ("10.0.0.1:3128:user:word", "***"),
        ("user:word", "***"),
        ("http://user:word", "http://***"),
        ("http://user:word%4010.0.0.1", "http://***"),
        ("http://user:word@", "http://***"),
        ("us er:wo rd://10.0.0.1", "***://10.0.0.1"),
        ("http:user:word@10.0.0.1", "***:***@10.0.0.1"),
        ("http://user:word@ho st", "http://***"),
        ("http://user:word@höst", "http://***"),
        ("http://user:word@host\n", "http://***"),
        ("http://user:word\n@host", "http://***:***@host"),
        ("http://10.0.0.1:3128/?key=a@secret", "http://***"),
        ("http://10.0.0.1/path@secret:1", "http://***"),
        ("http://user:word@10.0.0.1#part@secret", "http://***"),
        ("", "***"),
        ("://", "***://***"),
        ("x" * (MAX_URL_CHARS + 1), "***"),
    ],
)
def test_only_scheme_host_and_port_are_shown(url: str, masked: str) -> None:
    """Everything before the last @ is masked, and so is a host that is none."""
    assert masked_url(url) == masked


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("[Errno 111] Connection refused", "[Errno 111] Connection refused"),
        (
            "no way via http://user:word@10.0.0.1:1 nor user:word@10.0.0.1.",
            "no way via http://***:***@10.0.0.1:1 nor ***:***@10.0.0.1.",
        ),
        ("Unknown scheme URL('ftp://user:word@10.0.0.1:1')", "Unknown scheme URL('***://***:***@10.0.0.1:1')"),
        ("via http://us er:wo rd@10.0.0.1, once more", "via http://***:***@10.0.0.1, once more"),
        ("via http://10.0.0.1/?key=a@secret", "via http://***"),
        ("GET http://shop.example/?api_key=secret: failed", "GET http://shop.example/?*** failed"),
        ("Invalid port: 'wo'", "Invalid port: '***'"),
        ("Port could not be cast to integer value as 'wo'", "Port could not be cast to integer value as '***'"),
        ("Server disconnected without 'sending'", "Server disconnected without 'sending'"),
    ],
)
def test_words_are_shown_without_credentials(text: str, masked: str) -> None:
    """In errors, URLs lose what may be a credential, and so do the pieces of those that could not be read."""
    assert masked_text(text) == masked
