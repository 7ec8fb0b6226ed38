"""Names of sinks as names of directories."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from logbus.collectors.spool.names import escape, unescape


@pytest.mark.parametrize(
    ("name", "directory"),
    [
        ("loki-eu.1_a", "loki-eu.1_a"),
        ("", "%"),
        (".", "%2E"),
        ("..", "%2E."),
        ("a/b", "a%2Fb"),
        ("a%2Fb", "a%252Fb"),
        ("é\0", "%C3%A9%00"),
        ("~", "%7E"),
    ],
)
def test_a_name_is_one_safe_component(name: str, directory: str) -> None:
    """What could lead elsewhere is written as bytes, and read back."""
    assert escape(name) == directory
    assert unescape(directory) == name


@given(st.text(st.characters(codec=None), max_size=200), st.text(max_size=200))
def test_no_two_names_share_a_directory(name: str, other: str) -> None:
    """Whatever the names, and however long."""
    directory = escape(name)
    assert len(directory.encode()) <= 255
    assert "/" not in directory
    assert not directory.startswith(".")
    assert unescape(directory) in (name, None)
    assert (escape(other) == directory) == (other == name)


def test_long_names_have_directories_of_their_own() -> None:
    """Of which the name can't be told."""
    one, two = escape("/" * 100), escape("/" * 101)
    assert one != two
    assert unescape(one) is None


@pytest.mark.parametrize("directory", ["a b", "%2f", "%zz", "%FF", ".x", "é"])
def test_what_no_name_is_escaped_to_is_no_name(directory: str) -> None:
    """Such a directory is somebody else's."""
    assert unescape(directory) is None
