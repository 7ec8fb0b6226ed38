"""The flight recorder in the standard library: it sees what the level suppresses, and nobody else does."""

from __future__ import annotations

import itertools
import logging
import logging.config
import weakref
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from logbus.producers.context import context
from logbus.producers.exception import finish
from logbus.producers.gate import Gate
from logbus.producers.handler import LogbusHandler
from logbus.producers.producer import Producer
from logbus.producers.recorder import Flight, Recorder
from logbus.producers.stdlib import STDLIB
from logbus.producers.tap import Tap
from logbus.rules import Levels, Rule
from tests.eventually import eventually
from tests.kept import Entry
from tests.lines import Lines, root_lines
from tests.race import race

R1 = (("request_id", "r1"),)
NOBODY = (("request_id", "nobody's"),)


class Worker:
    """A producer that keeps what it is given, behind a recorder."""

    def __init__(self, flight: Flight) -> None:
        self.gate = Gate()
        self.recorder = self.gate.recorder = Recorder(flight)
        self.emitted: list[Entry] = []
        self.emit = self.recorder.behind(self._put)
        self._version = 0

    def _put(self, *arguments: Any) -> None:
        self.emitted.append(Entry(*arguments))

    @property
    def messages(self) -> list[str]:
        """What was emitted."""
        return [record.message for record in self.emitted]

    def turn(self, *rules: Rule) -> None:
        """Puts rules into force."""
        self._version += 1
        assert self.gate.take(Levels("l", self._version, rules), welcome=False)

    def flush_soon(self) -> bool:
        """There is nothing to wait for."""
        return True


class Seen(logging.Filter):
    """A filter of the application that notes what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets everything pass."""
        self.messages.append(record.getMessage())
        return True


@pytest.fixture
def flight() -> Flight:
    """DEBUG and above, brought back by ERROR."""
    return Flight()


@pytest.fixture
def worker(flight: Flight) -> Iterator[Worker]:
    """A producer with a recorder, which has the loggers of this process; the root is at INFO and leads to it."""
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    worker = Worker(flight)
    handler = LogbusHandler.of(cast("Producer", worker))
    root.addHandler(handler)
    worker.gate.attach(STDLIB)
    yield worker
    worker.gate.close()
    root.removeHandler(handler)


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What another handler of the root logger sees."""
    with root_lines() as lines:
        yield lines


@pytest.fixture
def log(worker: Worker) -> logging.Logger:
    """A logger that inherits INFO."""
    return logging.getLogger("shop.till")


def test_what_was_suppressed_comes_before_the_error(worker: Worker, log: logging.Logger, lines: Lines) -> None:
    """To the collector only: other handlers see what the level lets pass, as if there were no recorder."""
    log.debug("drawer %d", 3, extra={"till": 7})
    log.info("sold")
    logging.debug("of the root")
    logging.getLogger("later").log(15, "custom")
    log.error("jammed")
    assert worker.messages == ["sold", "drawer 3", "of the root", "custom", "jammed"]
    assert lines.messages == ["sold", "jammed"]
    found = worker.emitted[1]
    assert found.site[:3] == ("shop.till", 10, "DEBUG")
    assert found.site[3:5] == ("test_tap", "test_what_was_suppressed_comes_before_the_error")
    assert found.extra == {"till": 7, "flight_recorder": True}
    assert found.created < worker.emitted[-1].created
    assert worker.recorder.counts() == (3, 3, 0)


def test_nothing_comes_without_an_error(worker: Worker, log: logging.Logger, lines: Lines) -> None:
    """What is never asked for is never sent."""
    log.debug("drawer")
    log.warning("slow")
    assert worker.messages == lines.messages == ["slow"]
    assert worker.recorder.counts() == (1, 0, 0)


def test_a_request_brings_back_its_own(worker: Worker, log: logging.Logger) -> None:
    """Known by the request_id of the context, or by that of the call, which wins."""
    for request in ("r1", "r2"):
        with context(request_id=request):
            log.debug("in %s", request)
            log.debug("about another", extra={"request_id": "r3"})
    with context(request_id="r1"):
        log.error("failed")
    assert worker.messages == ["in r1", "failed"]


def test_records_are_made_plain_at_once(worker: Worker, log: logging.Logger) -> None:
    """Nothing of the application is kept alive, and nothing shows what it became later."""

    class Thing:
        text = "then"

        def __str__(self) -> str:
            return self.text

    thing, items = Thing(), ["tea"]
    try:
        raise ValueError("empty")
    except ValueError:
        log.debug("%s", thing, exc_info=True, extra={"thing": thing, "items": items})
    thing.text = "now"
    items.append("milk")
    alive = weakref.ref(thing)
    del thing
    log.error("failed")
    found = worker.emitted[0]
    assert alive() is None
    assert (found.message, found.nested) == ("then", {"items": ["tea"]})
    assert finish(found.exception)[:2] == ["ValueError", "empty"]


@pytest.mark.parametrize("flight", [Flight(level=15)])
def test_what_is_below_the_recorders_level_is_not_made(worker: Worker, log: logging.Logger) -> None:
    """An application that asks before it does hears yes for what is recorded, and no for the rest."""
    assert [log.isEnabledFor(level) for level in (10, 14, 15, 20)] == [False, False, True, True]
    assert log.getEffectiveLevel() == 20
    log.debug("too low")
    log.log(15, "kept")
    log.error("failed")
    assert worker.messages == ["kept", "failed"]


def test_what_is_disabled_is_not_recorded(worker: Worker, log: logging.Logger) -> None:
    """``logging.disable`` and ``logger.disabled`` are for the recorder too."""
    logging.disable(logging.DEBUG)
    assert not log.isEnabledFor(10)
    log.debug("disabled by all")
    logging.disable(logging.NOTSET)
    log.disabled = True
    log.debug("disabled")
    log.disabled = False
    assert worker.recorder.counts() == (0, 0, 0)


def test_the_applications_filters_do_not_see_it(worker: Worker, log: logging.Logger) -> None:
    """They count and redact what is logged; a record that nobody gets is none of theirs."""
    seen = Seen()
    log.addFilter(seen)
    log.debug("suppressed")
    log.info("passed")
    assert seen.messages == ["passed"]
    log.error("failed")
    assert worker.messages == ["passed", "suppressed", "failed"]


def test_the_tap_comes_back_first(worker: Worker, log: logging.Logger) -> None:
    """What an application does to the list of filters holds for its own; ours is back within a second."""
    seen = Seen()
    log.filters[:] = [seen]
    STDLIB.look()
    log.debug("suppressed")
    assert seen.messages == []
    log.filters.reverse()
    STDLIB.look()
    log.debug("suppressed")
    assert seen.messages == []
    assert [type(each) for each in log.filters] == [Tap, Seen]


def test_dict_config_leaves_the_tap(worker: Worker, log: logging.Logger, lines: Lines) -> None:
    """Levels and filters of the application's configuration count, and the recorder goes on."""
    root = logging.getLogger()
    kept = list(root.handlers)
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"seen": {"()": Seen}},
            "root": {"level": "WARNING"},
            "loggers": {"shop.till": {"level": "ERROR", "filters": ["seen"]}},
        }
    )
    root.handlers[:] = kept
    log.warning("recorded now")
    log.error("failed")
    assert worker.messages == ["recorded now", "failed"]
    assert lines.messages == ["failed"]


def test_a_record_that_was_made_elsewhere_goes_on(worker: Worker, log: logging.Logger, lines: Lines) -> None:
    """``Logger.handle`` never asked for a level: what comes from a socket was let pass where it was logged."""
    log.handle(logging.LogRecord("shop.till", 10, "/srv/till.py", 7, "from elsewhere", (), None, "sell"))
    log.handle(cast("Any", logging.makeLogRecord({"msg": "no record at all", "levelno": 10})))
    assert lines.messages == worker.messages == ["from elsewhere", "no record at all"]


class Relay(logging.Handler):
    """A handler that hands on to another logger."""

    def emit(self, record: logging.LogRecord) -> None:
        """As a bridge does."""
        logging.getLogger("relayed").handle(record)


def test_a_record_that_a_handler_hands_on_goes_on(worker: Worker, log: logging.Logger, lines: Lines) -> None:
    """It has been at the gate of its own logger."""
    first = logging.getLogger("relay")
    first.propagate = False
    first.setLevel(logging.DEBUG)
    first.addHandler(Relay())
    first.debug("on its way")
    assert lines.messages == ["on its way"]


class Told(logging.Logger):
    """A logger class of an application that stands in front of everything."""

    def handle(self, record: logging.LogRecord) -> None:
        """Says what it always said."""
        super().handle(record)

    def _log(self, *args: Any, **kwargs: Any) -> None:
        super()._log(*args, **kwargs)


def test_a_logger_of_another_class_is_recorded(worker: Worker, lines: Lines) -> None:
    """One that overrides the steps between the call and the filter."""
    logging.setLoggerClass(Told)
    log = logging.getLogger("told")
    logging.setLoggerClass(logging.Logger)
    log.debug("suppressed")
    log.error("failed")
    assert lines.messages == ["failed"]
    assert worker.messages == ["suppressed", "failed"]
    del logging.root.manager.loggerDict["told"]


def test_what_does_not_lead_to_the_collector_is_not_recorded(worker: Worker, lines: Lines) -> None:
    """A logger that an application keeps apart, with handlers of its own, is not brought into its log by an error."""
    apart = logging.getLogger("audit")
    apart.propagate = False
    apart.addHandler(lines)
    apart.debug("secret")
    apart.info("known")
    logging.getLogger("shop.till").error("failed")
    assert lines.messages == ["known", "failed"]
    assert worker.messages == ["failed"]
    assert worker.recorder.counts() == (0, 0, 0)


def test_a_rule_makes_of_the_recorded_a_record(worker: Worker, log: logging.Logger, lines: Lines) -> None:
    """What a level or a condition lets pass is emitted at once, and not a second time."""
    worker.turn(Rule("till", 10, where=R1))
    with context(request_id="r1"):
        log.debug("one")
    log.debug("two")
    worker.turn(Rule("till", 10))
    log.debug("three")
    worker.turn(Rule("till", 50))
    log.error("suppressed, and so no trigger")
    worker.turn()
    log.error("failed")
    assert worker.messages == ["one", "three", "two", "suppressed, and so no trigger", "failed"]
    assert lines.messages == ["one", "three", "failed"]


def test_nothing_is_in_the_way_once_it_has_gone(worker: Worker, log: logging.Logger) -> None:
    """Gate and filter leave with the front, and the application's filters stay in their order."""
    first, second = Seen(), Seen()
    log.addFilter(first)
    log.addFilter(second)
    assert log.filters[1:] == [first, second]
    worker.gate.close()
    assert log.filters == [first, second]
    assert logging.root.filters == []
    assert type(cast("Any", log)._cache) is dict
    log.debug("suppressed")
    assert worker.recorder.counts() == (0, 0, 0)


def test_no_other_handler_ever_sees_it(
    worker: Worker, log: logging.Logger, lines: Lines, scale: Callable[[int, int], int]
) -> None:
    """While loggers are made, rules change and requests fail, in threads: each DEBUG record is in one place."""
    rounds, numbers = scale(5_000, 400), itertools.count(1)

    def work(name: str) -> None:
        for number in range(rounds):
            with context(request_id=f"{name}-{number}"):
                logging.getLogger(f"made.{name}.{number % 100}").debug("detail %s-%d", name, number)
                if number % 5 == 0:
                    logging.getLogger(f"made.{name}.{number % 100}").error("failed")

    def change() -> None:
        number = next(numbers)
        worker.turn(Rule("made", 10 + number % 3, where=NOBODY), *([Rule("", 15)] if number % 2 else []))
        STDLIB.look()

    race(work, "ab", change)
    assert set(lines.messages) == {"failed"}
    details = [message for message in worker.messages if message.startswith("detail")]
    assert len(details) == len(set(details)) == 2 * len(range(0, rounds, 5))
    eventually(lambda: STDLIB.apply(worker.gate.table), 5)
    recorded, replayed, discarded = worker.recorder.counts()
    assert (recorded, replayed) == (2 * rounds, len(details))
    assert recorded == replayed + discarded + worker.recorder.held
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("made")]:
        del logging.root.manager.loggerDict[name]
