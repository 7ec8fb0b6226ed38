"""Which rules stay in force over a part of what a new one selects: what the operator would else wonder about.

A rule that names more of a logger wins over one that names less, whoever set it and when. So ``set-level DEBUG`` for
a whole package changes nothing where configuration has a rule for one of its modules, and that has to be said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from logbus.levels import component_of
from logbus.rules import Rule, Table, covers

#: Known names for which two rules are compared, at most: each comparison takes some ten microseconds.
_NAMES: Final = 100


def outranking(
    rule: Rule, rules: Iterable[Rule], names: Iterable[str], together: Callable[[str, str], bool]
) -> list[Rule]:
    """The rules that win over ``rule`` for some logger that it covers, and say another level.

    ``names`` are known loggers. ``together`` tells whether two worker patterns, which differ, mean a worker in common.
    """
    covered = list(islice((name for name in names if covers(rule.selector, name, component_of(name))), _NAMES))
    found = []
    for other in rules:
        if other.key == rule.key or other.level == rule.level:
            continue
        if rule.worker and other.worker and rule.worker != other.worker and not together(rule.worker, other.worker):
            continue
        # The other selector is a logger's name too, of one that may come yet.
        candidates = [other.selector, *covered] if covers(rule.selector, other.selector, "") else covered
        if any(_wins(other, rule, name) for name in candidates if name) or _wins_everywhere(other, rule):
            found.append(other)
    return found


def _wins_everywhere(other: Rule, rule: Rule) -> bool:
    """Whether both have the same selector, and the other one is stronger where it applies."""
    return other.selector == rule.selector and _wins(other, rule, rule.selector or "any")


def _wins(other: Rule, rule: Rule, name: str) -> bool:
    component = component_of(name)
    if not (covers(other.selector, name, component) and covers(rule.selector, name, component)):
        return False
    # The table itself decides between two rules that say who they are, for a worker that both patterns mean.
    theirs, ours = (
        found._replace(level=level, worker=found.worker and "*", expires=None)
        for found, level in ((other, 1), (rule, 2))
    )
    decision = Table((theirs, ours)).decide(name)
    first = decision.conditions[0][1] if decision.conditions else decision.level
    return first == theirs.level
