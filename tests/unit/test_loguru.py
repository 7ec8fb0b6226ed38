"""The sink for loguru, with the real loguru: what is logged there arrives as it was meant, and nothing raises."""

from __future__ import annotations

import contextlib
import gc
import itertools
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from loguru import logger

from logbus.errors import ConfigurationError
from logbus.producers.context import context
from logbus.producers.exception import finish
from logbus.producers.loguru import LoguruSink, loguru_handler, loguru_sink, sinks_of
from logbus.producers.producer import Producer
from logbus.producers.sanitise import MAX_MESSAGE_CHARS
from tests.kept import Kept


@pytest.fixture(params=["handler", "sink"])
def taken(request: pytest.FixtureRequest) -> Kept:
    """A producer that loguru leads to, by either of the two ways."""
    kept = Kept()
    if request.param == "handler":
        logger.configure(handlers=[loguru_handler(producer=kept.producer)])  # type: ignore[list-item]
    else:
        logger.add(loguru_sink(producer=kept.producer), level=0, format="", catch=False)
    return kept


def test_a_record_says_who_logged_when_and_where(taken: Kept) -> None:
    """Logger, level, module, function, line, thread and time are those of the call."""
    logger.info("selected {}", "p1")
    line = sys._getframe().f_lineno - 1
    entry = taken.last
    assert entry.message == "selected p1"
    assert entry.site == (__name__, 20, "INFO", "test_loguru", "test_a_record_says_who_logged_when_and_where", line)
    assert entry.thread == threading.current_thread().name
    assert entry.exception is None
    assert entry.extra is None
    assert entry.nested is None
    assert entry.created > 1_700_000_000
    assert 200 <= entry.size < 400


def test_fields_come_from_bind_contextualize_call_and_logbus_context(taken: Kept) -> None:
    """All sources of fields are joined; what is nearer to the call wins."""
    with (
        logger.contextualize(request_id="r1", who="contextualize"),
        context(operation="select", who="context", tags=[1]),
    ):
        logger.bind(strategy="random", who="bind", data={"a": (1,)}).info("m", port=8080)
    assert taken.last.extra == {
        "request_id": "r1",
        "operation": "select",
        "who": "bind",
        "strategy": "random",
        "port": 8080,
    }
    assert taken.last.nested == {"tags": [1], "data": {"a": [1]}}


def test_the_context_alone_arrives(taken: Kept) -> None:
    """A call without fields of its own carries those of its scope, and their size."""
    logger.info("m")
    bare = taken.last.size
    with context(request_id="r1"):
        logger.info("m")
    assert taken.last.extra == {"request_id": "r1"}
    assert taken.last.size > bare


def test_exceptions_are_described(taken: Kept) -> None:
    """logger.exception, opt(exception=…) and catch give type, message and traceback."""
    try:
        raise KeyError("id")
    except KeyError as error:
        logger.exception("by exception()")
        logger.opt(exception=True).warning("by opt")
        logger.opt(exception=error).info("by value")
    assert len(taken.entries) == 3
    for entry in taken.entries:
        kind, message, lines, *_ = finish(entry.exception)
        assert (kind, message) == ("KeyError", "'id'")
        assert lines[0].startswith(f'File "{__file__}"')
        assert entry.size > 300
    logger.catch(message="caught")(lambda: int("no"))()
    assert finish(taken.last.exception)[0] == "ValueError"
    logger.opt(exception=True).info("none to describe")
    assert taken.last.exception is None


def test_custom_levels_keep_their_names(taken: Kept) -> None:
    """A level that the application has made arrives with name and number; a bare number as loguru names it."""
    with contextlib.suppress(ValueError):  # it is there already: loguru never forgets a level
        logger.level("AUDIT", no=33)
    logger.log("AUDIT", "audited")
    assert taken.last.site[1:3] == (33, "AUDIT")
    logger.log(7, "seven")
    assert taken.last.site[1:3] == (7, "Level 7")
    logger.trace("traced")
    assert taken.last.site[1:3] == (5, "TRACE")


def test_lazy_messages_are_evaluated_once(taken: Kept) -> None:
    """opt(lazy=True) works as without us."""
    calls = itertools.count()
    logger.opt(lazy=True).info("value {}", lambda: next(calls))
    assert taken.last.message == "value 0"
    assert next(calls) == 1


def test_raw_and_coloured_messages_arrive_as_text(taken: Kept) -> None:
    """Markup is loguru's business; what arrives is the text without it."""
    logger.opt(colors=True).info("<red>hot</red>")
    assert taken.last.message == "hot"
    logger.opt(raw=True).info("raw\n")
    assert taken.last.message == "raw\n"


def test_braces_without_arguments_pass_and_with_keywords_fail_before_any_sink(taken: Kept) -> None:
    """An f-string with braces and keyword arguments raises in loguru itself, where no sink can help."""
    logger.info("GET http://host/{id}")
    assert taken.last.message == "GET http://host/{id}"
    with pytest.raises(KeyError):
        logger.info("GET http://host/{id}", proxy_id=1)
    assert len(taken.entries) == 1


@pytest.mark.parametrize(
    ("change", "site_name", "message"),
    [
        ({"name": None}, "root", "m"),
        ({"name": 5}, "5", "m"),
        ({"message": ValueError("v")}, __name__, "v"),
        ({"message": "x" * 10**6}, __name__, None),
        ({"extra": 5}, "root", "m"),
        ({"time": None}, "root", "m"),
        ({"level": None}, "root", None),
        ({"thread": SimpleNamespace(name=None)}, __name__, "m"),
        ({"line": "many"}, "root", "m"),
    ],
)
def test_patched_records_arrive_whatever_they_hold(change: dict[str, Any], site_name: str, message: str | None) -> None:
    """A patcher may put anything anywhere; the record arrives, with what can be told of it."""
    kept = Kept()
    sink = LoguruSink(kept.producer)
    record: dict[str, Any] = {
        "name": __name__,
        "message": "m",
        "extra": {},
        "exception": None,
        "level": SimpleNamespace(no=30, name="WARNING"),
        "module": "m",
        "function": "f",
        "line": 1,
        "time": SimpleNamespace(timestamp=lambda: 1.5),
        "thread": SimpleNamespace(name="t"),
    }
    assert sink.take(cast("Any", record | change)) is False
    entry = kept.last
    assert entry.site[0] == site_name
    assert [type(word) for word in entry.site] == [str, int, str, str, str, int]
    assert len(entry.message) <= MAX_MESSAGE_CHARS
    if message is not None:
        assert entry.message == message
    if site_name == "root" and change != {"name": None}:
        assert entry.extra is not None
        assert "record of loguru could not be read" in entry.extra["logbus_unreadable"]
    sink.take(cast("Any", {}))
    assert kept.last.site[1:3] == (40, "ERROR")


def test_objects_that_explode_do_not_disturb(taken: Kept) -> None:
    """A field or an exception whose repr raises is a placeholder in a record that arrives."""

    class ExplodesError(Exception):
        def __repr__(self) -> str:
            raise OSError

        __str__ = __repr__

    logger.bind(bad=ExplodesError()).info("m")
    assert taken.last.extra is not None
    assert taken.last.extra["bad"].endswith("ExplodesError failed: OSError>")
    logger.opt(exception=ExplodesError()).info("m")
    assert finish(taken.last.exception)[1].endswith("ExplodesError failed: OSError>")


def recording(kept: Kept, **options: Any) -> int:
    """Adds the cheap handler to loguru."""
    return logger.add(**(loguru_handler(producer=kept.producer) | options))


def test_a_repr_may_log(taken: Kept) -> None:
    """By loguru_handler a record that is made while another is read arrives before it, and no lock is in the way."""
    logger.remove()
    recording(taken)

    class Chatty:
        def __repr__(self) -> str:
            logger.info("from the repr")
            return "<Chatty>"

    logger.bind(value=Chatty()).info("outer")
    assert [entry.message for entry in taken.entries] == ["from the repr", "outer"]
    assert taken.last.extra == {"value": "<Chatty>"}


def test_the_handler_spares_loguru_the_formatting() -> None:
    """Neither a text nor a traceback is formatted: the message of the exception is asked for once, by us."""
    kept = Kept()
    recording(kept)
    asked = []

    class CountsError(Exception):
        def __str__(self) -> str:
            asked.append(1)
            return "counted"

    logger.opt(exception=CountsError()).info("m")
    assert asked == [1]


def test_the_handler_still_works_behind_another_filter_and_a_queue() -> None:
    """Whoever replaces the filter, or sets enqueue, gets the records through the sink."""
    kept = Kept()
    recording(kept, filter=lambda record: record["message"] != "secret")
    logger.info("secret")
    logger.info("open")
    assert [entry.message for entry in kept.entries] == ["open"]
    logger.remove()
    recording(kept, filter=None, enqueue=True)
    logger.info("queued")
    logger.remove()
    assert kept.last.message == "queued"


def test_the_level_of_the_handler_counts() -> None:
    """Below its level nothing arrives."""
    kept = Kept()
    logger.configure(handlers=[loguru_handler(level="WARNING", producer=kept.producer)])  # type: ignore[list-item]
    logger.info("below")
    logger.warning("above")
    assert [entry.message for entry in kept.entries] == ["above"]


def test_removal_is_noticed_for_both_ways() -> None:
    """Whoever adds a sink himself is known, until loguru lets it go."""
    makers: list[Callable[[Producer], dict[str, Any]]] = [
        lambda producer: {"sink": loguru_sink(producer=producer)},
        lambda producer: loguru_handler(producer=producer),
    ]
    for make in makers:
        producer = Kept().producer
        handler = make(producer)
        identity = logger.add(**handler)
        assert sinks_of(producer)
        assert not sinks_of(Kept().producer)
        logger.remove(identity)
        assert not sinks_of(producer)
    producer = Kept().producer
    loguru_handler(producer=producer)
    gc.collect()
    assert not sinks_of(producer)


def test_wrong_options_are_told() -> None:
    """Options are checked when the sink is made, and making it opens nothing."""
    with pytest.raises(ConfigurationError, match="on_full"):
        loguru_sink(on_full="explode")
    sink = loguru_sink(capacity=10, worker="w")
    assert sink.producer.settings.capacity == 10
    assert sink.producer.stats().emitted == 0
