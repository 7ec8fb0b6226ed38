"""Those who wait are let go when what they waited for is acknowledged, and not before."""

from __future__ import annotations

from unittest import mock

import pytest

from logbus.producers.flushes import Flushes


def test_a_flush_ends_with_the_acknowledgement() -> None:
    """First everything before it is sent, then all of that is acknowledged."""
    flushes = Flushes()
    flush = flushes.begin(7)
    for passed, sent, acknowledged, asking in ((7, 3, 3, False), (8, 5, 4, True)):
        flushes.settle(passed=passed, sent=sent, acknowledged=acknowledged)
        assert flushes.asking is asking
        assert not flush.done.is_set()
    flushes.settle(passed=9, sent=9, acknowledged=5)
    assert flushes.wait(flush, 0.0)
    assert flushes.waiting() == []


def test_an_empty_buffer_means_that_all_was_sent() -> None:
    """Then the number is that of now, and it stays: what is sent later is not waited for."""
    flushes = Flushes()
    flush = flushes.begin(7)
    flushes.all_sent(flushes.waiting(), 5)
    flushes.all_sent(flushes.waiting(), 9)
    flushes.settle(passed=-1, sent=9, acknowledged=5)
    assert flush.done.is_set()


def test_who_gives_up_waits_no_more() -> None:
    """A flush that timed out is forgotten."""
    flushes = Flushes()
    flush = flushes.begin(7)
    assert not flushes.wait(flush, 0.0)
    assert flushes.waiting() == []


def test_one_that_is_interrupted_waits_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler, or a timeout of gevent's, may end a wait with an exception of its own."""
    flushes = Flushes()
    flush = flushes.begin(3)
    monkeypatch.setattr(type(flush.done), "wait", mock.Mock(side_effect=KeyboardInterrupt))

    with pytest.raises(KeyboardInterrupt):
        flushes.wait(flush, 60)

    assert flushes.waiting() == []
