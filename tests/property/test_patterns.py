"""Asking a pattern of many texts at once is asking it of each."""

from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from logbus.collectors.patterns import Pattern, compile_pattern, plain_texts
from logbus.errors import ConfigurationError

#: What can go wrong where texts are joined: their ends, newlines, classes with newlines in them, words, empty matches.
PIECES = st.sampled_from(
    [
        *(
            "a",
            "b",
            "ab",
            " ",
            "\n",
            "é",
            "🎈",
            r"\.",
            r"\|",
            r"\$",
            ".",
            ".*",
            ".*?",
            "a*",
            "b+",
            "a?",
            "(?:ab)*",
            "()",
        ),
        *("^", "$", r"\A", r"\z", r"\b", r"\B", r"\n", r"\s", r"\S+", r"\w", r"\W", r"\D", r"[^a]", "[^a]*", r"[\n-b]"),
        *(
            "(?i)A",
            "(?s).",
            "(?s:.*)",
            "(?m)^",
            "(?m:$)",
            "(?-m)$",
            "(?U)a*",
            "(a|b)",
            "(?P<n>b)",
            r"\pL",
            r"[[:^alpha:]]",
        ),
        *(r"\x0a", r"\Q.\E", r"\C", "a{2,3}"),
    ]
)
PATTERNS = st.lists(st.lists(PIECES, max_size=4).map("".join), min_size=1, max_size=3).map("|".join)
TEXTS = st.sets(st.text("ab. \n$|éA🎈\0", max_size=6), max_size=8)


@given(PATTERNS, TEXTS)
@example("b|a$", {"", "a", "b", "ab"})
@example("[^a]*b", {"", "aa", "c", "b", "é"})
@example("$", {"", "a", "\n"})
def test_many_texts_at_once_are_each_text_alone(pattern: str, texts: set[str]) -> None:
    """Whatever the pattern says, joining texts, skipping and plain search change nothing."""
    try:
        alone = compile_pattern(pattern)
    except ConfigurationError:
        return
    expected = {text for text in texts if alone.search(text) is not None}
    assert Pattern(pattern).matching(texts) == expected


PLAIN = st.lists(st.sampled_from(["a", "B", " ", "é", r"\.", r"\^", r"\$", "$", "^", "|", r"\\", "-", "]", "#"]))


@given(PLAIN.map("".join))
def test_plain_texts_are_what_re2_reads(pattern: str) -> None:
    """A pattern that is taken for plain texts finds what RE2 finds: each of them, and none cut short."""
    texts = plain_texts(pattern)
    if texts is None or not pattern:
        return
    alone = compile_pattern(pattern)
    for _, text, _ in texts:
        asked = {text, f"x{text}", f"{text}x", text[1:], text[:-1], text.upper()}
        assert Pattern(pattern).matching(asked) == {one for one in asked if alone.search(one) is not None}


@pytest.mark.parametrize("pattern", ["a", "x|y z", "^a", "b$", r"\[", "x-y_z:/#@!%&=~`;,'\"<>"])
def test_usual_plain_patterns_are_known_for_plain(pattern: str) -> None:
    """They need no regular expression."""
    assert plain_texts(pattern) is not None
