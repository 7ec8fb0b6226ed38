"""Orders about dead letters: what is listed, and what a replay sends, leaves, and waits for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.commands import Answer, Asker, Wait
from logbus.collectors.dead_letters import replay as replaying
from logbus.collectors.dead_letters.clerk import Clerk
from logbus.collectors.dead_letters.orders import DeadLetterOrders
from logbus.collectors.dead_letters.replay import NO_LINE, NO_SINK, NO_TIME
from logbus.collectors.dead_letters.store import DeadLetters
from logbus.collectors.sinks.base import Refusal
from logbus.collectors.spool.spools import Spools
from logbus.collectors.writing.terms import Terms
from logbus.collectors.writing.writer import Writer
from logbus.errors import ConfigurationError, ControlError
from logbus.wire import SHUTDOWN
from tests.bench import Held, WriterBench
from tests.eventually import eventually

ME = Asker(b"me", os.geteuid(), 42)
TERMS = Terms(queue_bytes=1000, on_full="shed_lowest", initial_s=0.01, max_interval_s=0.01, dialect="json")


class Office:
    """Orders, a store, and writers of sinks that write when the test lets them."""

    def __init__(self, directory: Path) -> None:
        self.told: list[str] = []
        self.notes: list[tuple[str, dict[str, Any]]] = []
        self.bench = WriterBench(directory)
        self.store = DeadLetters(directory, self.told.append)
        self.store.open()
        self.writers: dict[str, Writer] = {}
        self.orders = DeadLetterOrders(
            self.store,
            self.writers.get,
            name="eu",
            mask=lambda key, value: value.replace("hunter2", "***"),
            note=self._note,
            tell=self.told.append,
        )
        self.handlers = {**self.orders.asked(), **self.orders.ordered()}

    def _note(self, message: str, **fields: Any) -> None:
        self.notes.append((message, fields))

    def sink(self, name: str = "web", *, terms: Terms = TERMS) -> Held:
        """A sink with a writer, whose gate is closed."""
        sink = Held(name)
        self.writers[name] = self.bench.start(sink, terms=terms)
        return sink

    def bury(self, *lines: str, sink: str = "web", dialect: str = "json") -> None:
        """Refuses these lines."""
        data = "".join(f"{line}\n" for line in lines).encode()
        self.store.bury(sink, [Refusal(data, len(lines), "answered 400 hunter2")], dialect)

    def begin(self, command: str, **document: Any) -> Wait:
        """Gives a command."""
        wait = self.handlers[command](document, ME)
        assert isinstance(wait, Wait)
        return wait

    def answer(self, command: str, **document: Any) -> Answer:
        """The answer to a command, once it is ready by itself."""
        wait = self.begin(command, **document)
        eventually(wait.ready)
        return wait.answer()

    def left(self) -> list[str]:
        """The lines of the letters that are there, when all that was begun is done."""
        return [letter["line"] for letter in reversed(self.answer("dead_letters", full=True)["letters"])]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    """An office."""
    office = Office(tmp_path)
    with office.bench:
        yield office
        office.orders.close()
        office.store.close()


def test_a_list_has_the_newest_first_and_goes_on_where_it_ended(office: Office) -> None:
    """A page says whether there is more; a reason is masked by the rules in force."""
    office.bury("one", "two", "three")
    office.bury("other", sink="logs")
    page = office.answer("dead_letters", limit=2)
    assert [letter["line"] for letter in page["letters"]] == ["other", "three"]
    assert (page["more"], page["sinks"], page["store"]["letters"]) == (True, {"web": 3, "logs": 1}, 4)
    page = office.answer("dead_letters", below=page["letters"][-1]["id"], sink="web")
    assert [letter["line"] for letter in page["letters"]] == ["two", "one"]
    assert page["more"] is False
    assert page["letters"][0] | {"time": ""} == {
        "id": 2, "time": "", "sink": "web", "reason": "answered 400 ***", "dialect": "json", "records": 1,
        "line": "two", "truncated": False,
    }  # fmt: skip


def test_a_long_line_is_cut_unless_all_of_it_is_wanted(office: Office) -> None:
    """And says that it was; bytes that are no text are escaped."""
    office.store.bury("web", [Refusal(b"\xff" + b"x" * 1000 + b"\n", 1, "no")], "json")
    [letter] = office.answer("dead_letters")["letters"]
    assert (letter["line"], letter["truncated"]) == ("\\xff" + "x" * 196, True)
    [letter] = office.answer("dead_letters", full=True)["letters"]
    assert (letter["line"], letter["truncated"]) == ("\\xff" + "x" * 1000, False)


def test_a_replay_offers_letters_anew_and_in_order(office: Office) -> None:
    """The ledger counts them as offered, they leave the store once the sink has them, and a record says so."""
    office.bury("one", "two", "three")
    sink = office.sink()
    writer = office.writers["web"]
    wait = office.begin("dead_letters_replay", sink="web")
    eventually(lambda: wait.ready() or writer.queued == 3)
    assert not wait.ready()
    assert writer.row.offered == 3
    assert office.left() == ["one", "two", "three"]
    sink.release()
    eventually(wait.ready)
    assert wait.answer() == {"replayed": 3, "sinks": {"web": 3}, "kept": [], "remaining": 0, "missing": 0}
    assert office.left() == []
    assert sink.lines() == [b"one", b"two", b"three"]
    assert office.bench.law(writer)
    assert office.notes == [
        (
            "3 dead letters of sink 'web' are offered to it again",
            {"event": "dead_letters_replayed", "sink": "web", "count": 3},
        )
    ]


def test_only_those_that_were_chosen_are_replayed(office: Office) -> None:
    """By their numbers, over all sinks; a number that no letter has is said to be missing."""
    office.bury("one", "two")
    office.bury("three", sink="logs")
    for name in ("web", "logs"):
        office.sink(name).release()
    answer = office.answer("dead_letters_replay", ids=[2, 3, 99])
    assert (answer["replayed"], answer["missing"], answer["sinks"]) == (2, 1, {"web": 1, "logs": 1})
    assert office.left() == ["one"]


def test_what_can_not_be_sent_stays_with_a_reason(office: Office) -> None:
    """For a sink that is not there, of another dialect, or of which nobody knows the line."""
    office.bury("gone", sink="old")
    office.bury("logfmt", dialect="logfmt")
    office.store.bury("web", [Refusal(b"", 5, "quota")], "json")
    office.bury("fine")
    office.sink().release()
    answer = office.answer("dead_letters_replay", all=True)
    reasons = {(kept["sink"], kept["reason"]): kept["letters"] for kept in answer["kept"]}
    dialects = "it was written as 'logfmt', and the sink takes 'json' now"
    assert reasons == {("old", NO_SINK): 1, ("web", dialects): 1, ("web", NO_LINE): 1}
    assert (answer["replayed"], answer["remaining"]) == (1, 0)
    assert office.left() == ["gone", "logfmt", ""]


def test_a_replay_fills_half_of_the_queue_and_goes_on_when_there_is_room(office: Office) -> None:
    """What is logged meanwhile needs the other half; nothing is shed for a letter, and no letter for others."""
    office.bury(*(f"{number:03} " + "x" * 95 for number in range(30)))
    sink = office.sink()
    writer = office.writers["web"]
    wait = office.begin("dead_letters_replay", all=True)
    eventually(lambda: wait.ready() or writer.queued == 5)
    for _ in range(3):
        assert not wait.ready()
        assert writer.queued == 5
    sink.release()
    eventually(wait.ready)
    assert wait.answer()["replayed"] == 30
    assert sink.wait(30, 10)
    assert [line[:3] for line in sink.lines()] == [b"%03d" % number for number in range(30)]
    assert sum(writer.row.dropped) == 0


def test_a_sink_without_room_holds_no_other_up(office: Office) -> None:
    """When the time is over the answer says how many remain; they are where they were, in order.

    So are those in a queue, until the sink has them.
    """
    lines = [f"{number:03} " + "x" * 95 for number in range(10)]
    office.bury(*lines)
    office.bury(*lines, sink="logs")
    slow = office.sink()  # which writes nothing
    free = office.sink("logs")
    free.release()
    wait = office.begin("dead_letters_replay", all=True)
    eventually(lambda: wait.ready() or free.wait(10, 0))
    answer = wait.answer()
    assert (answer["sinks"], answer["remaining"]) == ({"web": 5, "logs": 10}, 5)
    assert office.left() == lines
    with pytest.raises(ControlError, match="letters of the last replay are still in the queues"):
        office.begin("dead_letters_replay", all=True)
    slow.release()
    eventually(lambda: office.left() == lines[5:])
    assert office.answer("dead_letters_replay", all=True)["replayed"] == 5
    assert [line.decode() for line in slow.lines()] == lines


def test_a_letter_longer_than_half_of_the_queue_goes_when_it_is_empty(office: Office) -> None:
    """Else it would never go."""
    office.bury("x" * 900, "y" * 900)
    sink = office.sink()
    sink.release()
    assert office.answer("dead_letters_replay", all=True)["replayed"] == 2
    assert sink.wait(2, 10)


def test_what_a_queue_loses_is_still_a_letter(office: Office) -> None:
    """The sink is ended, or the collector killed, before it has taken them: they are there to be replayed again."""
    office.bury("one", "two")
    failing = office.sink()
    failing.failure = OSError("refused")
    writer = office.writers["web"]
    wait = office.begin("dead_letters_replay", all=True)
    eventually(lambda: wait.ready() or writer.queued == 2)
    failing.gate.set()
    writer.finish(time.monotonic() + 0.1)
    assert writer.row.dropped[SHUTDOWN] == 2
    eventually(wait.ready)
    answer = wait.answer()
    assert (answer["replayed"], answer["kept"]) == (0, [{"sink": "web", "reason": NO_TIME, "letters": 2}])
    assert office.left() == ["one", "two"]
    sink = office.sink()
    sink.release()
    assert office.answer("dead_letters_replay", all=True)["replayed"] == 2
    assert sink.lines() == [b"one", b"two"]
    assert office.left() == []


def test_letters_do_not_fill_the_spool_of_a_sink_that_fails(office: Office) -> None:
    """They would push out what is logged meanwhile, and one another; they wait until the sink takes records."""
    lines = [f"{number:03} " + "x" * 95 for number in range(20)]
    office.bury(*lines)
    office.bench.spools = Spools(office.bench.directory / "state", office.told.append)
    sink = Held("web")
    sink.failure = OSError("refused")
    sink.gate.set()
    terms = replace(TERMS, on_full="spool", spool_bytes=1 << 20)
    writer = office.writers["web"] = office.bench.start(sink, terms=terms, spools=office.bench.spools)
    office.bench.give(writer, "first")
    eventually(lambda: writer.row.state == "failing")
    office.bench.give(writer, "second", first=1)
    eventually(lambda: writer.row.spooled == 1)
    wait = office.begin("dead_letters_replay", all=True)
    for _ in range(3):
        assert not wait.ready()
        assert office.left() == lines
    assert writer.row.offered == 2
    sink.release()
    eventually(wait.ready)
    assert wait.answer()["replayed"] == 20
    assert [line.decode() for line in sink.lines()] == ["first", "second", *lines]
    assert office.left() == []


def test_what_is_refused_again_is_not_replayed_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a new number by then, which is beyond what was asked for."""
    monkeypatch.setattr(replaying, "PAGE_LETTERS", 2)
    office.bury(*"abcdef")
    sink = office.sink()
    keep: Callable[[bytes], None] = sink.write

    def refuse(data: bytes) -> None:
        keep(data)
        office.bury(*data.decode().split())

    monkeypatch.setattr(sink, "write", refuse)
    sink.release()
    assert office.answer("dead_letters_replay", all=True)["replayed"] == 6
    assert sink.wait(6, 10)
    eventually(lambda: office.left() == [*"abcdef"])
    assert len(sink.lines()) == 6


def test_one_replay_at_a_time(office: Office) -> None:
    """A second one would send the same letters; it may come when the first has ended."""
    office.bury("one")
    office.sink().release()
    first = office.begin("dead_letters_replay", all=True)
    with pytest.raises(ControlError, match="another replay is under way"):
        office.begin("dead_letters_replay", all=True)
    eventually(first.ready)
    first.answer()
    assert office.answer("dead_letters_replay", all=True)["replayed"] == 0


def test_a_purge_says_how_many(office: Office) -> None:
    """By number, sink or age; what is not there is said."""
    office.bury("one", "two", "three")
    assert office.answer("dead_letters_purge", ids=[1, 9]) == {"purged": 1, "missing": 1, "remaining": 2}
    assert office.answer("dead_letters_purge", older_than=3600.0)["purged"] == 0
    assert office.answer("dead_letters_purge", sink="nobody")["purged"] == 0
    assert office.answer("dead_letters_purge", all=True) == {"purged": 2, "missing": 0, "remaining": 0}


@pytest.mark.parametrize(
    ("command", "document", "words"),
    [
        ("dead_letters", {"limit": 0}, "limit 0: expected a number from 1 on"),
        ("dead_letters", {"below": True}, "below True: expected a number"),
        ("dead_letters", {"sink": 5}, "sink 5: expected the name of a sink"),
        ("dead_letters_replay", {}, "expected a sink, ids, or all"),
        ("dead_letters_replay", {"ids": []}, "expected 1 to 1000 numbers, found 0"),
        ("dead_letters_replay", {"ids": ["1"]}, "ids: expected numbers"),
        ("dead_letters_purge", {}, "expected a sink, ids, an age, or all"),
        ("dead_letters_purge", {"older_than": -1}, "older_than -1: expected seconds"),
        ("dead_letters_purge", {"all": True, "wait_seconds": float("nan")}, "expected seconds"),
        ("dead_letters_replay", {"all": True, "wait_seconds": "5"}, "expected seconds"),
    ],
)
def test_nonsense_is_refused_with_what_would_be_right(
    office: Office, command: str, document: dict[str, Any], words: str
) -> None:
    """And changes nothing."""
    office.bury("one")
    with pytest.raises(ConfigurationError, match=words):
        office.begin(command, **document)
    assert office.left() == ["one"]
    assert office.answer("dead_letters_replay", sink="web")["kept"]


def test_another_collectors_list_is_not_given(office: Office) -> None:
    """Who names one means that one."""
    with pytest.raises(ControlError, match="expected collector 'us', found 'eu'"):
        office.begin("dead_letters", name="us")


def test_a_disk_that_hangs_stops_nobody(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer says so at its deadline; the collector's thread has waited for nothing."""
    gate = threading.Event()
    page = office.store.page
    monkeypatch.setattr(office.store, "page", lambda **options: (gate.wait(20), page(**options))[1])
    wait = office.begin("dead_letters", wait_seconds=0.1)
    assert not wait.ready()
    assert wait.deadline <= time.monotonic() + 0.1
    with pytest.raises(ControlError, match="takes its time"):
        wait.answer()
    gate.set()
    assert office.left() == []


def test_a_disk_that_refuses_is_told(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """To who asks; where letters can't be removed after a replay, to the operator."""

    def broken(*arguments: object, **options: object) -> None:
        raise OSError(5, "Input/output error")

    office.bury("one")
    office.sink().release()
    with monkeypatch.context() as patched:
        patched.setattr(office.store, "page", broken)
        with pytest.raises(ControlError, match="can't be read or changed: Input/output error"):
            office.answer("dead_letters")
        with pytest.raises(ControlError, match="can't be read or changed: Input/output error"):
            office.answer("dead_letters_replay", all=True)
    monkeypatch.setattr(office.store, "remove", broken)
    assert office.answer("dead_letters_replay", all=True)["replayed"] == 1
    assert office.left() == ["one"]
    assert office.told == [
        "dead letters: 1 that were replayed can't be removed, and would be again: Input/output error"
    ]


def test_a_clerk_does_things_in_order_and_ends() -> None:
    """A failure is that of one thing only; nothing is begun before there is something to do."""
    clerk, done = Clerk(), list[int]()
    clerk.close()

    def fail() -> None:
        raise ValueError("no")

    tasks = [clerk.do(lambda: done.append(1)), clerk.do(fail), clerk.do(lambda: done.append(2))]
    assert tasks[2].result(10) is None
    assert isinstance(tasks[1].exception(), ValueError)
    clerk.close()
    assert done == [1, 2]
