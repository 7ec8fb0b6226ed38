"""Fast loggers for a process: which loggers, from when on, and how they are given back."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import logbus
from logbus.errors import ConfigurationError
from logbus.producers.fast_logger import FastLogger
from logbus.producers.fast_tree import FAST_TREE
from tests.peer import Peer


class Own(logging.Logger):
    """An application's own."""


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """A tree whose loggers are plain, before and after."""
    yield
    FAST_TREE.end()
    logging.setLoggerClass(logging.Logger)


def test_plain_loggers_become_fast_and_plain_again() -> None:
    """Those that are there and those that come; the root, and loggers with a class of their own, stay what they are."""
    there, own = logging.getLogger("tree.there"), Own("tree.own")
    logging.getLogger().manager.loggerDict["tree.own"] = own
    FAST_TREE.begin()
    come = logging.getLogger("tree.come")
    assert type(there) is type(come) is FastLogger
    assert logging.getLoggerClass() is FastLogger
    assert (type(own), type(logging.getLogger())) == (Own, logging.RootLogger)
    FAST_TREE.end()
    FAST_TREE.end()
    assert type(there) is type(come) is logging.getLoggerClass() is logging.Logger
    assert type(logging.getLogger("tree.later")) is logging.Logger


def test_what_the_application_has_chosen_stays() -> None:
    """Its class of loggers before and after, and loggers that it has made fast itself."""
    logging.setLoggerClass(FastLogger)
    theirs = logging.getLogger("tree.theirs")
    logging.setLoggerClass(Own)
    FAST_TREE.begin()
    assert logging.getLoggerClass() is Own
    assert type(logging.getLogger("tree.own.class")) is Own
    FAST_TREE.end()
    assert (type(theirs), logging.getLoggerClass()) == (FastLogger, Own)
    logging.setLoggerClass(FastLogger)
    FAST_TREE.begin()
    FAST_TREE.end()
    assert logging.getLoggerClass() is FastLogger
    theirs.__class__ = logging.Logger


def test_a_class_that_comes_later_counts() -> None:
    """Whoever sets a class of loggers while ours is in force has it, and keeps it."""
    FAST_TREE.begin()
    logging.setLoggerClass(Own)
    assert type(logging.getLogger("tree.later.class")) is Own
    FAST_TREE.end()
    assert logging.getLoggerClass() is Own


def test_again_takes_those_that_have_come_since() -> None:
    """A second call makes fast what somebody has made plain, and the end is one end."""
    log = logging.getLogger("tree.again")
    FAST_TREE.begin()
    log.__class__ = logging.Logger
    FAST_TREE.begin()
    assert type(log) is FastLogger
    FAST_TREE.end()
    assert type(log) is logging.Logger


@pytest.mark.parametrize("way", ["code", "environment", "file"])
def test_configure_switches_it_on(
    peer: Peer, way: str, working_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By argument, variable or file; a call without it, and the shutdown, give the loggers back."""
    log = logging.getLogger("tree.configured")
    if way == "environment":
        monkeypatch.setenv("LOGBUS_FAST_LOGGERS", "yes")
    elif way == "file":
        (working_directory / "pyproject.toml").write_text("[tool.logbus]\nfast_loggers = true\n")
    for _ in range(2):
        logbus.configure(fast_loggers=True if way == "code" else None)
        assert type(log) is FastLogger
        log.info("%d sold", 3)
        logbus.configure(fast_loggers=False)
        assert type(log) is logging.Logger
        log.info("%d sold", 4)
    logbus.configure(fast_loggers=True)
    assert logbus.flush(5)
    assert peer.arrivals.messages == ["3 sold", "4 sold"] * 2
    logbus.shutdown()
    assert type(log) is logging.Logger


def test_it_is_the_same_producer(peer: Peer) -> None:
    """Loggers that are fast say nothing about where records go: a handler with other defaults has the same producer."""
    producer = logbus.configure(fast_loggers=True)
    assert logbus.LogbusHandler().producer is producer
    assert logbus.configure() is producer


def test_a_wrong_value_is_named() -> None:
    """With what was expected, as of every setting."""
    with pytest.raises(ConfigurationError, match="fast_loggers= 'perhaps': expected true or false"):
        logbus.configure(fast_loggers="perhaps")  # type: ignore[arg-type]


def test_a_forked_child_logs_as_its_parent(peer: Peer) -> None:
    """Its loggers are fast, and its records are its own."""
    logbus.configure(fast_loggers=True, worker="parent")
    log = logging.getLogger("tree.forked")
    log.info("before")
    child = os.fork()
    if child == 0:
        log.info("child")
        logbus.shutdown(5)
        os._exit(type(log) is not logging.Logger)
    assert os.waitpid(child, 0)[1] == 0
    log.info("after")
    assert logbus.flush(5)
    peer.wait_records(3)
    by_pid = {(record.message, record.pid == child) for record in peer.arrivals.records}
    assert by_pid == {("before", False), ("child", True), ("after", False)}


def test_a_fast_logger_has_the_attributes_of_a_plain_one() -> None:
    """Nothing is added to any logger: more attributes would change the layout that all loggers share."""
    log = Own("tree.layout")
    FAST_TREE.begin()
    fast = logging.getLogger("tree.layout.fast")
    assert vars(fast).keys() - {"manager"} == vars(log).keys()
