"""Which rules stay in force over a part of what a new one selects."""

from __future__ import annotations

import pytest

from logbus.collectors.overlap import outranking
from logbus.rules import Rule, Table

NAMES = ("proxywhirl.rotator", "proxywhirl.rotator.sync", "proxywhirl.health", "httpx")


def rule(
    selector: str, level: int = 10, *, worker: str = "", where: str = "", rank: str = "set", version: int = 1
) -> Rule:
    """A rule; ``where`` is KEY=VALUE."""
    conditions = (tuple(where.split("=", 1)),) if where else ()
    return Rule(selector, level, rank, worker, conditions, version=version)  # type: ignore[arg-type]


def never(one: str, other: str) -> bool:
    """No worker is meant by two patterns."""
    return False


@pytest.mark.parametrize(
    ("new", "other", "stays"),
    [
        # More of the name wins, also of a logger that nobody has heard of.
        (rule("proxywhirl"), rule("rotator", 30), True),
        (rule("proxywhirl"), rule("proxywhirl.rotator", 30), True),
        (rule("rotator"), rule("rotator.sync", 30), True),
        (rule("rotator"), rule("rotator.unheard", 30), True),
        (rule(""), rule("httpx", 30), True),
        # Nearer to the end of a known logger's name.
        (rule("rotator"), rule("sync", 30), True),
        (rule("sync"), rule("rotator", 30), False),
        # Less of it, or something else, does not.
        (rule("rotator"), rule("", 30), False),
        (rule("rotator.sync"), rule("rotator", 30), False),
        (rule("rotator"), rule("health", 30), False),
        # Of the same selector: the operator over configuration, some workers over all, conditions over none.
        (rule("rotator"), rule("rotator", 30, rank="configuration"), False),
        (rule("rotator"), rule("rotator", 30, worker="api-*"), True),
        (rule("", version=2), rule("", 30, worker="api-*"), True),
        (rule("rotator", worker="api-*"), rule("rotator", 30), False),
        (rule("rotator"), rule("rotator", 30, where="a=1"), True),
        (rule("rotator", where="a=1"), rule("rotator", 30), False),
        (rule("rotator", where="a=1", version=2), rule("rotator", 30, where="b=1"), False),
        # Workers of one are none of the other.
        (rule("rotator", worker="api-*"), rule("rotator.sync", 30, worker="job-*"), False),
        # What says the same makes no difference.
        (rule("proxywhirl"), rule("rotator", 10), False),
    ],
)
def test_a_stronger_rule_stays(new: Rule, other: Rule, stays: bool) -> None:
    """It is found if it wins for a logger that the new rule covers, and says another level."""
    assert outranking(new, [new, other], NAMES, never) == ([other] if stays else [])


def test_patterns_that_mean_a_worker_in_common_do_meet() -> None:
    """Whether they do, is asked of those who know the workers."""
    new, other = rule("rotator", worker="api-*"), rule("rotator.sync", 30, worker="*-1")
    assert outranking(new, [other], NAMES, lambda one, two: {one, two} == {"api-*", "*-1"}) == [other]


@pytest.mark.parametrize("other", ["proxywhirl.rotator", "sync", "health", "httpx", ""])
@pytest.mark.parametrize("new", ["proxywhirl", "rotator", "rotator.sync", ""])
def test_it_is_what_a_worker_does(new: str, other: str) -> None:
    """A rule is named exactly where the table of a worker would let it decide for a known logger."""
    ours, theirs = rule(new, 10, version=2), rule(other, 30)
    if ours.key == theirs.key:
        return
    decided = any(
        Table((ours, theirs)).decide(name).level == 30 and Table((ours,)).decide(name).level == 10 for name in NAMES
    )
    assert bool(outranking(ours, [theirs], NAMES, never)) == decided
