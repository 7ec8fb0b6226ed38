"""Threads, locks and events of the system, where ``threading`` has them and where it has greenlets in their place."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from logbus import os_threads
from logbus.producers.unsignalled import unsignalled, wait_end
from tests.collector_command import child_environment


@pytest.fixture(params=[False, True], ids=["threads", "greenlets"])
def greenlets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether somebody has put functions of his own into ``_thread``, which must not be called."""
    if request.param:

        def forbidden(*arguments: Any) -> None:
            raise AssertionError("a thread of ours is a greenlet")

        monkeypatch.setattr(_thread, "start_new_thread", forbidden)
    return bool(request.param)


def test_what_it_says_of_threads(greenlets: bool) -> None:
    """It looks at what begins threads now."""
    assert os_threads.are_greenlets() is greenlets
    assert os_threads.in_main_thread()
    elsewhere: list[bool] = []
    thread = unsignalled(lambda: elsewhere.append(os_threads.in_main_thread()), "t-1")
    thread.start()
    wait_end(thread, 60)
    assert elsewhere == [False]


def test_a_thread_from_its_start_to_its_end(greenlets: bool) -> None:
    """Its numbers are the system's, it is alive until it ends, and who waits for it waits no longer than he said."""
    go_on = os_threads.Event()
    thread = unsignalled(lambda: bool(go_on.wait_alone(60)), "t-1")
    assert isinstance(thread, os_threads.Thread) is greenlets
    assert (thread.name, thread.daemon, thread.ident, thread.native_id) == ("t-1", True, None, None)

    thread.start()
    assert thread.ident in sys._current_frames()
    assert thread.ident != os_threads.get_ident()
    assert thread.native_id not in (None, threading.get_native_id())
    assert wait_end(thread, 0) is wait_end(thread, -1) is thread.ended.is_set() is False

    go_on.set()
    assert wait_end(thread, 60) is thread.ended.is_set() is True
    assert not os.path.exists(f"/proc/self/task/{thread.native_id}")
    assert wait_end(thread, 60)


def test_a_thread_does_not_wait_for_itself(greenlets: bool) -> None:
    """Nor does anybody for one that never began: there is nothing to wait for."""
    found: list[bool] = []
    thread = unsignalled(lambda: found.append(wait_end(thread, 1e6)), "t-1")
    assert not wait_end(thread, 1e6)
    thread.start()
    assert wait_end(thread, 60)
    assert found == [False]


def test_a_thread_that_fails_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for it does not wait for ever; what went wrong is told as of any thread."""
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    def fail() -> None:
        raise ValueError("sold out")

    thread = os_threads.Thread(fail, "t-1")
    thread.start()
    assert wait_end(thread, 60)
    assert type(told[0].exc_value) is ValueError


def test_an_event_happens_once(greenlets: bool) -> None:
    """It may be set again and waited for again, by several; before it happens a wait ends by itself."""
    event = os_threads.Event()
    assert not event.is_set()
    assert event.wait(0) is event.wait(-1) is event.wait(0.01) is event.wait_alone(-1) is False
    woken: list[bool] = []
    threads = [unsignalled(lambda: woken.append(event.wait_alone(60)), f"t-{at}") for at in range(3)]
    for thread in threads:
        thread.start()
    event.set()
    event.set()
    assert all(wait_end(thread, 60) for thread in threads)
    assert woken == [True, True, True]
    assert event.wait(0) is event.is_set() is True


def test_a_signal_handler_sets_what_is_being_set(timer: Callable[[Callable[[], None], float], None]) -> None:
    """A handler in the middle of a set, and of another's set, waits for nobody."""
    events: list[os_threads.Event] = []
    handled: list[None] = []

    def interrupt() -> None:
        if events:
            events[-1].set()
            handled.append(None)

    timer(interrupt, 0.0005)
    while len(handled) < 100:
        events.append(os_threads.Event())
        events[-1].set()
        assert events[-1].wait(0)
    assert all(event.is_set() for event in events)


def test_others_run_while_a_greenlet_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With greenlets a wait is many short sleeps of theirs, which get no longer than the time that is left."""
    monkeypatch.setattr(_thread, "start_new_thread", lambda *arguments: None)
    event = os_threads.Event()
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 8:
            event.set()

    monkeypatch.setattr(time, "sleep", nap)
    assert event.wait(60)
    assert naps == sorted(naps)
    assert naps[0] < naps[-1] <= 0.01


def test_where_no_greenlet_can_be_switched_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler in the loop of gevent or eventlet waits alone; what else a sleep raises is the caller's."""
    monkeypatch.setattr(_thread, "start_new_thread", lambda *arguments: None)
    event = os_threads.Event()
    refusals = [
        AssertionError("Impossible to call blocking function in the event loop callback"),
        RuntimeError("do not call blocking functions from the mainloop"),
    ]
    for refusal in refusals:
        monkeypatch.setattr(time, "sleep", mock.Mock(side_effect=refusal))
        assert not event.wait(0.01)
    monkeypatch.setattr(time, "sleep", mock.Mock(side_effect=RuntimeError("of a signal handler")))
    with pytest.raises(RuntimeError, match="of a signal handler"):
        event.wait(60)


def test_sleep_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes its time whatever stands in ``time``."""
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("somebody else's sleep"))
    begun = time.monotonic()
    os_threads.sleep(0.02)
    os_threads.sleep(-1)
    assert time.monotonic() - begun >= 0.02


def test_what_was_patched_before_is_not_taken() -> None:
    """A module that is loaded after a patch has the interpreter's functions all the same, and no patch is lost."""
    code = """
import _thread, threading
def begin(*arguments): raise AssertionError("patched")
def number(): return 5
_thread.start_new_thread, _thread.get_ident = begin, number
import sys
from logbus import os_threads
assert sys.modules["_thread"].get_ident is number
found = []
thread = os_threads.Thread(lambda: found.append(os_threads.get_ident()), "t-1")
thread.start()
assert thread.ended.wait_alone(60)
assert found == [thread.ident] != [os_threads.get_ident()]
with os_threads.RLock() as first, os_threads.Lock():
    assert first
assert os_threads.in_main_thread()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("greenlets", [True], indirect=True)
def test_signals_pass_it_by(greenlets: bool) -> None:
    """As any thread of ours it is no target of them."""
    masks: list[set[int]] = []
    thread = unsignalled(lambda: masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, []))), "t-1")
    thread.start()
    assert wait_end(thread, 60)
    assert signal.SIGTERM in masks[0]


def test_a_thread_may_end_after_the_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where threads have got other numbers meanwhile, its end is no error, and threading knows it no more."""
    told: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    go_on = os_threads.Event()
    thread = unsignalled(lambda: bool(go_on.wait(60)), "t-1")
    thread.start()
    with monkeypatch.context() as patched:
        patched.setattr(threading, "get_ident", lambda: -os_threads.get_ident())
        go_on.set()
        assert wait_end(thread, 60)
    assert thread not in threading.enumerate()
    assert told == []


def test_a_lock_of_the_programs_is_asked_for_in_time(greenlets: bool) -> None:
    """It is had where it is free, or gets free in time; and never waited for longer, whoever has it."""
    lock = threading.Lock()
    assert os_threads.acquire(lock, 0)
    assert not os_threads.acquire(lock, 0)
    assert not os_threads.acquire(lock, 0.005)
    waiting = os_threads.Event()
    had: list[bool] = []

    def take() -> None:
        waiting.set()
        had.append(os_threads.acquire(lock, 60))

    thread = unsignalled(take, "t-1")
    thread.start()
    assert waiting.wait_alone(60)
    lock.release()
    assert wait_end(thread, 60)
    assert had == [True]


def test_a_thread_of_ours_never_waits_in_a_lock_of_greenlets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What such a lock does with a time is not ours to know: it is asked whether it is free, again and again."""
    monkeypatch.setattr(_thread, "start_new_thread", lambda *arguments: None)
    lock = mock.Mock()
    lock.acquire.side_effect = [False, False, True]
    assert os_threads.acquire(lock, 60)
    assert lock.acquire.call_args_list == [mock.call(False)] * 3
