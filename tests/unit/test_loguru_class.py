"""Loguru's methods while logbus is attached: who removes everything leaves our handler, and nobody notices else."""

from __future__ import annotations

import copy
import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from loguru import logger
from loguru._logger import Logger

from logbus.producers.loguru_front import LOGURU
from tests.eventually import eventually
from tests.kept import Kept
from tests.modules import real
from tests.race import race

#: Seconds until a thread that hangs fails its test.
PATIENCE = 30.0


@pytest.fixture
def ours(kept: Kept) -> Iterator[int]:
    """The id of our handler, in a loguru that the application has not touched."""
    LOGURU.begin(kept.producer, level=20)
    identity = LOGURU.own()
    assert identity is not None
    yield identity
    LOGURU.end()


def identities() -> list[int]:
    """The ids of loguru's handlers."""
    return list(real()._core.handlers)


def in_time(work: Callable[[], object]) -> None:
    """Runs something in a thread that has to come to its end."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_removing_everything_removes_all_but_ours(kept: Kept, ours: int) -> None:
    """From any of loguru's loggers; sinks of the application are stopped as ever, ours is not even touched."""
    stopped: list[int] = []

    class Sink:
        """Says when it is stopped."""

        def __init__(self, number: int) -> None:
            self.number = number

        def write(self, message: str) -> None:
            """Takes it."""

        def stop(self) -> None:
            """Says so."""
            stopped.append(self.number)
            logger.info("a sink that logs as it ends")

    (handler,) = real()._core.handlers.values()
    for number, remover in enumerate((logger, real(), logger.bind(a=1), logger.opt(depth=1))):
        logger.add(Sink(number))
        in_time(remover.remove)
        assert stopped == [*range(number + 1)]
        assert list(real()._core.handlers.values()) == [handler]
    assert kept.messages == ["a sink that logs as it ends"] * 4


def test_configure_with_handlers_replaces_those_of_the_application(kept: Kept, ours: int) -> None:
    """Its first act is to remove all; what it returns and what the new handler gets are as without us."""
    first: list[str] = []
    second: list[str] = []
    logger.configure(handlers=[{"sink": first.append, "format": "{message}"}])
    logger.info("first")
    (identity,) = logger.configure(handlers=[{"sink": second.append, "format": "{message}"}])
    logger.info("second")
    assert identities() == [ours, identity]
    assert (first, second) == (["first\n"], ["second\n"])
    assert kept.messages == ["first", "second"]


def test_one_handler_is_removed_as_ever(ours: int) -> None:
    """An id that is none raises what loguru raises, and so does what no id can be."""
    identity = logger.add(lambda _: None)
    logger.remove(identity)
    with pytest.raises(ValueError, match=f"no existing handler with id {identity}"):
        logger.remove(identity)
    with pytest.raises(ValueError, match="no existing handler with id 0"):
        logger.remove(0)
    with pytest.raises(TypeError, match="Invalid handler id"):
        logger.remove("all")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        logger.remove(1, 2)  # type: ignore[call-arg]
    assert identities() == [ours]


def test_our_own_id_stays(kept: Kept, ours: int) -> None:
    """Whoever goes through the handlers and removes them one by one leaves ours, without an error."""
    logger.add(lambda _: None)
    for identity in identities():
        logger.remove(handler_id=identity)
    assert identities() == [ours]
    logger.bind(a=1).info("m")
    assert kept.messages == ["m"]


def test_the_handler_that_loguru_brings_may_be_removed_once_more(kept: Kept) -> None:
    """A program's ``logger.remove(0)`` is no error because we were first; a second one is, as it is without us."""
    core = real()._core
    first, core.handlers_count = core.handlers_count, 0
    try:
        assert logger.add(lambda _: None) == 0
        core.handlers_count = first
        LOGURU.begin(kept.producer, level=20)
        assert identities() == [LOGURU.own()]
        logger.remove(0)
        with pytest.raises(ValueError, match="no existing handler with id 0"):
            logger.remove(0)
    finally:
        core.handlers_count = max(first, core.handlers_count)


def test_a_handler_that_is_refused_leaves_ours_alone(kept: Kept, ours: int) -> None:
    """An invalid level raises in the application, after it has removed everything: we go on."""
    logger.remove()
    with pytest.raises(ValueError, match="LOUD"):
        logger.add(lambda _: None, level="LOUD")
    logger.info("direct")
    logger.bind(a=1).info("by the handler")
    assert kept.messages == ["direct", "by the handler"]
    assert identities() == [ours]


def test_what_a_sink_raises_as_it_stops_is_the_application_s(ours: int) -> None:
    """It ends the removal, as loguru's own does, also if it is a ValueError."""

    class Broken:
        """Can't be stopped."""

        def write(self, message: str) -> None:
            """Takes it."""

        def stop(self) -> None:
            """Raises."""
            raise ValueError("of the application")

    logger.add(Broken())
    later = logger.add(lambda _: None)
    with pytest.raises(ValueError, match="of the application"):
        logger.remove()
    assert identities() == [ours, later]


def test_a_copy_with_a_core_of_its_own_is_not_ours(kept: Kept, ours: int) -> None:
    """Its handlers go, all of them; loguru's have nothing to do with it."""
    other: Any = type(real())(copy.copy(real()._core), *real()._options)
    assert list(other._core.handlers) == [ours]
    other.remove()
    assert list(other._core.handlers) == []
    assert identities() == [ours]


def test_loguru_gets_its_methods_back(kept: Kept) -> None:
    """The very objects; a second attachment and its end change nothing in that."""
    before = Logger.remove, Logger.add
    for _ in range(2):
        LOGURU.begin(kept.producer, level=20)
        assert (inspect.unwrap(Logger.remove), inspect.unwrap(Logger.add)) == before
        assert Logger.remove is not before[0]
        LOGURU.end()
        assert (Logger.remove, Logger.add) == before
    logger.add(lambda _: None)
    logger.remove()
    assert identities() == []


def test_a_shutdown_gives_the_methods_back_and_a_new_beginning_takes_them(kept: Kept) -> None:
    """The handler stays, to count what is logged too late, until the application removes it; then it comes back."""
    before = Logger.remove, Logger.add
    LOGURU.begin(kept.producer, level=20)
    identity = LOGURU.own()
    kept.gate.close()
    assert (Logger.remove, Logger.add) == before
    assert identities() == [identity]
    logger.remove()
    assert identities() == []
    LOGURU.begin(kept.producer, level=20)
    logger.remove()
    logger.bind(a=1).info("again")
    assert kept.messages == ["again"]


def test_a_wrapper_on_top_stays_and_ours_does_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has wrapped the method since keeps that, and gets loguru's own behaviour through us after the end."""
    calls: list[str] = []
    LOGURU.begin(kept.producer, level=20)
    wrapped: Callable[..., None] = Logger.remove

    def counting(self: Any, *args: Any, **kwargs: Any) -> None:
        calls.append("remove")
        wrapped(self, *args, **kwargs)

    monkeypatch.setattr(Logger, "remove", counting)
    logger.remove()
    assert identities() == [LOGURU.own()]
    LOGURU.end()
    assert Logger.remove is counting
    logger.add(lambda _: None)
    logger.remove()
    assert (calls, identities()) == (["remove"] * 2, [])
    LOGURU.begin(kept.producer, level=20)  # on top of all
    logger.remove()
    assert identities() == [LOGURU.own()]
    LOGURU.end()
    assert Logger.remove is counting
    monkeypatch.undo()
    Logger.remove = inspect.unwrap(wrapped)  # type: ignore[method-assign]


def test_removal_inside_a_removal_does_not_hang(kept: Kept, ours: int) -> None:
    """Loguru's lock is not re-entrant: a sink that removes everything as it stops has to find nothing left to do."""
    done: list[threading.Thread] = []

    class Greedy:
        """Removes all as it ends: itself, and from another thread too."""

        def write(self, message: str) -> None:
            """Takes it."""

        def stop(self) -> None:
            """Removes whatever there is."""
            done.append(threading.Thread(target=logger.remove))
            done[0].start()
            logger.remove()

    logger.add(Greedy())
    in_time(logger.remove)
    done[0].join(PATIENCE)
    assert identities() == [ours]
    logger.info("live")
    assert kept.messages == ["live"]


def test_a_removal_in_the_middle_of_a_call_is_none_to_us(kept: Kept, ours: int) -> None:
    """Another thread's call, held up in the application's sink, still comes; so does what is logged meanwhile."""
    inside, go_on = threading.Event(), threading.Event()

    def slow(message: Any) -> None:
        inside.set()
        assert go_on.wait(PATIENCE)

    logger.add(slow)
    caller = threading.Thread(target=lambda: logger.info("held up"))
    caller.start()
    assert inside.wait(PATIENCE)
    remover = threading.Thread(target=logger.remove)
    remover.start()
    eventually(lambda: identities() == [ours])
    logger.info("meanwhile")
    go_on.set()
    for thread in (caller, remover):
        thread.join(PATIENCE)
    assert sorted(kept.messages) == ["held up", "meanwhile"]


def test_nothing_is_lost_while_threads_remove_everything(kept: Kept, ours: int) -> None:
    """Threads log all the while that handlers come and go: each record is here once, in the order of its thread."""
    logged: dict[str, int] = dict.fromkeys("abc", 0)

    def log(name: str) -> None:
        for number in range(300):
            (logger if number % 2 else logger.bind(a=1)).info("{} {}", name, number)
            logged[name] += 1

    def change() -> None:
        logger.add(lambda _: None, format="")
        logger.remove()
        logger.configure(handlers=[{"sink": lambda _: None, "format": ""}])
        logger.bind(a=1).remove()

    def keep_changing() -> None:
        for _ in range(20):
            change()

    extra = threading.Thread(target=keep_changing)
    extra.start()
    race(log, "abc", change)
    extra.join(PATIENCE)
    assert not extra.is_alive()
    for name in "abc":
        own = [message for message in kept.messages if message.startswith(f"{name} ")]
        assert own == [f"{name} {number}" for number in range(logged[name])]
    assert identities() == [ours]
