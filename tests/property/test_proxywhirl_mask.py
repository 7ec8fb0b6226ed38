"""The mask of a proxy's URL, for every URL that a proxy list may hold."""

from __future__ import annotations

import re

from hypothesis import given, strategies as st

from logbus.integrations.proxywhirl.mask import masked_text, masked_url

WORDS = st.text("sS3crEt@:/?#[]%. \\&=é\n", min_size=1, max_size=12)
HOSTS = st.sampled_from(["proxy.example.com", "10.0.0.1", "[::1]", "localhost"])
SHAPE = re.compile(
    r"(?:(?:https?|socks[45]?[ah]?|\*{3})://)?(?:\*{3}:\*{3}@)?(?:\*{3}|[\w.\[\]:%-]+)", re.ASCII | re.IGNORECASE
)


@given(st.sampled_from(["http://", "socks5://", ""]), WORDS, WORDS, HOSTS, st.integers(1, 65535))
def test_credentials_are_never_shown(scheme: str, user: str, password: str, host: str, port: int) -> None:
    """Whatever user and password consist of, a URL with them is shown with asterisks in their place."""
    if not scheme and "://" in f"{user}:{password}":
        # What stands before it is taken for a scheme, and masked as one.
        scheme, url = "***://", f"{user}:{password}@{host}:{port}"
    else:
        url = f"{scheme}{user}:{password}@{host}:{port}"
    # What looks like a host before a "/" may be it, and then what follows the "@" is part of a path.
    assert masked_url(url) in (f"{scheme}***:***@{host}:{port}", f"{scheme}***")


@given(st.text(max_size=60) | st.from_regex(r"[a-z]{0,6}(://)?.{0,20}@?.{0,20}", fullmatch=True))
def test_what_comes_out_has_one_shape(url: str) -> None:
    """Any text at all becomes a scheme or none, a mask or none, and a host or a mask."""
    assert SHAPE.fullmatch(masked_url(url))


@given(st.sampled_from(["http", "https", "socks4", "socks5"]), HOSTS, st.integers(1, 65535))
def test_a_url_without_credentials_is_shown_as_it_is(scheme: str, host: str, port: int) -> None:
    """Nothing is masked where nothing is secret."""
    assert masked_url(f"{scheme}://{host}:{port}") == f"{scheme}://{host}:{port}"


@given(
    st.text("ab ://@?'.,", max_size=60),
    st.text("sS3crEt:. ", min_size=1, max_size=12),
    HOSTS,
    st.text("ab ", max_size=9),
)
def test_words_about_a_url_have_none_of_its_credentials(before: str, password: str, host: str, after: str) -> None:
    """Wherever in a text a URL with credentials stands, and whatever they consist of, they are masked."""
    text = masked_text(f"{before}http://XYZ:{password}XYZ@{host}:80 {after}")
    assert "XYZ" not in text
    assert text.endswith((f"***:***@{host}:80 {after}", f"*** {after}"))


@given(st.text(max_size=60))
def test_words_without_an_address_are_as_they_were(text: str) -> None:
    """What has no URL, no @ and no quotes is no credential."""
    text = text.replace("@", "").replace("://", "").replace("'", "").replace('"', "")
    assert masked_text(text) == text
