"""The wait for workers to confirm a version."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.confirm import Confirmation, is_stopped
from logbus.collectors.mark import Mark, decode_mark
from logbus.collectors.roll import LIVE_S, QUIET_S
from logbus.rules import Levels
from logbus.wire import pack_payload
from tests.eventually import eventually
from tests.frames import mark_payload, producer
from tests.rolled import Clock, Rolled, page

A, B, C = producer(1), producer(2), producer(3)
LEVELS = Levels("ledger", 7)


def said(version: int = 7, ledger: str = "ledger", **options: Any) -> Mark:
    """A MARK that confirms."""
    return decode_mark(pack_payload(mark_payload(sent=0, confirmed=(version, ledger), **options)))


class Hall:
    """A roll, its listeners, and workers that say what a test makes them say."""

    def __init__(self, rolled: Rolled) -> None:
        self.rolled = rolled
        self.listeners: set[bytes] = set()

    def enter(self, who: bytes, mark: Mark, *, bye: bool = False) -> None:
        """Enters a MARK in the roll."""
        with self.rolled.ledger.transaction() as change:
            self.rolled.roll.mark(change, who, mark, bye=bye)

    def worker(self, who: bytes, name: str = "w", *, listens: bool = True) -> None:
        """A worker that has not confirmed."""
        self.enter(who, said(6, worker=name))
        if listens:
            self.listeners.add(who)

    def wait(self, *patterns: str) -> Confirmation:
        """A confirmation of version 7, published now."""
        return Confirmation(
            LEVELS,
            self.rolled.roll,
            self.listeners,
            patterns=patterns or ("",),
            published_at=time.monotonic(),
            host=socket.gethostname(),
        )

    def hear(self, confirmation: Confirmation, who: bytes, mark: Mark | None = None) -> None:
        """A MARK as the collector takes it in: the roll first."""
        mark = mark or said()
        self.enter(who, mark)
        confirmation.heard(who, mark.level_version if mark.ledger == LEVELS.ledger else 0)


@pytest.fixture
def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hall]:
    """A hall; time of its roll stands."""
    clock = Clock()
    clock.install(monkeypatch)
    with closing(Rolled(tmp_path, clock)) as rolled:
        yield Hall(rolled)


def counted(confirmation: Confirmation) -> tuple[int, int]:
    """Confirmed, and of how many."""
    document = confirmation.document()
    return document["confirmed"], document["workers"]


def test_every_worker_is_waited_for(hall: Hall) -> None:
    """Ready with the last, in the time of the last; a repetition counts once."""
    hall.worker(A, "a")
    hall.worker(B, "b")
    wait = hall.wait()
    hall.hear(wait, A)
    hall.hear(wait, A)
    assert (wait.ready(), counted(wait)) == (False, (1, 2))
    [row] = wait.document()["unconfirmed"]
    assert row == {"worker": "b", "pid": 7, "host": "host", "state": "connected", "level_version": 6}
    hall.hear(wait, B)
    assert (wait.ready(), counted(wait)) == (True, (2, 2))
    assert 0 <= wait.document()["milliseconds"] < 10_000


@pytest.mark.parametrize(
    ("version", "ledger", "confirms"), [(8, "ledger", True), (6, "ledger", False), (9, "x", False)]
)
def test_what_confirms_is_this_version_or_a_later_one(hall: Hall, version: int, ledger: str, confirms: bool) -> None:
    """Numbers of another ledger say nothing."""
    hall.worker(A)
    wait = hall.wait()
    hall.hear(wait, A, said(version, ledger))
    assert wait.ready() is confirms
    if not confirms:
        assert wait.document()["unconfirmed"][0]["level_version"] == (6 if ledger == "ledger" else None)


def test_a_connection_without_a_word_is_waited_for(hall: Hall) -> None:
    """It is a worker that has logged nothing, and can be named only once it has said who it is."""
    hall.listeners.add(A)
    wait = hall.wait("api-*")
    assert not wait.ready()
    assert [row["worker"] for row in wait.document()["unconfirmed"]] == ["(not heard yet)"]
    hall.hear(wait, A, said(worker="api-1"))
    assert (wait.ready(), counted(wait)) == (True, (1, 1))


def test_a_confirmation_may_come_before_the_name(hall: Hall) -> None:
    """It counts where every worker is meant; where a pattern decides, it counts with the name."""
    hall.listeners.add(A)
    every, some = hall.wait(), hall.wait("api-*")
    for wait in (every, some):
        wait.heard(A, 7)
    assert (every.ready(), counted(every)) == (True, (1, 1))
    assert not some.ready()
    hall.hear(some, A, said(worker="api-1"))
    assert (some.ready(), counted(some)) == (True, (1, 1))


def test_who_turns_out_not_to_be_meant_is_not_counted(hall: Hall) -> None:
    """A connection that says another name was waited for in vain."""
    hall.listeners.add(A)
    wait = hall.wait("api-*")
    hall.hear(wait, A, said(worker="job-1"))
    assert (wait.ready(), counted(wait)) == (True, (0, 0))


def test_only_workers_of_a_pattern_are_counted(hall: Hall) -> None:
    """Of several patterns any may mean it."""
    for who, name in ((A, "api-1"), (B, "job-1"), (C, "web-1")):
        hall.worker(who, name)
    wait = hall.wait("api-*", "job-*")
    hall.hear(wait, C, said(worker="web-1"))
    hall.hear(wait, A, said(worker="api-1"))
    assert (wait.ready(), counted(wait)) == (False, (1, 2))
    hall.hear(wait, B, said(worker="job-1"))
    assert (wait.ready(), counted(wait)) == (True, (2, 2))


def test_who_comes_later_is_not_waited_for(hall: Hall) -> None:
    """It was welcomed with the new rules."""
    hall.worker(A)
    wait = hall.wait()
    hall.worker(B)
    hall.hear(wait, A)
    assert (wait.ready(), counted(wait)) == (True, (1, 1))


def test_who_goes_is_not_waited_for(hall: Hall) -> None:
    """A goodbye, a silence without a connection, or a death: neither waited for nor counted."""
    for who in (A, B):
        hall.worker(who)
    hall.worker(C, listens=False)
    wait = hall.wait()
    hall.enter(A, said(6), bye=True)
    with closing(page(hall.rolled, B, emitted=0, sent=0)):
        pass
    hall.listeners.discard(B)
    assert not wait.ready()
    assert {row["state"] for row in wait.document()["unconfirmed"]} == {"silent"}
    hall.rolled.sweep(*hall.listeners, after=QUIET_S + 0.01)
    assert counted(wait) == (0, 1)
    hall.rolled.clock.now += LIVE_S
    assert (wait.ready(), counted(wait)) == (True, (0, 0))
    assert wait.document()["milliseconds"] == 0


def test_who_confirmed_and_went_counts(hall: Hall) -> None:
    """It did log by the new rules."""
    hall.worker(A)
    wait = hall.wait()
    hall.hear(wait, A)
    hall.enter(A, said(), bye=True)
    hall.listeners.clear()
    assert counted(wait) == (1, 1)


def test_a_stopped_process_is_known() -> None:
    """By its state in /proc; one that runs, one that is not there and nonsense are not stopped."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        try:
            assert not is_stopped(process.pid)
            process.send_signal(signal.SIGSTOP)
            eventually(lambda: is_stopped(process.pid))
            process.send_signal(signal.SIGCONT)
            eventually(lambda: not is_stopped(process.pid))
        finally:
            process.kill()
    assert not is_stopped(process.pid)
    assert not is_stopped(os.getpid())
    assert not is_stopped(-1)


def test_a_stopped_worker_is_named_as_such_on_this_machine_only(hall: Hall) -> None:
    """A pid of another host says nothing about a process of ours."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        try:
            process.send_signal(signal.SIGSTOP)
            eventually(lambda: is_stopped(process.pid))
            for who, host in ((A, socket.gethostname()), (B, "elsewhere")):
                body = mark_payload(sent=0)
                body[0][:2] = [host, process.pid]
                hall.enter(who, decode_mark(pack_payload(body)))
                hall.listeners.add(who)
            states = {row["host"]: row["state"] for row in hall.wait().document()["unconfirmed"]}
            assert states == {socket.gethostname(): "stopped", "elsewhere": "connected"}
        finally:
            process.kill()
