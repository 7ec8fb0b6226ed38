"""Level rules in the standard library: who they reach, what the application may do meanwhile, and how it ends."""

from __future__ import annotations

import itertools
import logging
import logging.config
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from logbus.producers import stdlib as module
from logbus.producers.gate import Gate
from logbus.producers.stdlib import STDLIB
from logbus.rules import Rule
from tests.eventually import eventually
from tests.lines import Lines, root_lines
from tests.race import race
from tests.turn import Turn, turns

R1 = (("request_id", "r1"),)


@pytest.fixture
def turn() -> Iterator[Turn]:
    """Puts rules into force, and says whether they are."""
    with turns() as turn:
        yield turn


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What another handler of the root logger sees."""
    with root_lines() as lines:
        yield lines


def level_of(name: str) -> int:
    """The level in force on a logger."""
    return logging.getLogger(name).getEffectiveLevel()


def test_a_rule_that_names_a_logger_reaches_it_and_all_below(turn: Turn) -> None:
    """Whatever the application has set there; everything else stays, and the end of the rule gives it back."""
    logging.getLogger("shop.till").setLevel(logging.WARNING)
    logging.getLogger("shop.till.drawer").setLevel(logging.ERROR)
    logging.getLogger("shop.door")
    assert turn(Rule("till", 10))
    assert [level_of(name) for name in ("shop.till", "shop.till.drawer", "shop.door", "")] == [10, 10, 20, 20]
    assert turn()
    assert [level_of(name) for name in ("shop.till", "shop.till.drawer", "shop.door", "")] == [30, 40, 20, 20]
    assert logging.getLogger("shop.door").level == 0


def test_a_rule_for_all_is_what_is_inherited(turn: Turn) -> None:
    """It sets the root: who has a level of the application's own keeps it."""
    logging.getLogger("shop.till").setLevel(logging.WARNING)
    turn(Rule("", 10))
    assert [level_of(name) for name in ("", "shop", "shop.till", "shop.till.drawer")] == [10, 10, 30, 30]
    turn(Rule("", 40))
    assert [level_of(name) for name in ("", "shop", "shop.till")] == [40, 40, 30]
    turn()
    assert [level_of(name) for name in ("", "shop", "shop.till")] == [20, 20, 30]


def test_several_rules_at_once(turn: Turn) -> None:
    """The more specific wins, and each ends on its own."""
    rules = Rule("", 30), Rule("till", 40), Rule("till.drawer", 5)
    turn(*rules)
    assert [level_of(name) for name in ("shop", "till", "till.x", "till.drawer")] == [30, 40, 40, 5]
    turn(*rules[:2])
    assert [level_of(name) for name in ("shop", "till", "till.x", "till.drawer")] == [30, 40, 40, 40]


def test_the_lowest_level_of_all_is_not_inheritance(turn: Turn) -> None:
    """Level 0 on a logger would mean that of its parent: a rule that says 0 lets everything pass."""
    turn(Rule("till", 0))
    assert logging.getLogger("till").isEnabledFor(1)


def test_a_rule_for_the_workers_own_component_reaches_the_root_alone(turn: Turn) -> None:
    """Whose logger names no component logs as the worker's; the libraries below the root are not meant."""
    logging.getLogger("httpx")
    logging.getLogger("lib").setLevel(logging.ERROR)
    turn(Rule("billing", 10))
    assert [level_of(name) for name in ("", "__main__", "httpx", "lib", "lib.sub", "new")] == [10, 10, 20, 40, 40, 20]
    logging.getLogger("lib").setLevel(logging.NOTSET)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    assert [level_of(name) for name in ("", "httpx", "httpx.sub", "lib", "lib.sub")] == [10, 30, 30, 20, 20]
    logging.getLogger().setLevel(logging.CRITICAL)
    assert [level_of(name) for name in ("", "httpx", "lib", "new")] == [10, 30, 50, 50]
    turn(Rule("billing", 10), Rule("", 25))
    assert [level_of(name) for name in ("", "httpx", "lib", "new")] == [10, 30, 25, 25]
    turn()
    assert [level_of(name) for name in ("", "httpx", "lib", "new")] == [50, 30, 50, 50]
    assert logging.getLogger("new").level == 0


def test_a_logger_that_comes_later_has_its_level_at_once(turn: Turn) -> None:
    """Before anybody else can have it, also where a child of it was there first."""
    logging.getLogger("shop.till.drawer.lock")
    turn(Rule("till", 10))
    assert logging.getLogger("shop.till.drawer").level == 10
    assert logging.getLogger("shop.till").level == 10
    assert logging.getLogger("shop").level == 0
    turn()
    assert [logging.getLogger(name).level for name in ("shop.till.drawer", "shop.till")] == [0, 0]


def test_a_level_that_the_application_sets_meanwhile_waits(turn: Turn) -> None:
    """It does not undo the rule, and is there when the rule has gone."""
    log = logging.getLogger("shop.till")
    turn(Rule("till", 10))
    log.setLevel(logging.ERROR)
    log.setLevel("WARNING")
    assert log.level == 10
    assert STDLIB.own_level(log) == 30
    turn(Rule("till", 5))
    assert log.level == 5
    turn()
    assert log.level == 30
    assert STDLIB.own_level(log) == 30


def test_a_level_for_a_while_ends_as_it_began(turn: Turn) -> None:
    """Who reads a level, sets another and sets the first again, also one in the other, leaves the logger's own."""
    log = logging.getLogger("shop.till")
    log.setLevel(logging.WARNING)
    turn(Rule("till", 10))
    before = log.level
    log.setLevel(logging.ERROR)
    inner = log.level
    log.setLevel(logging.CRITICAL)
    turn(Rule("till", 5))
    log.setLevel(inner)
    assert STDLIB.own_level(log) == logging.ERROR
    log.setLevel(before)
    assert (log.level, STDLIB.own_level(log)) == (5, logging.WARNING)
    log.setLevel(5)  # it has read nothing that it could mean: this is what it wants
    turn()
    assert log.level == 5


def test_a_level_that_is_none_is_refused_as_ever(turn: Turn) -> None:
    """A wrong level raises in the application what it always raised."""
    turn(Rule("till", 10))
    for wrong, error in (("LOUD", ValueError), (2.5, TypeError), (None, TypeError)):
        with pytest.raises(error):
            logging.getLogger("shop.till").setLevel(cast("Any", wrong))
    assert logging.getLogger("shop.till").level == 10


def test_dict_config_does_not_undo_a_rule(turn: Turn) -> None:
    """As servers do at their start, after configure(); what it says is what comes back."""
    logging.getLogger("shop.door")
    turn(Rule("till", 10), Rule("", 15))
    kept = list(logging.getLogger().handlers)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "root": {"level": "ERROR"},
            "loggers": {"shop.till": {"level": "CRITICAL"}, "shop.door": {"level": "WARNING"}},
        }
    )
    logging.getLogger().handlers[:] = kept
    assert [level_of(name) for name in ("", "shop.till", "shop.door")] == [15, 10, 30]
    turn()
    assert [level_of(name) for name in ("", "shop.till", "shop.door")] == [40, 50, 30]


def test_a_level_that_is_written_directly_is_seen_at_the_next_look(turn: Turn) -> None:
    """The rule holds again within a second, and what was written is what comes back."""
    log = logging.getLogger("shop.till")
    turn(Rule("till", 10))
    log.level = logging.ERROR
    STDLIB.look()
    assert (log.level, log.isEnabledFor(10)) == (10, True)
    turn()
    assert log.level == logging.ERROR


def test_a_level_that_is_written_directly_and_not_seen_stays(turn: Turn) -> None:
    """Who writes in the last second of a rule finds it there afterwards."""
    log = logging.getLogger("shop.till")
    turn(Rule("till", 10))
    log.level = logging.ERROR
    turn()
    assert log.level == logging.ERROR


class Proud(logging.Logger):
    """A logger class that sets its level by itself."""

    def setLevel(self, level: Any) -> None:  # noqa: N802 (logging's name)
        """Past every hook."""
        self.level = level


class Strange(logging.Logger):
    """A logger class that can't be given a level once it is made."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "level" and "level" in self.__dict__:
            raise RuntimeError("no")
        super().__setattr__(name, value)


def test_loggers_of_any_class(turn: Turn) -> None:
    """One that sets its level in its own way has the rule's at the next look; one that refuses keeps nobody else's."""
    logging.setLoggerClass(Proud)
    proud = logging.getLogger("till.proud")
    logging.setLoggerClass(Strange)
    strange = logging.getLogger("till.strange")
    logging.setLoggerClass(logging.Logger)
    assert turn(Rule("till", 10))
    assert logging.getLogger("till.plain").level == proud.level == 10
    assert strange.level == 0
    proud.setLevel(30)
    STDLIB.look()
    assert proud.level == 10
    turn()
    assert (proud.level, logging.getLogger("till.plain").level) == (30, 0)
    del logging.root.manager.loggerDict["till.strange"]


def test_a_logger_whose_name_is_no_text_disturbs_nobody(turn: Turn) -> None:
    """Neither the rules for others, nor an application that makes loggers and sets levels."""
    log = logging.getLogger("shop.odd")
    try:
        log.name = cast("Any", None)
        turn(Rule("billing", 10), Rule("till", 30))  # the worker's own component, so that levels are passed on
        logging.getLogger("shop.new").setLevel(logging.ERROR)
        assert [level_of(name) for name in ("shop.new", "shop.till", "")] == [40, 30, 10]
        log.setLevel(logging.CRITICAL)
    finally:
        log.name = "shop.odd"
    turn()
    assert level_of("shop.new") == 40


def test_a_logger_that_was_taken_out_is_given_back(turn: Turn) -> None:
    """Tests and plug-ins take loggers out of the tree: nobody holds them for ever."""
    gone = logging.getLogger("till.gone")
    turn(Rule("till", 10))
    del logging.root.manager.loggerDict["till.gone"]
    STDLIB.look()
    assert gone.level == 0
    assert id(gone) not in STDLIB._holds


def test_nothing_of_ours_is_in_the_way_without_a_rule(turn: Turn) -> None:
    """No hook before the first rule that concerns this worker, none after the last; and a level is all a rule needs."""
    manager, log = logging.root.manager, logging.getLogger("shop.till")
    original, known = logging.Logger.setLevel, set(vars(manager))
    turn(Rule("till", 10, worker="another"))
    assert logging.Logger.setLevel is original
    turn(Rule("till", 30))
    assert logging.Logger.setLevel is not original
    assert type(cast("Any", log)._cache) is dict
    assert log.filters == []
    turn()
    assert logging.Logger.setLevel is original
    assert set(vars(manager)) == known


def test_a_hook_of_somebody_else_on_top_of_ours_stays(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    """What others put there is theirs to take away; below it ours does nothing once the rules have gone."""
    log, told = logging.getLogger("shop.till"), []
    turn(Rule("till", 10))
    below: Any = logging.Logger.setLevel

    def on_top(logger: logging.Logger, level: Any) -> None:
        told.append(level)
        below(logger, level)

    with monkeypatch.context() as patch:
        patch.setattr(logging.Logger, "setLevel", on_top)
        turn()
        assert logging.Logger.setLevel is on_top
        log.setLevel(30)
        assert (log.level, told) == (30, [30])
        turn(Rule("till", 10))
        log.setLevel(40)
        assert (log.level, told) == (10, [30, 40])
    turn()
    assert log.level == 40
    assert logging.Logger.setLevel.__module__ == "logging"


def test_nobody_waits_for_logging_s_lock(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder may be waiting for the sender: the rules wait, unconfirmed, and come as soon as the lock is free."""
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with module._LOGGING._lock:
            held.set()
            release.wait(10)

    log = logging.getLogger("shop.till")
    holder = threading.Thread(target=hold)
    holder.start()
    try:
        assert held.wait(10)
        assert not turn(Rule("till", 10))
        STDLIB.look()
        assert log.level == 0
    finally:
        release.set()
        holder.join()
    eventually(turn.gate.tick, 5)
    assert (log.level, turn.gate.confirmed()[0]) == (10, 1)


def test_who_holds_the_lock_may_configure(turn: Turn) -> None:
    """Logging builds handlers under it, in ``dictConfig``."""
    with module._LOGGING._lock:
        assert turn(Rule("till", 10))
    assert level_of("till") == 10


def test_loggers_may_be_made_while_rules_change(turn: Turn, scale: Callable[[int, int], int]) -> None:
    """From the moment that a thread has a logger it has the level of a rule that was in force, never another."""
    turn(Rule("made", 10))
    wrong: list[tuple[str, int]] = []
    rounds, levels = scale(5_000, 300), itertools.cycle((25, 10))

    def make(name: str) -> None:
        for number in range(rounds):
            logger = logging.getLogger(f"made.{name}.{number}")
            if logger.level not in (10, 25):
                wrong.append((logger.name, logger.level))
            if number % 3 == 0:
                logger.setLevel(30)
                if logger.level not in (10, 25):
                    wrong.append((logger.name, logger.level))

    def change() -> None:
        turn(Rule("made", next(levels)))
        STDLIB.look()

    race(make, "abc", change)
    assert not wrong
    eventually(turn, 5)
    made = {name: logger for name, logger in logging.root.manager.loggerDict.items() if name.startswith("made.")}
    try:
        found = {name: cast("logging.Logger", made[f"made.{name}"]).level for name in ("a.0", "b.1", "c.3")}
        assert found == {"a.0": 30, "b.1": 0, "c.3": 30}
        assert not STDLIB._holds
    finally:
        for name in made:
            del logging.root.manager.loggerDict[name]


def test_a_signal_handler_may_do_all_of_it_in_the_middle(
    turn: Turn, lines: Lines, scale: Callable[[int, int], int]
) -> None:
    """Log, make a logger, set a level, while this thread turns rules: nothing waits, raises or is lost."""
    numbers = itertools.count()
    log = logging.getLogger("shop.till")

    def interrupt(*_: Any) -> None:
        number = next(numbers)
        log.warning("from the handler")
        log.debug("a detail")
        logging.getLogger(f"made.{number % 50}")
        log.setLevel(20 + number % 2)

    before = signal.signal(signal.SIGPROF, interrupt)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    try:
        while len(lines.messages) < scale(5_000, 300):
            number = len(lines.messages)
            turn(Rule("till", 10 + number % 5), *([Rule("", 10, where=R1)] if number % 2 else []))
            if number % 3 == 0:
                turn()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    turn()
    last = next(numbers) - 1
    assert log.level == 20 + last % 2
    assert lines.messages.count("from the handler") == last + 1
    assert not STDLIB._holds
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("made")]:
        del logging.root.manager.loggerDict[name]


def test_a_forked_child_keeps_the_rules(turn: Turn) -> None:
    """Its loggers have their levels, those that come later too, and it may be given others."""
    logging.getLogger("shop.till").setLevel(30)
    turn(Rule("till", 10))
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            kept = level_of("shop.till") == level_of("shop.till.new") == 10
            logging.getLogger("shop.till").setLevel(40)
            status = 0 if kept and turn() and level_of("shop.till") == 40 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert level_of("shop.till") == 10


def test_the_loggers_belong_to_one_gate_at_a_time(turn: Turn) -> None:
    """Another takes them over with the rules that it has, and the first has no say in them any more."""
    turn(Rule("till", 10))
    other = Gate()
    other.attach(STDLIB)
    try:
        assert STDLIB.gate is other
        assert level_of("till") == 20
        turn(Rule("till", 5))
        assert level_of("till") == 20
    finally:
        other.close()
    assert STDLIB.gate is None


def test_leaving_gives_everything_back(turn: Turn) -> None:
    """Levels, gates and hooks, while rules of every kind are in force."""
    log, original = logging.getLogger("shop.till"), logging.Logger.setLevel
    log.setLevel(30)
    turn(Rule("till", 10), Rule("", 5), Rule("door", 10, where=R1))
    assert logging.getLogger("door").isEnabledFor(5)
    turn.gate.close()
    assert (log.level, logging.root.level, level_of("door")) == (30, 20, 20)
    assert logging.Logger.setLevel is original
    assert not STDLIB._holds
    turn.gate.attach(STDLIB)


def test_the_names_are_those_of_loggers_and_of_silent_modules(turn: Turn, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of a known application is a component that may be named, though it has never logged."""
    logging.getLogger("shop.till.drawer")
    monkeypatch.setitem(sys.modules, "proxywhirl.circuit_breaker", cast("Any", object()))
    names = set(STDLIB.names())
    assert {"root", "shop.till.drawer", "proxywhirl.circuit_breaker"} <= names
    assert "shop.till" not in names - set(logging.root.manager.loggerDict)
    assert STDLIB.kind() == "source"
    monkeypatch.setitem(cast("Any", sys.modules), 5, object())
    assert set(STDLIB.names()) == names
