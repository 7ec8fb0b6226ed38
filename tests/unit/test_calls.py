"""Calls that go the direct way, with the real loguru beside it: what is suppressed, and what arrives of the rest."""

from __future__ import annotations

import _thread
import contextlib
import gc
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from logbus.producers.context import context
from logbus.producers.exception import finish
from logbus.producers.recorder import Flight
from logbus.rules import Rule
from tests.eventually import eventually
from tests.kept import Kept
from tests.modules import SOURCE, Make, begin, modules, real


@pytest.fixture
def module() -> Iterator[Make]:
    """Makes modules of an application."""
    with modules() as make:
        yield make


def test_what_is_below_the_level_does_nothing_and_the_rest_arrives(module: Make, kept: Kept) -> None:
    """A record says who logged when and where, as loguru's own would."""
    till = module()
    begin(kept)
    till.call("debug", "too low")
    till.call("info", "selected {}", "p1", port=8080)
    line = SOURCE.splitlines().index("    return getattr(logger, method)(*args, **kwargs)") + 1
    assert kept.messages == ["selected p1"]
    assert kept.last.site == ("shop.till", 20, "INFO", "till", "call", line)
    assert kept.last.thread == threading.current_thread().name
    assert kept.last.extra == {"port": 8080}
    assert kept.last.created > 1_700_000_000
    assert 200 < kept.last.size < 400


def test_levels_by_name_number_and_of_ones_own(module: Make, kept: Kept) -> None:
    """``log`` takes what loguru's takes, names them alike, and obeys the rules; what loguru refuses is refused."""
    with contextlib.suppress(ValueError):  # loguru never forgets a level
        real().level("AUDIT", no=33)
    till = module()
    begin(kept)
    till.call("log", "AUDIT", "audited")
    till.call("log", 34, "by number")
    till.call("log", "DEBUG", "below")
    till.call("log", 19, "below")
    till.call("success", "done")
    assert [entry.site[1:3] for entry in kept.entries] == [(33, "AUDIT"), (34, "Level 34"), (25, "SUCCESS")]
    kept.rule(Rule("till", 10))
    till.call("log", "DEBUG", "live")
    assert kept.last.site[1:3] == (10, "DEBUG")
    with pytest.raises(ValueError, match="does not exist"):
        till.call("log", "NOBODYS", "m")
    with pytest.raises(ValueError, match="positive"):
        till.call("log", -1, "m")
    with pytest.raises(TypeError):
        till.call("log", 1.5, "m")


@pytest.mark.parametrize(
    ("message", "args", "fields", "expected"),
    [
        ("GET http://host/{id}", (), {"proxy_id": 1}, "GET http://host/{id}"),
        ("lone { brace", (), {"a": 1}, "lone { brace"),
        ("{0.nothing} {}", ("x",), {}, "{0.nothing} {}"),
        ("{}", (), {}, "{}"),
        ("a }} b {{", (), {"a": 1}, "a } b {"),
        ("{a} and {b!r}", (), {"a": 1, "b": "x"}, "1 and 'x'"),
        (ValueError("an object"), (), {"a": 1}, "an object"),
        (None, (), {}, "None"),
    ],
)
def test_a_message_that_cannot_be_formatted_stays_as_it_is(
    module: Make, kept: Kept, message: Any, args: tuple[Any, ...], fields: dict[str, Any], expected: str
) -> None:
    """An f-string with braces never raises in the application; what can be formatted is, as loguru does."""
    till = module()
    begin(kept)
    till.call("info", message, *args, **fields)
    assert kept.last.message == expected
    assert kept.last.extra == (fields or None)


def test_an_argument_that_explodes_does_not_disturb(module: Make, kept: Kept) -> None:
    """Formats and reprs of the application may raise; the record arrives."""

    class ExplodesError(Exception):
        def __format__(self, spec: str) -> str:
            raise OSError

        __str__ = __repr__ = __format__  # type: ignore[assignment]

    till = module()
    begin(kept)
    till.call("info", "value {}", ExplodesError(), bad=ExplodesError())
    assert kept.last.message == "value {}"
    assert kept.last.extra is not None
    assert "failed" in kept.last.extra["bad"]
    till.call("info", ExplodesError())
    assert "ExplodesError" in kept.last.message


@pytest.mark.parametrize("given", [True, 1, "an exception", "a triple"])
def test_exc_info_is_an_exception_with_its_traceback(module: Make, kept: Kept, given: Any) -> None:
    """``exc_info=`` of the standard library means what it means there, and is no field."""
    till = module()
    begin(kept)
    try:
        raise ValueError("earlier")
    except ValueError as error:
        earlier = error
    if given == "an exception":
        given = earlier
    elif given == "a triple":
        given = (type(earlier), earlier, earlier.__traceback__)
    till.fail("error", "failed", exc_info=given, port=1)
    kind, _, lines, *_ = finish(kept.last.exception)
    assert kind == ("ValueError" if given not in (True, 1) else "KeyError")
    assert lines
    assert kept.last.extra == {"port": 1}


def test_exc_info_without_an_exception_is_nothing_and_a_text_is_a_field(module: Make, kept: Kept) -> None:
    """False and None say that there is none; what can't be an exception stays what the application meant by it."""
    till = module()
    begin(kept)
    for given in (False, None, True):
        till.call("error", "m", exc_info=given)
        assert (kept.last.exception, kept.last.extra) == (None, None)
    till.call("error", "m", exc_info="see ticket")
    assert (kept.last.exception, kept.last.extra) == (None, {"exc_info": "see ticket"})


def test_exception_describes_what_is_handled(module: Make, kept: Kept) -> None:
    """As loguru's: level ERROR, type, message and traceback; nothing outside of a handler."""
    till = module()
    begin(kept)
    till.fail("exception", "failed {}", "badly")
    assert (kept.last.message, kept.last.site[2]) == ("failed badly", "ERROR")
    assert finish(kept.last.exception)[:2] == ["KeyError", "'missing'"]
    till.call("exception", "none")
    assert kept.last.exception is None


def test_fields_come_from_core_contextualize_call_and_logbus_context(module: Make, kept: Kept) -> None:
    """All sources are joined in loguru's order, ours last; the core's own dicts are not changed."""
    till = module()
    begin(kept)
    real().configure(extra={"who": "core", "app": "shop"})
    with till.logger.contextualize(who="contextualize", request_id="r1"), context(who="context", tags=[1], op="sell"):
        till.call("info", "m", who="call", basket={"a": (1,)})
        till.call("info", "m")
    first, second = kept.entries
    assert first.extra == {"who": "call", "app": "shop", "request_id": "r1", "op": "sell"}
    assert first.nested == {"tags": [1], "basket": {"a": [1]}}
    assert second.extra == {"who": "contextualize", "app": "shop", "request_id": "r1", "op": "sell"}
    assert real()._core.extra == {"who": "core", "app": "shop"}


def test_a_patcher_of_the_core_is_loguru_s_business(module: Make, kept: Kept) -> None:
    """While there is one, calls that pass take loguru's way, with the right call site; others still do nothing."""
    till = module()
    begin(kept)
    real().configure(patcher=lambda record: record["extra"].update(patched=True))
    till.call("debug", "below")
    till.call("info", "value {}", 1)
    till.call("log", "INFO", "by name")
    till.fail("exception", "failed")
    assert kept.messages == ["value 1", "by name", "failed"]
    assert [entry.extra for entry in kept.entries] == [{"patched": True}] * 3
    assert [entry.site[0] for entry in kept.entries] == ["shop.till"] * 3
    assert [entry.site[4] for entry in kept.entries] == ["call", "call", "fail"]
    assert kept.last.exception is not None


def test_disable_and_enable_are_obeyed(module: Make, kept: Kept) -> None:
    """A prefix that the application has switched off is silent, and a longer one may be on again."""
    till, stock = module(), module("shop.stock")
    begin(kept)
    till.logger.disable("shop")
    real().enable("shop.stock")
    till.call("info", "off")
    stock.call("info", "on")
    real().enable("shop")
    till.call("info", "on again")
    assert kept.messages == ["on", "on again"]


def test_conditions_are_asked_before_anything_is_made(module: Make, kept: Kept) -> None:
    """DEBUG where a field has a value: of the context, of loguru's, or of the call itself."""
    till = module()
    begin(kept)
    kept.rule(Rule("till", 10, where=(("request_id", "7"),)))

    class Counted:
        formatted = 0

        def __format__(self, spec: str) -> str:
            Counted.formatted += 1
            return "x"

    till.call("debug", "no request {}", Counted())
    with context(request_id="8"):
        till.call("debug", "another {}", Counted())
    assert (kept.messages, Counted.formatted) == ([], 0)
    with context(request_id="7"):
        till.call("debug", "by context")
        till.call("log", "DEBUG", "by log")
    with real().contextualize(request_id=7):
        till.call("debug", "by loguru's")
    till.call("debug", "by the call", request_id="7")
    till.call("info", "unconditional")
    assert kept.messages == ["by context", "by log", "by loguru's", "by the call", "unconditional"]


def test_a_condition_may_silence_and_meets_fields_that_explode(module: Make, kept: Kept) -> None:
    """A rule with a condition may be the higher one; a field that can't be compared meets none."""

    class Explodes:
        def __eq__(self, other: object) -> bool:
            raise OSError

        __hash__ = None  # type: ignore[assignment]

    till = module()
    begin(kept)
    kept.rule(Rule("till", 40, where=(("source", "noisy"),)))
    till.call("info", "quiet", source="noisy")
    till.call("info", "loud", source="other")
    till.call("info", "exploding", source=Explodes())
    assert kept.messages == ["loud", "exploding"]


def test_the_flight_recorder_keeps_what_is_suppressed(module: Make) -> None:
    """From its level on, by method, by ``log`` and where a condition doesn't hold; what is below does nothing."""
    kept = Kept(flight=Flight(level=10))
    till = module()
    begin(kept)
    assert kept.gate.recorder is not None
    till.call("trace", "below")
    till.call("debug", "kept {}", 1, a=1)
    till.call("log", 12, "kept too")
    kept.rule(Rule("till", 10, where=(("request_id", "7"),)))
    till.call("debug", "not asked for")
    till.call("debug", "asked for", request_id="7")
    assert kept.messages == ["asked for"]
    assert kept.gate.recorder.counts()[0] == 3
    assert kept.gate.recorder.replay(kept.emit, threading.current_thread().name, None) == 3
    assert kept.messages[1:] == ["kept 1", "kept too", "not asked for"]


def test_many_sites_and_modules_that_go_leave_no_mistake(module: Make, kept: Kept) -> None:
    """Functions that are made and forgotten at one place each log under their own name."""
    till = module()
    begin(kept)
    for at in range(3000):
        exec(f"def made_{at}():\n    logger.info('m')\nmade_{at}()\ndel made_{at}", till.__dict__)
    gc.collect()
    assert [entry.site[4] for entry in kept.entries] == [f"made_{at}" for at in range(3000)]


def test_a_call_by_the_interpreter_itself_has_no_place(module: Make, kept: Kept) -> None:
    """Without any caller in Python, as at exit, a record arrives and says so, and no error is raised."""
    till = module()
    begin(kept)
    kept.rule(Rule("", 40, where=(("quiet", "yes"),)))
    raised: list[Any] = []
    with mock.patch("sys.unraisablehook", raised.append):
        for method, arguments in (("info", ("m",)), ("exception", ("m",)), ("log", (20, "m")), ("error", ("m",))):
            _thread.start_new_thread(getattr(till.logger, method), arguments)
            eventually(lambda: kept.entries)
            assert kept.entries.pop().site[3:] == ("<unknown>", "<unknown>", 0)
    assert raised == []
