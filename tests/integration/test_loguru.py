"""Loguru in the real proxywhirl, in processes of their own: the direct way, its cost, and that nobody is disturbed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from logbus.rules import Levels, Rule
from tests.eventually import eventually
from tests.peer import Peer
from tests.worker import Worker

StartWorker = Callable[..., Worker]

#: A rotator of the real package, with nothing fetched from anywhere.
ROTATOR = """
from proxywhirl import Proxy, ProxyWhirl
def proxy(url):
    return Proxy(url=url, allow_local=True)
def remove(rotator):
    for each in list(rotator.pool.proxies):
        rotator.remove_proxy(str(each.id))
"""


def confirmed(peer: Peer, version: int) -> str:
    """The gates that a worker names as it confirms a version, once it has."""

    def look() -> str:
        return next((mark.gate for _, mark in list(peer.arrivals.marks) if mark.level_version == version), "")

    return eventually(look, what=f"version {version} to be confirmed")


def test_a_rule_makes_one_component_of_the_real_package_live(peer: Peer, start_worker: StartWorker) -> None:
    """DEBUG for the rotator brings what its own code says at that level, and nothing of the cache."""
    worker = start_worker(
        ROTATOR
        + """
from proxywhirl.cache import manager
exec("def cached():\\n    logger.debug('cache put')\\n    logger.info('cache')", vars(manager))
logbus.configure()
rotator = ProxyWhirl(bootstrap=False)
for line in ("before", "after"):
    rotator.add_proxy(proxy("http://user:pw@127.0.0.1:9"))
    remove(rotator)
    manager.cached()
    say(done=line)
    if line == "before":
        while logbus.stats().level_version < 1:
            time.sleep(0.01)
"""
    )
    assert worker.hear() == {"done": "before"}
    peer.say(levels=Levels("ledger", 1, (Rule("rotator", 10),)))
    assert "loguru=direct" in confirmed(peer, 1)
    assert worker.hear() == {"done": "after"}
    worker.finish()
    debug = [record for record in peer.arrivals.records if record.level == "DEBUG"]
    assert {record.logger for record in debug} == {"proxywhirl.rotator.sync"}
    assert {record.component for record in debug} == {"rotator"}
    assert {record.function for record in debug} == {"remove_proxy"}
    assert [record.message for record in peer.arrivals.records].count("cache") == 2


def test_braces_in_a_url_do_not_raise_in_the_application(peer: Peer, start_worker: StartWorker) -> None:
    """The package formats an f-string a second time, which is a KeyError in loguru's way and none in the direct one."""
    worker = start_worker(
        ROTATOR
        + """
def add(source):
    logbus.configure(source=source)
    try:
        ProxyWhirl(bootstrap=False).add_proxy(proxy("http://user:pw@127.0.0.1:9/{id}"))
    except KeyError as error:
        return repr(error)
say(handler=add("handler"), direct=add("direct"))
"""
    )
    assert worker.finish() == {"handler": "KeyError('id')", "direct": None}
    [record] = peer.arrivals.records
    assert record.message.endswith("127.0.0.1:9/{id}")
    assert set(record.extra) == {"proxy_id"}
    assert (record.logger, record.module, record.function) == ("proxywhirl.rotator.sync", "sync", "add_proxy")


def test_the_package_s_own_set_up_leaves_our_handler(peer: Peer, start_worker: StartWorker) -> None:
    """It removes every handler and adds one; ours comes back, and both see everything from then on."""
    worker = start_worker(
        ROTATOR
        + """
import loguru
from proxywhirl.utils import configure_logging
logbus.configure()
from logbus.producers.loguru_front import LOGURU
first = LOGURU.kind()
configure_logging(level="INFO")
loguru.logger.add(lambda message: theirs.append(message.record["message"]), format="")
theirs = []
deadline = time.monotonic() + 20
while LOGURU.kind() != "filter" or not logbus.producers.loguru.sinks_of(logbus.configure()):
    assert time.monotonic() < deadline
    time.sleep(0.01)
ProxyWhirl(bootstrap=False).add_proxy(proxy("http://user:pw@127.0.0.1:9"))
say(first=first, then=LOGURU.kind(), theirs=theirs)
"""
    )
    said = worker.finish()
    assert (said["first"], said["then"]) == ("direct", "filter")
    assert said["theirs"] == peer.arrivals.messages
    assert len(said["theirs"]) == 1


def test_a_spawned_child_that_is_given_the_logger_logs_to_the_collector(
    peer: Peer, start_worker: StartWorker, tmp_path: Path
) -> None:
    """The logger travels as an argument, as loguru's documentation has it, and takes our handler along."""
    script = tmp_path / "spawns.py"
    script.write_text(
        """
import multiprocessing
from loguru import logger
import logbus

def work(given):
    given.info("from the child")
    logbus.shutdown()

if __name__ == "__main__":
    logbus.configure(worker="w")
    logger.info("from the parent")
    child = multiprocessing.get_context("spawn").Process(target=work, args=(logger,))
    child.start()
    child.join()
    assert child.exitcode == 0
"""
    )
    worker = start_worker("os.execv(sys.executable, [sys.executable, sys.argv[1]])", str(script))
    worker.finish()
    assert sorted(peer.arrivals.messages) == ["from the child", "from the parent"]


@pytest.mark.usefixtures("unmeasured")
def test_what_the_rules_suppress_costs_no_more_than_loguru_s_own(peer: Peer, start_worker: StartWorker) -> None:
    """A disabled call of the real package is at most 1.2 times loguru's disabled call, in pairs in one process."""
    worker = start_worker(
        """
import gc, statistics, loguru
from proxywhirl.rotator import sync
exec("def call(times):\\n    for _ in times:\\n        logger.debug('Selected proxy', proxy_id='p1')", vars(sync))
exec("def none(times):\\n    for _ in times:\\n        pass", vars(sync))
loguru.logger.remove()
loguru.logger.add(lambda message: None, level="INFO", format="")
def measure():
    begun = time.perf_counter()
    sync.call(range(20_000))
    middle = time.perf_counter()
    sync.none(range(20_000))
    return 2 * middle - begun - time.perf_counter()
gc.disable()
own, ours = [], []
logbus.configure(source="direct")
from logbus.producers.loguru_front import LOGURU
for _ in range(15):
    LOGURU._source = "direct"
    LOGURU.look()
    ours.append(measure())
    LOGURU._source = "handler"
    LOGURU.look()
    own.append(measure())
say(ratio=min(ours) / min(own))
""",
        LOGBUS_LEVEL="INFO",
    )
    assert worker.finish()["ratio"] <= 1.2


def test_a_worker_that_uses_neither_loads_neither(peer: Peer, start_worker: StartWorker) -> None:
    """Loguru and structlog are loaded by nobody but the application."""
    worker = start_worker(
        """
logbus.configure()
log.info("hello")
logbus.shutdown()
say(loaded=[name for name in ("loguru", "structlog") if name in sys.modules])
"""
    )
    assert worker.finish() == {"loaded": []}
