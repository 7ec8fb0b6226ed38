"""structlog's front: a wrapper whose levels follow the rules, as cheap as structlog's own where it does nothing."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

import logbus
from logbus.errors import ConfigurationError
from logbus.producers import structlog_front
from logbus.producers.recorder import Flight
from logbus.producers.structlog import StructlogProcessor
from logbus.producers.structlog_front import STRUCTLOG, StructlogFront
from logbus.rules import Rule
from tests.kept import Kept

LEVELS = {"debug": 10, "info": 20, "msg": 20, "warning": 30, "warn": 30, "error": 40, "critical": 50, "fatal": 50}


@pytest.fixture(autouse=True)
def front() -> Iterator[StructlogFront]:
    """The front, and structlog as nobody has configured it."""
    structlog.reset_defaults()
    yield STRUCTLOG
    structlog.reset_defaults()


def configured(kept: Kept, level: int | str | None = None, **options: Any) -> list[str]:
    """Configures structlog with wrapper and processor; what is rendered comes into the list."""
    rendered: list[str] = []

    def render(logger: Any, name: str, event: Any) -> str:
        rendered.append(event["event"])
        return ""

    structlog.configure(
        processors=[StructlogProcessor(producer=kept.producer), render],
        wrapper_class=logbus.make_filtering_bound_logger(level),
        logger_factory=structlog.ReturnLoggerFactory(),
        **options,
    )
    return rendered


def test_the_level_is_the_one_given_or_the_worker_s_or_info() -> None:
    """Where no rule says anything."""
    for level, own, expected in (("debug", None, 10), (40, 10, 40), (None, 30, 30), (None, None, 20)):
        configured(Kept(level=own), level)
        assert structlog.get_logger().get_effective_level() == expected
    with pytest.raises(ConfigurationError, match="level"):
        logbus.make_filtering_bound_logger("loud")


def test_a_suppressed_method_is_structlog_s_own_function() -> None:
    """It costs what structlog's costs, since it is the same; the async ones too."""
    configured(Kept(), 30)
    own, ours = structlog.make_filtering_bound_logger(30), logbus.make_filtering_bound_logger(30)
    for name, level in LEVELS.items():
        for method in (name, f"a{name}"):
            assert inspect.iscoroutinefunction(getattr(ours, method)) == inspect.iscoroutinefunction(
                getattr(own, method)
            )
            assert (getattr(ours, method) is getattr(own, method)) == (level < 30), method


def test_loggers_that_exist_follow_the_rules() -> None:
    """Bound and cached ones too: every method at or above the level logs, and no other."""
    kept = Kept()
    configured(kept, cache_logger_on_first_use=True)
    loggers = [structlog.get_logger(), structlog.get_logger().bind(a=1)]
    for log in loggers:
        log.info("cached")
    for number in (5, 10, 25, 40, 60, 20):
        kept.rule(Rule("", number))
        for log in loggers:
            kept.entries.clear()
            for method in LEVELS:
                getattr(log, method)(method)
            for level in (10, 20, 30, 40, 50):
                log.log(level, f"log {level}")
                assert log.is_enabled_for(level) == (level >= number)
            log.exception("exception")
            expected = [method for method, level in LEVELS.items() if level >= number]
            expected += [f"log {level}" for level in (10, 20, 30, 40, 50) if level >= number]
            assert kept.messages == expected + ["exception"] * (number <= 40)
    assert kept.gate.confirmed()[2] == "structlog=source"


def test_what_was_opened_for_one_logger_is_dropped_for_the_others() -> None:
    """It is neither sent nor rendered; where the wrapper itself would have let it pass, nothing changes."""
    kept = Kept()
    rendered = configured(kept)
    log = structlog.get_logger()
    kept.rule(Rule("till", 10))
    for logger in ("shop.till", "shop.stock"):
        log.debug(f"{logger} debug", logger=logger)
        log.log(10, f"{logger} log", logger=logger)
        log.info(f"{logger} info", logger=logger)
    assert kept.messages == ["shop.till debug", "shop.till log", "shop.till info", "shop.stock info"]
    assert rendered == kept.messages
    kept.rule(Rule("till", 40))
    log.info("silenced", logger="shop.till")
    assert rendered == kept.messages
    kept.rule(Rule("till", 10, where=(("request_id", "7"),)))
    log.debug("another request", logger="shop.till", request_id="8")
    log.debug("the request", logger="shop.till", request_id="7")
    assert kept.messages[-1] == rendered[-1] == "the request"


def test_wrappers_of_several_levels_keep_their_own() -> None:
    """What one would have suppressed by itself stays suppressed though another is open."""
    kept = Kept()
    configured(kept, "info")
    quiet = structlog.wrap_logger(
        structlog.ReturnLogger(),
        processors=[StructlogProcessor(producer=kept.producer), lambda *_: ""],
        wrapper_class=logbus.make_filtering_bound_logger("error"),
    )
    kept.rule(Rule("till", 10))
    quiet.warning("suppressed")
    quiet.warning("by the rule", logger="till")
    structlog.get_logger().info("open")
    assert kept.messages == ["by the rule", "open"]


def test_async_methods_follow_and_say_who_called() -> None:
    """Opened by a rule or not, the call site is the caller's, and what is not for the logger is dropped."""
    kept = Kept()
    configured(kept)
    log = structlog.get_logger()

    async def sell() -> None:
        await log.adebug("too low")
        kept.rule(Rule("test_structlog_front", 10))
        await log.adebug("by a rule")
        await log.alog(10, "by log")
        await log.adebug("of another", logger="other")
        await log.ainfo("as ever")
        kept.rule(Rule("", 40))
        await log.alog(30, "below")
        await log.aerror("above")

    asyncio.run(sell())
    assert kept.messages == ["by a rule", "by log", "as ever", "above"]
    assert {entry.site[3:5] for entry in kept.entries} == {("test_structlog_front", "sell")}


def test_the_recorder_opens_the_wrapper() -> None:
    """What it keeps comes as far as the processor, and no further."""
    kept = Kept(flight=Flight(level=10))
    rendered = configured(kept)
    structlog.get_logger().debug("kept")
    assert kept.gate.recorder is not None
    assert kept.gate.recorder.counts()[0] == 1
    assert (kept.messages, rendered) == ([], [])


def test_a_wrapper_without_a_processor_follows_the_worker_that_is_configured(front: StructlogFront) -> None:
    """configure() serves it, whatever becomes of its events afterwards."""
    kept = Kept()
    front.serve(kept.producer)
    assert kept.gate.confirmed()[2] == ""
    wrapper = logbus.make_filtering_bound_logger()
    assert kept.gate.confirmed()[2] == "structlog=source"
    kept.rule(Rule("", 40))
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[], wrapper_class=wrapper)
    assert log.get_effective_level() == 40


def test_loggers_can_be_pickled() -> None:
    """The class is found by its name, also in a process that has not asked for it yet."""
    for level in (None, 30):
        kind = logbus.make_filtering_bound_logger(level)
        assert pickle.loads(pickle.dumps(kind)) is kind
    with pytest.raises(AttributeError):
        _ = structlog_front.NothingOfTheKind
    assert structlog_front.FollowingBoundLoggerAt40 is logbus.make_filtering_bound_logger("ERROR")
    assert "structlog" in sys.modules


def test_leaving_closes_what_rules_had_opened(front: StructlogFront) -> None:
    """Wrappers are as they were made."""
    kept = Kept()
    configured(kept)
    kept.rule(Rule("", 10))
    assert structlog.get_logger().get_effective_level() == 10
    front.leave()
    assert structlog.get_logger().get_effective_level() == 20
    assert kept.gate.confirmed()[2] == ""
