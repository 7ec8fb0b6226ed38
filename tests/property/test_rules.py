"""Rules survive their way, and the rule that decides is the one that the order of their definition says."""

from __future__ import annotations

import json

from hypothesis import given, strategies as st

from logbus.levels import component_of, selects
from logbus.rules import Levels, Rule, Table

SEGMENTS = st.sampled_from(["proxywhirl", "rotator", "sync", "async_", "httpx", "a"])
NAMES = st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join)
TEXTS = st.text(max_size=20)
RULES = st.builds(
    Rule,
    selector=st.just("") | NAMES,
    level=st.integers(0, 100),
    rank=st.sampled_from(["set", "configuration", "worker"]),
    worker=st.sampled_from(["", "*", "api-*", "42", "other"]),
    where=st.dictionaries(TEXTS, TEXTS, max_size=2).map(lambda found: tuple(sorted(found.items()))),
    expires=st.none() | st.floats(0, 2e9),
    version=st.integers(0, 9),
    at=st.floats(0, 2e9),
    by=TEXTS,
)


@given(
    st.builds(
        Levels,
        st.text(st.characters(codec="ascii"), max_size=20),
        st.integers(0, 2**63 - 1),
        st.lists(RULES, max_size=5).map(tuple),
    )
)
def test_levels_come_back(levels: Levels) -> None:
    """Every field of every rule survives JSON."""
    assert Levels.of(json.loads(json.dumps(levels.document()))) == levels


@given(st.lists(RULES, max_size=6), NAMES)
def test_the_rule_that_decides_is_beaten_by_none(rules: list[Rule], logger: str) -> None:
    """Of the rules that hold always, none that covers the logger in this worker has more segments than the chosen."""
    table = Table(rules, worker="api-1", pid=42, host="h", now=1e9)
    decision = table.decide(logger)
    covering = [
        rule
        for rule in rules
        if (not rule.selector or selects(rule.selector, logger, component_of(logger)))
        and rule.worker != "other"
        and (rule.expires is None or rule.expires > 1e9)
    ]
    always = [rule for rule in covering if not rule.where]
    if not always:
        assert decision.level is None
    else:
        segments = max(len(rule.selector.split(".")) if rule.selector else 0 for rule in always)
        best = [rule for rule in always if (len(rule.selector.split(".")) if rule.selector else 0) == segments]
        assert decision.level in {rule.level for rule in best}
        assert decision.named is (segments > 0)
    conditional = {(rule.where, rule.level) for rule in covering if rule.where}
    assert set(decision.conditions) <= conditional
    if not always:
        assert set(decision.conditions) == conditional
    assert table.decide(logger) is decision
