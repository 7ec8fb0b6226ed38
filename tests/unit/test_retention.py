"""How long rotated files are kept."""

from __future__ import annotations

import pytest

from logbus.collectors.retention import Kept, Retention, parse_retention
from logbus.errors import ConfigurationError


def test_rules_are_read_together() -> None:
    """Age, count and total size stand side by side in any order, in any case, with or without a space."""
    rules = parse_retention(["5GB", "10 Files", "7 days"])

    assert (rules.age_s, rules.files, rules.total_bytes) == (7 * 86_400.0, 10, 5_000_000_000)
    assert rules.texts == ("5GB", "10 Files", "7 days")
    assert parse_retention(["1 file"]).files == 1


def test_of_two_rules_of_a_kind_the_stricter_holds() -> None:
    """A file goes as soon as one rule says so, so the smaller of two numbers is the one that counts."""
    rules = parse_retention(["7 days", "3 days", "9 files", "10 files", "1 GB", "1 GiB"])

    assert (rules.age_s, rules.files, rules.total_bytes) == (3 * 86_400.0, 9, 1_000_000_000)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "5 apples",
            "100 M",
            "ten files",
            "0 files",
            "1000001 files",
            "10",
            "",
            "0 s",
            "0.5 s",
            "10 B",
            "-1 days",
            "2 TiBB",
        ),
        *("7d 10 files", "1001 TB", "9" * 500 + " files", "10 fi les"),
    ],
)
def test_what_is_no_rule_is_refused_by_name(text: str) -> None:
    """The error names the value and what would be right, and is one short line however long the value."""
    with pytest.raises(ConfigurationError) as raised:
        parse_retention(["7 days", text])

    (problem,) = raised.value.problems
    assert problem.startswith(f"retention {text[:80]!r}"[:-1])
    assert '"7 days"' in problem
    assert '"10 files"' in problem
    assert '"5 GB"' in problem
    assert len(problem) < 400


def test_every_wrong_rule_is_named() -> None:
    """All problems come at once."""
    with pytest.raises(ConfigurationError) as raised:
        parse_retention(["x", "7 days", "y"])

    assert len(raised.value.problems) == 2


def test_without_rules_everything_is_kept() -> None:
    """No rule names no file and waits for none."""
    files = [Kept(1e9, 10**12)] * 3

    assert Retention().overdue(files) == []
    assert Retention().wait_s(files) == float("inf")


def test_a_file_goes_by_whichever_rule_says_so() -> None:
    """By count the oldest, by age whatever is too old, by size the oldest until the rest fits."""
    files = [Kept(50, 10), Kept(40, 10), Kept(45, 10), Kept(10, 10)]

    assert Retention(files=3).overdue(files) == [0]
    assert Retention(age_s=45).overdue(files) == [0, 2]
    assert Retention(total_bytes=25).overdue(files) == [0, 1]
    assert Retention(total_bytes=9).overdue(files) == [0, 1, 2, 3]
    assert Retention(age_s=45, files=3, total_bytes=40).overdue(files) == [0, 2]
    assert Retention(age_s=60).wait_s(files) == 10
    assert Retention(age_s=45).wait_s(files) == 0
    assert Retention(age_s=45).wait_s([]) == float("inf")
