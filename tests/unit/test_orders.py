"""Orders about levels, as a collector takes them: what is checked, what is done, and what is said of it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors import orders
from logbus.collectors.authority import Authority
from logbus.collectors.commands import Answer, Asker, Wait
from logbus.collectors.components import Components
from logbus.collectors.decode import Site
from logbus.collectors.levels import LevelBook
from logbus.collectors.mark import decode_mark
from logbus.collectors.orders import MAX_AHEAD, MAX_WAIT_S, REMIND_S, WAIT_S, LevelOrders, describe
from logbus.errors import ConfigurationError, ControlError, PageError
from logbus.rules import Levels, Rule
from logbus.wire import pack_payload
from tests.frames import mark_payload, producer
from tests.rolled import Clock, Rolled
from tests.unit.test_audit import Desk

A, B = producer(1), producer(2)
ME = Asker(b"me", os.geteuid(), 42)


class Speaker:
    """What the orders need of a publisher: who listens, and whom it reminds."""

    def __init__(self) -> None:
        self.listeners: set[bytes] = set()
        self.reminded: list[bytes] = []

    def remind(self, producer: bytes) -> None:
        """Notes who is told of the state again."""
        self.reminded.append(producer)


class Office:
    """Orders with everything behind them but sockets."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.rolled = Rolled(directory, clock)
        self.state = directory / "state"
        self.desk = Desk(directory)
        self.speaker = Speaker()
        self.published: list[Levels] = []
        self.components = Components(self.state, tell=self.desk.told.append)
        self.components.learn([Site("proxywhirl.rotator.sync", 20, "INFO", "m", "f", 1, "rotator")])
        self.open()

    def open(self, **configured: int) -> None:
        """A new life of book and orders."""
        self.book = LevelBook(
            self.state,
            self.rolled.ledger,
            snapshot=self.state / "control.levels",
            publish=self.published.append,
            tell=self.desk.told.append,
            configured=configured,
        )
        authority = Authority("eu", self.desk.audit, version=lambda: self.book.levels.version)
        self.orders = LevelOrders(
            self.book,
            self.components,
            self.rolled.roll,
            self.speaker,  # type: ignore[arg-type]
            audit=self.desk.audit,
            authority=authority,
            host="host",
        )
        self.handlers = self.orders.handlers()
        self._number = 0

    def give(self, command: str, **document: Any) -> Answer | Wait:
        """Gives a command."""
        self._number += 1
        envelope = {"command": command, "id": f"{id(self.book)}-{self._number}", "at": time.time()}
        return self.handlers[command]({**envelope, **document}, ME)

    def answer(self, command: str, **document: Any) -> Answer:
        """The answer to a command, its wait cut short."""
        answer = self.give(command, **document)
        return answer.answer() if isinstance(answer, Wait) else answer

    def worker(self, who: bytes, name: str) -> None:
        """A worker that listens and has confirmed what is in force."""
        self.speaker.listeners.add(who)
        levels = self.book.levels
        body = mark_payload(sent=0, worker=name, confirmed=(levels.version, levels.ledger))
        found = decode_mark(pack_payload(body))
        with self.rolled.ledger.transaction() as change:
            self.rolled.roll.mark(change, who, found, bye=False)
        self.orders.heard(who, found)

    @property
    def rules(self) -> list[Rule]:
        """The rules in force."""
        return list(self.book.levels.rules)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An office."""
    clock = Clock()
    clock.install(monkeypatch)
    office = Office(tmp_path, clock)
    with closing(office.rolled):
        yield office


def test_a_level_is_set_as_it_was_said(office: Office) -> None:
    """Selector, level by name or number, workers, conditions and end are in the rule, and who set it."""
    where = {"request_id": "7", "a": "b"}
    answer = office.answer("set_level", selector="rotator", level="trace", worker="api-*", where=where, for_seconds=60)
    [rule] = office.rules
    assert (rule.selector, rule.level, rule.worker, rule.rank) == ("rotator", 5, "api-*", "set")
    assert rule.where == (("a", "b"), ("request_id", "7"))
    assert 59 < (rule.expires or 0) - time.time() <= 60
    assert "@" in rule.by
    assert answer["rule"]["where"] == where
    assert 59 < answer["rule"]["remaining_seconds"] <= 60
    assert answer["version"] == rule.version == office.published[-1].version


def test_the_answer_waits_for_the_workers(office: Office) -> None:
    """Until each has confirmed; whoever has not at the end is in it."""
    office.worker(A, "a")
    office.worker(B, "b")
    wait = office.give("set_level", level=10)
    assert isinstance(wait, Wait)
    assert not wait.ready()
    office.worker(A, "a")
    assert not wait.ready()
    office.worker(B, "b")
    assert wait.ready()
    answer = wait.answer()
    assert (answer["confirmed"], answer["workers"], answer["unconfirmed"], answer["notes"]) == (2, 2, [], [])
    second = office.give("reset_level")
    assert isinstance(second, Wait)
    assert [row["worker"] for row in second.answer()["unconfirmed"]] == ["a", "b"]
    office.worker(A, "a")


def test_confirmations_go_first_until_they_are_there(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the publication to the last confirmation, and for a moment only where one does not come."""
    eager = []
    office.worker(A, "a")
    eager.append(office.orders.eager)
    order = office.give("set_level", selector="rotator", level=10)
    assert isinstance(order, Wait)
    eager.append(office.orders.eager)
    office.orders.confirmed(A, office.book.levels.version)
    assert order.ready()
    order.answer()
    eager.append(office.orders.eager)
    office.give("set_level", selector="rotator", level=20)
    eager.append(office.orders.eager)
    monkeypatch.setattr("logbus.collectors.orders.EAGER_S", 0.0)
    eager.append(office.orders.eager)
    assert eager == [False, True, False, True, False]


@pytest.mark.parametrize(
    ("asked", "waited"), [({}, WAIT_S), ({"wait_seconds": 2}, 2.0), ({"wait_seconds": 1e6}, MAX_WAIT_S)]
)
def test_a_wait_has_an_end(office: Office, asked: dict[str, float], waited: float) -> None:
    """As long as the asker says, within reason."""
    begun = time.monotonic()
    wait = office.give("set_level", level=10, **asked)
    assert isinstance(wait, Wait)
    assert waited <= wait.deadline - begun < waited + 5


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "level None"),
        ({"level": "LOUD"}, "level 'LOUD'"),
        ({"level": 101}, "0 to 100"),
        ({"level": [10]}, r"level \[10\]"),
        ({"level": 10, "selector": "a..b"}, "component 'a..b'"),
        ({"level": 10, "selector": "a b"}, "component 'a b'"),
        ({"level": 10, "selector": "x" * 201}, "at most 200 characters"),
        ({"level": 10, "selector": "\ud800"}, "selector"),
        ({"level": 10, "selector": 7}, "selector 7"),
        ({"level": 10, "selector": "nobody"}, "unknown component 'nobody'"),
        ({"level": 10, "selector": "nobody", "force": "yes"}, "unknown component 'nobody'"),
        ({"level": 10, "worker": ["x"]}, "worker"),
        ({"level": 10, "where": "a=b"}, "where"),
        ({"level": 10, "where": {"a": 7}}, "where"),
        ({"level": 10, "where": {"": "b"}}, "where"),
        ({"level": 10, "where": {str(at): "b" for at in range(9)}}, "at most 8"),
        ({"level": 10, "for_seconds": 0}, "for_seconds 0"),
        ({"level": 10, "for_seconds": -1}, "for_seconds"),
        ({"level": 10, "for_seconds": float("nan")}, "for_seconds"),
        ({"level": 10, "for_seconds": 10**400}, "for_seconds"),
        ({"level": 10, "for_seconds": True}, "for_seconds"),
        ({"level": 10, "for_seconds": "10m"}, "for_seconds"),
        ({"level": 10, "wait_seconds": "1"}, "wait_seconds"),
    ],
    ids=range(23),
)
def test_what_is_wrong_is_refused(office: Office, document: dict[str, Any], words: str) -> None:
    """With exit code 2 and what is wrong with it; nothing is set, and no worker hears of it."""
    with pytest.raises(ConfigurationError, match=words) as raised:
        office.give("set_level", **document)
    assert raised.value.exit_code == 2
    assert office.rules == []
    assert office.published == []


def test_a_name_that_nobody_has_used_can_be_forced(office: Office) -> None:
    """And is known from then on, as long as its rule is there."""
    office.answer("set_level", selector="nobody", level=10, force=True)
    office.answer("set_level", selector="nobody", level=20)
    assert [rule.level for rule in office.rules] == [20]
    office.answer("reset_level", selector="nobody")
    with pytest.raises(ConfigurationError):
        office.give("set_level", selector="nobody", level=10)


@pytest.mark.parametrize("selector", [None, "", "default"])
def test_the_default_is_every_logger(office: Office, selector: str | None) -> None:
    """Without a component, or by the name that configuration has for it."""
    office.answer("set_level", selector=selector, level=10)
    assert [rule.selector for rule in office.rules] == [""]
    assert len(office.answer("reset_level", selector=selector)["removed"]) == 1


def test_what_the_operator_would_wonder_about_is_said(office: Office) -> None:
    """A component that is silent, rules that stay in force over a part, workers that are not there."""
    office.open(default=20, **{"rotator.sync": 30})
    office.components.learn_names(["shop.till"])
    assert office.answer("set_level", selector="till", level=10)["notes"] == [
        "nothing of till has logged anything yet",
        "no worker is running: it applies to those that come",
    ]
    office.worker(A, "a")
    assert office.answer("set_level", selector="rotator", level=10, worker="b*")["notes"] == [
        "another rule stays in force over a part of this: rotator.sync = WARNING, by configuration",
        "no running worker matches 'b*': it applies to those that come",
    ]
    for number in range(9):
        office.answer("set_level", selector=f"proxywhirl.c{number}", level=40, force=True)
    notes = office.answer("set_level", selector="proxywhirl", level=10)["notes"]
    assert len(notes) == 6
    assert notes[-1] == "and so do 5 more"


def test_a_reset_says_what_it_took_out(office: Office) -> None:
    """By component, all, or one pattern; that there was nothing is no failure, and no new version."""
    for selector in ("rotator", ""):
        office.answer("set_level", selector=selector, level=10)
    version = office.book.levels.version
    answer = office.answer("reset_level", selector="rotator", worker="api-*")
    assert answer["notes"] == ["no level of rotator was set for workers 'api-*'"]
    assert (answer["removed"], answer["confirmed"], answer["workers"], answer["version"]) == ([], 0, 0, version)
    assert [rule["selector"] for rule in office.answer("reset_level")["removed"]] == [""]
    assert office.answer("reset_level")["notes"] == ["no level of default was set"]
    assert [rule["selector"] for rule in office.answer("reset_level", all=True)["removed"]] == ["rotator"]
    assert office.answer("reset_level", all=True)["notes"] == ["no level was set"]
    with pytest.raises(ConfigurationError, match="found both"):
        office.give("reset_level", all=True, selector="rotator")


def test_a_reset_counts_the_workers_that_were_meant(office: Office) -> None:
    """A rule for some workers is taken back from those."""
    office.worker(A, "api-1")
    office.worker(B, "job-1")
    office.answer("set_level", level=10, worker="api-*")
    wait = office.give("reset_level")
    assert isinstance(wait, Wait)
    office.worker(A, "api-1")
    assert wait.ready()
    assert wait.answer()["workers"] == 1


def test_levels_shows_rules_and_workers(office: Office) -> None:
    """Who set what and how long it lasts; which worker has which version, by which gates."""
    office.open(default=20)
    office.worker(A, "a")
    office.answer("set_level", selector="rotator", level=10, for_seconds=60)
    office.worker(B, "b")
    office.speaker.listeners.add(producer(9))
    shown = office.answer("levels")
    assert [(rule["selector"], rule["rank"], rule["by"]) for rule in shown["rules"]] == [
        ("", "configuration", "configuration"),
        ("rotator", "set", office.rules[1].by),
    ]
    assert shown["rules"][0]["remaining_seconds"] is None
    assert [(row["worker"], row["current"], row["level_version"]) for row in shown["workers"]] == [
        ("a", False, shown["version"] - 1),
        ("b", True, shown["version"]),
    ]
    assert shown["workers"][0]["gates"] == {"stdlib": "source"}
    with pytest.raises(ControlError, match="expected collector 'us'"):
        office.answer("levels", name="us")


def test_a_worker_of_another_ledger_has_no_version(office: Office) -> None:
    """Its number means nothing here."""
    office.speaker.listeners.add(A)
    with office.rolled.ledger.transaction() as change:
        mark = decode_mark(pack_payload(mark_payload(sent=0, confirmed=(99, "other"))))
        office.rolled.roll.mark(change, A, mark, bye=False)
    [row] = office.answer("levels")["workers"]
    assert (row["level_version"], row["current"]) == (None, False)


def test_time_ends_rules_and_that_is_audited(office: Office) -> None:
    """Both those whose time was over while no collector ran and those of this life."""
    for _ in range(2):
        office.answer("set_level", selector="rotator", level=10, for_seconds=0.0001)
        while (office.book.next_due or 0) > time.monotonic():
            pass
        office.orders.tick()
        assert office.rules == []
    office.answer("set_level", level=10, for_seconds=1e-6)
    office.open()
    outcomes = [(entry["command"], entry["what"].get("selector")) for entry in office.desk.entries]
    assert outcomes.count(("expire", "rotator")) == 2
    assert outcomes[-1] == ("expire", "default")


def test_configuration_is_taken_whole(office: Office) -> None:
    """Its rules are published, its names are known; where the disk refuses, neither."""
    assert office.orders.configure({"default": 30, "cache": 10}, ["health"]) is True
    assert office.orders.configure({"default": 30, "cache": 10}, ["health"]) is False
    assert len(office.published) == 1
    for name in ("cache", "health"):
        office.answer("set_level", selector=name, level=20)
    (office.state / "levels.json.new").mkdir()
    with pytest.raises(PageError):
        office.orders.configure({}, ["till"])
    (office.state / "levels.json.new").rmdir()
    with pytest.raises(ConfigurationError, match="unknown component 'till'"):
        office.give("set_level", selector="till", level=20)


def test_a_rule_in_words() -> None:
    """As a note names it."""
    assert describe(Rule("", 11)) == "default = 11"
    assert describe(Rule("a.b", 30, worker="x", where=(("k", "v"),))) == "a.b = WARNING, workers x, where k=v"


def confirm(office: Office, who: bytes, version: int, *, ledger: str | None = None) -> None:
    """A worker says which version it follows."""
    found = decode_mark(pack_payload(mark_payload(sent=0, confirmed=(version, ledger or office.book.levels.ledger))))
    with office.rolled.ledger.transaction() as change:
        office.rolled.roll.mark(change, who, found, bye=False)
    office.orders.heard(who, found)


def test_a_worker_ahead_of_us_confirms_nothing_until_we_have_caught_up(office: Office) -> None:
    """It would take no version of ours; we publish above its own, and what it says then counts."""
    office.worker(A, "a")
    wait = office.give("set_level", selector="rotator", level=10)
    assert isinstance(wait, Wait)
    confirm(office, A, office.book.levels.version + 500)
    assert not wait.ready()
    [row] = office.answer("levels")["workers"]
    assert row["current"] is False
    office.orders.tick()
    assert office.book.levels.version == row["level_version"] + 1 == office.published[-1].version
    confirm(office, A, office.book.levels.version)
    assert wait.ready()


def test_a_liar_can_not_push_the_version_far(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step too great is not followed, and the steps that are come seldom."""
    office.worker(A, "a")
    before = office.book.levels.version
    for lie in (before + MAX_AHEAD + 1, 2**63 - 1):
        confirm(office, A, lie)
        office.orders.tick()
    confirm(office, A, before + MAX_AHEAD, ledger="other")
    office.orders.tick()
    assert office.book.levels.version == before
    for _ in range(5):
        confirm(office, A, office.book.levels.version + 10)
        office.orders.tick()
    assert office.book.levels.version == before + 11
    monkeypatch.setattr(orders, "LEAP_S", 0.0)
    office.orders._leap_at = 0.0
    office.orders.tick()
    assert office.book.levels.version == before + 22


def test_a_worker_that_stays_behind_is_told_again(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while the news may still be under way; a version of another ledger is behind too."""
    office.worker(A, "a")
    office.answer("set_level", selector="rotator", level=10)
    confirm(office, A, 0)
    assert office.speaker.reminded == []
    office.book.published_at -= REMIND_S + 1
    confirm(office, A, office.book.levels.version)
    assert office.speaker.reminded == []
    confirm(office, A, office.book.levels.version - 1)
    confirm(office, A, 99, ledger="other")
    assert office.speaker.reminded == [A, A]
