"""The two slots under a page: what a kill, stale bytes and damage leave of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.page import Page
from tests.page_owner import SLOT, Owner, reopened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the page is."""
    return tmp_path / "page"


class Tape:
    """Stands in for a map and its words, and keeps every store in the order of the program."""

    def __init__(self, page: Page) -> None:
        self.stores: list[tuple[int, bytes]] = []
        slots: Any = page._slots
        self.map, self.words = slots.map, slots.words
        self.before = bytes(self.map)
        slots.map, slots.words = _Bytes(self), _Words(self)

    def images(self) -> Iterator[bytes]:
        """The file after each store, and in the middle of each copy."""
        image = bytearray(self.before)
        yield bytes(image)
        for offset, data in self.stores:
            # A word is one instruction; a copy may stop anywhere, and need not go from left to right.
            middle = len(data) // 2
            for part in (slice(0, middle), slice(middle, None)) if len(data) != 8 else ():
                torn = bytearray(image)
                torn[offset + (part.start or 0) : offset + (part.stop or len(data))] = data[part]
                yield bytes(torn)
            image[offset : offset + len(data)] = data
            yield bytes(image)


class _Bytes:
    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def __getitem__(self, at: slice) -> bytes:
        return bytes(self.tape.map[at])

    def __setitem__(self, at: slice, data: bytes) -> None:
        self.tape.stores.append((at.start, bytes(data)))
        self.tape.map[at] = data

    def close(self) -> None:
        self.tape.map.close()


class _Words:
    def __init__(self, tape: Tape) -> None:
        self.tape = tape

    def __getitem__(self, at: int) -> int:
        return int(self.tape.words[at])

    def __setitem__(self, at: int, value: int) -> None:
        self.tape.words[at] = value
        self.tape.stores.append((at * 8, self.tape.map[at * 8 : at * 8 + 8]))

    def release(self) -> None:
        self.tape.words.release()


@pytest.mark.parametrize("rounds", [1, 2, 3], ids=["new slot", "other slot", "reused slot"])
def test_a_kill_between_or_inside_any_two_stores_leaves_a_committed_state(path: Path, rounds: int) -> None:
    """Every image that a killed process can leave recovers to a state that was committed, and to the last or next."""
    with closing(Owner(path)) as owner:
        for number in range(rounds * 8):
            owner.state = owner.state[-60:]
            owner.append(b"<%d>" % number * 10)
        tape = Tape(owner.page)
        allowed = [owner.state]
        for number in range(30):
            owner.state = owner.state[-60:]
            owner.append(b"(%d)" % number * 7)
            allowed.append(owner.state)
        assert len({offset >= SLOT for offset, _ in tape.stores}) == 2, "both slots were written"
        images = list(tape.images())
    reached = 0
    image_path = path.with_name("image")
    for image in images:
        image_path.write_bytes(image)
        with closing(Page.open(image_path, name="t", snapshot=bytes)) as page:
            found = b"".join(page.recover())
            assert page.quarantined is None
            assert page.damage is None
        # Shrinking is not an entry, so that states are compared by what they end in.
        matches = [number for number, state in enumerate(allowed) if found.endswith(state[-40:])]
        assert matches, found
        assert reached <= matches[-1] <= reached + 1
        reached = matches[-1]
    assert reached == len(allowed) - 1


def test_stale_bytes_of_an_older_generation_are_no_entries(path: Path) -> None:
    """Even with the end word damaged so that it is an old entry's, whole and in place, that entry stays dead."""
    with closing(Owner(path)) as owner:
        owner.append(b"S" * 24)  # generation 1, slot 0
        owner.append(b"A" * 24)
        owner.append(b"stale! stale! stale! sta")
        word_at = 32 + 2 * 32
        stale = path.read_bytes()[word_at : word_at + 8]
        owner.state = b"S" * 24
        owner.page.compact()  # generation 2, slot 1
        owner.page.compact()  # generation 3, slot 0 again
        owner.append(b"B" * 24)
        assert path.read_bytes()[word_at : word_at + 32] == bytes(8) + b"stale! stale! stale! sta"
    with path.open("r+b") as file:
        file.seek(word_at)
        file.write(stale)
    with closing(Owner(path)) as owner:
        assert owner.state == b"S" * 24 + b"B" * 24
        assert owner.page.damage == "entry 2 of generation 3 fails its check"


def test_a_damaged_generation_falls_back_to_the_one_before(path: Path) -> None:
    """When the newest snapshot can't be read the state is an earlier one, which is said; new entries go on from it."""
    with closing(Owner(path)) as owner:
        owner.append(b"old")
        owner.state = b"new"
        owner.page.compact()
    image = bytearray(path.read_bytes())
    image[SLOT + 40] ^= 1  # in the snapshot of generation 2
    path.write_bytes(image)
    with closing(Owner(path)) as owner:
        assert owner.state == b"old"
        assert owner.page.damage == "entry 0 of generation 2 fails its check"
        assert owner.page.quarantined is None
        owner.append(b"er")
    assert reopened(path) == b"older"


def test_a_damaged_header_is_said_and_its_generation_not_given_again(path: Path) -> None:
    """A slot whose header fails may have been the newest: the state is an earlier one and its number is skipped."""
    with closing(Owner(path)) as owner:
        owner.append(b"old")
        owner.state = b"new"
        owner.page.compact()
    image = bytearray(path.read_bytes())
    image[SLOT + 8] ^= 1  # the number of the generation
    path.write_bytes(image)
    with closing(Owner(path)) as owner:
        assert owner.state == b"old"
        assert owner.page.damage == "the header of slot 1 fails its check"
        owner.append(b"er")
    assert int.from_bytes(path.read_bytes()[SLOT + 8 : SLOT + 16], "little") == 3
    assert reopened(path) == b"older"
