"""A collector that is killed again and again around changes of level, in seeded rounds."""

from __future__ import annotations

import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from logbus.errors import LogbusError
from tests.collector_command import CollectorCommand
from tests.faults.crowd import Operator


class Restarts:
    """A collector that is killed again and again around changes of level, and what the operator was told meanwhile.

    ``lost`` are the rounds in which a directory goes: "state" or "runtime" (the snapshot), while no collector runs.
    """

    def __init__(self, directories: Path, launch: Callable[[], CollectorCommand], seed: int, rounds: int) -> None:
        self.random = random.Random(seed)
        self._directories = directories
        self._launch = launch
        self._operator = Operator(directories / "runtime")
        # Each kind of round comes, in an order of its own.
        kinds = ["before", "during", "after"] * (rounds // 3 + 1)
        self.kinds = self.random.sample(kinds[:rounds], rounds)
        at = self.random.sample(range(rounds), max(2, rounds // 10))
        self.lost = {number: ("state", "runtime")[turn % 2] for turn, number in enumerate(at)}
        self.collector = launch()
        #: Orders whose answer came, and those that died with their collector.
        self.answered = self.unanswered = 0

    def round(self, number: int, names: set[str]) -> None:
        """One kill, a change of level beside it, and a new collector."""
        kind = self.kinds[number]
        if self.random.random() < 0.5:  # else the kill comes while they are still converging from the last round
            self._operator.wait_current(names)
        if kind == "before":
            self._order()
            self.collector.kill()
        elif kind == "during":
            self._order_and_kill(self.random.choice([0.0, 0.001, 0.003, 0.01, 0.03]))
        else:
            self.collector.kill()
        if lost := self.lost.get(number):
            self._lose(lost)
        self.collector = self._launch()
        if kind == "after":
            self._order()

    def _order(self) -> None:
        if self.random.random() < 0.2:
            self._operator.reset(wait=0.5)
        else:
            components = ["rotator", "cache", "proxywhirl.cache", "default"]
            seconds = self.random.choice([None, None, 0.5, 3600.0])
            self._operator.set_level(
                self.random.randrange(1, 50), self.random.choice(components), wait=0.5, for_seconds=seconds
            )
        self.answered += 1

    def _order_and_kill(self, after: float) -> None:
        """The kill lands ``after`` so many seconds: before the command was read, or anywhere until its answer."""
        failed: list[LogbusError] = []

        def order() -> None:
            try:
                self._operator.set_level(self.random.randrange(1, 50), wait=0.5, timeout=2.0)
            except LogbusError as error:
                failed.append(error)

        asking = threading.Thread(target=order)
        asking.start()
        asking.join(after)
        self.collector.kill()
        asking.join()
        self.answered += not failed
        self.unanswered += bool(failed)

    def _lose(self, what: str) -> None:
        if what == "state":
            shutil.rmtree(self._directories / "state")
        elif (snapshot := self._operator.control.levels) is not None:
            snapshot.unlink()
