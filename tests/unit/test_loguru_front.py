"""Loguru's front: its handler follows the rules and comes back, and the direct way begins and ends without a loss."""

from __future__ import annotations

import inspect
import sys
import threading
from types import ModuleType
from typing import Any

import pytest
from loguru import logger

from logbus.errors import ConfigurationError
from logbus.producers import loguru_core
from logbus.producers.context import context
from logbus.producers.direct import Direct
from logbus.producers.loguru import loguru_handler, loguru_sink, sinks_of
from logbus.producers.loguru_front import LOGURU
from logbus.producers.recorder import Flight
from logbus.rules import Rule
from tests.eventually import eventually
from tests.kept import Kept
from tests.modules import real


def is_direct(found: Any) -> bool:
    """Whether this stands in the place of loguru's logger."""
    return type(found) is Direct


def levels() -> list[int]:
    """The levels of loguru's handlers, and its lowest."""
    core = real()._core
    return [*(handler.levelno for handler in core.handlers.values()), core.min_level]


def past(method: str, *args: Any, **kwargs: Any) -> Any:
    """Calls loguru's own method past what stands for it, as whoever got hold of it before."""
    return inspect.unwrap(getattr(type(real()), method))(real(), *args, **kwargs)


def test_it_replaces_only_the_handler_that_loguru_brings(kept: Kept) -> None:
    """A handler of the application stays, and what loguru's own printed goes to the bus instead."""
    theirs: list[str] = []
    logger.add(lambda message: theirs.append(str(message)), format="{message}")
    LOGURU.begin(kept.producer, level=20)
    assert sinks_of(kept.producer)
    logger.debug("below")
    logger.info("both")
    assert kept.messages == ["both"]
    assert theirs == ["below\n", "both\n"]
    LOGURU.end()
    logger.info("theirs alone")
    assert kept.messages == ["both"]
    assert len(theirs) == 3


def test_the_handler_is_open_as_far_as_rules_need(kept: Kept) -> None:
    """Its level is the lowest that any module needs, so that all else ends at loguru's own gate."""
    LOGURU.begin(kept.producer, level=20, source="handler")
    assert levels() == [20, 20]
    for rules, expected in (
        ((Rule("till", 10),), 10),
        ((Rule("till", 40),), 20),
        ((Rule("", 30),), 30),
        ((Rule("", 30), Rule("till", 5)), 5),
        ((Rule("till", 10, where=(("a", "b"),)),), 10),
        ((), 20),
    ):
        kept.rule(*rules)
        assert levels() == [expected, expected]
    assert kept.confirmed()


def test_the_recorder_opens_it_too() -> None:
    """What the flight recorder keeps has to come as far as the filter."""
    kept = Kept(flight=Flight(level=10))
    LOGURU.begin(kept.producer, level=20, source="handler")
    logger.debug("kept")
    assert levels() == [10, 10]
    assert kept.messages == []
    assert kept.gate.recorder is not None
    assert kept.gate.recorder.counts()[0] == 1


def test_the_filter_asks_the_rules_of_each_module(kept: Kept) -> None:
    """By the module that calls, with conditions on every source of fields; without a rule the level given counts."""
    LOGURU.begin(kept.producer, level=20, source="handler")
    assert LOGURU.kind() == "filter"
    kept.rule(Rule("elsewhere", 10))
    logger.debug("no rule, below")
    logger.info("no rule, above")
    kept.rule(Rule("test_loguru_front", 10, where=(("request_id", "7"),)))
    logger.debug("no request")
    with context(request_id="7"):
        logger.debug("by context")
    with logger.contextualize(request_id="7"):
        logger.debug("by contextualize")
    logger.bind(request_id=7).debug("by bind")
    kept.rule(Rule("test_loguru_front", 40))
    logger.warning("silenced")
    assert kept.messages == ["no rule, above", "by context", "by contextualize", "by bind"]
    assert __name__ in LOGURU.names()


def test_exc_info_has_a_traceback_by_the_handler_too(kept: Kept) -> None:
    """What loguru takes for a field is an exception to us."""
    LOGURU.begin(kept.producer, level=20, source="handler")
    try:
        raise KeyError("id")
    except KeyError:
        logger.error("failed", exc_info=True, port=1)
    assert kept.last.exception[0] == "KeyError"
    assert kept.last.extra == {"port": 1}


def test_a_level_that_the_application_gave_is_a_floor(kept: Kept) -> None:
    """Rules silence what is above it, and can't bring what is below; the gate is told of the filter."""
    identity = logger.add(**loguru_handler(level="INFO", producer=kept.producer))
    assert kept.gate.confirmed()[2] == "loguru=filter"
    kept.rule(Rule("test_loguru_front", 10))
    logger.debug("below the floor")
    logger.info("above")
    kept.rule(Rule("test_loguru_front", 30))
    logger.info("silenced")
    assert kept.messages == ["above"]
    assert kept.gate.names() == [__name__]
    logger.remove(identity)


def test_a_handler_of_the_application_for_the_same_producer_is_enough(kept: Kept) -> None:
    """Nothing is doubled, and the gate knows one loguru."""
    logger.add(loguru_sink(producer=kept.producer), format="")
    LOGURU.begin(kept.producer, level=20)
    logger.info("once")
    assert kept.messages == ["once"]
    assert kept.gate.confirmed()[2] == "loguru=filter"


def test_it_is_direct_while_there_is_no_other_handler(kept: Kept) -> None:
    """A handler that is added or removed is heard at once, one that is added past loguru's class after a look."""
    LOGURU.begin(kept.producer, level=20)
    assert LOGURU.kind() == "direct"
    assert is_direct(logger)
    theirs: list[str] = []
    identity = logger.add(theirs.append, format="{message}")
    assert LOGURU.kind() == "filter"
    assert not is_direct(logger)
    logger.info("both")
    assert (kept.messages, theirs) == (["both"], ["both\n"])
    logger.remove(identity)
    assert LOGURU.kind() == "direct"
    assert is_direct(logger)
    past("add", theirs.append, format="{message}")
    logger.info("not seen")
    LOGURU.look()
    logger.info("seen")
    assert theirs[1:] == ["seen\n"]
    assert kept.messages == ["both", "not seen", "seen"]


@pytest.mark.parametrize(("source", "kind"), [("direct", "direct"), ("handler", "filter")])
def test_the_source_may_be_chosen(kept: Kept, source: Any, kind: str) -> None:
    """Directly beside other handlers, which then see nothing of it, or never directly."""
    theirs: list[str] = []
    logger.add(theirs.append, format="{message}")
    LOGURU.begin(kept.producer, level=20, source=source)
    logger.info("m")
    assert LOGURU.kind() == kind
    assert kept.messages == ["m"]
    assert theirs == ([] if source == "direct" else ["m\n"])


def test_our_handler_comes_back(kept: Kept) -> None:
    """Who removes every handler past loguru's class loses ours until the next look; it is the same one, same level."""
    LOGURU.begin(kept.producer, level=20, source="handler")
    kept.rule(Rule("elsewhere", 10))
    (handler,) = real()._core.handlers.values()
    past("remove")
    assert not sinks_of(kept.producer)
    logger.info("to nobody")
    LOGURU.look()
    assert levels() == [10, 10]
    assert list(real()._core.handlers.values()) == [handler]
    logger.info("back")
    LOGURU.begin(kept.producer, level=20)
    logger.remove()
    assert LOGURU.kind() == "direct"
    logger.bind(a=1).info("by the handler")
    assert kept.messages == ["back", "by the handler"]


def test_a_removal_past_the_class_is_mended_by_another_thread(kept: Kept) -> None:
    """The sink has the gate look, which does not wait for loguru's lock; once that is free the next turn mends it."""
    LOGURU.begin(kept.producer, level=20)
    woken = threading.Event()
    kept.gate.wake = woken.set

    class Slow:
        """A sink whose end takes as long as the test wants, while loguru holds its lock."""

        def __init__(self) -> None:
            self.stopping, self.go_on = threading.Event(), threading.Event()

        def write(self, message: str) -> None:
            """Takes it."""

        def stop(self) -> None:
            """Waits for the test."""
            self.stopping.set()
            assert self.go_on.wait(30)

    slow = Slow()
    past("add", slow)
    thread = threading.Thread(target=past, args=("remove",))
    thread.start()
    assert slow.stopping.wait(30)
    assert woken.is_set()
    kept.gate.tick()
    assert levels() == [float("inf")]
    slow.go_on.set()
    thread.join(30)
    kept.gate.due = 0.0
    kept.gate.tick()
    assert levels() == [20, 20]
    logger.bind(a=1).info("by the handler")
    assert kept.messages == ["by the handler"]


def test_a_sink_of_ours_that_the_application_adds_is_enough(kept: Kept) -> None:
    """While it is there nothing comes twice, at its own level; when it goes ours is open again."""
    LOGURU.begin(kept.producer, level=20)
    made: Any = loguru_handler(level="WARNING", producer=kept.producer)
    logger.info("made, not added")
    (identity,) = logger.configure(handlers=[made])
    logger.info("below the floor")
    logger.warning("once")
    logger.remove(identity)
    logger.info("again")
    logger.bind(a=1).info("by the handler")
    assert kept.messages == ["made, not added", "once", "again", "by the handler"]


def test_nothing_waits_for_loguru_s_lock(kept: Kept) -> None:
    """Whoever holds it may wait for the sender: the rules come into force once it is free."""
    LOGURU.begin(kept.producer, level=20, source="handler")
    with real()._core.lock:
        kept.rule(Rule("test_loguru_front", 10))
        assert not kept.confirmed()
        assert levels() == [20, 20]
    past("remove")
    with real()._core.lock:
        assert LOGURU.look() is False
        assert levels() == [float("inf")]
    eventually(lambda: kept.gate.tick() or kept.confirmed())
    logger.debug("live")
    assert kept.messages == ["live"]


def test_another_thread_s_change_is_not_waited_for(kept: Kept) -> None:
    """While one thread changes loguru, the sender goes on and comes back."""
    LOGURU.begin(kept.producer, level=20)
    applied: list[bool] = []
    with LOGURU._guard:
        thread = threading.Thread(target=lambda: applied.append(LOGURU.apply(kept.gate.table)))
        thread.start()
        thread.join()
    assert applied == [False]
    assert LOGURU.apply(kept.gate.table)


def test_another_producer_takes_over_without_a_gap(kept: Kept) -> None:
    """A second configuration moves handler and modules; the first gate has no loguru any more."""
    LOGURU.begin(kept.producer, level=20)
    second = Kept()
    LOGURU.begin(second.producer, level=30)
    logger.info("below")
    logger.warning("direct")
    logger.bind(a=1).warning("by handler")
    assert (kept.messages, second.messages) == ([], ["direct", "by handler"])
    assert kept.gate.confirmed()[2] == ""
    assert second.gate.confirmed()[2] == "loguru=direct"
    assert levels() == [30, 30]


def test_the_end_gives_everything_back(kept: Kept) -> None:
    """Loguru has no handler of ours and every module its logger; what the application put there since is its own."""
    module: Any = ModuleType("shop.mixed")
    module.logger = module.log = module.other = real()
    sys.modules["shop.mixed"] = module
    try:
        LOGURU.begin(kept.producer, level=20)
        assert is_direct(module.logger)
        assert module.logger is module.log
        held: Any = module.logger
        module.other = "theirs"
        LOGURU.end()
    finally:
        del sys.modules["shop.mixed"]
    assert (module.logger, module.log, module.other) == (real(), real(), "theirs")
    assert not is_direct(module.logger)
    assert levels() == [float("inf")]
    theirs: list[str] = []
    real().add(theirs.append, format="{message}")
    held.info("as loguru does")
    assert (kept.messages, theirs) == ([], ["as loguru does\n"])
    LOGURU.end()  # nothing to leave


def test_a_loguru_with_other_names_inside_is_filtered(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is known of its inside, its handler takes everything and the filter decides."""
    monkeypatch.setattr(loguru_core, "_INSIDE", ("of_another_version",))
    LOGURU.begin(kept.producer, level=20, source="direct")
    assert LOGURU.kind() == "filter"
    logger.debug("below")
    logger.info("above")
    kept.rule(Rule("test_loguru_front", 10))
    assert kept.confirmed()
    logger.debug("live")
    logger.remove()
    LOGURU.look()
    logger.info("back")
    assert kept.messages == ["above", "live", "back"]


def test_without_loguru_it_says_what_is_missing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one of ours, and nothing was changed."""
    monkeypatch.setitem(sys.modules, "loguru", None)
    with pytest.raises(ConfigurationError, match="expected loguru"):
        LOGURU.begin(kept.producer, level=20)
    assert kept.gate.confirmed()[2] == ""


def test_nothing_is_lost_or_doubled_while_gate_and_way_change(kept: Kept) -> None:
    """Threads log all the while that levels go up and down and the way changes between direct and handler."""
    LOGURU.begin(kept.producer, level=20)
    stop = threading.Event()
    logged = [0] * 3

    def log(at: int) -> None:
        while not stop.is_set() or logged[at] < 200:
            logger.info("{} {}", at, logged[at])
            logged[at] += 1

    threads = [threading.Thread(target=log, args=(at,)) for at in range(3)]
    for thread in threads:
        thread.start()
    ways = set()
    for turn in range(30):
        kept.rule(*([Rule("test_loguru_front", 10)] if turn % 2 else []))
        LOGURU._source = ("handler", "direct", None)[turn % 3]
        LOGURU.look()
        ways.add(LOGURU.kind())
    stop.set()
    for thread in threads:
        thread.join()
    assert ways == {"direct", "filter"}
    for at in range(3):
        own = [message for message in kept.messages if message.startswith(f"{at} ")]
        assert own == [f"{at} {number}" for number in range(logged[at])]


def test_leaving_lets_go_of_rules_and_modules_and_keeps_the_handler(kept: Kept) -> None:
    """What is logged afterwards goes the long way to the producer, which counts it, at the level of the worker."""
    LOGURU.begin(kept.producer, level=20)
    kept.rule(Rule("elsewhere", 10))
    kept.gate.close()
    assert LOGURU.kind() == "filter"
    assert not is_direct(logger)
    assert levels() == [20, 20]
    logger.info("after")
    assert kept.messages == ["after"]
    LOGURU.begin(kept.producer, level=20)
    assert levels() == [10, 10]
    assert LOGURU.kind() == "direct"
    logger.info("again")
    assert kept.messages == ["after", "again"]
