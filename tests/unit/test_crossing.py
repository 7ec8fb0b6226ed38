"""Every record of the standard library is taken where it crosses: once, whatever hangs on the loggers."""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.bus import Endpoint
from logbus.producers import crossing as module
from logbus.producers.crossing import CROSSING, is_taken
from logbus.producers.handler import LogbusHandler
from logbus.producers.producer import Producer, producer_for
from logbus.producers.settings import ProducerSettings, resolve
from tests.kept import Kept


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Nothing of ours stays in logging's classes."""
    before = logging.Logger.callHandlers, logging.shutdown
    yield
    CROSSING.end()
    assert (logging.Logger.callHandlers, logging.shutdown) == before


@pytest.fixture
def taken(kept: Kept) -> Kept:
    """The producer that gets everything, from now on."""
    CROSSING.begin(kept)  # type: ignore[arg-type]
    return kept


def test_a_record_is_taken_without_a_handler(taken: Kept) -> None:
    """And with any, once."""
    log = logging.getLogger("shop.till")
    log.warning("sold %d", 3)
    log.addHandler(logging.StreamHandler(io.StringIO()))
    log.propagate = False
    log.error("again")
    assert taken.messages == ["sold 3", "again"]


def test_what_a_logger_does_not_let_through_is_not_taken(taken: Kept) -> None:
    """Its level, a filter, ``disabled``, ``logging.disable``: the application's word."""
    log = logging.getLogger("shop.till")
    log.setLevel(logging.ERROR)
    log.warning("too low")
    log.addFilter(lambda record: "secret" not in record.getMessage())
    log.error("secret")
    log.disabled = True
    log.error("disabled")
    logging.disable(logging.ERROR)
    logging.error("disabled for all")
    assert taken.messages == []


def test_a_handler_for_the_same_endpoint_says_nothing(peer: Any) -> None:
    """The application attached it for when it runs without us; its settings do not matter."""
    producer = producer_for(resolve({}))
    CROSSING.begin(producer)
    handler = LogbusHandler(component="shop", worker="another")
    elsewhere = LogbusHandler(f"{peer.url}-elsewhere")
    logging.getLogger("shop").addHandler(handler)
    logging.getLogger("shop").warning("once")
    assert handler.producer is producer
    assert elsewhere.producer is not producer
    handler.flush()
    assert peer.arrivals.messages == ["once"]


def test_the_next_producer_gets_everything(taken: Kept) -> None:
    """The earlier one gets nothing more."""
    other = Kept()
    logging.warning("one")
    CROSSING.begin(other)  # type: ignore[arg-type]
    logging.warning("two")
    assert (taken.messages, other.messages) == (["one"], ["two"])


def test_an_end_gives_logging_back(taken: Kept) -> None:
    """Also below a wrapper that somebody has put on top, which then leads to nothing of ours."""
    ours = logging.Logger.callHandlers

    def theirs(self: logging.Logger, record: logging.LogRecord) -> None:
        ours(self, record)

    logging.Logger.callHandlers = theirs  # type: ignore[method-assign]
    try:
        logging.warning("one")
        CROSSING.end()
        logging.warning("two")
    finally:
        logging.Logger.callHandlers = ours.__wrapped__  # type: ignore[attr-defined,method-assign]
        CROSSING._patches = ()
    assert taken.messages == ["one"]


def test_whoever_walks_the_stack_passes_our_frames(taken: Kept) -> None:
    """The recipes that look for the caller of logging stop at the first frame of another file."""
    seen: list[str] = []

    class Walker(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            frame = sys._getframe()
            while frame.f_back is not None and (
                frame is sys._getframe() or frame.f_code.co_filename == logging.__file__
            ):
                frame = frame.f_back
            seen.append(frame.f_code.co_name)

    logging.getLogger().addHandler(Walker())
    logging.warning("here")
    assert seen == ["test_whoever_walks_the_stack_passes_our_frames"]


def test_a_record_of_another_worker_is_not_taken(taken: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was taken there; one of a process that is no worker, or that nobody knows, has come a long way to us."""
    asked: list[int] = []

    def is_below(pid: int) -> bool:
        asked.append(pid)
        return pid == 7

    monkeypatch.setattr(module, "is_below", is_below)
    for pid in (7, 8, 7, 8, os.getpid(), None):
        record = logging.makeLogRecord({"name": "far", "levelno": 30, "msg": f"from {pid}", "process": pid})
        logging.getLogger("far").handle(record)
    assert taken.messages == ["from 8", "from 8", f"from {os.getpid()}", "from None"]
    assert asked == [7, 8]


def test_the_processes_that_are_remembered_are_bounded(taken: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of ever new processes come through a gateway for years."""
    monkeypatch.setattr(module, "_PROCESSES_KEPT", 3)
    monkeypatch.setattr(module, "is_below", lambda pid: False)
    for pid in range(4_000_000, 4_000_010):
        logging.getLogger("far").handle(logging.makeLogRecord({"levelno": 30, "msg": "x", "process": pid}))
    assert len(CROSSING._processes) <= 3


def test_the_message_that_handlers_have_is_known_in_this_thread(taken: Kept) -> None:
    """That is how loguru's door knows a record that a handler passes on; other threads have their own."""
    said: list[bool] = []

    class Asks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.extend((is_taken("sold 3"), is_taken("other")))
            thread = threading.Thread(target=lambda: said.append(is_taken("sold 3")))
            thread.start()
            thread.join()

    CROSSING.mind_others()
    logging.getLogger().addHandler(Asks())
    logging.warning("sold %d", 3)
    assert said == [True, False, False]
    assert not is_taken("sold 3")


def test_a_record_that_can_not_be_formatted_is_no_ones_message(taken: Kept) -> None:
    """Asking is no error."""
    said: list[bool] = []

    class Asks(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(is_taken("sold"))

    CROSSING.mind_others()
    log = logging.getLogger("shop.till")
    log.addHandler(Asks())
    log.propagate = False
    log.warning("sold %d", "three")
    assert said == [False]


def test_a_field_called_extra_is_not_loguru(taken: Kept) -> None:
    """Only what loguru is handing over just now is left to loguru's own door."""
    CROSSING.mind_others()
    logging.getLogger("shop").warning("sold", extra={"extra": {"item": 3}})
    assert taken.messages == ["sold"]


def test_shutdown_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    """``logging.shutdown()`` does; what ``dictConfig`` calls with a list of its own does not have to wait."""
    flushed: list[str] = []
    producer = Producer(ProducerSettings(Endpoint.parse("ipc:///nowhere/r"), Endpoint.parse("ipc:///nowhere/c")))
    monkeypatch.setattr(Producer, "flush_soon", lambda self: flushed.append("flushed"))
    CROSSING.begin(producer)
    logging.shutdown([])
    assert flushed == []
    logging.shutdown()
    assert flushed == ["flushed"]


def test_greenlets_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that are in their handlers at a time, begun before and ended before the other, leave nothing behind."""
    caller = [1]
    monkeypatch.setattr(threading, "get_ident", lambda: caller[0])
    inside = module._Inside()
    first, second = (logging.LogRecord("till", 20, "/srv/till.py", 1, text, (), None) for text in ("tea", "milk"))

    def of(greenlet: int) -> module._Inside:
        caller[0] = greenlet
        return inside

    of(1).record, of(1).processed = first, True
    assert (of(2).record, of(2).processed) == (None, False)
    of(2).record = second
    assert (of(1).record, of(2).record) == (first, second)
    of(1).record, of(1).processed = None, False
    assert of(2).record is second
    of(2).record = None
    assert [(of(each).record, of(each).processed) for each in (1, 2)] == [(None, False)] * 2


def test_a_child_has_what_its_own_thread_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """What others had is nobody's after a fork: a new thread may get their number."""
    caller = [1]
    monkeypatch.setattr(threading, "get_ident", lambda: caller[0])
    inside = module._Inside()
    record = logging.LogRecord("till", 20, "/srv/till.py", 1, "tea", (), None)
    for caller[0] in (1, 2):
        inside.record, inside.processed = record, True

    inside.after_fork()

    assert (inside.record, inside.processed) == (record, True)
    caller[0] = 1
    assert (inside.record, inside.processed) == (None, False)
