"""The guard around the commands that change something."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from logbus.collectors import authority as authority_module
from logbus.collectors.authority import BURST, FRESH_S, RATE, Authority
from logbus.collectors.commands import Answer, Asker, Wait
from logbus.errors import ConfigurationError, ControlError, LogbusError, PageError
from tests.stranger import NOBODY
from tests.unit.test_audit import Desk

ME = Asker(b"me", os.geteuid(), 42)


class Guarded:
    """A command that counts how often it was done, behind an authority."""

    def __init__(self, directory: Path) -> None:
        self.desk = Desk(directory)
        self.done: list[dict[str, Any]] = []
        self.error: LogbusError | None = None
        self.wait: Wait | None = None
        self.authority = Authority("eu", self.desk.audit, version=lambda: len(self.done))
        self.command = self.authority.guard(self._do)
        self._number = 0
        #: Epoch seconds, by the clock of the test.
        self.now = time.time

    def ask(self, asker: Asker = ME, **document: Any) -> Answer | Wait:
        """Gives the command; id and time are good ones unless the document has others."""
        self._number += 1
        envelope = {"command": "change", "id": f"command-{self._number}", "at": self.now()}
        return self.command({**envelope, **document}, asker)

    def _do(self, document: dict[str, Any], asker: Asker) -> Answer | Wait:
        if self.error is not None:
            raise self.error
        self.done.append(document)
        return self.wait or {"number": len(self.done)}


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    """A guarded command."""
    return Guarded(tmp_path)


@pytest.fixture
def clock(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The authority's clock; it stands until a test moves it."""
    begun, epoch = time.monotonic(), time.time()
    clock = SimpleNamespace(passed=0.0)
    clock.monotonic, clock.time = lambda: begun + clock.passed, lambda: epoch + clock.passed
    guarded.now = clock.time
    monkeypatch.setattr(authority_module, "time", clock)
    return clock


def test_the_owner_s_command_is_done_and_audited(guarded: Guarded) -> None:
    """Once, with the version after it."""
    assert guarded.ask(level=10) == {"number": 1}
    [entry] = guarded.desk.entries
    assert (entry["command"], entry["outcome"], entry["uid"], entry["pid"]) == ("change", "done", os.geteuid(), 42)
    assert (entry["what"], entry["version"]) == ({"level": 10}, 1)
    assert not guarded.authority.refused


def test_another_user_is_refused(guarded: Guarded) -> None:
    """Whoever gets past the door: it is counted and audited, and nothing is done."""
    with pytest.raises(ControlError, match=f"own user .*, found uid {NOBODY}"):
        guarded.ask(Asker(b"", NOBODY, 1))
    assert guarded.done == []
    assert guarded.authority.refused == {"not_allowed": 1}
    assert [(entry["outcome"], entry["uid"]) for entry in guarded.desk.entries] == [("refused", NOBODY)]


def test_where_nobody_vouches_it_is_done(guarded: Guarded) -> None:
    """On tcp the kernel says nothing; the audit says so."""
    guarded.ask(Asker(b""), **{"from": {"user": "alice", "host": "h", "pid": 9}})
    [entry] = guarded.desk.entries
    assert (entry["uid"], entry["user"], entry["vouched"]) == (None, "alice", False)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"id": None}, '"id"'),
        ({"id": "short"}, '"id"'),
        ({"id": "x" * 65}, '"id"'),
        ({"id": 12345678}, '"id"'),
        ({"at": None}, '"at"'),
        ({"at": "now"}, '"at"'),
        ({"at": 0}, "a command of now"),
        ({"at": float("nan")}, '"at"'),
        ({"at": -1}, '"at"'),
        ({"at": 1e300}, '"at"'),
        ({"at": 10**400}, '"at"'),
    ],
    ids=range(11),
)
def test_a_command_without_id_and_time_is_refused(guarded: Guarded, document: dict[str, Any], words: str) -> None:
    """Without them nobody could tell a command from its recording."""
    with pytest.raises(ControlError, match=words):
        guarded.ask(**document)
    assert guarded.done == []
    assert guarded.authority.refused == {"stale": 1}


@pytest.mark.parametrize("age", [FRESH_S + 1, -FRESH_S - 1])
def test_a_command_of_another_time_is_refused(guarded: Guarded, age: float) -> None:
    """A minute more or less is now."""
    guarded.ask(at=time.time() - age * 0.9)
    with pytest.raises(ControlError, match="s old"):
        guarded.ask(at=time.time() - age)
    assert len(guarded.done) == 1


def test_the_same_command_is_done_once(guarded: Guarded) -> None:
    """Its repetition gets the same answer; another command with its id is refused."""
    at = time.time()
    for _ in range(3):
        assert guarded.ask(id="x" * 16, at=at, level=10) == {"number": 1}
    with pytest.raises(ControlError, match="no other command"):
        guarded.ask(id="x" * 16, at=at, level=20)
    assert len(guarded.done) == 1
    assert guarded.authority.refused == {"replayed": 1}
    assert [entry["outcome"] for entry in guarded.desk.entries] == ["done", "refused"]


def test_the_same_refusal_is_given_again(guarded: Guarded) -> None:
    """A command that was refused stays refused under its id, also when it would be taken now."""
    at = time.time()
    guarded.error = ConfigurationError(["no such component"])
    with pytest.raises(ConfigurationError):
        guarded.ask(id="x" * 16, at=at)
    guarded.error = None
    with pytest.raises(ConfigurationError, match="no such component"):
        guarded.ask(id="x" * 16, at=at)
    assert guarded.done == []


def test_a_wait_is_ended_once(guarded: Guarded) -> None:
    """Whoever asks twice with one id waits for one answer, before and after it is made."""
    made: list[int] = []

    def answer() -> Answer:
        made.append(1)
        return {"n": len(made)}

    ready = False
    guarded.wait = Wait(time.monotonic() + 60, lambda: ready, answer)
    at = time.time()
    first = guarded.ask(id="x" * 16, at=at)
    second = guarded.ask(id="x" * 16, at=at)
    assert isinstance(first, Wait)
    assert isinstance(second, Wait)
    assert not first.ready()
    ready = True
    assert first.ready()
    assert first.answer() == second.answer() == {"n": 1}
    third = guarded.ask(id="x" * 16, at=at)
    ready = False
    assert isinstance(third, Wait)
    assert third.ready()
    assert third.answer() == {"n": 1}


def test_a_flood_is_refused(guarded: Guarded, clock: SimpleNamespace) -> None:
    """So many at once and so many a second; what is refused for its number may come again."""
    for _ in range(BURST):
        guarded.ask()
    with pytest.raises(ControlError, match="too many commands"):
        guarded.ask(id="x" * 16, at=clock.time())
    at = clock.time()
    clock.passed = 1.01 / RATE
    guarded.ask(id="x" * 16, at=at)
    with pytest.raises(ControlError, match="too many"):
        guarded.ask()
    assert len(guarded.done) == BURST + 1
    assert guarded.authority.refused == {"too_many": 2}
    clock.passed = 3600
    for _ in range(BURST):
        guarded.ask()


def test_nothing_fresh_is_forgotten(guarded: Guarded, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as a command would be fresh its id is known, at the highest rate; older ones cost no memory."""
    monkeypatch.setattr("logbus.collectors.audit.Audit._write", lambda self, line: None)
    sent = []
    for number in range(int(3 * FRESH_S * RATE)):
        clock.passed = number / RATE
        sent.append((f"number-{number}", clock.time()))
        guarded.ask(id=sent[-1][0], at=sent[-1][1])
    done = len(guarded.done)
    for ident, at in sent:
        with contextlib.suppress(ControlError):
            guarded.ask(id=ident, at=at)
    assert guarded.authority.refused.keys() == {"stale"}
    assert len(guarded.done) == done == len(sent)
    assert len(guarded.authority._done) < 2 * FRESH_S * RATE


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ConfigurationError(["wrong"]), "invalid"), (PageError("/p", "full"), "failed"), (ControlError("no"), "failed")],
)
def test_what_a_command_refuses_is_counted(guarded: Guarded, error: LogbusError, reason: str) -> None:
    """A mistake of the asker is told from a failure of ours; the error comes out as it was."""
    guarded.error = error
    with pytest.raises(type(error)) as raised:
        guarded.ask()
    assert raised.value is error
    assert guarded.authority.refused == {reason: 1}
    assert guarded.desk.entries[0]["error"] == str(error)


def test_a_command_for_another_collector_is_refused(guarded: Guarded) -> None:
    """By its name, if it has one."""
    guarded.ask(name="eu")
    guarded.ask(name=None)
    with pytest.raises(ControlError, match="expected collector 'us', found 'eu'"):
        guarded.ask(name="us")
    assert guarded.authority.refused == {"misdirected": 1}
