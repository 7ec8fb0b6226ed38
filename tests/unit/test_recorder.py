"""The flight recorder: what it keeps, what brings it back, what it gives up, and that nothing is lost between."""

from __future__ import annotations

import itertools
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logbus.errors import ConfigurationError
from logbus.producers.recorder import MAX_BYTES, MAX_RECORDS, Flight, Recorder
from tests.kept import Entry

SITE = ("shop.till", 10, "DEBUG", "till", "sell", 7)
ERROR = ("shop.till", 40, "ERROR", "till", "sell", 9)


class Out(list[Entry]):
    """A producer that keeps what it is given."""

    def put(self, *arguments: Any) -> None:
        """Takes one record."""
        self.append(Entry(*arguments))

    @property
    def messages(self) -> list[str]:
        """What was said."""
        return [record.message for record in self]


@pytest.fixture
def out() -> Out:
    """Everything that is emitted."""
    return Out()


def keep(recorder: Recorder, message: str, request: Any = None, *, thread: str = "", size: int = 100) -> None:
    """Has the recorder keep a record of this thread."""
    extra = None if request is None else {"request_id": request}
    recorder.keep(1.0, SITE, thread or threading.current_thread().name, message, extra, None, None, size)


def fail(recorder: Recorder, out: Out, request: Any = None, *, site: tuple[Any, ...] = ERROR) -> None:
    """Emits a record that may bring others back."""
    extra = None if request is None else {"request_id": request}
    emit: Any = recorder.behind(out.put)
    emit(2.0, site, threading.current_thread().name, "failed", extra, None, None, 100)


def law(recorder: Recorder) -> tuple[int, int, int]:
    """The counts, which are those of the ring."""
    recorded, replayed, discarded = recorder.counts()
    assert recorded == replayed + discarded + recorder.held
    return recorded, replayed, discarded


def test_an_error_brings_back_what_its_request_had_logged(out: Out) -> None:
    """Oldest first and before the error itself, each with the mark; other requests and requestless records stay."""
    recorder = Recorder(Flight())
    for message, request in (("a1", "a"), ("b1", "b"), ("none", None), ("a2", "a")):
        keep(recorder, message, request)
    fail(recorder, out, "a")
    assert out.messages == ["a1", "a2", "failed"]
    marked = {"request_id": "a", "flight_recorder": True}
    assert [record.extra for record in out] == [marked, marked, {"request_id": "a"}]
    assert [record.created for record in out] == [1.0, 1.0, 2.0]
    assert law(recorder) == (4, 2, 0)


def test_nothing_comes_back_twice(out: Out) -> None:
    """What one error has brought back is no part of the next one's story."""
    recorder = Recorder(Flight())
    keep(recorder, "a1", "a")
    fail(recorder, out, "a")
    keep(recorder, "a2", "a")
    fail(recorder, out, "a")
    fail(recorder, out, "a")
    assert out.messages == ["a1", "failed", "a2", "failed", "failed"]
    assert law(recorder) == (2, 2, 0)


def test_an_error_without_a_request_brings_back_what_its_thread_had_logged(out: Out) -> None:
    """Whatever the requests: who logs outside of every scope can only be known by the thread."""
    recorder = Recorder(Flight())
    keep(recorder, "mine")
    keep(recorder, "of a request of mine", "a")
    other = threading.Thread(target=keep, args=(recorder, "another's"))
    other.start()
    other.join()
    fail(recorder, out)
    assert out.messages == ["mine", "of a request of mine", "failed"]
    assert law(recorder) == (3, 2, 0)


def test_a_request_may_spread_over_threads(out: Out) -> None:
    """What belongs to the request comes back wherever it was logged."""
    recorder = Recorder(Flight())
    other = threading.Thread(target=keep, args=(recorder, "elsewhere", "a"))
    other.start()
    other.join()
    fail(recorder, out, "a")
    assert out.messages == ["elsewhere", "failed"]


def test_a_thread_is_not_taken_for_an_earlier_one_of_its_number(out: Out) -> None:
    """The system gives the numbers of threads again; their names tell them apart."""
    recorder = Recorder(Flight())
    keep(recorder, "of a thread that has ended", thread="Thread-1")
    fail(recorder, out)
    assert out.messages == ["failed"]


def test_only_the_trigger_brings_anything_back(out: Out) -> None:
    """Records below its level pass, and what is kept stays."""
    recorder = Recorder(Flight(trigger=50))
    keep(recorder, "kept")
    fail(recorder, out, site=ERROR)
    assert out.messages == ["failed"]
    fail(recorder, out, site=("shop.till", 50, "CRITICAL", "till", "sell", 9))
    assert out.messages == ["failed", "kept", "failed"]


def test_the_mark_wins_over_a_field_of_that_name(out: Out) -> None:
    """An application's own field, plain or nested, does not stand beside it."""
    recorder = Recorder(Flight())
    name = threading.current_thread().name
    recorder.keep(1.0, SITE, name, "plain", {"flight_recorder": "x", "k": 1}, None, None, 100)
    recorder.keep(1.0, SITE, name, "nested", None, {"flight_recorder": [1], "n": [2]}, None, 100)
    fail(recorder, out)
    assert out[0].extra == {"flight_recorder": True, "k": 1}
    assert (out[1].extra, out[1].nested) == ({"flight_recorder": True}, {"n": [2]})


def test_what_was_kept_is_as_it_was(out: Out) -> None:
    """The dicts of a record are shared with the context, perhaps: they are not changed."""
    recorder, shared = Recorder(Flight()), {"request_id": "a"}
    recorder.keep(1.0, SITE, "t", "m", shared, None, None, 100)
    fail(recorder, out, "a")
    assert shared == {"request_id": "a"}


def test_newer_records_push_out_older_ones(out: Out) -> None:
    """The last N are there, and the others are counted as discarded."""
    recorder = Recorder(Flight(records=3))
    for number in range(10):
        keep(recorder, str(number))
    assert law(recorder) == (10, 0, 7)
    fail(recorder, out)
    assert out.messages == ["7", "8", "9", "failed"]
    assert law(recorder) == (10, 3, 7)


def test_what_was_replayed_makes_room_only_as_it_ages(out: Out) -> None:
    """The ring is the last N that were recorded, whatever became of them."""
    recorder = Recorder(Flight(records=3))
    for message, request in (("b", "b"), ("a1", "a"), ("a2", "a")):
        keep(recorder, message, request)
    fail(recorder, out, "a")
    for message in ("c", "d", "e"):
        keep(recorder, message, "c")
    assert law(recorder) == (6, 2, 1)
    assert recorder.held == 3


def test_the_bytes_are_bounded(out: Out) -> None:
    """However many records it may hold, it never holds more than its bytes, nor one record that is bigger than them."""
    recorder = Recorder(Flight(records=MAX_RECORDS))
    for number in range(10):
        keep(recorder, str(number), size=MAX_BYTES // 4)
    assert recorder.held == 3
    keep(recorder, "giant", size=2 * MAX_BYTES)
    assert law(recorder) == (11, 0, 11)
    keep(recorder, "small", size=MAX_BYTES // 2)
    assert recorder.held == 1


def test_old_records_are_given_up(out: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing older than its seconds comes back, and a look once a second frees what nobody pushes out."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now)
    recorder = Recorder(Flight(seconds=10))
    keep(recorder, "old")
    now += 9
    keep(recorder, "young")
    now += 2
    fail(recorder, out)
    assert out.messages == ["young", "failed"]
    assert law(recorder) == (2, 1, 0)
    recorder.trim()
    assert law(recorder) == (2, 1, 1)


def test_what_is_left_at_the_end_is_discarded(out: Out) -> None:
    """The process ends and nothing has gone wrong: the counts say what was held."""
    recorder = Recorder(Flight())
    keep(recorder, "a", "a")
    keep(recorder, "b", "b")
    fail(recorder, out, "a")
    recorder.discard()
    assert law(recorder) == (2, 1, 1)
    fail(recorder, out, "b")
    assert out.messages == ["a", "failed", "failed"]


def test_a_child_begins_with_nothing(out: Out) -> None:
    """What the parent kept is the parent's to tell, and to count."""
    recorder = Recorder(Flight())
    keep(recorder, "the parent's")
    recorder.after_fork()
    fail(recorder, out)
    assert (out.messages, law(recorder)) == (["failed"], (0, 0, 0))


@pytest.fixture
def fast_switches() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("fast_switches")
def test_threads_lose_nothing_between_them(scale: Callable[[int, int], int]) -> None:
    """However they interleave, each record is replayed once, discarded once or held, and the counts say so."""
    recorder, out = Recorder(Flight(records=50, seconds=0.2)), Out()
    rounds = scale(200_000, 30_000)

    def work(name: str) -> None:
        for number in range(rounds):
            keep(recorder, f"{name}-{number}", name if number % 3 else "shared", size=MAX_BYTES // 40)
            if number % 29 == 0:
                fail(recorder, out, name if number % 2 else "shared")
            elif number % 501 == 0:
                recorder.discard()

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    replayed = [record.message for record in out if record.extra and "flight_recorder" in record.extra]
    assert len(replayed) == len(set(replayed))
    assert law(recorder)[:2] == (4 * rounds, len(replayed))
    recorder.discard()
    assert recorder.held == 0
    assert recorder._bytes == 0


def test_a_signal_handler_may_log_in_the_middle(out: Out, scale: Callable[[int, int], int]) -> None:
    """What it records and what it brings back, in the middle of either, is counted like the rest."""
    recorder = Recorder(Flight(records=20))
    numbers = itertools.count()
    before = signal.getsignal(signal.SIGPROF)

    def log(*_: Any) -> None:
        keep(recorder, f"s{next(numbers)}", "s")
        fail(recorder, out, "s" if next(numbers) % 2 else "m")

    signal.signal(signal.SIGPROF, log)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    try:
        for number in range(scale(500_000, 60_000)):
            keep(recorder, f"m{number}", "m")
            if number % 5 == 0:
                fail(recorder, out, "m")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert next(numbers) > 4
    replayed = [record.message for record in out if record.extra and "flight_recorder" in record.extra]
    assert len(replayed) == len(set(replayed)) == law(recorder)[1]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (True, Flight()),
        (False, None),
        ("1", Flight()),
        (" On ", Flight()),
        ("off", None),
        ("0", None),
        ("level=trace", Flight(level=5)),
        ("level=DEBUG, trigger=WARNING,records=200,seconds=2.5", Flight(10, 30, 200, 2.5)),
        ({"level": 15, "trigger": "CRITICAL"}, Flight(15, 50)),
        ({"records": 10_000, "seconds": 3600}, Flight(records=10_000, seconds=3600.0)),
        ({}, Flight()),
    ],
)
def test_settings_may_be_given_in_many_ways(value: object, found: Flight | None) -> None:
    """True, a table or a text; what is not said has its default."""
    assert Flight.of(value) == found


@pytest.mark.parametrize(
    ("value", "problems"),
    [
        (5, ["flight_recorder 5: expected true, false or a table of level, trigger, records, seconds"]),
        ("yes please", ["flight_recorder: unknown key 'yes please', expected level, trigger, records, seconds"]),
        (
            {"level": "LOUD", "records": 0, "seconds": "-1", "size": 3},
            [
                "flight_recorder: unknown key 'size', expected level, trigger, records, seconds",
                "flight_recorder.level 'LOUD': expected a level name or an integer from 0 to 100",
                "flight_recorder.records 0: expected a number of records from 1 to 10000",
                "flight_recorder.seconds '-1': expected a number of seconds above 0, at most 3600",
            ],
        ),
        ({"records": True}, ["flight_recorder.records True: expected a number of records from 1 to 10000"]),
        ("records=1e3", ["flight_recorder.records '1e3': expected a number of records from 1 to 10000"]),
        ("seconds=nan", ["flight_recorder.seconds 'nan': expected a number of seconds above 0, at most 3600"]),
        ({"trigger": None}, ["flight_recorder.trigger None: expected a level name or an integer from 0 to 100"]),
        (
            "level=ERROR",
            ["flight_recorder.trigger 40: expected a level above that of the records it brings back, 'ERROR'"],
        ),
    ],
)
def test_every_wrong_setting_is_named(value: object, problems: list[str]) -> None:
    """With what was found and what would be right, all of them at once."""
    with pytest.raises(ConfigurationError) as caught:
        Flight.of(value)
    assert caught.value.problems == problems
