"""Whoever closes every descriptor finds ours gone, and the producer opens again."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest

import logbus
from logbus.producers import descriptors
from logbus.producers.descriptors import mind_closing
from tests.peer import Peer


@pytest.fixture(autouse=True)
def minded() -> Iterator[None]:
    """The hook, and afterwards the function as it was."""
    before = os.closerange
    undo = mind_closing()
    yield
    undo()
    assert os.closerange is before


def test_what_is_below_them_leaves_producers_alone(peer: Peer) -> None:
    """Standard input and output are closed by many."""
    producer = logbus.configure()
    life = producer._life
    closed: list[tuple[int, int]] = []
    descriptors._let_go_first(lambda low, high: closed.append((low, high)))(0, 3)
    assert producer._life is life
    assert closed == [(0, 3)]


def test_they_let_go_first_and_come_again(peer: Peer) -> None:
    """What was logged before has arrived, and what is logged afterwards arrives too; the counts go on."""
    producer = logbus.configure()
    logging.info("before")
    life = producer._life
    assert life is not None
    beyond = max(int(name) for name in os.listdir("/proc/self/fd")) + 100
    os.closerange(beyond, beyond + 100)
    assert producer._life is None
    assert life.counters.descriptors == ()
    assert peer.arrivals.messages == ["before"]
    logging.info("after")
    assert logbus.flush(10)
    assert peer.arrivals.messages == ["before", "after"]
    assert logbus.stats() == logbus.Stats(2, 2)


def test_a_producer_that_has_nothing_open_stays_closed(peer: Peer) -> None:
    """There is nothing to let go."""
    handler = logbus.LogbusHandler()
    beyond = max(int(name) for name in os.listdir("/proc/self/fd")) + 100
    os.closerange(beyond, beyond + 100)
    assert handler.producer._life is None
    assert handler.producer._opener is None
