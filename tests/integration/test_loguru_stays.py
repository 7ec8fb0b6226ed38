"""Loguru stays ours: whatever the real proxywhirl does to its handlers, nothing is lost and nobody hangs."""

from __future__ import annotations

from collections.abc import Callable

from tests.peer import Peer
from tests.worker import Worker

StartWorker = Callable[..., Worker]

#: Says what it logged by the module's logger and by one that ``bind`` made, after each thing that is done to loguru.
SPEAKER = """
import contextlib, io
import loguru
from loguru import logger
from proxywhirl.rotator import sync
exec("def speak(text):\\n    logger.info(text)\\n    logger.bind(a=1).info(text + ' bound')", vars(sync))
said = []
def speak(text):
    sync.speak(text)
    said.extend([text, text + " bound"])
"""


def test_the_package_sets_up_logging_of_its_own(peer: Peer, start_worker: StartWorker) -> None:
    """Each of its ways to do so, with a level that is none as well, leaves our handler; its own sinks work too."""
    worker = start_worker(
        SPEAKER
        + """
import proxywhirl
from proxywhirl import ProxyWhirl, logging_config, utils
from proxywhirl.mcp import server
logbus.configure()
out = io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
    proxywhirl.configure_logging()
    speak("exported")
    logging_config.configure_logging(level="warning", sink=out, enqueue=False)
    speak("logging_config")
    utils.configure_logging(format_type="text")
    speak("utils")
    for configure in (logging_config.configure_logging, utils.configure_logging):
        try:
            configure(level="LOUD")
        except ValueError:
            speak(configure.__module__ + " refused")
    before = len(loguru.logger._core.handlers)
    rotator = ProxyWhirl(bootstrap=False)
    after = len(loguru.logger._core.handlers)
    speak("rotator")
    sys.argv = ["proxywhirl-mcp", "--log-level", "error"]
    with contextlib.suppress(Exception, SystemExit):
        server.main()
    speak("mcp")
    loguru.logger.remove()
    speak("removed")
rotator._aggregation_timer.cancel()
say(said=said, handlers=[before, after], own="utils" in out.getvalue())
"""
    )
    found = worker.finish()
    own = [record.message for record in peer.arrivals.records if record.function == "speak"]
    assert own == found["said"]
    assert len(own) == 16
    # With ours it has a handler, and adds none that prints.
    assert found["handlers"] == [1, 1]
    assert found["own"]


def test_threads_and_forks_lose_nothing_while_handlers_come_and_go(peer: Peer, start_worker: StartWorker) -> None:
    """Parent and children remove everything while their threads log: each record of each process is there, once."""
    worker = start_worker(
        SPEAKER
        + """
import multiprocessing
from proxywhirl.logging_config import configure_logging
logbus.configure()
quiet = threading.Event()
changes = []

def change():
    while not quiet.is_set():
        configure_logging(sink=lambda message: None, enqueue=False)
        loguru.logger.remove()
        changes.append(1)

def talk(who):
    for number in range(150):
        sync.speak(f"{who} {number}")

def everything(who):
    quiet.clear()
    changers = [threading.Thread(target=change) for _ in range(2)]
    talkers = [threading.Thread(target=talk, args=(f"{who} {each}",)) for each in "ab"]
    for thread in changers + talkers:
        thread.start()
    children = []
    if who == "parent":
        for each in range(3):
            children.append(multiprocessing.get_context("fork").Process(target=everything, args=(f"child{each}",)))
            children[-1].start()
    for thread in talkers:
        thread.join()
    quiet.set()
    for thread in changers + children:
        thread.join()
    assert changes and all(child.exitcode == 0 for child in children)

everything("parent")
logbus.flush(10)
"""
    )
    worker.finish()
    expected = {
        f"{who} {each} {number}{end}"
        for who in ("parent", "child0", "child1", "child2")
        for each in "ab"
        for number in range(150)
        for end in ("", " bound")
    }
    messages = [record.message for record in peer.arrivals.records if record.function == "speak"]
    assert set(messages) == expected
    assert len(messages) == len(expected)


def test_what_goes_past_the_class_is_mended_at_once(peer: Peer, start_worker: StartWorker) -> None:
    """A removal by a method that somebody got hold of before: the handler is back long before the next look."""
    worker = start_worker(
        SPEAKER
        + """
remove = loguru.logger.remove
logbus.configure()
core = loguru.logger._core
gaps = []
for turn in range(5):
    remove()
    begun = time.monotonic()
    while not core.handlers and time.monotonic() < begun + 30:
        time.sleep(0.001)
    gaps.append(time.monotonic() - begun)
    speak(f"turn {turn}")
say(gap=sorted(gaps)[2], said=said)
"""
    )
    found = worker.finish()
    assert found["gap"] < 0.5  # of five the one in the middle; a look comes once a second
    assert [record.message for record in peer.arrivals.records] == found["said"]
