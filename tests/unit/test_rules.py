"""Which rule decides for a logger, which levels supersede which, and what a worker believes of a document."""

from __future__ import annotations

from typing import Any

import pytest

from logbus.errors import WireError
from logbus.rules import MAX_RULES, Decision, Levels, Rule, Table, concerns, holds, supersedes


def decided(*rules: Rule, logger: str = "proxywhirl.rotator.sync", **worker: Any) -> Decision:
    """What a worker makes of the rules for one logger."""
    return Table(rules, **worker).decide(logger)


@pytest.mark.parametrize(
    ("weaker", "stronger"),
    [
        (Rule("", 10), Rule("rotator", 40)),
        (Rule("", 10), Rule("proxywhirl", 40)),
        (Rule("proxywhirl", 10), Rule("rotator", 40)),
        (Rule("rotator", 10), Rule("sync", 40)),
        (Rule("sync", 10), Rule("proxywhirl.rotator", 40)),
        (Rule("proxywhirl.rotator", 10), Rule("rotator.sync", 40)),
        (Rule("rotator", 10, "set"), Rule("rotator.sync", 40, "worker")),
        (Rule("rotator", 10, "configuration"), Rule("rotator", 40, "set")),
        (Rule("rotator", 10, "worker"), Rule("rotator", 40, "configuration")),
        (Rule("", 10, "configuration"), Rule("", 40, "set")),
        (Rule("rotator", 10, version=4), Rule("rotator", 40, version=5, worker="a*")),
        (Rule("rotator", 10, version=9), Rule("rotator", 40, version=5, worker="a*")),
        (Rule("rotator", 10, worker="a*", version=4), Rule("rotator", 40, worker="ap*", version=5)),
    ],
)
def test_the_most_specific_rule_wins(weaker: Rule, stronger: Rule) -> None:
    """More segments, then a later match, then a rule for some workers, then the rank, then the newer."""
    for rules in ((weaker, stronger), (stronger, weaker)):
        assert decided(*rules, worker="api").level == 40


def test_a_rule_covers_whole_segments_only() -> None:
    """A part of a name is no selector, and nobody decides where no rule does."""
    assert decided(Rule("rot", 10), Rule("rotator.async", 10), Rule("whirl.rotator", 10)) == Decision()


def test_a_component_is_a_selector_though_no_segment() -> None:
    """The worker's own component is that of loggers which name none."""
    table = Table([Rule("billing", 10)], component="billing")
    assert [table.decide(name).level for name in ("root", "__main__", "httpx")] == [10, 10, None]


def test_a_rule_that_names_the_logger_is_told_from_one_for_all() -> None:
    """Only a named one overrides what the application itself has set."""
    assert decided(Rule("rotator", 10)).named
    assert not decided(Rule("", 10)).named


def test_conditions_come_before_what_always_holds() -> None:
    """Rules with conditions are tried in the order of their strength, up to the first rule without."""
    rules = [
        Rule("", 30),
        Rule("", 5, where=(("request_id", "1"),)),
        Rule("rotator", 20),
        Rule("rotator", 10, where=(("request_id", "2"),)),
        Rule("rotator", 40, where=(("a", "b"), ("request_id", "2"))),
    ]
    decision = decided(*rules)
    assert decision.level == 20
    assert decision.conditions == (((("a", "b"), ("request_id", "2")), 40), ((("request_id", "2"),), 10))
    assert decision.lowest == 10
    assert decision.passes(10, {"request_id": 2})
    assert not decision.passes(30, {"request_id": "2", "a": "b"})
    assert not decision.passes(10, {"request_id": "1"})
    assert not decision.passes(10, None)
    assert decision.passes(20, {})


def test_a_condition_without_a_level_beside_it_leaves_the_rest_as_it_is() -> None:
    """Where no rule always holds, the level of the application does."""
    decision = decided(Rule("rotator", 10, where=(("request_id", "2"),)))
    assert decision.level is None
    assert decision.passes(30, {"request_id": "1"}, otherwise=30)
    assert not decision.passes(20, {"request_id": "1"}, otherwise=30)
    assert decision.passes(10, {"request_id": "2"}, otherwise=30)


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"id": "7"}, True),
        ({"id": 7}, True),
        ({"id": 7.0}, False),
        ({"id": None}, False),
        ({}, False),
        ({"id": "77"}, False),
        ({"ID": "7"}, False),
    ],
)
def test_a_condition_compares_text(context: dict[str, Any], expected: bool) -> None:
    """Who sets a level types text: a number matches the text of it."""
    assert holds((("id", "7"),), context) is expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", True),
        ("api-*", True),
        ("API-*", False),
        ("42", True),
        ("4", False),
        ("eu-?", True),
        ("*", True),
        ("x", False),
    ],
)
def test_a_pattern_means_a_name_a_host_or_a_pid(pattern: str, expected: bool) -> None:
    """Names and hosts match as a shell would, pids exactly."""
    assert concerns(pattern, name="api-7", pid=42, host="eu-1") is expected


def test_a_rule_for_others_or_of_the_past_is_no_rule() -> None:
    """A table holds what concerns this worker now, and knows when the first of it ends."""
    rules = [Rule("a", 10, worker="x"), Rule("b", 10, expires=99.0), Rule("c", 10, expires=101.0), Rule("d", 15)]
    table = Table(rules, worker="y", pid=1, host="h", now=100.0)
    assert [rule.selector for rule in table.rules] == ["c", "d"]
    assert table.next_expiry == 101.0
    assert table.lowest == 10
    assert Table().lowest is None
    assert not Table()


@pytest.mark.parametrize(
    ("offered", "welcome", "expected"),
    [
        (("a", 6), False, True),
        (("a", 5), False, False),
        (("a", 5), True, False),
        (("a", 4), True, False),
        (("b", 1), False, False),
        (("b", 99), False, False),
        (("b", 1), True, True),
    ],
)
def test_only_what_is_newer_supersedes(offered: tuple[str, int], welcome: bool, expected: bool) -> None:
    """Within a ledger the newer version; another ledger only as a welcome."""
    assert supersedes(Levels(*offered), Levels("a", 5), welcome=welcome) is expected
    assert supersedes(Levels(*offered), None, welcome=welcome)


RULE = {"selector": "rotator", "level": 10}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"ledger": "a", "version": 1},
        {"ledger": "a", "version": 1, "rules": {}},
        {"ledger": 7, "version": 1, "rules": []},
        {"ledger": "a", "version": -1, "rules": []},
        {"ledger": "a", "version": True, "rules": []},
        {"ledger": "a", "version": 2**63, "rules": []},
        {"ledger": "\ud800", "version": 1, "rules": []},
        {"ledger": "a" * 201, "version": 1, "rules": []},
        {"ledger": "a", "version": 1, "rules": [RULE] * (MAX_RULES + 1)},
        *(
            {"ledger": "a", "version": 1, "rules": [rule]}
            for rule in (
                None,
                {},
                {"selector": "a"},
                {"level": 10},
                {**RULE, "level": "DEBUG"},
                {**RULE, "level": True},
                {**RULE, "level": 101},
                {**RULE, "level": -1},
                {**RULE, "rank": "emperor"},
                {**RULE, "selector": "a" * 201},
                {**RULE, "worker": None},
                {**RULE, "where": []},
                {**RULE, "where": {"a": 1}},
                {**RULE, "where": {str(n): "v" for n in range(9)}},
                {**RULE, "expires": "soon"},
                {**RULE, "expires": 10**400},
                {**RULE, "expires": float("nan")},
                {**RULE, "at": -1},
            )
        ),
    ],
)
def test_what_is_no_set_of_rules_is_refused(document: object) -> None:
    """Nothing half-understood is put into force."""
    with pytest.raises(WireError) as refused:
        Levels.of(document)
    assert refused.value.reason == "control"
