"""The processor for structlog, with the real structlog: events arrive as they were meant, and go on unchanged."""

from __future__ import annotations

import asyncio
import io
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

import logbus
from logbus.errors import ConfigurationError
from logbus.producers.context import context
from logbus.producers.exception import finish
from logbus.producers.recorder import Flight
from logbus.producers.structlog import StructlogProcessor
from logbus.rules import Rule
from tests.kept import Kept


@pytest.fixture(autouse=True)
def untouched_structlog() -> Iterator[None]:
    """Structlog as nobody has configured it."""
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class Rendered:
    """What comes after the processor."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def __call__(self, logger: Any, name: str, event: Any) -> str:
        """Keeps an event dict, and renders it."""
        self.events.append(dict(event))
        return str(event["event"])


def wrapped(kept: Kept, *before: Any, wrapper: Any = None, rendered: Rendered | None = None, logger: Any = None) -> Any:
    """A logger of structlog whose processors are these, then ours, then one that renders."""
    processors = [*before, StructlogProcessor(producer=kept.producer), rendered or Rendered()]
    wrapper = wrapper or structlog.make_filtering_bound_logger(0)
    return structlog.wrap_logger(logger or structlog.ReturnLogger(), processors=processors, wrapper_class=wrapper)


def test_a_record_says_who_logged_when_and_where() -> None:
    """Logger, level, module, function, line, thread and time are those of the call; the event is the message."""
    kept, rendered = Kept(), Rendered()
    log = wrapped(kept, rendered=rendered)
    log.warning("sold %s", "tea", price=3)
    line = sys._getframe().f_lineno - 1
    function = sys._getframe().f_code.co_name
    assert kept.last.message == "sold tea"
    assert kept.last.site == (__name__, 30, "WARNING", "test_structlog", function, line)
    assert kept.last.thread == threading.current_thread().name
    assert kept.last.extra == {"price": 3}
    assert kept.last.created > 1_700_000_000
    assert rendered.events == [{"event": "sold tea", "price": 3}]


def test_fields_come_from_bind_contextvars_call_and_logbus_context() -> None:
    """All sources are joined, what is nearer to the call wins; structlog's variables need no processor of theirs."""
    for before in ((), (structlog.contextvars.merge_contextvars,)):
        kept = Kept()
        log = wrapped(kept, *before).bind(who="bind", shop=1)
        with structlog.contextvars.bound_contextvars(who="variable", request_id="r1"), context(op="sell", who="us"):
            log.info("m", basket=[(1,)])
        assert kept.last.extra == {"who": "bind", "shop": 1, "request_id": "r1", "op": "sell"}
        assert kept.last.nested == {"basket": [[1]]}


def test_the_logger_s_name_is_the_event_s_or_the_logger_s_or_the_module() -> None:
    """In this order; the keys that say it, and the level, are no fields."""
    kept = Kept()
    wrapped(kept).info("m", logger="by.event")
    wrapped(kept, structlog.stdlib.add_log_level).info("m", logger_name="by.other")
    named = logging.getLogger("by.logger")
    wrapped(kept, structlog.stdlib.add_logger_name, logger=named).info("m")
    assert [entry.site[0] for entry in kept.entries] == ["by.event", "by.other", "by.logger"]
    assert [entry.extra for entry in kept.entries] == [None] * 3


def test_levels_are_those_of_the_methods() -> None:
    """Aliases too; a method of one's own has the level that the event says, or INFO."""
    kept = Kept()
    log = wrapped(kept)
    for method in ("debug", "info", "msg", "warn", "error", "critical", "fatal", "exception"):
        getattr(log, method)("m")
    log.log(30, "m")
    assert [entry.site[1] for entry in kept.entries] == [10, 20, 20, 30, 40, 50, 50, 40, 30]
    own = wrapped(kept, wrapper=structlog.BoundLogger, logger=structlog.PrintLogger(io.StringIO()))
    own.msg("m", level="error")
    assert kept.last.site[2] == "INFO"
    own._logger.msg = own._logger.whisper = own._logger.msg
    own.whisper("m", level="debug")
    assert kept.last.site[2] == "DEBUG"
    own.whisper("m")
    assert kept.last.site[2] == "INFO"


def test_exceptions_are_described() -> None:
    """True, an exception and a triple, and what another processor has formatted, have type, message and traceback."""
    kept = Kept()
    log = wrapped(kept)
    try:
        raise KeyError("id")
    except KeyError as error:
        log.exception("by exception()")
        log.info("by true", exc_info=True)
        log.info("by value", exc_info=error)
        log.info("by triple", exc_info=(type(error), error, error.__traceback__))
        wrapped(kept, structlog.processors.format_exc_info).exception("formatted")
    for entry in kept.entries:
        kind, message, lines, *_ = finish(entry.exception)
        assert (kind, message) == ("KeyError", "'id'")
        assert __file__ in lines[0]
        assert entry.extra is None
    assert len(kept.entries) == 5
    log.info("none", exc_info=True)
    assert kept.last.exception is None


def test_positional_arguments_are_formatted() -> None:
    """As structlog's stdlib logger leaves them; what can't be formatted arrives with its arguments."""
    kept = Kept()
    log = wrapped(kept, wrapper=structlog.stdlib.BoundLogger, logger=structlog.ReturnLogger())
    log.info("sold %d of %s", 2, "tea")
    assert (kept.last.message, kept.last.extra) == ("sold 2 of tea", None)
    log.info("sold %d", "many")
    assert "many" in kept.last.message


def test_async_methods_say_who_called() -> None:
    """Module, function, line and thread are the caller's, and not those of the thread that works for it."""
    kept = Kept()
    log = wrapped(kept)

    async def sell() -> None:
        with context(request_id="r1"):
            await log.ainfo("sold", price=3)

    asyncio.run(sell())
    assert kept.last.site[3:5] == ("test_structlog", "sell")
    assert kept.last.thread == threading.current_thread().name
    assert kept.last.extra == {"price": 3, "request_id": "r1"}


def test_objects_that_explode_do_not_disturb() -> None:
    """A field, a name or an event whose methods raise: the record arrives, and the event goes on."""

    class Explodes:
        def __str__(self) -> str:
            raise OSError

        __repr__ = __str__

    class Logger(structlog.ReturnLogger):
        @property
        def name(self) -> str:
            raise OSError

    kept, rendered = Kept(), Rendered()
    log = wrapped(kept)
    log.info("m", bad=Explodes())
    assert kept.last.extra is not None
    assert "failed" in kept.last.extra["bad"]
    structlog.wrap_logger(
        Logger(), processors=[StructlogProcessor(producer=kept.producer), rendered], wrapper_class=type(log.bind())
    ).info("named badly")
    assert kept.last.message == "named badly"
    assert "could not be read" in (kept.last.extra or {})["logbus_unreadable"]
    assert rendered.events == [{"event": "named badly"}]


def test_alone_it_sends_what_the_rules_let_pass_and_lets_everything_go_on() -> None:
    """The application's own filter is a floor; what the rules silence is rendered still."""
    kept, rendered = Kept(), Rendered()
    log = wrapped(kept, wrapper=structlog.make_filtering_bound_logger(20), rendered=rendered)
    assert kept.gate.confirmed()[2] == "structlog=filter"
    kept.rule(Rule("test_structlog", 10), Rule("till", 40))
    log.debug("below the floor")
    log.info("above")
    log.info("silenced", logger="shop.till")
    assert kept.messages == ["above"]
    assert [event["event"] for event in rendered.events] == ["above", "silenced"]
    assert kept.gate.names() == ["shop.till", __name__]


def test_conditions_look_at_every_source_of_fields() -> None:
    """The event's own, structlog's variables and our context."""
    kept = Kept()
    log = wrapped(kept)
    kept.rule(Rule("", 40), Rule("test_structlog", 10, where=(("request_id", "7"),)))
    log.debug("none")
    log.debug("own", request_id=7)
    with structlog.contextvars.bound_contextvars(request_id="7"):
        log.debug("variable")
    with context(request_id="7"):
        log.debug("ours")
    assert kept.messages == ["own", "variable", "ours"]


def test_the_flight_recorder_keeps_what_the_rules_silence() -> None:
    """It comes back in full when something goes wrong."""
    kept = Kept(flight=Flight(level=10))
    log = wrapped(kept)
    kept.rule(Rule("", 40))
    log.debug("kept", a=1)
    assert kept.gate.recorder is not None
    assert kept.gate.recorder.counts()[0] == 1
    assert kept.messages == []


def test_without_options_it_is_one_worker_with_the_process() -> None:
    """configure(app_name=…), and the processor as the documentation has it: one producer. Options make another."""
    root = logging.getLogger()
    earlier, handler = (logbus.LogbusHandler(app_name=name) for name in ("earlier", "shop"))
    assert StructlogProcessor().producer not in (earlier.producer, handler.producer)
    root.addHandler(handler)
    assert StructlogProcessor().producer is handler.producer
    assert StructlogProcessor(app_name="till").producer is not handler.producer
    root.addHandler(earlier)
    assert StructlogProcessor().producer not in (earlier.producer, handler.producer)  # which of the two?


def test_wrong_options_and_a_missing_structlog_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors are ours, and making a processor opens nothing."""
    with pytest.raises(ConfigurationError, match="on_full"):
        StructlogProcessor(on_full="explode")
    assert logbus.StructlogProcessor(capacity=10).producer.stats().emitted == 0
    monkeypatch.setitem(sys.modules, "structlog", None)
    with pytest.raises(ConfigurationError, match="expected structlog"):
        StructlogProcessor()
    with pytest.raises(ConfigurationError, match="expected structlog"):
        logbus.make_filtering_bound_logger(77)
