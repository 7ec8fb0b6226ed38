"""The hooks for what nobody catches: how they chain, what they leave alone, and that they never fail."""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from logbus.producers import uncaught
from logbus.producers.carry import carry
from logbus.producers.context import bind, context
from logbus.producers.unretrieved import UNRETRIEVED
from logbus.rules import Rule
from tests.kept import Kept

Seen = list[tuple[Any, ...]]


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Hooks that keep what they get, in the place of those that write on stderr; and ours off again."""
    calls: Seen = []

    def keep(*arguments: Any) -> None:
        calls.append(arguments)

    monkeypatch.setattr(sys, "excepthook", keep)
    monkeypatch.setattr(threading, "excepthook", keep)
    monkeypatch.setattr(sys, "unraisablehook", keep)
    yield calls
    uncaught.uninstall()


def raised(error: BaseException) -> BaseException:
    """The exception, raised and caught, so that it has a traceback."""
    try:
        raise error
    except BaseException as caught:
        return caught


def end_by(error: BaseException) -> None:
    """Has the main thread's hook be called, as the interpreter does it."""
    sys.excepthook(type(error), error, error.__traceback__)


def test_the_main_thread(kept: Kept, seen: Seen) -> None:
    """One CRITICAL record with place and exception, then the hook that was there."""
    uncaught.install(kept.producer)
    end_by(raised(ValueError("boom")))
    entry = kept.last
    assert entry.site[:3] == ("uncaught", logging.CRITICAL, "CRITICAL")
    assert entry.site[3:5] == ("test_uncaught", "raised")
    assert entry.message == "uncaught ValueError: boom"
    assert entry.extra == {"uncaught_in": "main"}
    assert entry.exception[:2] == ("ValueError", "boom")
    assert [arguments[0] for arguments in seen] == [ValueError]


def test_an_exception_that_says_nothing(kept: Kept) -> None:
    """Its type is the whole message."""
    uncaught.install(kept.producer)
    end_by(raised(AssertionError()))
    assert kept.last.message == "uncaught AssertionError"


def test_one_that_has_no_traceback(kept: Kept) -> None:
    """A hook called by hand is served as well."""
    uncaught.install(kept.producer)
    sys.excepthook(ValueError, ValueError("x"), None)
    assert kept.last.site[3:] == ("", "", 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_no_crash(kept: Kept, seen: Seen, error: BaseException) -> None:
    """Who ends a program by these means it: no record, and the other hook is called."""
    uncaught.install(kept.producer)
    end_by(raised(error))
    assert kept.entries == []
    assert len(seen) == 1


def test_a_thread_has_its_name_and_its_fields(kept: Kept, seen: Seen) -> None:
    """What was bound in it counts, a scope that was left by the exception counts more, and what was carried into it."""
    uncaught.install(kept.producer)

    def bound() -> None:
        bind(request_id="bound")
        int("x")

    def scoped() -> None:
        bind(request_id="bound")
        with context(request_id="scoped"):
            int("x")

    with context(request_id="carried"):
        carried = carry(functools.partial(int, "x"))
    for name, target in (("bound", bound), ("scoped", scoped), ("carried", carried)):
        thread = threading.Thread(target=target, name=f"t-{name}")
        thread.start()
        thread.join()
    assert [(entry.thread, entry.extra) for entry in kept.entries] == [
        ("t-bound", {"uncaught_in": "thread", "request_id": "bound"}),
        ("t-scoped", {"uncaught_in": "thread", "request_id": "scoped"}),
        ("t-carried", {"uncaught_in": "thread", "request_id": "carried"}),
    ]
    assert {entry.site[1] for entry in kept.entries} == {logging.ERROR}
    assert len(seen) == 3


def test_what_python_ignores(kept: Kept, seen: Seen) -> None:
    """The record says of what it was, by name or type and never by its repr, which may be what failed."""

    class Odd:
        def __del__(self) -> None:
            raise KeyError("odd")

        def __repr__(self) -> str:
            raise AssertionError("asked")

    uncaught.install(kept.producer)
    Odd()
    sys.unraisablehook(
        SimpleNamespace(
            exc_type=OSError, exc_value=None, exc_traceback=None, err_msg="Closing", object=Odd.__new__(Odd)
        )
    )
    told = {entry.message: str((entry.extra or {})["unraisable"]) for entry in kept.entries}
    assert "Odd.__del__" in told["uncaught KeyError: 'odd'"]
    assert told["uncaught OSError"].startswith("Closing: <")


def test_a_chain_that_leads_to_us_twice(kept: Kept, seen: Seen) -> None:
    """Is told once: ours stands below another hook, and again on top of it."""
    uncaught.install(kept.producer)
    ours = sys.excepthook
    uncaught.uninstall()

    def theirs(*arguments: Any) -> None:
        ours(*arguments)

    sys.excepthook = theirs
    uncaught.install(kept.producer)
    end_by(raised(ValueError("boom")))
    assert kept.messages == ["uncaught ValueError: boom"]


def test_the_same_hook_serves_one_after_another(kept: Kept) -> None:
    """An application that calls the hook itself, for each of its failures, has a record of each."""
    uncaught.install(kept.producer)
    for number in range(3):
        end_by(raised(ValueError(number)))
    assert kept.messages == [f"uncaught ValueError: {number}" for number in range(3)]


def test_another_producer_takes_over(kept: Kept) -> None:
    """The last one that was installed is told, and no hook is put on twice."""
    uncaught.install(Kept().producer)
    ours = sys.excepthook, threading.excepthook, sys.unraisablehook
    uncaught.install(kept.producer)
    end_by(raised(ValueError("boom")))
    assert ours == (sys.excepthook, threading.excepthook, sys.unraisablehook)
    assert len(kept.entries) == 1


def test_uninstalled_everything_is_as_it_was(kept: Kept) -> None:
    """Every hook is the one that was there; ours under another one is silent."""
    before = sys.excepthook, threading.excepthook, sys.unraisablehook
    uncaught.install(kept.producer)
    ours = sys.excepthook
    uncaught.uninstall()
    assert (sys.excepthook, threading.excepthook, sys.unraisablehook) == before
    ours(ValueError, ValueError("boom"), None)
    assert kept.entries == []


def test_a_hook_on_top_stays(kept: Kept, seen: Seen) -> None:
    """What somebody put over ours is his, and goes on to reach what was there before."""
    uncaught.install(kept.producer)
    below = sys.excepthook

    def theirs(*arguments: Any) -> None:
        below(*arguments)

    sys.excepthook = theirs
    uncaught.uninstall()
    assert sys.excepthook is theirs
    end_by(raised(ValueError("boom")))
    assert (kept.entries, len(seen)) == ([], 1)


def test_levels_count_and_disabled_loggers_do_not(kept: Kept) -> None:
    """A rule above CRITICAL silences it; dictConfig, which disables every logger that it doesn't name, does not."""
    from logbus.producers.stdlib import STDLIB

    uncaught.install(kept.producer)
    kept.gate.attach(STDLIB)
    logging.getLogger("uncaught").disabled = True
    end_by(raised(ValueError("one")))
    kept.rule(Rule("uncaught", 60))
    end_by(raised(ValueError("two")))
    kept.gate.close()
    assert kept.messages == ["uncaught ValueError: one"]


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_our_own_failure_is_silent(
    kept: Kept, seen: Seen, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    """Whatever goes wrong in making the record, the other hook is called, and nothing is raised."""

    def broken(*arguments: Any) -> None:
        raise fault

    monkeypatch.setattr(kept, "emit", broken)
    uncaught.install(kept.producer)
    end_by(raised(ValueError("boom")))
    assert len(seen) == 1


def test_asyncio_may_be_imported_later(kept: Kept) -> None:
    """The look that the gate takes once a second finds event loops that were not there before, while ours are on."""
    loop, name = asyncio.BaseEventLoop, "call_exception_handler"
    before = loop.__dict__[name]
    uncaught.install(kept.producer)
    UNRETRIEVED.leave()
    assert loop.__dict__[name] is before
    kept.gate.look_too()
    assert loop.__dict__[name] is not before
    uncaught.uninstall()
    kept.gate.look_too()
    assert loop.__dict__[name] is before


def test_what_was_caught_is_no_crash(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test runner puts a test's failure where the exit looks for what another hook in our place has kept from us."""
    uncaught.install(kept.producer)
    monkeypatch.setattr(sys, "excepthook", lambda *arguments: None)
    monkeypatch.setattr(sys, "last_value", raised(ValueError("a test's")), raising=False)
    uncaught.UNCAUGHT._at_exit()
    assert kept.entries == []


def test_an_exception_that_ends_who_asks(kept: Kept, seen: Seen) -> None:
    """Its text may raise anything, as for the interpreter: there is a record, and the hook that was there is called."""

    class OddError(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    uncaught.install(kept.producer)
    end_by(raised(OddError()))
    assert kept.last.message.endswith("failed: SystemExit>")
    assert len(seen) == 1


def test_a_prompt_is_no_crash(kept: Kept, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an interactive session each mistake comes to the hook, and the session goes on."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    uncaught.install(kept.producer)
    end_by(raised(ValueError("typed")))
    assert (kept.entries, len(seen)) == ([], 1)
