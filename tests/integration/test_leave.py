"""Every way out of a process: what can be sent is sent, what can't is counted, and nobody waits for long."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from logbus.counters import Totals
from tests.eventually import eventually
from tests.peer import Peer
from tests.worker import Worker, page_of

StartWorker = Callable[..., Worker]


@pytest.fixture
def pages(directories: Path) -> Path:
    """Where the counter pages are."""
    return directories / "runtime" / "default" / "records.pages"


def closed(pages: Path, worker: Worker) -> Totals:
    """What the page of a worker says that has closed its book: every record is sent or dropped."""
    page = page_of(pages, worker.pid)
    assert page.said_bye
    assert page.totals.emitted == page.totals.sent + sum(page.totals.dropped)
    return page.totals


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise RuntimeError", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("logbus.shutdown(); os._exit(0)", 0),
        ("import atexit; atexit.register(lambda: log.info('at exit'))", 0),
        ("threading.Timer(0.2, lambda: log.info('at exit')).start()", 0),
    ],
)
def test_an_end_of_any_kind_drains(
    peer: Peer, start_worker: StartWorker, pages: Path, ending: str, status: int
) -> None:
    """However a program ends by itself, what it has logged arrives, and its book is closed."""
    worker = start_worker("logbus.configure()\nfor number in range(5000):\n    log.info('%d', number)\n" + ending)
    worker.wait()
    assert worker.process.returncode == status, worker.stderr
    others = ("at exit", "uncaught RuntimeError")
    assert [message for message in peer.arrivals.messages if message not in others] == [str(n) for n in range(5000)]
    assert ("at exit" in peer.arrivals.messages) == ("at exit" in ending)
    assert closed(pages, worker).emitted == len(peer.arrivals.messages)
    assert eventually(lambda: len(peer.arrivals.byes) == 1)


def test_a_bare_handler_drains_too(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """Without configure() the exit is the same."""
    worker = start_worker("log.addHandler(logbus.LogbusHandler())\nlog.error('hello')")
    worker.finish()
    assert peer.arrivals.messages == ["hello"]
    assert closed(pages, worker).sent == 1


def test_what_is_logged_after_the_drain_is_counted(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """An atexit handler that runs behind ours logs into a closed book: dropped, and counted as such."""
    script = """
    import atexit
    atexit.register(lambda: log.info("too late"))
    import logbus.producers.producer
    logbus.configure()
    log.info("in time")
    """
    # Handlers run in the reverse order of their registration, and importing logbus registers nothing yet.
    worker = start_worker(script)
    worker.finish()
    assert peer.arrivals.messages == ["in time"]
    assert closed(pages, worker).by_reason() == [0, 1, 0]


SIGTERMED = """
logbus.configure(level=1)
say(ready=True)
number = 0
while True:
    log.info("%d", number)
    number += 1
    if number % 50 == 0:
        time.sleep(0.001)
"""


def test_sigterm_drains_and_ends_by_the_signal(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """Where the application left the default action, its status says what ended it, and nothing is lost."""
    worker = start_worker(SIGTERMED)
    worker.hear()
    peer.wait_records(100)
    worker.process.terminate()
    worker.wait(5)
    assert worker.process.returncode == -signal.SIGTERM
    totals = closed(pages, worker)
    assert totals.emitted == totals.sent == len(peer.arrivals.messages)
    assert peer.arrivals.messages == [str(number) for number in range(totals.sent)]


def test_sigterm_drains_while_threads_log(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """Threads that log until the very end lose nothing in silence either."""
    script = "for _ in range(3):\n    threading.Thread(target=lambda: exec(loop), daemon=True).start()\nsignal.pause()"
    loop = "while True:\n    log.info('x')\n    time.sleep(0.0005)"
    worker = start_worker(f"logbus.configure()\nloop = {loop!r}\n{script}")
    peer.wait_records(100)
    worker.process.terminate()
    worker.wait(10)
    assert worker.process.returncode == -signal.SIGTERM
    totals = closed(pages, worker)
    assert totals.sent == len(peer.arrivals.messages)
    assert set(totals.by_reason()[::2]) == {0}


@pytest.mark.parametrize("when", ["before", "after"])
def test_the_applications_own_sigterm_handler_is_left_alone(peer: Peer, start_worker: StartWorker, when: str) -> None:
    """Whether it was set before configure() or after it, it runs, and its exit drains."""
    own = "signal.signal(signal.SIGTERM, lambda number, frame: (log.info('own'), sys.exit(7)))"
    configure = "logbus.configure()"
    lines = [own, configure] if when == "before" else [configure, own]
    worker = start_worker("\n".join([*lines, "log.info('ready')", "say(ready=True)", "signal.pause()"]))
    worker.hear()
    worker.process.terminate()
    worker.wait(10)
    assert worker.process.returncode == 7
    assert peer.arrivals.messages == ["ready", "own"]


def test_a_server_that_gives_the_default_action_back(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """What is configured while a server has a handler of its own drains when that one is gone, and the signal is raised
    again, as uvicorn does.
    """
    script = """
        before = signal.signal(signal.SIGTERM, lambda number, frame: None)
        logbus.configure()
        log.info("serving")
        signal.signal(signal.SIGTERM, before)
        log.info("done")
        signal.raise_signal(signal.SIGTERM)
    """
    worker = start_worker(script)
    worker.wait()
    assert worker.process.returncode == -signal.SIGTERM, worker.stderr
    assert peer.arrivals.messages == ["serving", "done"]
    closed(pages, worker)


def test_sigterm_in_a_multiprocessing_child_drains(peer: Peer, start_worker: StartWorker) -> None:
    """Process.terminate() is a SIGTERM: the child's records arrive, and its exit code is what it would be."""
    script = """
    import multiprocessing
    context = multiprocessing.get_context("fork")
    logbus.configure()
    ready = context.Event()
    def work():
        log.info("child")
        ready.set()
        signal.pause()
    child = context.Process(target=work)
    child.start()
    ready.wait(30)
    child.terminate()
    child.join()
    say(exitcode=child.exitcode)
    """
    assert start_worker(script).finish() == {"exitcode": -signal.SIGTERM}
    assert peer.arrivals.messages == ["child"]


def test_two_sigterms_are_one(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """An impatient supervisor that signals twice cuts nothing short and hangs nothing."""
    peer.say("draining")
    worker = start_worker(
        "logbus.configure()\nlog.info('x')\nsay(ready=True)\nsignal.pause()", LOGBUS_SHUTDOWN_TIMEOUT="1"
    )
    worker.hear()
    for _ in range(5):
        worker.process.terminate()
    assert worker.wait(10) < 4
    assert worker.process.returncode == -signal.SIGTERM
    assert closed(pages, worker).by_reason() == [0, 1, 0]


def test_an_exit_without_a_collector_is_quick_and_counts(start_worker: StartWorker, pages: Path) -> None:
    """Nobody is waited for who was never there; every record is a counted drop of the shutdown."""
    worker = start_worker("logbus.configure()\nfor _ in range(1000):\n    log.info('x')\nsay(done=True)")
    worker.hear()
    assert worker.wait(10) < 1
    assert worker.process.returncode == 0
    totals = closed(pages, worker)
    assert (totals.emitted, totals.sent, totals.by_reason()) == (1000, 0, [0, 1000, 0])


def test_an_exit_beside_a_socket_that_nobody_serves_ends_in_time(
    start_worker: StartWorker, directories: Path, pages: Path
) -> None:
    """A collector that was stopped before it could say a word is waited for as long as one that has spoken."""
    directory = directories / "runtime" / "default"
    directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as records, socket.socket(socket.AF_UNIX) as control:
        records.bind(str(directory / "records"))
        control.bind(str(directory / "control.pub"))
        records.listen()
        control.listen()
        worker = start_worker("logbus.configure()\nlog.info('x')\nsay(done=True)", LOGBUS_SHUTDOWN_TIMEOUT="0.5")
        worker.hear()
        assert worker.wait(10) < 0.5 + 1
    assert closed(pages, worker).by_reason() == [0, 1, 0]


@pytest.mark.parametrize("how", ["stall", "acknowledge_nothing"])
@pytest.mark.parametrize("count", [10, 30_000])
def test_an_exit_beside_a_stopped_collector_ends_in_time(
    peer: Peer, start_worker: StartWorker, pages: Path, how: str, count: int
) -> None:
    """A collector that reads no more, or answers no more, costs the shutdown timeout and no record in silence."""
    script = f"""
    logbus.configure(shutdown_timeout=1)
    log.info("before")
    logbus.flush(10)
    say(ready=True)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    for _ in range({count}):
        log.info("x" * 100)
    say(done=True)
    """
    assert peer.endpoint.path is not None
    go = peer.endpoint.path.with_name("go")
    worker = start_worker(script, str(go))
    worker.hear()
    getattr(peer, how)()
    go.touch()
    worker.hear()
    assert worker.wait(10) < 1 + 1
    assert worker.process.returncode == 0, worker.stderr
    totals = closed(pages, worker)
    assert totals.emitted == 1 + count
    if how == "acknowledge_nothing":
        assert totals.sent == 1 + count
        peer.wait_records(1 + count)


def test_an_exit_during_a_restart_waits_for_the_next_collector(
    peer: Peer, start_worker: StartWorker, pages: Path
) -> None:
    """While a collector drains, an exit holds its records for as long as it may: the next one gets them."""
    peer.say("draining")
    worker = start_worker("logbus.configure()\nlog.info('x')\nsay(done=True)", LOGBUS_SHUTDOWN_TIMEOUT="30")
    worker.hear()
    assert eventually(lambda: peer.arrivals.marks)
    peer.say("serving")
    worker.finish()
    assert peer.arrivals.messages == ["x"]
    assert closed(pages, worker).sent == 1


def test_a_killed_worker_leaves_its_count(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """``kill -9`` in the middle of everything: the page is exact, and its book open."""
    worker = start_worker(SIGTERMED)
    worker.hear()
    peer.wait_records(1000)
    worker.end()
    page = page_of(pages, worker.pid)
    assert not page.said_bye
    arrived = eventually(lambda: len(peer.arrivals.records))
    assert arrived <= page.totals.emitted <= page.totals.settled + 1
    assert page.totals.by_reason() == [0, 0, 0]


def test_a_signal_handler_may_leave_in_the_middle_of_a_call(
    unmeasured: None, peer: Peer, start_worker: StartWorker, pages: Path
) -> None:
    """``sys.exit`` out of a signal handler, wherever it struck: the drain is complete and the law holds."""
    script = """
    logbus.configure()
    signal.signal(signal.SIGALRM, lambda number, frame: sys.exit(5))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    while True:
        log.info("x")
    """
    worker = start_worker(script)
    worker.wait()
    assert worker.process.returncode == 5, worker.stderr
    totals = closed(pages, worker)
    assert totals.sent == len(peer.arrivals.records)


def test_drains_in_several_producers_are_all_made(peer: Peer, start_worker: StartWorker) -> None:
    """Each handler with settings of its own is drained, one after the other."""
    script = """
    for name in "abc":
        logging.getLogger(name).addHandler(logbus.LogbusHandler(worker=name))
        logging.getLogger(name).error("from %s", name)
    """
    start_worker(script).finish()
    assert sorted(peer.arrivals.messages) == ["from a", "from b", "from c"]
    assert eventually(lambda: len(peer.arrivals.byes) == 3)
