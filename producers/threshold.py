"""The level below which nothing can pass: where a library has one gate for all of its loggers, it stands here."""

from __future__ import annotations

from logbus.rules import Table


def threshold(table: Table, otherwise: int, recorded: int | None = None) -> int:
    """The lowest level number that any logger needs; ``otherwise`` is the level of loggers that no rule covers.

    ``recorded`` is the level of the flight recorder, where there is one.
    """
    everywhere = [rule for rule in table.rules if not rule.selector and not rule.where]
    levels = [rule.level for rule in table.rules if rule.selector or rule.where]
    # A name that no selector can have (it is no identifier) is decided by the rules for every logger alone.
    general = table.decide("\0").level if everywhere else None
    levels.append(otherwise if general is None else general)
    if recorded is not None:
        levels.append(recorded)
    return max(0, min(levels))
