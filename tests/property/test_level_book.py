"""The protocol of levels under any history: every worker ends on the last version, and none goes backwards.

The book and the rule by which workers take what they hear are the real ones; the network is a list. A worker hears
some of what is published, in order; it reconnects at any time and is welcomed; somebody replays what was once said;
collectors stop and start, with and without their state.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logbus.collectors import levels as levels_module
from logbus.collectors.ledger import Ledger
from logbus.collectors.levels import FILE_NAME, LevelBook
from logbus.rules import Levels, supersedes

SELECTORS = st.sampled_from(["", "rotator", "health", "rotator.sync"])
NUMBERS = st.sampled_from([5, 10, 20, 30])
WORKERS = st.integers(0, 3)


class Worker:
    """What a worker makes of what it hears: the rule of the protocol, and a look at every step."""

    def __init__(self, snapshot: Levels | None) -> None:
        self.current = snapshot
        self.connected = False
        self.seen: dict[str, int] = {}
        if snapshot is not None:
            self.seen[snapshot.ledger] = snapshot.version

    def hear(self, offered: Levels, *, welcome: bool) -> None:
        """Takes it or not."""
        before = self.current
        if not supersedes(offered, before, welcome=welcome):
            return
        if before is not None and before.ledger == offered.ledger:
            assert offered.version > before.version, "went backwards"
        self.current = offered


class AnyHistory(RuleBasedStateMachine):
    """Collectors, orders, time, workers and a replaying stranger, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
        self.snapshot = self.directory / "control.levels"
        self.workers: dict[int, Worker] = {}
        self.said: list[Levels] = []
        self.losing: set[int] = set()
        self.passed = 0.0
        begun, epoch = time.monotonic(), time.time()
        fake = SimpleNamespace(monotonic=lambda: begun + self.passed, time=lambda: epoch + self.passed)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(levels_module, "time", fake)
        #: What each rule that was set and not taken back says, and when it ends.
        self.model: dict[str, tuple[int, float | None]] = {}
        self.running = False

    @initialize()
    def begin(self) -> None:
        """The first collector."""
        self.start()

    def teardown(self) -> None:
        """Ends the last collector."""
        self.stop()
        self.patch.undo()
        shutil.rmtree(self.directory)

    def start(self) -> None:
        """A collector starts: its book is open before anybody can connect."""
        self.ledger = Ledger.open(self.directory / "state", name="t")
        self.book = LevelBook(
            self.directory / "state", self.ledger, snapshot=self.snapshot, publish=self.publish, tell=self.tell
        )
        self.said.append(self.book.levels)
        self.running = True
        self.forget_what_ended()

    def stop(self) -> None:
        """A collector ends: every connection with it."""
        if self.running:
            self.ledger.close()
            self.running = False
        for worker in self.workers.values():
            worker.connected = False

    def tell(self, text: str) -> None:
        """Nothing is wrong with a file here."""
        raise AssertionError(text)

    def publish(self, levels: Levels) -> None:
        """To those who are connected, but for those who lose it."""
        assert json.loads((self.directory / "state" / FILE_NAME).read_text()) == levels.document()
        assert Levels.of(json.loads(self.snapshot.read_text())) == levels
        self.said.append(levels)
        for number, worker in self.workers.items():
            if worker.connected and number not in self.losing:
                worker.hear(levels, welcome=False)
        self.losing.clear()

    def forget_what_ended(self) -> None:
        """What the model knows of time."""
        self.model = {
            selector: (level, end) for selector, (level, end) in self.model.items() if end is None or end > self.passed
        }

    @precondition(lambda self: self.running)
    @rule(selector=SELECTORS, level=NUMBERS, seconds=st.none() | st.sampled_from([1.0, 10.0]), losing=st.sets(WORKERS))
    def set_level(self, selector: str, level: int, seconds: float | None, losing: set[int]) -> None:
        """An order."""
        self.losing = losing
        self.book.set(selector, level, seconds=seconds)
        self.model[selector] = level, None if seconds is None else self.passed + seconds

    @precondition(lambda self: self.running)
    @rule(selector=st.none() | SELECTORS, losing=st.sets(WORKERS))
    def reset_level(self, selector: str | None, losing: set[int]) -> None:
        """An order is taken back."""
        self.losing = losing
        removed = {found.selector for found in self.book.reset(selector)}
        assert removed == {known for known in self.model if selector in (None, known)}
        self.model = {known: value for known, value in self.model.items() if known not in removed}
        self.losing.clear()

    @rule(seconds=st.sampled_from([0.5, 5.0, 20.0]), losing=st.sets(WORKERS))
    def wait(self, seconds: float, losing: set[int]) -> None:
        """Time passes, and the collector, if there is one, looks at the clock."""
        self.passed += seconds
        if self.running:
            self.losing = losing
            self.book.expire()
            self.losing.clear()
            self.forget_what_ended()

    @rule(how=st.sampled_from(["stop", "restart", "restart", "lose state", "lose ledger", "lose snapshot"]))
    def disturb(self, how: str) -> None:
        """A collector ends, and perhaps starts, with what is left of its state."""
        self.stop()
        if how == "lose state":
            shutil.rmtree(self.directory / "state", ignore_errors=True)
            self.model.clear()
        elif how == "lose ledger":
            (self.directory / "state" / "ledger").unlink(missing_ok=True)
        elif how == "lose snapshot":
            self.snapshot.unlink(missing_ok=True)
        if how != "stop":
            self.start()

    @rule(number=WORKERS)
    def begin_worker(self, number: int) -> None:
        """A worker starts: it reads the snapshot and is not connected yet."""
        found = Levels.of(json.loads(self.snapshot.read_text())) if self.snapshot.exists() else None
        self.workers[number] = Worker(found)

    @precondition(lambda self: self.running and self.workers)
    @rule(data=st.data())
    def connect(self, data: st.DataObject) -> None:
        """A connection is made, anew or again: it is welcomed with what is in force."""
        worker = self.workers[data.draw(st.sampled_from(sorted(self.workers)))]
        worker.connected = True
        worker.hear(self.book.levels, welcome=True)
        assert worker.current == self.book.levels

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def disconnect(self, data: st.DataObject) -> None:
        """A connection is lost."""
        self.workers[data.draw(st.sampled_from(sorted(self.workers)))].connected = False

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        """Somebody says again, as news, what was said before: it changes no worker that knows a later word."""
        worker = self.workers[data.draw(st.sampled_from(sorted(self.workers)))]
        old, before = data.draw(st.sampled_from(self.said)), worker.current
        worker.hear(old, welcome=False)
        if before is not None and (old.ledger != before.ledger or old.version <= before.version):
            assert worker.current == before

    @invariant()
    def in_force_is_what_was_said(self) -> None:
        """Rules that were set, not taken back and not over; their numbers are those of their ledger."""
        if not self.running:
            return
        levels = self.book.levels
        ended = {selector for selector, (_, end) in self.model.items() if end is not None and end <= self.passed}
        found = {found.selector: found.level for found in levels.rules}
        assert {selector: level for selector, (level, _) in self.model.items()} == found, ended
        assert levels.ledger == self.ledger.id
        assert all(0 < found.version <= levels.version for found in levels.rules)
        mine = [said.version for said in self.said if said.ledger == levels.ledger]
        assert mine == sorted(set(mine)), "a version was given out twice"

    @invariant()
    def whoever_connects_ends_on_the_last_version(self) -> None:
        """A worker that missed something has it after the next connection, or the next word."""
        if not self.running:
            return
        for worker in self.workers.values():
            copy = Worker(worker.current)
            copy.hear(self.book.levels, welcome=True)
            assert copy.current == self.book.levels
            known = worker.current
            if known is not None and known.ledger == self.book.levels.ledger:
                assert known.version <= self.book.levels.version


TestAnyHistory = AnyHistory.TestCase
