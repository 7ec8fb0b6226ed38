"""Levels of our own: INFO is open for logbus where nobody has said a level, and the application sees nothing of it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from logbus.producers.aside import ASIDE
from logbus.producers.crossing import CROSSING
from logbus.producers.fast_tree import FAST_TREE
from logbus.producers.recorder import Flight
from logbus.producers.stdlib import STDLIB
from logbus.rules import Levels, Rule
from tests.kept import Kept

NAMES = ("getEffectiveLevel", "handle", "setLevel", "callHandlers")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A root logger as Python makes it, and afterwards nothing of ours in logging's classes."""
    before = [vars(logging.Logger)[name] for name in NAMES]
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    root.setLevel(logging.WARNING)
    yield
    ASIDE.end()
    CROSSING.end()
    root.handlers = handlers
    assert [vars(logging.Logger)[name] for name in NAMES] == before


@pytest.fixture
def taken(kept: Kept) -> Kept:
    """The producer that gets everything, from now on."""
    CROSSING.begin(kept.producer)
    return kept


@pytest.fixture
def shown() -> io.StringIO:
    """What the application's own handler on the root logger writes."""
    stream = io.StringIO()
    logging.getLogger().addHandler(logging.StreamHandler(stream))
    return stream


def say(log: logging.Logger) -> None:
    """One call at each level."""
    for level in (10, 20, 30):
        log.log(level, "%d", level)


def test_info_is_ours_and_warning_is_everybodys(taken: Kept, shown: io.StringIO) -> None:
    """The logger says that it is open, and that its level is what it was."""
    ASIDE.begin(None)
    log = logging.getLogger("shop.till")
    assert (log.isEnabledFor(20), log.isEnabledFor(10), log.getEffectiveLevel()) == (True, False, 30)
    say(log)
    assert taken.messages == ["20", "30"]
    assert shown.getvalue() == "30\n"


def test_the_level_of_the_root_ends_it(taken: Kept, shown: io.StringIO) -> None:
    """Whoever sets one means it, also where it is the default one; logging is then as it was."""
    before = [vars(logging.Logger)[name] for name in NAMES[:3]]
    ASIDE.begin(None)
    log = logging.getLogger("shop.till")
    assert log.isEnabledFor(20)
    logging.getLogger().setLevel(logging.WARNING)
    assert [vars(logging.Logger)[name] for name in NAMES[:3]] == before
    say(log)
    assert taken.messages == ["30"]


def test_one_that_has_a_level_already_is_left_alone(taken: Kept) -> None:
    """The application was quicker."""
    logging.getLogger().setLevel(logging.ERROR)
    ASIDE.begin(None)
    say(logging.getLogger("shop.till"))
    assert taken.messages == []


def test_a_level_that_was_said_stays(taken: Kept, shown: io.StringIO) -> None:
    """The root's level is for the application's handlers then, and ours for us."""
    ASIDE.begin(logging.DEBUG)
    log = logging.getLogger("shop.till")
    logging.getLogger().setLevel(logging.ERROR)
    say(log)
    assert (taken.messages, shown.getvalue()) == (["10", "20", "30"], "")
    logging.getLogger().setLevel(logging.INFO)
    say(log)
    assert (taken.messages[3:], shown.getvalue()) == (["10", "20", "30"], "20\n30\n")


def test_a_level_that_was_said_closes_nothing(taken: Kept) -> None:
    """What the application lets through arrives."""
    ASIDE.begin(logging.ERROR)
    say(logging.getLogger("shop.till"))
    assert taken.messages == ["30"]


def test_loggers_with_a_level_of_their_own_keep_it(taken: Kept) -> None:
    """And those below them; whenever it is set."""
    ASIDE.begin(logging.DEBUG)
    log = logging.getLogger("shop.till")
    assert log.isEnabledFor(10)
    logging.getLogger("shop").setLevel(logging.ERROR)
    say(log)
    logging.getLogger("shop").setLevel(logging.NOTSET)
    log.setLevel(logging.WARNING)
    say(log)
    assert taken.messages == ["30"]


def test_filters_and_disabling_are_the_applications_word(taken: Kept) -> None:
    """A logger that was muted stays so for us."""
    ASIDE.begin(None)
    log = logging.getLogger("shop.till")
    log.addFilter(lambda record: "secret" not in record.getMessage())
    log.info("secret")
    log.info("sold")
    log.disabled = True
    log.info("disabled")
    logging.disable(logging.INFO)
    logging.info("disabled for all")
    assert taken.messages == ["sold"]


def test_a_record_that_somebody_else_made_goes_to_the_handlers(taken: Kept, shown: io.StringIO) -> None:
    """``Logger.handle`` has never looked at a level: a server of records hands over what it got."""
    ASIDE.begin(None)
    logging.getLogger("shop").handle(logging.makeLogRecord({"name": "shop", "levelno": 20, "msg": "from afar"}))
    assert (taken.messages, shown.getvalue()) == (["from afar"], "from afar\n")


def test_a_record_whose_level_is_no_number_is_no_error_of_ours(taken: Kept) -> None:
    """Logging itself says what it thinks of it, as soon as there is a handler."""
    ASIDE.begin(None)
    log = logging.getLogger("shop")
    log.propagate = False
    log.addHandler(handler := logging.NullHandler())
    handler.level = "low"  # type: ignore[assignment]
    log.handle(logging.makeLogRecord({"levelno": "high", "msg": "odd"}))
    assert taken.messages == ["odd"]


def test_a_rule_for_all_takes_its_place(taken: Kept, shown: io.StringIO) -> None:
    """What an operator sets is everybody's level while it is in force, and ours comes back with its end."""
    ASIDE.begin(None)
    log = logging.getLogger("shop.till")
    taken.gate.attach(STDLIB)
    taken.gate.take(Levels("ledger", 1, (Rule("", logging.WARNING),)), welcome=True)
    say(log)
    assert taken.messages == ["30"]
    taken.gate.take(Levels("ledger", 2, ()), welcome=False)
    say(log)
    assert taken.messages == ["30", "20", "30"]
    assert log.getEffectiveLevel() == logging.WARNING
    taken.gate.close()


def test_the_flight_recorder_keeps_what_is_below(shown: io.StringIO) -> None:
    """DEBUG goes into the ring, INFO to us, WARNING to all, and an ERROR brings the ring back."""
    kept = Kept(flight=Flight())
    CROSSING.begin(kept.producer)
    ASIDE.begin(None)
    log = logging.getLogger("shop.till")
    kept.gate.attach(STDLIB)
    say(log)
    assert kept.messages == ["20", "30"]
    assert kept.gate.recorder is not None
    assert kept.gate.recorder.counts()[0] == 1
    assert shown.getvalue() == "30\n"
    kept.gate.close()


def test_wrappers_on_top_stay_and_lead_to_logging_as_it_was(taken: Kept, shown: io.StringIO) -> None:
    """Somebody else instruments logging too: when ours ends his goes on."""
    ASIDE.begin(None)
    ours: dict[str, Any] = {name: vars(logging.Logger)[name] for name in NAMES[:2]}

    def wrap(original: Any) -> Any:
        def theirs(*args: Any) -> Any:
            return original(*args)

        return theirs

    try:
        for name, original in ours.items():
            setattr(logging.Logger, name, wrap(original))
        ASIDE.end()
        log = logging.getLogger("shop.till")
        say(log)
        assert (taken.messages, shown.getvalue()) == (["30"], "30\n")
    finally:
        for name, original in ours.items():
            setattr(logging.Logger, name, original.__wrapped__)


class ShowsAll(logging.Logger):
    """Hands on what it gets, whoever has switched it off, as absl's does."""

    def handle(self, record: logging.LogRecord) -> None:
        """Asks its own filters only."""
        if self.filter(record):
            self.callHandlers(record)


class Marks(logging.Logger):
    """Leads each of its records through a step of its own."""

    def handle(self, record: logging.LogRecord) -> None:
        """Marks it."""
        record.msg = f"marked {record.msg}"
        super().handle(record)


class Decides(logging.Logger):
    """Has a level that no attribute says."""

    def getEffectiveLevel(self) -> int:  # noqa: N802 (logging's name)
        """Its own."""
        return logging.INFO


class Open(logging.Logger):
    """Lets through what it wants."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 (logging's name)
        """From INFO on."""
        return level >= logging.INFO


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ShowsAll, ["%d"]),
        (Marks, ["marked %d"]),
        (Decides, ["%d", "%d"]),
        (Open, ["%d", "%d"]),
    ],
)
def test_a_class_with_steps_of_its_own_is_left_alone(
    taken: Kept, shown: io.StringIO, kind: type[logging.Logger], expected: list[str]
) -> None:
    """It gets to see nothing that it would not see without us, and its handlers all that they would get."""
    ASIDE.begin(None)
    log = kind("shop.own")
    log.parent = logging.getLogger()
    log.manager = logging.Logger.manager
    say(log)
    levels = ["20", "30"][-len(expected) :]
    wanted = [form.replace("%d", level) for form, level in zip(expected, levels, strict=True)]
    assert shown.getvalue().splitlines() == wanted
    assert taken.messages == wanted


@pytest.mark.parametrize("fast", [False, True])
def test_behind_a_wrapper_of_somebody_else_nothing_is_shown(
    taken: Kept, shown: io.StringIO, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, fast: bool
) -> None:
    """Who wraps ``Logger.handle`` after us sees no more than he should, and the handlers get nothing by it."""
    ASIDE.begin(None)
    if fast:
        request.addfinalizer(FAST_TREE.end)
        FAST_TREE.begin()
    known, new = logging.getLogger("shop.known"), logging.getLogger("shop.new")
    known.info("before")
    ours, seen = logging.Logger.handle, []

    def theirs(logger: logging.Logger, record: logging.LogRecord) -> None:
        seen.append((logger.name, record.getMessage()))
        ours(logger, record)

    with monkeypatch.context() as patched:
        patched.setattr(logging.Logger, "handle", theirs)
        for log in (known, new):
            log.info("low")
            log.log(20, "low")
            log.warning("high")
        known.handle(logging.makeLogRecord({"name": "far", "levelno": 20, "msg": "made elsewhere"}))
    assert shown.getvalue().splitlines() == ["high", "high", "made elsewhere"]
    assert [entry for entry in seen if entry[0] == "shop.new"] == [("shop.new", "high")]
