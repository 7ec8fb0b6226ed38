"""The buffer between the threads that log and the sender: exact under every policy, whoever interrupts whom.

Each test is run with the buffer in Python and with the compiled one.
"""

from __future__ import annotations

import itertools
import random
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.counters import DROP_WORDS, DROPPED, EMITTED, SETTLED, Counters, Meta
from logbus.levels import BUCKETS, bucket_of
from logbus.producers.buffer import Buffer, Entry, OnFull
from logbus.wire import HIGH_WATER_MARK, SHUTDOWN
from tests.eventually import eventually
from tests.forms import FORMS, buffer_type, rows

DEBUG, INFO, WARNING, ERROR = 10, 20, 30, 40


class Form:
    """Which of the two buffers is made."""

    name = "python"


@pytest.fixture(params=FORMS, autouse=True)
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """Has the tests of this file use one buffer, then the other."""
    Form.name = request.param
    yield request.param
    Form.name = "python"


class Caller:
    """A thread as the buffer knows it: a slot of counters. What it puts is numbered, under its own name."""

    def __init__(self, buffer: Buffer, counters: Counters, name: str = "main") -> None:
        self.buffer = buffer
        self.name = name
        self.cell = counters.cell()
        self._cells = counters.cells
        self._numbers = itertools.count()

    def put(self, level: int, size: int = 100, created: float = 1.0) -> None:
        """Logs one record, as the thread that this is."""
        site = ("logger", level, "LEVEL", "module", "function", 1)
        self._cells[threading.get_ident()] = self.cell
        self.buffer.put(created, site, self.name, str(next(self._numbers)), None, None, None, size)

    def dropped(self) -> dict[tuple[int, int], int]:
        """Drops by reason and bucket."""
        width = len(BUCKETS)
        words = self.cell[DROPPED : DROPPED + DROP_WORDS].tolist()
        return {(at // width, at % width): count for at, count in enumerate(words) if count}


def buffer_and_callers(
    capacity: int, capacity_bytes: int = 1 << 20, on_full: OnFull = "shed_lowest", *, callers: int = 1
) -> tuple[Buffer, list[Caller]]:
    """A buffer whose counters are in memory, and so many threads."""
    counters = Counters(Path("/nowhere"), bytes(16), Meta("", 1, "", "", 1))
    buffer: Buffer = buffer_type(Form.name)(capacity, capacity_bytes, on_full, counters)
    return buffer, [Caller(buffer, counters, f"t{number}") for number in range(callers)]


def one_caller(capacity: int, capacity_bytes: int = 1 << 20, on_full: OnFull = "shed_lowest") -> Caller:
    """The one thread that uses a buffer."""
    return buffer_and_callers(capacity, capacity_bytes, on_full)[1][0]


def levels(entries: list[Entry]) -> list[int]:
    """The level of each entry."""
    return [entry[3][1] for entry in entries]


def numbers(entries: list[Entry], thread: str | None = None) -> list[int]:
    """The number of each entry of a thread, or of every entry."""
    return [int(entry[5]) for entry in entries if thread in (None, entry[4])]


def drain(buffer: Buffer) -> list[Entry]:
    """Everything in a buffer, taken and released."""
    found: list[Entry] = []
    while taken := buffer.take(800, 1 << 20):
        entries = rows(taken)
        buffer.release(len(taken), sum(entry[1] for entry in entries))
        found += entries
    return found


def test_what_is_put_is_taken_in_order_across_levels() -> None:
    """Levels stand in queues of their own, and come out in the order of the calls."""
    caller = one_caller(100)
    for level in (INFO, DEBUG, ERROR, INFO, DEBUG, WARNING):
        caller.put(level)
    taken = rows(caller.buffer.take(100, 1 << 20))
    assert levels(taken) == [INFO, DEBUG, ERROR, INFO, DEBUG, WARNING]
    assert numbers(taken) == list(range(6))


def test_an_entry_holds_what_was_logged() -> None:
    """Each part of a record is at the place where the packer looks for it."""
    buffer, _ = buffer_and_callers(10)
    site = ("logger", INFO, "INFO", "module", "function", 1)
    for exception in (None, ("error",)):
        buffer.put(12.5, site, "thread", "message", {"a": 1}, {"b": []}, exception, 300)
    plain, raised = rows(buffer.take(10, 1 << 20))
    assert plain[1:] == (300, 12.5, site, "thread", "message", {"a": 1}, {"b": []}, None)
    assert raised[1:] == (300, 12.5, site, "thread", "message", {"a": 1}, {"b": []}, ("error",))
    assert plain[0] < raised[0]


def test_a_value_that_has_itself_in_it_many_times_is_left_to_the_sender() -> None:
    """A small tree of shared parts, which would be gigabytes when written out, costs the log call next to nothing."""
    buffer, _ = buffer_and_callers(10)
    tree: list[Any] = []
    for _ in range(28):
        tree = [tree, tree]
    buffer.put(1.0, ("logger", INFO, "INFO", "module", "function", 1), "main", "m", None, {"tree": tree}, None, 100)
    taken: Any = buffer.take(1, 1000)
    kept = taken[0][7] if isinstance(taken, list) else taken.entries()[0][5][2]
    assert kept["tree"] is tree


def test_a_take_is_bounded_by_records_and_by_bytes() -> None:
    """At most so many, about so many bytes, and one at least, however large it is."""
    caller = one_caller(100)
    for level in (INFO, DEBUG) * 10:
        caller.put(level, size=100)
    assert len(caller.buffer.take(7, 1 << 20)) == 7
    assert len(caller.buffer.take(100, 350)) == 3
    assert len(caller.buffer.take(100, 1)) == 1
    assert numbers(rows(caller.buffer.take(100, 1 << 20))) == list(range(11, 20))
    assert not caller.buffer.take(100, 1 << 20)


def test_what_was_taken_counts_until_it_is_released() -> None:
    """The sender's hand is part of the buffer: a frame that could not be sent is still in it."""
    caller = one_caller(2, 1000, "drop_newest")
    caller.put(INFO, 400)
    caller.put(INFO, 400)
    assert len(caller.buffer.take(10, 1 << 20)) == 2
    assert (caller.buffer.records, caller.buffer.bytes) == (2, 800)
    caller.put(ERROR)
    assert caller.dropped() == {(HIGH_WATER_MARK, 4): 1}
    caller.buffer.release(2, 800)
    caller.put(ERROR)
    assert (caller.buffer.records, caller.buffer.bytes) == (1, 100)


def test_the_lowest_level_goes_first() -> None:
    """Room for a record is made at the cost of the lowest level below its own, the oldest of it first."""
    caller = one_caller(4)
    for level in (INFO, DEBUG, DEBUG, INFO):
        caller.put(level)
    for level in (ERROR, ERROR, ERROR):
        caller.put(level)
    assert caller.dropped() == {(HIGH_WATER_MARK, 1): 2, (HIGH_WATER_MARK, 2): 1}
    assert numbers(drain(caller.buffer)) == [3, 4, 5, 6]


def test_nothing_goes_for_its_equal_or_its_better() -> None:
    """A record that finds nothing below its own level goes itself."""
    caller = one_caller(2)
    for level in (INFO, ERROR, INFO, DEBUG):
        caller.put(level)
    assert caller.dropped() == {(HIGH_WATER_MARK, 2): 1, (HIGH_WATER_MARK, 1): 1}
    assert numbers(drain(caller.buffer)) == [0, 1]


@pytest.mark.parametrize(
    ("on_full", "kept", "dropped"),
    [
        ("drop_newest", [0, 1, 2], {(HIGH_WATER_MARK, 4): 2}),
        ("drop_oldest", [2, 3, 4], {(HIGH_WATER_MARK, 3): 1, (HIGH_WATER_MARK, 1): 1}),
    ],
)
def test_the_other_policies_do_not_look_at_levels(
    on_full: OnFull, kept: list[int], dropped: dict[tuple[int, int], int]
) -> None:
    """The newest goes, or the oldest, whatever they are."""
    caller = one_caller(3, 1 << 20, on_full)
    for level in (WARNING, DEBUG, INFO, ERROR, ERROR):
        caller.put(level)
    assert caller.dropped() == dropped
    assert numbers(drain(caller.buffer)) == kept


@pytest.mark.parametrize("on_full", ["shed_lowest", "drop_newest", "drop_oldest"])
def test_a_record_larger_than_the_buffer_costs_nobody_else(on_full: OnFull) -> None:
    """It could not stay whatever went, so nothing goes but itself."""
    caller = one_caller(10, 1000, on_full)
    caller.put(DEBUG)
    caller.put(ERROR, size=1001)
    assert caller.dropped() == {(HIGH_WATER_MARK, 4): 1}
    assert numbers(drain(caller.buffer)) == [0]


def test_bytes_are_a_limit_of_their_own() -> None:
    """As many go as one large record needs, and the count of bytes follows."""
    caller = one_caller(100, 1000)
    for _ in range(10):
        caller.put(DEBUG, size=100)
    caller.put(ERROR, size=350)
    assert caller.dropped() == {(HIGH_WATER_MARK, 1): 4}
    assert (caller.buffer.records, caller.buffer.bytes) == (7, 950)


def test_a_closed_buffer_takes_nothing_in() -> None:
    """What comes after the end is dropped by the shutdown; what was in there can still be taken."""
    caller = one_caller(10)
    caller.put(INFO)
    caller.buffer.closed = True
    caller.put(DEBUG)
    caller.put(ERROR)
    assert caller.dropped() == {(SHUTDOWN, 1): 1, (SHUTDOWN, 4): 1}
    assert numbers(drain(caller.buffer)) == [0]


class Held:
    """Something that hangs on a record."""


@pytest.mark.parametrize("how", ["taken", "evicted"])
def test_what_has_left_is_let_go(how: str) -> None:
    """Nothing of a record is kept alive once it was sent or evicted."""
    buffer, [caller] = buffer_and_callers(3, on_full="drop_oldest")
    held = Held()
    gone = weakref.ref(held)
    buffer.put(1.0, ("logger", INFO, "INFO", "module", "function", 1), "main", "text", None, None, held, 100)
    del held
    assert gone() is not None
    if how == "taken":
        drain(buffer)
    else:
        for _ in range(4):
            caller.put(INFO)
    assert gone() is None


def test_drops_remember_their_first_and_last_time() -> None:
    """The span of a reason and a level is that of its drops since it was last asked for."""
    caller = one_caller(1)
    assert caller.buffer.span(HIGH_WATER_MARK, 1) == (0.0, 0.0)
    caller.put(ERROR, created=1.0)
    for created in (2.0, 3.0, 4.0):
        caller.put(DEBUG, created=created)
    assert caller.buffer.span(HIGH_WATER_MARK, 1) == (2.0, 4.0)
    caller.put(DEBUG, created=5.0)
    assert caller.buffer.span(HIGH_WATER_MARK, 1) == (5.0, 5.0)
    caller.buffer.closed = True
    drain(caller.buffer)
    caller.put(DEBUG, created=6.0)
    assert caller.buffer.span(SHUTDOWN, 1) == (6.0, 6.0)


def test_only_a_sleeping_reader_is_woken() -> None:
    """A record wakes the reader once; one of level ERROR or above hurries it, asleep or not."""
    caller = one_caller(10)
    calls: list[str] = []
    caller.buffer.wake = lambda: calls.append("wake")
    caller.buffer.hurry = lambda: calls.append("hurry")
    caller.put(INFO)
    caller.buffer.asleep = True
    caller.put(INFO)
    caller.put(INFO)
    assert calls == ["wake"]
    caller.put(ERROR)
    caller.buffer.asleep = True
    caller.put(ERROR)
    assert calls == ["wake", "hurry", "hurry"]


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_a_reader_that_could_not_be_woken_is_woken_by_the_next(error: type[Exception]) -> None:
    """Where the stack or the memory ends behind the record, it has entered once, and nobody is told to try again."""
    caller = one_caller(10)
    calls: list[str] = []

    def fail() -> None:
        calls.append("called")
        raise error

    caller.buffer.wake = caller.buffer.hurry = fail
    caller.buffer.asleep = True
    caller.put(INFO)
    assert caller.buffer.asleep
    caller.put(ERROR)
    caller.put(INFO)
    assert calls == ["called"] * 3
    assert numbers(drain(caller.buffer)) == [0, 1, 2]
    caller.buffer.wake = lambda: calls.append("woken")
    caller.put(INFO)
    assert calls[3:] == ["woken"]
    assert caller.cell[EMITTED] == caller.cell[SETTLED] == 4


def test_a_record_that_is_dropped_wakes_nobody() -> None:
    """A full buffer has a reader that is awake, and a closed one has none."""
    caller = one_caller(1)
    caller.put(ERROR)
    caller.buffer.wake = caller.buffer.hurry = pytest.fail
    caller.buffer.asleep = True
    caller.put(ERROR)
    caller.buffer.closed = True
    drain(caller.buffer)
    caller.put(ERROR)


@pytest.mark.parametrize("level", [-5, 0, 5, 10, 55, 100, 10**20])
def test_any_level_has_its_place(level: int) -> None:
    """A level beyond the usual ones is counted in the nearest bucket."""
    caller = one_caller(0)
    caller.put(level)
    assert caller.dropped() == {(HIGH_WATER_MARK, bucket_of(level)): 1}


def test_a_thread_has_one_slot_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where ``get_ident()`` was replaced before logbus was loaded, as gevent does, records still share a slot."""
    counters = Counters(Path("/nowhere"), bytes(16), Meta("", 1, "", "", 1))
    for module in ("logbus.counters", "logbus.producers.buffer"):
        monkeypatch.setattr(f"{module}.get_ident", lambda: 7)
    buffer = buffer_type(Form.name)(100, 1 << 20, "shed_lowest", counters)
    for _ in range(50):
        buffer.put(1.0, ("logger", INFO, "INFO", "module", "function", 1), "main", "m", None, None, None, 100)
    assert [cell[EMITTED] for cell in {id(cell): cell for cell in counters.cells.values()}.values()] == [50]


def test_a_ticket_divides_before_and_after() -> None:
    """What is in the buffer comes before a ticket drawn now, and what is put later comes behind it."""
    caller = one_caller(10)
    caller.put(INFO)
    ticket = caller.buffer.ticket()
    caller.put(INFO)
    first, second = drain(caller.buffer)
    assert first[0] < ticket < second[0]


@pytest.fixture
def tiny_switch_interval() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def check_law(buffer: Buffer, callers: list[Caller], taken: int) -> None:
    """Every record that was put is in the buffer, was taken, or is a counted drop."""
    settled = sum(caller.cell[SETTLED] for caller in callers)
    assert settled == sum(caller.cell[EMITTED] for caller in callers)
    assert settled == buffer.records + taken + sum(sum(caller.dropped().values()) for caller in callers)


@pytest.mark.parametrize("on_full", ["shed_lowest", "drop_newest", "drop_oldest"])
@pytest.mark.usefixtures("tiny_switch_interval")
def test_threads_that_hammer_lose_no_count_and_no_order(on_full: OnFull, scale: Callable[[int, int], int]) -> None:
    """Counts are exact and each thread's records stay in order while others put, evict and take."""
    buffer, callers = buffer_and_callers(64, on_full=on_full, callers=3)
    count = scale(300_000, 15_000)
    done = threading.Event()
    seen: list[Entry] = []

    def hammer(caller: Caller) -> None:
        choice = random.Random(caller.name)
        for _ in range(count):
            caller.put(choice.choice((DEBUG, INFO, ERROR)), size=choice.randrange(1, 200))

    def take() -> None:
        last = False
        while not last:
            last = done.is_set()
            while taken := buffer.take(16, 1000):
                entries = rows(taken)
                seen.extend(entries)
                buffer.release(len(taken), sum(entry[1] for entry in entries))

    taker = threading.Thread(target=take)
    threads = [threading.Thread(target=hammer, args=(caller,)) for caller in callers]
    for thread in (taker, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    taker.join()
    check_law(buffer, callers, len(seen))
    assert (buffer.records, buffer.bytes) == (0, 0)
    for caller in callers:
        mine = numbers(seen, caller.name)
        assert mine == sorted(set(mine)), caller.name
    # Evictions are counted by whoever needed the room, so only the sum tells; and there were some to count.
    assert 0 < sum(sum(caller.dropped().values()) for caller in callers) < 3 * count


@pytest.mark.usefixtures("tiny_switch_interval")
def test_closing_is_exact_while_threads_put() -> None:
    """From the moment that it is closed nothing enters, not even a call that had begun before."""
    buffer, callers = buffer_and_callers(1_000_000, 1 << 40, callers=4)
    stopped = threading.Event()

    def hammer(caller: Caller) -> None:
        while not stopped.is_set():
            caller.put(INFO)

    threads = [threading.Thread(target=hammer, args=(caller,)) for caller in callers]
    for thread in threads:
        thread.start()
    left: set[int] = set()

    def let_them_run() -> None:
        # Two more records of each: every call that was under way has ended by then.
        wanted = [caller.cell[EMITTED] + 2 for caller in callers]
        eventually(lambda: all(caller.cell[EMITTED] > n for caller, n in zip(callers, wanted, strict=True)))

    for _ in range(50):
        buffer.closed = False
        let_them_run()
        buffer.closed = True
        drain(buffer)
        let_them_run()
        left.add(buffer.records)
    stopped.set()
    for thread in threads:
        thread.join()
    drain(buffer)
    assert left == {0}


@pytest.mark.uncovered
@pytest.mark.parametrize("on_full", ["shed_lowest", "drop_newest", "drop_oldest"])
def test_a_signal_handler_may_put_in_the_middle_of_a_put(on_full: OnFull, timer: Any) -> None:
    """A record from a signal handler is counted like any other, and so is the one that it interrupted."""
    buffer, [caller, nested] = buffer_and_callers(20, on_full=on_full, callers=2)
    nested.cell = caller.cell  # the same thread
    handled: list[int] = []

    def handle() -> None:
        nested.put(ERROR)
        handled.append(1)

    timer(handle, 0.0005)
    taken = 0
    while len(handled) < 40:
        for level in (DEBUG, INFO, WARNING):
            caller.put(level)
        taken += len(drain(buffer)) if random.random() < 0.05 else 0
    signal.setitimer(signal.ITIMER_PROF, 0)
    check_law(buffer, [caller], taken)
    assert caller.cell[EMITTED] % 3 == len(handled) % 3
