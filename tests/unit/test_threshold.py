"""The one gate of a library without gates per logger: as low as anybody needs, and no lower."""

from __future__ import annotations

import pytest

from logbus.producers.threshold import threshold
from logbus.rules import Rule, Table

WHERE = (("request_id", "7"),)


@pytest.mark.parametrize(
    ("rules", "recorded", "expected"),
    [
        ((), None, 20),
        ((Rule("", 30),), None, 30),
        ((Rule("", 10),), None, 10),
        ((Rule("till", 10),), None, 10),
        ((Rule("till", 40),), None, 20),
        ((Rule("till", 40), Rule("", 30)), None, 30),
        ((Rule("", 30, rank="configuration"), Rule("", 40)), None, 40),
        ((Rule("", 10, where=WHERE),), None, 10),
        ((Rule("", 40, where=WHERE),), None, 20),
        ((Rule("", 30),), 10, 10),
        ((), 30, 20),
    ],
)
def test_it_is_the_lowest_that_any_logger_needs(rules: tuple[Rule, ...], recorded: int | None, expected: int) -> None:
    """Rules for some loggers can only open it, a rule for all may close it, and the recorder opens it."""
    assert threshold(Table(rules), 20, recorded) == expected
