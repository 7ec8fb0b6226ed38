"""One call for a worker: it can be repeated, it leaves what the application chose, and it finds its collector."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import structlog
from loguru import logger as loguru_logger

import logbus
from logbus.errors import ConfigurationError
from logbus.producers.handler import LogbusHandler
from logbus.producers.producer import Producer
from logbus.rules import Levels, Rule
from tests.eventually import eventually
from tests.peer import Peer
from tests.stranger import NOBODY, needs_root


@pytest.fixture(autouse=True)
def default_root() -> Iterator[None]:
    """A root logger as Python makes it, and the default action on SIGTERM, before and after."""
    root = logging.getLogger()
    level, root.level = root.level, logging.WARNING
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)
    root.setLevel(level)


def ours() -> list[LogbusHandler]:
    """The handlers that the root logger has from us."""
    return [handler for handler in logging.getLogger().handlers if isinstance(handler, LogbusHandler)]


def test_one_call_makes_a_worker(peer: Peer) -> None:
    """After it, what the application logs anywhere arrives, from INFO up."""
    logbus.configure(worker="w-1")
    logging.getLogger("shop.till").debug("too low")
    logging.getLogger("shop.till").info("sold")
    logging.warning("from the root")
    assert logbus.flush(5)
    assert peer.arrivals.messages == ["sold", "from the root"]
    assert {record.worker for record in peer.arrivals.records} == {"w-1"}
    assert logbus.stats() == logbus.Stats(2, 2)


def test_a_second_call_changes_nothing(peer: Peer) -> None:
    """Libraries and applications may both call it: one handler, one producer, each record once."""
    first = logbus.configure()
    assert logbus.configure() is first
    assert len(ours()) == 1
    logging.info("once")
    assert logbus.flush(5)
    assert peer.arrivals.messages == ["once"]


def test_other_settings_replace_the_earlier_ones(peer: Peer) -> None:
    """The last call counts: the earlier producer is drained, and no record goes both ways."""
    first = logbus.configure(worker="a")
    logging.info("one")
    second = logbus.configure(worker="b")
    logging.info("two")
    assert logbus.flush(5)
    assert first is not second
    assert len(ours()) == 1
    assert [(record.worker, record.message) for record in peer.arrivals.records] == [("a", "one"), ("b", "two")]


def test_no_record_falls_between_two_configurations(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged while the earlier producer drains is the new one's, and arrives once."""
    logbus.configure(worker="one")
    drain = Producer.drain

    def log_first(self: Producer, timeout: float | None = None) -> None:
        logging.warning("meanwhile")
        drain(self, timeout)

    with monkeypatch.context() as patch:
        patch.setattr(Producer, "drain", log_first)
        logbus.configure(worker="two")
    assert logbus.flush(5)
    assert [(record.worker, record.message) for record in peer.arrivals.records] == [("two", "meanwhile")]


def test_a_handler_of_the_application_stays(peer: Peer) -> None:
    """A handler that somebody put on the root logger is theirs; one of ours with the same settings is enough."""
    other = logging.NullHandler()
    mine = LogbusHandler()
    logging.getLogger().addHandler(other)
    logging.getLogger().addHandler(mine)
    producer = logbus.configure()
    assert mine.producer is producer
    assert ours() == [mine]
    assert other in logging.getLogger().handlers


@pytest.mark.parametrize(
    ("before", "given", "after"),
    [
        (logging.WARNING, None, logging.INFO),
        (logging.DEBUG, None, logging.DEBUG),
        (logging.ERROR, None, logging.ERROR),
        (logging.WARNING, "debug", logging.DEBUG),
        (logging.DEBUG, 30, logging.WARNING),
    ],
)
def test_the_level_is_the_one_given_or_chosen_or_info(before: int, given: int | str | None, after: int) -> None:
    """A level that was given counts, then what the application chose; INFO takes the place of the mere default."""
    logging.getLogger().setLevel(before)
    logbus.configure(level=given)
    assert logging.getLogger().level == after


def test_the_level_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """LOGBUS_LEVEL is a level that was given."""
    monkeypatch.setenv("LOGBUS_LEVEL", "ERROR")
    logbus.configure()
    assert logging.getLogger().level == logging.ERROR


def test_loguru_is_attached_where_it_is_in_use(peer: Peer) -> None:
    """What is logged there arrives too, once; with ``loguru=False`` it is left alone."""
    logbus.configure(loguru=False)
    loguru_logger.info("to nobody")
    for _ in range(2):
        logbus.configure()
    loguru_logger.debug("too low")
    loguru_logger.info("from loguru")
    assert logbus.flush(5)
    assert peer.arrivals.messages == ["from loguru"]


def test_a_wrong_setting_leaves_everything_as_it_was() -> None:
    """The mistake is named, and nothing was attached for half a configuration."""
    with pytest.raises(ConfigurationError, match="capacity"):
        logbus.configure(capacity=-1)
    assert ours() == []
    assert logging.getLogger().level == logging.WARNING
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_collector_that_is_there_is_waited_for(peer: Peer) -> None:
    """Where a lock says that there is one, its welcome has come when the call returns."""
    assert peer.endpoint.lock is not None
    peer.endpoint.lock.touch()
    producer = logbus.configure()
    assert producer.wait_welcome(0)


def test_no_collector_is_not_waited_for(directories: Path) -> None:
    """A worker starts as fast without one, and its records wait."""
    producer = logbus.configure()
    assert not producer.wait_welcome(0)
    logging.info("waits")
    assert logbus.stats().queued == 1
    assert (directories / "runtime" / "default" / "records.pages").is_dir()


@pytest.mark.parametrize("named", ["XDG_RUNTIME_DIR", "LOGBUS_RUNTIME_DIR", "LOGBUS_ENDPOINT"])
def test_a_default_directory_of_somebody_else_gets_nothing(
    directories: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Records wait until it is ours; where somebody has named the place it may be another user's."""
    needs_root()
    runtime = directories / "logbus"
    monkeypatch.delenv("LOGBUS_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directories))
    if named == "LOGBUS_RUNTIME_DIR":
        monkeypatch.setenv(named, str(runtime))
    with Peer.at(runtime / "default") as peer:
        (runtime / "default" / "records.lock").touch()
        (runtime / "default" / "control.levels").write_text(json.dumps(Levels("theirs", 9, (Rule("", 50),)).document()))
        os.chown(runtime / "default", NOBODY, -1)
        if named == "LOGBUS_ENDPOINT":
            monkeypatch.setenv(named, peer.url)
        foreign = named == "XDG_RUNTIME_DIR"
        with pytest.warns(RuntimeWarning, match=f"belongs to uid {NOBODY}") if foreign else nullcontext():
            producer = logbus.configure()
        logging.error("secret")
        if foreign:
            assert not producer.wait_welcome(0.2)
            assert not producer.flush_soon()
            assert (logbus.stats().queued, logbus.stats().level_version) == (1, 0)
            assert peer.arrivals.messages == []
            os.chown(runtime / "default", os.geteuid(), -1)
        assert [record.message for record in peer.wait_records(1)] == ["secret"]


def test_without_trust_a_worker_ends_soon(directories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It forks, shuts down and counts what waited, without a word to whoever listens there."""
    needs_root()
    monkeypatch.delenv("LOGBUS_RUNTIME_DIR")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directories))
    with Peer.at(directories / "logbus" / "default") as peer:
        os.chown(directories / "logbus" / "default", NOBODY, -1)
        with pytest.warns(RuntimeWarning, match="records wait"):
            logbus.configure()
        logging.info("waits")
        child = os.fork()
        if child == 0:
            logging.info("waits too")
            os._exit(logbus.shutdown().dropped != {"shutdown": 1})
        assert os.waitpid(child, 0)[1] == 0
        began = time.monotonic()
        assert logbus.shutdown().dropped == {"shutdown": 1}
        assert time.monotonic() - began < 1
        assert peer.arrivals.messages == []
        assert peer.listeners == set()


def test_sigterm_is_taken_only_where_nobody_has_it() -> None:
    """The default action becomes the drain; a handler of the application and SIG_IGN stay."""
    logbus.configure()
    taken = signal.getsignal(signal.SIGTERM)
    assert callable(taken)
    logbus.configure()
    assert signal.getsignal(signal.SIGTERM) == taken
    for theirs in (signal.SIG_IGN, lambda number, frame: None):
        signal.signal(signal.SIGTERM, theirs)
        logbus.configure()
        assert signal.getsignal(signal.SIGTERM) is theirs
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        assert signal.getsignal(signal.SIGTERM) == taken, "what a server gives back is taken"


def test_sigterm_can_be_left_alone() -> None:
    """``sigterm=False`` is for those who drain themselves."""
    logbus.configure(sigterm=False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_thread_may_configure(peer: Peer) -> None:
    """Off the main thread no signal handler can be set; everything else works."""
    thread = threading.Thread(target=logbus.configure)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    logging.info("hello")
    assert peer.wait_records(1)[0].message == "hello"


def test_after_a_shutdown_it_begins_anew(peer: Peer) -> None:
    """What is logged in between is counted as dropped; the second life delivers again."""
    logbus.configure()
    logging.info("one")
    assert logbus.shutdown() == logbus.Stats(1, 1)
    logging.info("lost")
    assert logbus.stats() == logbus.Stats(2, 1, {"shutdown": 1})
    logbus.configure()
    logging.info("two")
    assert logbus.flush(5)
    assert peer.arrivals.messages == ["one", "two"]
    assert logbus.shutdown() == logbus.Stats(3, 2, {"shutdown": 1})
    assert eventually(lambda: len(peer.arrivals.byes) == 2)


def test_before_any_configuration_everything_is_harmless() -> None:
    """Stats, flush and shutdown of a process that never logged."""
    assert logbus.stats() == logbus.Stats()
    assert logbus.flush(0)
    assert logbus.shutdown() == logbus.Stats()


def test_a_flush_has_one_deadline_for_all(peer: Peer) -> None:
    """Several producers share the time that was given, and False says that one of them was too slow."""
    peer.say("draining")
    for name in "abc":
        logger = logging.getLogger(name)
        logger.addHandler(LogbusHandler(worker=name))
        logger.error("waits")
    assert not logbus.flush(0.1)
    peer.say("serving")
    assert logbus.flush(5)
    assert sorted(peer.arrivals.messages) == ["waits"] * 3


def test_loguru_is_direct_and_can_be_given_back(peer: Peer) -> None:
    """By default past its handlers, by ``source`` through ours; with ``loguru=False`` as the application had it."""
    producer = logbus.configure()
    assert "loguru=direct" in producer.gate.confirmed()[2]
    logbus.configure(source="handler")
    assert "loguru=filter" in producer.gate.confirmed()[2]
    loguru_logger.info("by the handler")
    logbus.configure(loguru=False)
    loguru_logger.info("to nobody")
    assert "loguru" not in producer.gate.confirmed()[2]
    assert logbus.flush(5)
    assert peer.arrivals.messages == ["by the handler"]


def test_an_unknown_source_is_told() -> None:
    """The mistake is named before anything is attached."""
    with pytest.raises(ConfigurationError, match="source= 'both': expected one of direct, handler"):
        logbus.configure(source="both")  # type: ignore[arg-type]
    assert ours() == []


def test_other_settings_take_loguru_along(peer: Peer) -> None:
    """What is logged there before and after goes to one producer or the other, once."""
    logbus.configure(worker="a")
    loguru_logger.info("one")
    logbus.configure(worker="b")
    loguru_logger.info("two")
    loguru_logger.bind(x=1).info("three")
    assert logbus.flush(5)
    assert sorted((record.worker, record.message) for record in peer.arrivals.records) == [
        ("a", "one"),
        ("b", "three"),
        ("b", "two"),
    ]


def test_structlog_s_wrapper_follows_the_worker(peer: Peer) -> None:
    """Its level is that of configure(), where nobody has said another, and its gate is named once it is in use."""
    producer = logbus.configure(level="ERROR")
    wrapper = logbus.make_filtering_bound_logger()
    log = structlog.wrap_logger(structlog.ReturnLogger(), processors=[], wrapper_class=wrapper)
    assert log.get_effective_level() == logging.ERROR
    assert "structlog=source" in producer.gate.confirmed()[2]


def test_crashes_are_told_unless_that_is_refused(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody catches is recorded from the first call on; False, or shutdown(), gives the hooks back."""
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)  # pytest's own makes a warning of it
    before = sys.excepthook, threading.excepthook, sys.unraisablehook
    logbus.configure()
    assert all(hook not in before for hook in (sys.excepthook, threading.excepthook, sys.unraisablehook))
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    assert logbus.flush(5)
    assert peer.arrivals.messages == ["uncaught ZeroDivisionError: division by zero"]
    logbus.configure(uncaught=False)
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before
    logbus.configure()
    logbus.shutdown()
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before


def test_warnings_are_captured_on_demand(peer: Peer) -> None:
    """Not by default; once they are, a call that says nothing of them changes nothing."""
    show = warnings._showwarnmsg_impl  # type: ignore[attr-defined]
    logbus.configure()
    assert warnings._showwarnmsg_impl is show  # type: ignore[attr-defined]
    logbus.configure(capture_warnings=True)
    ours = warnings._showwarnmsg_impl  # type: ignore[attr-defined]
    assert ours is not show
    logbus.configure()
    assert warnings._showwarnmsg_impl is ours  # type: ignore[attr-defined]
    logbus.configure(capture_warnings=False)
    assert warnings._showwarnmsg_impl is show  # type: ignore[attr-defined]
