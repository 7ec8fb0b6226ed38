"""The page under any sequence of entries and owners, and under any damage to its file."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from logbus.collectors.page import Page

KEYS = st.integers(0, 9).map(str)
VALUES = st.text(st.characters(codec="ascii"), max_size=120)


class Store:
    """An owner: a dictionary whose changes are absolute values, as those of the ledger are."""

    def __init__(self, path: Path, *, slot_bytes: int = 256) -> None:
        self.state: dict[str, str] = {}
        self.page = Page.open(path, name="t", snapshot=self._snapshot, slot_bytes=slot_bytes)
        for entry in self.page.recover():
            self.state.update(json.loads(entry))

    def set(self, changes: dict[str, str]) -> None:
        """Commits some values together."""
        self.state.update(changes)
        self.page.append(json.dumps(changes).encode())

    def close(self) -> None:
        """Gives the page up."""
        self.page.close()

    def _snapshot(self) -> bytes:
        return json.dumps(self.state).encode()


class AnyLife(RuleBasedStateMachine):
    """Owners that come and go, with and without a last word; the state is always what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="lb-", dir="/tmp"))
        self.expected: dict[str, str] = {}

    @initialize(slot_bytes=st.sampled_from([128, 256, 1024]))
    def begin(self, slot_bytes: int) -> None:
        """The first owner makes the page."""
        self.slot_bytes = slot_bytes
        self.store = Store(self.directory / "page", slot_bytes=slot_bytes)

    @rule(changes=st.dictionaries(KEYS, VALUES, min_size=1, max_size=3))
    def set(self, changes: dict[str, str]) -> None:
        """A change is committed."""
        self.store.set(changes)
        self.expected.update(changes)

    @rule()
    def compact(self) -> None:
        """The owner begins a generation of its own will."""
        self.store.page.compact()

    @rule()
    def read_back(self) -> None:
        """The owner reads its own page, as after a change that failed."""
        found: dict[str, str] = {}
        for entry in self.store.page.recover():
            found.update(json.loads(entry))
        assert found == self.expected

    @rule()
    def reopen(self) -> None:
        """The next owner finds the state."""
        self.store.close()
        self.store = Store(self.directory / "page", slot_bytes=self.slot_bytes)

    @precondition(lambda self: (self.directory / "page").exists())
    @rule()
    def crash(self) -> None:
        """The file as it is at this moment, found by another owner, holds the state."""
        image = self.directory / "image"
        shutil.copyfile(self.directory / "page", image)
        with closing(Store(image)) as found:
            assert found.state == self.expected
            assert found.page.quarantined is None
        image.unlink()

    @invariant()
    def nothing_is_lost(self) -> None:
        """What the owner knows is what was committed, and the page is sound."""
        if hasattr(self, "store"):
            assert self.store.state == self.expected
            assert self.store.page.quarantined is None
            assert self.store.page.damage is None

    def teardown(self) -> None:
        """Leaves nothing."""
        self.store.close()
        shutil.rmtree(self.directory)


TestAnyLife = AnyLife.TestCase


@given(
    changes=st.lists(st.dictionaries(KEYS, VALUES, min_size=1, max_size=2), min_size=1, max_size=12),
    damage=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=2),
    cut=st.none() | st.floats(0, 1, exclude_max=True),
)
def test_damage_gives_a_committed_state_or_puts_the_file_aside(
    changes: list[dict[str, str]], damage: list[tuple[float, int]], cut: float | None
) -> None:
    """After flipped bytes and a cut the state is one that was committed; if it is not the last, that is said."""
    with tempfile.TemporaryDirectory(prefix="lb-", dir="/tmp") as directory:
        path = Path(directory) / "page"
        committed: list[dict[str, str]] = []
        with closing(Store(path)) as store:
            for change in changes:
                store.set(change)
                committed.append(dict(store.state))
        image = bytearray(path.read_bytes())
        for place, bits in damage:
            image[int(place * len(image))] ^= bits
        path.write_bytes(image if cut is None else image[: int(cut * len(image))])

        with closing(Store(path)) as found:
            if found.page.quarantined is not None:
                assert found.state == {}
                assert found.page.damage
            else:
                assert found.state in committed
                assert found.page.damage or found.state == committed[-1]
            found.set({"0": "after"})
            after = found.state
        with closing(Store(path)) as again:
            assert again.state == after
            assert again.page.damage is None
