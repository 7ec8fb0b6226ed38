"""Level rules in force on the loggers of this process, by a gate without a collector."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from logbus.producers.gate import Gate
from logbus.producers.stdlib import STDLIB
from logbus.rules import Levels, Rule


class Turn:
    """Puts rules into force in place of those before, and says whether they are."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._versions = itertools.count(1)

    def __call__(self, *rules: Rule) -> bool:
        """Whether every front has taken these rules."""
        version = next(self._versions)
        assert self.gate.take(Levels("l", version, rules), welcome=False)
        return self.gate.confirmed()[0] == version


@contextmanager
def turns() -> Iterator[Turn]:
    """A turn whose gate has the loggers of this process, at INFO, until the end."""
    logging.getLogger().setLevel(logging.INFO)
    gate = Gate(component="billing")
    gate.begin(worker="api-1", pid=42, host="h", snapshot=None)
    gate.attach(STDLIB)
    try:
        yield Turn(gate)
    finally:
        gate.close()
