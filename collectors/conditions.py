"""Where-conditions, ready to be asked of batches: each is decided as rarely as its field allows.

A condition on the process is decided once for a batch, one on the thread once for each of its threads, one on the call
site once and remembered. What is left is looked at record by record, condition after condition, each for all records
that the ones before have left: a test takes a column of values and gives a column of answers, so that its work happens
in comprehensions and not in calls. Patterns come last, and are asked of each different text once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any, Final

from logbus.collectors.decode import Batch, Site
from logbus.collectors.fields import MISSING, Field, find_field, is_short
from logbus.collectors.format.base import level_name
from logbus.collectors.patterns import Pattern
from logbus.collectors.where import ALIASES, Condition, Where

#: Call sites whose decisions are remembered.
_SITES_KEPT: Final = 4096

#: Values of a field, and for each whether the condition holds.
Test = Callable[[Sequence[Any]], list[bool]]

_COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_OPPOSITES: Final = {"ne": "eq", "not_in": "in", "not_matches": "matches"}


class Conditions:
    """Takes the records for which a Where holds. Redaction comes before: conditions see what a line shows."""

    def __init__(self, where: Where) -> None:
        self._tables = [_Table(table) for table in where.tables]
        self._by_site = any(table.site for table in self._tables)
        self._sites: dict[Site, tuple[bool, ...]] = {}

    def possible_sites(self, batch: Batch) -> list[bool] | None:
        """Whether what is asked of each call site of the batch holds in any table; None when nothing is asked of it."""
        return [any(decided) for decided in self._decide_sites(batch)] if self._by_site else None

    def choose(self, batch: Batch, indices: Sequence[int]) -> Sequence[int]:
        """Those of these records of the batch, in their order, for which all conditions of any table hold."""
        sites = self._decide_sites(batch)
        taken: list[int] = []
        left = indices
        for number, table in enumerate(self._tables):
            found = table.choose(batch, left, [decided[number] for decided in sites] if table.site else None)
            if len(found) == len(left):  # all that was left is taken
                return indices
            if found:
                taken += found
                gone = set(found)
                left = [index for index in left if index not in gone]
        return taken if len(self._tables) == 1 else sorted(taken)

    def _decide_sites(self, batch: Batch) -> list[tuple[bool, ...]]:
        """For each call site of the batch, of which tables all conditions on call sites hold."""
        if not self._by_site:
            return []
        known = self._sites
        unknown = [site for site in batch.sites if site not in known]
        if not unknown:
            return [known[site] for site in batch.sites]
        answers = zip(*[_all(table.site, unknown) for table in self._tables], strict=True)
        decided = dict(zip(unknown, answers, strict=True))
        found = [known.get(site) or decided[site] for site in batch.sites]
        if len(known) + len(decided) > _SITES_KEPT:
            known.clear()
        if len(decided) <= _SITES_KEPT:
            known.update({site: answer for site, answer in decided.items() if is_short(site)})
        return found


class _Table:
    """The conditions of one table, by what has their fields."""

    def __init__(self, conditions: Sequence[Condition]) -> None:
        # Sorting is stable: patterns, the dearest, come last.
        tests = [_compiled(one) for one in sorted(conditions, key=lambda one: one.operator.endswith("matches"))]
        self.source, self.site, self.thread, self.record = (
            [(field, test) for field, test in tests if field.place == place]
            for place in ("source", "site", "thread", "record")
        )

    def choose(self, batch: Batch, indices: Sequence[int], sites: list[bool] | None) -> Sequence[int]:
        """Those of the records for which all conditions hold; ``sites`` says it for those on call sites."""
        records = batch.records
        if not all(_all(self.source, [batch.source])):
            return []
        if sites is not None and not all(sites):
            indices = [index for index in indices if sites[records[index].site]]
        if self.thread and not all(threads := _all(self.thread, batch.threads)):
            indices = [index for index in indices if threads[records[index].thread]]
        for field, test in self.record:
            if not indices:
                break
            indices = list(compress(indices, test(field.column(batch, indices))))
        return indices


def _all(tests: Sequence[tuple[Field, Test]], owners: Sequence[Any]) -> list[bool]:
    """For each of the owners, whether all conditions on their fields hold."""
    answers = [True] * len(owners)
    for field, test in tests:
        held = test([field.read(owner) for owner in owners])
        answers = [one and other for one, other in zip(answers, held, strict=True)]
    return answers


def _compiled(condition: Condition) -> tuple[Field, Test]:
    """The field of a condition and its test."""
    name, kind, operand = condition.name, condition.operator, condition.operand
    if (opposite := _OPPOSITES.get(kind)) is not None:
        field, test = _compiled(Condition(name, opposite, operand))
        return field, lambda values: [not held for held in test(values)]
    if name == "level":
        if kind in _COMPARISONS:
            return find_field("level_no"), _compares(kind, operand)
        if kind in ("eq", "in"):
            return Field(name, "site", _level), _is_level(operand if type(operand) is tuple else (operand,))
    field = find_field(name)
    if kind == "eq":
        return field, _equals(operand)
    if kind == "in":
        return field, _is_one_of(operand)
    if kind == "exists":
        return field, lambda values: [(value is not MISSING) is operand for value in values]
    if kind == "matches":
        return field, _matches(str(operand))
    return field, _compares(kind, operand)


def _equals(operand: Any) -> Test:
    if type(operand) is str:
        return lambda values: [value == operand for value in values]
    if type(operand) is bool:
        return lambda values: [value is operand for value in values]
    return lambda values: [value == operand and value.__class__ is not bool for value in values]


def _is_one_of(operands: Any) -> Test:
    texts = frozenset(one for one in operands if type(one) is str)
    booleans = frozenset(one for one in operands if type(one) is bool)
    numbers = frozenset(one for one in operands if type(one) in (int, float))
    if not booleans and not numbers:
        return lambda values: [value.__class__ is str and value in texts for value in values]
    wanted: dict[type, frozenset[Any]] = {str: texts, bool: booleans, int: numbers, float: numbers}
    # Of any other type nothing is wanted; lists and tables could not even be looked for in a set.
    return lambda values: [value in wanted.get(value.__class__, ()) for value in values]


def _compares(kind: str, operand: Any) -> Test:
    compare = _COMPARISONS[kind]
    kinds = (str,) if type(operand) is str else (int, float)
    return lambda values: [value.__class__ in kinds and compare(value, operand) for value in values]


def _matches(text: str) -> Test:
    pattern = Pattern(text)

    def test(values: Sequence[Any]) -> list[bool]:
        found = pattern.matching({value for value in values if value.__class__ is str})
        return [value.__class__ is str and value in found for value in values]

    return test


def _level(site: Site) -> tuple[int, str]:
    """The rank and the name, in capitals, of a level."""
    name = level_name(site).upper()
    return site.level_no, ALIASES.get(name, name)


def _is_level(operands: Any) -> Test:
    wanted = frozenset(operands)  # names and ranks
    return lambda values: [rank in wanted or name in wanted for rank, name in values]
