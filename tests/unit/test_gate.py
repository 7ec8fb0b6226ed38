"""Rules come into force in every front, are confirmed when they have, and end by the worker's own clock."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from logbus.producers import gate as module
from logbus.producers.gate import Gate, read_snapshot
from logbus.rules import Levels, Rule, Table
from logbus.wire import MAX_NAMES
from tests.eventually import eventually


class RecordingFront:
    """A front that keeps what it is told; ``busy`` and ``broken`` make it refuse."""

    def __init__(self, name: str = "stdlib") -> None:
        self.name = name
        self.tables: list[Table] = []
        self.looks = 0
        self.left = 0
        self.loggers: list[str] = []
        self.busy = False
        self.broken = False
        self.gate: Gate | None = None

    def kind(self) -> str:
        """Always at the source."""
        return "source"

    def join(self, gate: Gate) -> None:
        """Remembers whom it serves."""
        self.gate = gate

    def leave(self) -> None:
        """Counts it."""
        self.left += 1

    def apply(self, table: Table) -> bool:
        """Keeps the table."""
        if self.broken:
            raise RuntimeError("broken")
        if not self.busy:
            self.tables.append(table)
        return not self.busy

    def look(self) -> bool:
        """Counts it."""
        self.looks += 1
        if self.broken:
            raise RuntimeError("broken")
        return not self.busy

    def names(self) -> Iterator[str]:
        """What the test put there."""
        return iter(self.loggers)


def levels(version: int, *rules: Rule, ledger: str = "a") -> Levels:
    """Rules of one ledger."""
    return Levels(ledger, version, rules)


@pytest.fixture
def front() -> RecordingFront:
    """A front."""
    return RecordingFront()


@pytest.fixture
def gate(front: RecordingFront) -> Gate:
    """A gate with that front, in a process of its own name."""
    gate = Gate()
    gate.begin(worker="api-1", pid=42, host="h", snapshot=None)
    gate.attach(front)
    return gate


def test_rules_come_into_force_and_are_confirmed(gate: Gate, front: RecordingFront) -> None:
    """The version is confirmed once the front has the table; older ones and those of strangers change nothing."""
    assert gate.confirmed() == (0, "", "stdlib=source", (0, 0, 0))
    assert gate.take(levels(3, Rule("rotator", 10)), welcome=True)
    assert front.tables[-1].decide("rotator").level == 10
    assert gate.confirmed()[:2] == (3, "a")
    for old in (levels(3), levels(2), levels(9, ledger="b")):
        assert not gate.take(old, welcome=False)
    assert gate.confirmed()[:2] == (3, "a")
    assert gate.take(levels(1, ledger="b"), welcome=True)
    assert gate.confirmed()[:2] == (1, "b")
    assert not front.tables[-1]


@pytest.mark.parametrize("trouble", ["busy", "broken"])
def test_a_front_that_cannot_is_asked_again(
    gate: Gate, front: RecordingFront, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Nothing is confirmed before every front has taken the rules; then it is, and a MARK should say so."""
    other = RecordingFront("loguru")
    gate.attach(other)
    setattr(other, trouble, True)
    assert gate.take(levels(1, Rule("", 10)), welcome=True)
    assert front.tables[-1].decide("x").level == 10
    assert gate.confirmed()[:2] == (0, "")
    assert gate.due <= time.monotonic() + module.RETRY_S
    setattr(other, trouble, False)
    eventually(gate.tick)
    assert gate.confirmed()[:3] == (1, "a", "stdlib=source,loguru=source")
    assert other.tables[-1].decide("x").level == 10


def test_a_rule_ends_without_the_collector(gate: Gate, front: RecordingFront) -> None:
    """At its time, by the clock of this process; the version stays what it was."""
    gate.take(levels(1, Rule("rotator", 10, expires=time.time() + 0.05), Rule("", 30)), welcome=True)
    assert front.tables[-1].decide("rotator").level == 10

    def ended() -> bool:
        gate.tick()
        return front.tables[-1].decide("rotator").level == 30

    eventually(ended)
    assert gate.confirmed()[:2] == (1, "a")


def test_a_rule_may_mean_another_worker(gate: Gate, front: RecordingFront) -> None:
    """Each worker holds patterns against its own name, pid and host; a child against its own."""
    gate.take(levels(1, Rule("", 10, worker="43")), welcome=True)
    assert front.tables[-1].decide("x").level is None
    gate.begin(worker="api-1", pid=43, host="h", snapshot=None)
    assert front.tables[-1].decide("x").level == 10


def test_names_are_told_once(gate: Gate, front: RecordingFront) -> None:
    """Only when there are new ones, and again to a new collector; a name that can't travel is left out."""
    front.loggers = ["b", "a", "", "n" * 101, "of a file \udcff", *cast("list[str]", [None, 5, b"x"])]
    assert gate.names() == ["a", "b"]
    assert gate.names() is None
    front.loggers.append("c")
    assert gate.names() == ["c"]
    gate.forget_told()
    assert gate.names() == ["a", "b", "c"]


def test_a_frame_takes_only_so_many_names(gate: Gate, front: RecordingFront) -> None:
    """The rest of a crowd of loggers is told with the next ones."""
    front.loggers = [f"n{number:04}" for number in range(MAX_NAMES + 2)]
    assert gate.names() == front.loggers[:MAX_NAMES]
    assert gate.names() == front.loggers[MAX_NAMES:]
    assert gate.names() is None


def test_a_look_that_fails_stops_nobody(gate: Gate, front: RecordingFront) -> None:
    """What the application has may do anything: the sender goes on."""
    front.broken = True
    gate.tick()
    assert front.looks == 1


def test_a_look_that_could_not_be_is_made_up_for_soon(gate: Gate, front: RecordingFront) -> None:
    """A front that is busy is asked again in milliseconds, until it has done all; what is in force stays confirmed."""
    gate.attach(front)
    gate.take(levels(1), welcome=True)
    front.busy = True
    gate.look_soon()
    gate.tick()
    assert gate.due - time.monotonic() < 0.5
    assert gate.in_force == (1, "a")
    before, front.busy = len(front.tables), False
    eventually(lambda: gate.tick() or len(front.tables) > before)
    gate.tick()
    assert len(front.tables) == before + 1
    assert gate.in_force == (1, "a")


def test_who_lost_something_is_looked_at_soon(gate: Gate, front: RecordingFront) -> None:
    """The sender is woken, and finds that it is time: nobody waits for the second to be over."""
    woken: list[bool] = []
    gate.wake = lambda: woken.append(True)
    gate.tick()
    gate.tick()
    assert front.looks == 1
    gate.look_soon()
    assert woken == [True]
    gate.tick()
    assert front.looks == 2


def test_a_front_that_leaves_holds_nobody_up(gate: Gate, front: RecordingFront) -> None:
    """What waited for it alone is confirmed."""
    other = RecordingFront("loguru")
    other.busy = True
    gate.attach(other)
    gate.take(levels(1), welcome=True)
    assert gate.confirmed()[0] == 0
    gate.detach(other)
    assert gate.confirmed()[0] == 1


def test_the_end_gives_everything_back(gate: Gate, front: RecordingFront) -> None:
    """Fronts are told to leave, once."""
    gate.close()
    gate.close()
    assert front.left == 1


def test_a_snapshot_is_in_force_before_anything_else(tmp_path: Path, front: RecordingFront) -> None:
    """What a producer finds in the file it has as it begins; a later life takes the file if it is newer."""
    path = tmp_path / "control.levels"
    path.write_text(json.dumps(levels(4, Rule("rotator", 10)).document()))
    gate = Gate()
    gate.attach(front)
    gate.begin(worker="w", pid=1, host="h", snapshot=path)
    assert front.tables[-1].decide("rotator").level == 10
    assert gate.confirmed()[:2] == (4, "a")
    gate.take(levels(6), welcome=False)
    gate.begin(worker="w", pid=2, host="h", snapshot=path)
    assert gate.confirmed()[:2] == (6, "a")
    path.write_text(json.dumps(levels(7, Rule("rotator", 40)).document()))
    gate.begin(worker="w", pid=3, host="h", snapshot=path)
    assert front.tables[-1].decide("rotator").level == 40


def test_a_snapshot_that_is_none_is_left_alone(tmp_path: Path) -> None:
    """No file, a directory, a link, a pipe, nonsense, too much: the worker starts without."""
    good = tmp_path / "good"
    good.write_text(json.dumps(levels(4).document()))
    assert read_snapshot(good) == levels(4)
    link, pipe, nonsense, huge = (tmp_path / name for name in ("link", "pipe", "nonsense", "huge"))
    link.symlink_to(good)
    os.mkfifo(pipe)
    nonsense.write_bytes(b"[" * 100_000)
    huge.write_bytes(b" " * (1 << 20) + b"{}")
    for path in (tmp_path / "none", tmp_path, link, pipe, nonsense, huge):
        assert read_snapshot(path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_snapshot_of_a_stranger_is_not_believed(tmp_path: Path) -> None:
    """It counts if it is ours, or of the owner of a directory in which nobody else can write."""
    path = tmp_path / "levels"
    path.write_text(json.dumps(levels(4).document()))
    os.chown(path, 65534, 65534)
    assert read_snapshot(path) is None
    os.chown(tmp_path, 65534, 65534)
    assert read_snapshot(path) == levels(4)
    tmp_path.chmod(0o777)
    assert read_snapshot(path) is None
