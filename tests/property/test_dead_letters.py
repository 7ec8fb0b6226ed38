"""The store of dead letters against a plain list: buried, listed, removed, purged, killed, started again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from logbus.collectors.dead_letters.store import DeadLetters
from logbus.collectors.sinks.base import Refusal

#: Room for all that a run can bury, in segments of 8 KiB.
MAX_BYTES = 256 * 1024
SINKS = st.sampled_from(["web", "logs", "ø/../x"])


class Store(RuleBasedStateMachine):
    """Letters are (number, sink, line, time) in the order of their numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="lb-")
        self.now = 1000.0
        self.letters: list[tuple[int, str, bytes, float]] = []
        self.told: list[str] = []
        self.store: DeadLetters | None = None
        self.next = 1
        self.start()

    def start(self) -> None:
        """A life begins; the one before has closed its files, as every process does in the end."""
        if self.store is not None:
            for grave in self.store._yard.graves:
                grave.close()
            self.store._yard._folder.close()
        self.store = DeadLetters(
            Path(self.directory.name), self.told.append, max_bytes=MAX_BYTES, clock=lambda: self.now
        )
        self.store.open()
        self.next = max((letter[0] + 1 for letter in self.letters), default=1)

    @property
    def yard(self) -> DeadLetters:
        """The store of this life."""
        assert self.store is not None
        return self.store

    @rule(sink=SINKS, sizes=st.lists(st.integers(1, 500), min_size=1, max_size=8))
    def bury(self, sink: str, sizes: list[int]) -> None:
        """Lines of these lengths are refused."""
        lines = [b"x" * size for size in sizes]
        self.yard.bury(sink, [Refusal(b"".join(line + b"\n" for line in lines), len(lines), "no")], "json")
        for line in lines:
            self.letters.append((self.next, sink, line, self.now))
            self.next += 1

    @rule()
    def wait(self) -> None:
        """Time passes."""
        self.now += 10

    @precondition(lambda self: self.letters)
    @rule(choice=st.data())
    def remove(self, choice: st.DataObject) -> None:
        """Some go, and some numbers that nobody has."""
        numbers = choice.draw(st.sets(st.sampled_from([*[letter[0] for letter in self.letters], 10**6]), max_size=8))
        gone = [letter for letter in self.letters if letter[0] in numbers]
        assert self.yard.remove(numbers) == len(gone)
        self.letters = [letter for letter in self.letters if letter not in gone]

    @rule(sink=st.none() | SINKS, age=st.none() | st.integers(0, 40))
    def purge(self, sink: str | None, age: int | None) -> None:
        """Those of a sink, or of an age."""
        before = float("inf") if age is None else self.now - age
        gone = [letter for letter in self.letters if sink in (None, letter[1]) and letter[3] < before]
        assert self.yard.purge(sink=sink, before=before) == len(gone)
        self.letters = [letter for letter in self.letters if letter not in gone]

    @rule()
    def kill(self) -> None:
        """The process dies, and another one comes."""
        self.start()

    @rule()
    def restart(self) -> None:
        """It ends well, and another one comes."""
        self.yard.close()
        self.start()

    @rule(sink=st.none() | SINKS, after=st.integers(0, 30), most=st.integers(1, 9), newest=st.booleans())
    def page(self, sink: str | None, after: int, most: int, newest: bool) -> None:
        """A page is the first of what was asked for, and knows whether there is more."""
        page = self.yard.page(sink=sink, after=after, newest=newest, max_letters=most, max_bytes=10**9)
        wanted = [letter[0] for letter in self.letters if sink in (None, letter[1]) and letter[0] > after]
        wanted = wanted[::-1] if newest else wanted
        assert [letter.number for letter in page.letters] == wanted[:most]
        assert page.more == (len(wanted) > most)

    @invariant()
    def all_are_there(self) -> None:
        """Each letter once, with what it says, in order; the counts say the same, and nothing is wrong."""
        found = self.yard.page(max_letters=10**6, max_bytes=10**9).letters
        assert [(one.number, one.sink, one.line, one.time_us / 1e6) for one in found] == self.letters
        assert sum(self.yard.counts.values()) == len(self.letters)
        assert self.told == []

    def teardown(self) -> None:
        """Leaves nothing behind."""
        self.yard.close()
        self.directory.cleanup()


Store.TestCase.settings = settings(stateful_step_count=25)
TestStore = Store.TestCase
TestStore.__doc__ = "Whatever happens to it, in whatever order, the store has exactly the letters that it should."
