"""Which records of a batch a sink takes: by level and by component, decided once per call site, and by conditions.

Level, logger and component belong to the call site, so that a batch of hundreds of records needs a handful of
decisions, and each of these is remembered. Conditions (``where``) are asked of what these leave. A record that is not
taken is counted as ``filtered`` by the route. The collector's own records (component ``logbus``) are taken or not as
any others are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from logbus.collectors.conditions import Conditions
from logbus.collectors.decode import Batch, Site
from logbus.collectors.where import Where
from logbus.levels import selects_any

#: Decisions remembered per sink, each by level number, logger and component, and the characters of these two: a worker
#: may send names of 200 kB.
_DECISIONS_KEPT: Final = 4096
_NAME_CHARS: Final = 512


class SinkFilter:
    """Takes records of at least ``level``, of ``components`` if there are any, of no excluded one, and where it holds.

    Components are selectors as in :func:`logbus.levels.selects`; an exclusion wins over an inclusion.
    """

    def __init__(
        self,
        level: int = 0,
        components: tuple[str, ...] = (),
        exclude_components: tuple[str, ...] = (),
        where: Where | None = None,
    ) -> None:
        self._level = level
        self._components = components
        self._excluded = exclude_components
        self._takes_all = level <= 0 and not components and not exclude_components
        self._conditions = Conditions(where) if where is not None else None
        self._decisions: dict[tuple[int, str, str], bool] = {}

    @property
    def by_site(self) -> bool:
        """Whether the call site of a record is all that is asked for."""
        return self._conditions is None

    def accepted_sites(self, batch: Batch) -> list[bool] | None:
        """Whether records of each site of the batch may be taken; None when all may be.

        Level and component say so, and what the conditions ask of a call site; its names have to be masked by then.
        """
        taken: list[bool] | None = None
        if not self._takes_all:
            taken = [self._takes(site) for site in batch.sites]
        if self._conditions is not None and (possible := self._conditions.possible_sites(batch)) is not None:
            taken = possible if taken is None else [one and other for one, other in zip(taken, possible, strict=True)]
        return None if taken is None or all(taken) else taken

    def select(self, batch: Batch) -> Sequence[int] | None:
        """The indices of the records that are taken, in order; None when all are."""
        taken = self.accepted_sites(batch)
        if taken is None:
            if self._conditions is None:
                return None
            chosen: Sequence[int] = range(batch.count)
        else:
            chosen = [index for index, site in enumerate(batch.record_sites()) if taken[site]]
        if self._conditions is not None:
            chosen = self._conditions.choose(batch, chosen)
        return None if len(chosen) == batch.count else chosen

    def _takes(self, site: Site) -> bool:
        key = (site.level_no, site.logger, site.component)
        taken = self._decisions.get(key)
        if taken is None:
            taken = (
                site.level_no >= self._level
                and (not self._components or selects_any(self._components, site.logger, site.component))
                and not selects_any(self._excluded, site.logger, site.component)
            )
            if len(self._decisions) >= _DECISIONS_KEPT:
                self._decisions.clear()
            if len(site.logger) + len(site.component) <= _NAME_CHARS:
                self._decisions[key] = taken
        return taken
