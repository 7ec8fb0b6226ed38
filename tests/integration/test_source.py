"""Rules and the flight recorder in real workers, by the standard library: what a collector hears, and the cost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from logbus.rules import Rule
from tests.eventually import eventually
from tests.peer import Peer
from tests.worker import Worker

StartWorker = Callable[..., Worker]

STEPS = """
import logging.config
logbus.configure(component="billing")
say(ready=True)
for line in sys.stdin:
    exec(line)
    say(done=line.strip())
"""


class Steps:
    """A worker that does what the test says, a line at a time."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        assert worker.hear() == {"ready": True}

    def do(self, line: str) -> None:
        """Runs a line in the worker."""
        assert self.worker.process.stdin is not None
        self.worker.process.stdin.write(line + "\n")
        self.worker.process.stdin.flush()
        assert self.worker.hear() == {"done": line}


def test_a_rule_reaches_a_worker_and_leaves_it(peer: Peer, start_worker: StartWorker) -> None:
    """Loggers that exist and loggers that come later, past what the application sets meanwhile, until it has gone."""
    steps = Steps(start_worker(STEPS, stdin=True))
    steps.do("log.debug('before'); log.warning('hello')")
    levels = peer.set_levels(Rule("till", 10))
    eventually(lambda: peer.confirmed(levels.version), what="the confirmation")
    config = {"version": 1, "disable_existing_loggers": False, "loggers": {"shop.till": {"level": "ERROR"}}}
    steps.do(f"logging.config.dictConfig({config!r})")
    steps.do("log.debug('one'); logging.getLogger('shop.till.drawer').debug('two'); logging.debug('not meant')")
    levels = peer.set_levels()
    eventually(lambda: peer.confirmed(levels.version), what="the confirmation")
    steps.do("log.debug('after'); log.warning('of the level of dictConfig'); log.error('bye')")
    steps.do("logbus.flush(5)")
    assert peer.arrivals.messages == ["hello", "one", "two", "bye"]
    assert peer.wait_mark(peer.say(ask=True).request).gate.startswith("stdlib=source")


def test_a_request_is_debugged_alone(peer: Peer, start_worker: StartWorker) -> None:
    """A rule with a condition: the DEBUG records of one request come, and nobody else's."""
    steps = Steps(start_worker(STEPS, stdin=True))
    levels = peer.set_levels(Rule("till", 10, where=(("request_id", "r2"),)))
    eventually(lambda: peer.confirmed(levels.version), what="the confirmation")
    for request in ("r1", "r2", "r3"):
        steps.do(f"with logbus.context(request_id={request!r}): log.debug('a detail'); log.info('sold')")
    records = [(record.message, record.extra["request_id"]) for record in peer.wait_records(4)]
    assert records == [("sold", "r1"), ("a detail", "r2"), ("sold", "r2"), ("sold", "r3")]


def test_an_error_tells_its_story(peer: Peer, start_worker: StartWorker) -> None:
    """What its request had logged below the level arrives before it, and the book says what became of the rest."""
    worker = start_worker(
        """
        logbus.configure()
        for number in range(6):
            with logbus.context(request_id=f"r{number}"):
                log.debug("step one of %d", number)
                log.debug("step two of %d", number)
                if number == 3:
                    log.error("failed")
        say(**logbus.stats().recorder, emitted=logbus.stats().emitted)
        """,
        LOGBUS_FLIGHT_RECORDER="level=DEBUG,trigger=ERROR,records=10",
    )
    assert worker.hear() == {"recorded": 12, "replayed": 2, "discarded": 2, "emitted": 3}
    worker.wait()
    assert worker.process.returncode == 0
    records = peer.wait_records(3)
    assert [record.message for record in records] == ["step one of 3", "step two of 3", "failed"]
    assert [record.level for record in records] == ["DEBUG", "DEBUG", "ERROR"]
    assert [record.extra.get("flight_recorder") for record in records] == [True, True, None]
    [bye] = eventually(lambda: list(peer.arrivals.byes.values()), what="the end of the book")
    assert (bye.recorder, bye.emitted) == ((12, 2, 10), 3)


def test_a_child_has_a_recorder_of_its_own(peer: Peer, start_worker: StartWorker) -> None:
    """What the parent recorded before the fork is not the child's to tell."""
    worker = start_worker(
        """
        logbus.configure(flight_recorder=True)
        log.debug("of the parent")
        pid = os.fork()
        log.debug("of %s", "both")
        log.error("failed")
        logbus.shutdown()
        say(child=pid == 0, **logbus.stats().recorder)
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        """
    )
    said = sorted((worker.hear(), worker.hear()), key=lambda found: found["child"])
    assert said == [
        {"child": False, "recorded": 2, "replayed": 2, "discarded": 0},
        {"child": True, "recorded": 1, "replayed": 1, "discarded": 0},
    ]
    worker.wait()
    assert worker.process.returncode == 0
    messages: dict[bool, list[str]] = {True: [], False: []}
    for record in peer.wait_records(5):
        messages[record.pid == worker.pid].append(record.message)
    assert messages == {True: ["of the parent", "of both", "failed"], False: ["of both", "failed"]}


COST = """
import statistics, timeit, types
def own(function):
    return types.FunctionType(function.__code__.replace(), function.__globals__, argdefs=function.__defaults__)
# The same methods, in code objects of their own: Python adapts code to the objects that it meets.
methods = {name: own(value) for name, value in vars(logging.Logger).items() if isinstance(value, types.FunctionType)}
library = type("Library", (), methods)("library", logging.INFO)
library.manager = logging.root.manager
def cost(logger):
    return timeit.timeit("log.debug('drawer %d', 3)", globals={"log": logger}, number=2000)
logbus.configure()
for line in sys.stdin:
    say(ratio=statistics.median(cost(log) / cost(library) for _ in range(200)))
"""


@pytest.mark.usefixtures("unmeasured")
def test_a_call_that_a_rule_suppresses_costs_what_logging_s_own_costs(peer: Peer, start_worker: StartWorker) -> None:
    """Within 20%: with no rule, with one, and after one with a condition has come and gone."""
    worker = start_worker(COST, stdin=True)
    stdin = worker.process.stdin
    assert stdin is not None
    ratios: list[float] = []
    where = (("request_id", "r1"),)
    for rules in ([], [Rule("till", 30), Rule("door", 10)], [Rule("till", 10, where=where)], [Rule("till", 30)]):
        levels = peer.set_levels(*rules)
        eventually(lambda: peer.confirmed(levels.version), what="the confirmation")  # noqa: B023 (called here)
        if not any(rule.where for rule in rules):
            stdin.write("\n")
            stdin.flush()
            ratios.append(worker.hear()["ratio"])
    assert max(ratios) < 1.2, ratios
