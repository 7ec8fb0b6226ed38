from __future__ import annotations

import pytest

from logbus.collectors.redaction.eraser import Eraser
from logbus.collectors.redaction.work import Work
from logbus.errors import ConfigurationError


def _erased(pattern: str, text: str) -> str:
    return Eraser(pattern).erase(text, Work())


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("acct-[0-9]{4}", "é acct-1234, acct-12", "é ***, acct-12"),
        ("acct-([0-9]{4})", "é acct-1234 x", "é acct-*** x"),
        ("(a+)b(c+)", "aabcc", "***b***"),
        ("(?:(a)|b)x", "ax bx", "***x ***"),
        ("(a(b)c)(d)", "abcd", "***"),
        ("[0-9]", "12 3", "*** ***"),
        (r"\bk[0-9]\b", "k1 ak2 k3", "*** ak2 ***"),
        (r"(?i)\Asecret", "SECRET secret", "*** secret"),
        (r"\C", "é", "***"),
        ("ü", "ü\ud800ü", "***\ud800***"),
    ],
)
def test_matches_are_masked_or_the_groups_in_them(pattern: str, text: str, expected: str) -> None:
    """A pattern without groups goes whole, of one with groups what they have matched; neighbours are one mask."""
    assert _erased(pattern, text) == expected


@pytest.mark.parametrize("pattern", ["", "x*", "^", "$", r"\b", "(a|)", "a?", r"(?m)$", r"\B"])
def test_patterns_that_match_nothing_at_all_are_refused(pattern: str) -> None:
    """A pattern that is found where there is nothing would be found everywhere."""
    with pytest.raises(ConfigurationError, match="expected a pattern"):
        Eraser(pattern)


def test_where_the_steps_end_the_rest_is_masked() -> None:
    """A pattern that matches every other character of a giant costs no more than the giant is worth."""
    work = Work()
    masked = Eraser("a").erase("ab" * 50_000, work)
    assert work.overrun
    assert masked.endswith("b***")
    assert "a" not in masked


def test_a_match_costs_what_the_search_behind_it_may_cost() -> None:
    """A pattern that goes to the end of a giant for each match is stopped after a few, in small texts it is not."""
    eraser = Eraser("x.*y|x")
    work = Work()
    masked = eraser.erase("xa" * 100_000, work)
    assert work.overrun
    assert masked.endswith("a***")
    assert masked.count("***") < 100
    work = Work()
    for _ in range(8):
        assert eraser.erase("xa" * 40, work) == "***a" * 40
    assert not work.overrun
