"""Forks of every kind, with real processes: nothing hangs, nothing is lost, nothing is sent twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from logbus.counters import page_is_alive, read_page
from logbus.rules import Rule
from tests.collector_command import ROOT, child_environment
from tests.eventually import eventually
from tests.peer import Arrived, Peer
from tests.worker import Worker, page_of

StartWorker = Callable[..., Worker]


@pytest.fixture
def pages(directories: Path) -> Path:
    """Where the counter pages are."""
    return directories / "runtime" / "default" / "records.pages"


def check_sequences(peer: Peer) -> None:
    """Each producer's records came once, in the order of their numbers, from 0 on."""
    for producer, numbers in peer.arrivals.sequences().items():
        assert numbers == list(range(len(numbers))), producer.hex()


def by_pid(records: list[Arrived]) -> Counter[int]:
    """How many records came from each process."""
    return Counter(record.pid for record in records)


FORKS = """
logbus.configure(level=1)
stopped = threading.Event()
counts = [0, 0, 0]
def work(lane):
    while not stopped.is_set():
        log.info("parent %d %d", lane, counts[lane])
        counts[lane] += 1
        time.sleep(0.0005)
threads = [threading.Thread(target=work, args=(lane,)) for lane in range(3)]
for thread in threads:
    thread.start()
for number in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        for at in range(3):
            log.info("child %d %d", number, at)
        if number % 2:
            logbus.shutdown()
            os._exit(0)
        sys.exit()
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
stopped.set()
for thread in threads:
    thread.join()
say(counts=counts)
"""


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_forks_while_threads_log(peer: Peer, start_worker: StartWorker, scale: Callable[[int, int], int]) -> None:
    """A process of three busy threads forks on and on: every record of every process arrives once, in order."""
    forks = scale(2000, 40)
    # Its own threads are what Python 3.12 warns of.
    worker = start_worker(FORKS, str(forks), options=("-W", "ignore::DeprecationWarning"))
    worker.wait(timeout=500)
    assert worker.process.returncode == 0, worker.stderr
    assert worker.stderr == ""
    counts = json.loads(worker.stdout)["counts"]
    records = peer.wait_records(sum(counts) + 3 * forks)
    check_sequences(peer)
    messages = [record.message for record in records]
    assert len(messages) == sum(counts) + 3 * forks
    for lane, count in enumerate(counts):
        assert [m for m in messages if m.startswith(f"parent {lane} ")] == [f"parent {lane} {n}" for n in range(count)]
    for number in range(forks):
        assert [m for m in messages if m.startswith(f"child {number} ")] == [f"child {number} {n}" for n in range(3)]


def test_no_thread_of_ours_is_there_when_a_process_forks(peer: Peer, start_worker: StartWorker) -> None:
    """Python 3.12 warns of a fork beside threads; the sender and the threads of ZeroMQ have ended by then."""
    script = """
    said = []
    os.register_at_fork(before=lambda: said.append(os.listdir("/proc/self/task")))
    # Hooks run in the reverse order of their registration: ours have run when that one looks.
    import logbus.producers.producer
    logbus.configure()
    for number in range(20):
        log.info("%d", number)
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    say(threads=[len(names) for names in said])
    """
    assert start_worker(script).finish() == {"threads": [1] * 20}
    assert [record.message for record in peer.wait_records(20)] == [str(number) for number in range(20)]


#: Releases that count the threads after the hooks of a fork have started them again (python/cpython#137109).
SPURIOUS = (3, 13) <= sys.version_info < (3, 13, 10) or (3, 14) <= sys.version_info < (3, 14, 1)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python 3.11 does not warn of forks beside threads")
@pytest.mark.skipif(SPURIOUS, reason="this release of Python warns of threads that begin after the fork")
def test_python_does_not_warn_of_a_fork(peer: Peer, start_worker: StartWorker) -> None:
    """An application without threads of its own hears nothing of ours."""
    script = """
    logbus.configure()
    for number in range(20):
        log.info("%d", number)
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    """
    worker = start_worker(script, options=("-W", "always"))
    worker.finish()
    assert "multi-threaded" not in worker.stderr
    peer.wait_records(20)


def test_a_child_is_another_producer(peer: Peer, start_worker: StartWorker) -> None:
    """A child has a name, a page and numbers of its own, and its children too; stats begin at nothing."""
    script = """
    logbus.configure()
    log.info("parent")
    said = logbus.stats().emitted
    if (pid := os.fork()) == 0:
        assert logbus.stats().emitted == 0
        log.info("child")
        if (pid := os.fork()) == 0:
            log.info("grandchild")
            sys.exit()
        os.waitpid(pid, 0)
        log.info("child again")
        sys.exit()
    os.waitpid(pid, 0)
    log.info("parent again")
    """
    start_worker(script).finish()
    records = peer.wait_records(5)
    check_sequences(peer)
    producers = {record.message.split()[0]: record.producer for record in records}
    assert sorted(record.message for record in records) == [
        "child",
        "child again",
        "grandchild",
        "parent",
        "parent again",
    ]
    assert len(set(producers.values())) == len({record.worker for record in records}) == 3
    assert eventually(lambda: len(peer.arrivals.byes) == 3)


def test_what_the_parent_had_buffered_stays_the_parents(peer: Peer, start_worker: StartWorker) -> None:
    """A child never sends the copies that it inherited."""
    peer.say("draining")
    script = """
    logbus.configure()
    for number in range(100):
        log.info("parent %d", number)
    pids = []
    for number in range(3):
        if (pid := os.fork()) == 0:
            log.info("child %d", number)
            sys.exit()
        pids.append(pid)
    say(ready=True)
    for pid in pids:
        os.waitpid(pid, 0)
    """
    worker = start_worker(script, LOGBUS_SHUTDOWN_TIMEOUT="30")
    worker.hear()
    peer.say("serving")
    worker.finish()
    assert sorted(peer.arrivals.messages) == sorted(
        [*(f"parent {n}" for n in range(100)), *(f"child {n}" for n in range(3))]
    )
    check_sequences(peer)


def test_a_bare_handler_opens_in_the_child_that_logs(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """Without configure() a child that logs nothing opens nothing."""
    script = """
    log.addHandler(logbus.LogbusHandler())
    log.error("parent")
    logbus.flush(10)
    for number in range(2):
        if (pid := os.fork()) == 0:
            if number:
                log.error("child")
            sys.exit()
        os.waitpid(pid, 0)
    """
    start_worker(script).finish()
    assert sorted(peer.arrivals.messages) == ["child", "parent"]
    assert len(list(pages.glob("*.page"))) == 2


def test_a_child_that_ends_at_once_leaves_its_count(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """``os._exit`` drains nothing; the page says how many records were lost with it, to the last one."""
    script = """
    logbus.configure()
    if (pid := os.fork()) == 0:
        logging.getLogger().setLevel(1)
        for number in range(1000):
            log.debug("%d", number)
        os._exit(0)
    os.waitpid(pid, 0)
    log.info("parent")
    say(child=pid)
    """
    child = start_worker(script).finish()["child"]
    page = page_of(pages, child)
    assert (page.said_bye, page.totals.emitted, page.totals.by_reason()) == (False, 1000, [0, 0, 0])
    # A frame may have left just before the process ended, and not have been counted as sent yet: the collector, which
    # knows what arrived, takes the larger number.
    assert max(page.totals.sent, by_pid(peer.arrivals.records)[child]) <= 1000
    assert "parent" in peer.arrivals.messages


def test_a_child_does_not_keep_its_parents_page_alive(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """A dead parent is seen to be dead while its children live, whatever its threads were doing at the fork."""
    script = """
    logbus.configure()
    def work():
        while True:
            log.info("parent")
            time.sleep(0.0002)
    for _ in range(3):
        threading.Thread(target=work, daemon=True).start()
    for number in range(5):
        pid = os.fork()
        if pid == 0:
            log.info("child")
            say(pid=os.getpid())
            signal.pause()
    signal.pause()
    """
    worker = start_worker(script)
    children = {worker.hear()["pid"] for _ in range(5)}
    peer.wait_records(10)
    worker.process.kill()
    worker.process.wait()
    assert not page_of(pages, worker.pid).said_bye
    alive = {read_page(path).meta.pid for path in pages.glob("*.page") if page_is_alive(path)}
    assert alive == children


def test_a_stalled_collector_does_not_hold_up_forks(peer: Peer, start_worker: StartWorker) -> None:
    """The first fork waits a moment for it, the others don't; every record arrives once it reads again."""
    script = """
    logbus.configure()
    log.info("before")
    logbus.flush(10)
    say(ready=True)
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    log.info("stalled")
    times = []
    for number in range(6):
        begun = time.monotonic()
        if (pid := os.fork()) == 0:
            os._exit(0)
        times.append(time.monotonic() - begun)
        os.waitpid(pid, 0)
        log.info("%d", number)
    say(times=times)
    """
    assert peer.endpoint.path is not None
    go = peer.endpoint.path.with_name("go")
    worker = start_worker(script, str(go), LOGBUS_SHUTDOWN_TIMEOUT="30")
    worker.hear()
    peer.stall()
    go.touch()
    times = worker.hear()["times"]
    assert all(seconds < 2 for seconds in times)
    assert sum(times[1:]) < 1.5
    peer.go_on()
    worker.finish()
    assert peer.arrivals.messages == ["before", "stalled", *map(str, range(6))]
    check_sequences(peer)


def test_a_fork_in_a_thread_is_a_fork(peer: Peer, start_worker: StartWorker) -> None:
    """Two threads may fork at a time; both children log, and the parent goes on."""
    script = """
    logbus.configure()
    def fork(lane):
        for number in range(10):
            if (pid := os.fork()) == 0:
                log.info("child %d %d", lane, number)
                logbus.shutdown()
                os._exit(0)
            os.waitpid(pid, 0)
            log.info("parent %d %d", lane, number)
    threads = [threading.Thread(target=fork, args=(lane,)) for lane in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    """
    start_worker(script).finish()
    wanted = [f"{who} {lane} {n}" for who in ("child", "parent") for lane in range(2) for n in range(10)]
    assert sorted(peer.arrivals.messages) == sorted(wanted)
    check_sequences(peer)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("first", ["logbus", "multiprocessing"])
def test_children_of_multiprocessing_lose_nothing(peer: Peer, tmp_path: Path, method: str, first: str) -> None:
    """A child that logs and returns is drained, under every start method, whichever was imported first."""
    program = tmp_path / "program.py"
    imports = ["import logbus, logbus.producers.producer", "import multiprocessing"]
    program.write_text(
        "\n".join(imports if first == "logbus" else reversed(imports))
        + """
import logging, sys

def work(number):
    logbus.configure()
    for at in range(50):
        logging.info("child %d %d", number, at)

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    logbus.configure()
    logging.info("parent")
    children = [context.Process(target=work, args=(number,)) for number in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0, child.exitcode
    with context.Pool(1) as pool:
        pool.map(work, [3])
        pool.close()
        pool.join()
"""
    )
    done = subprocess.run(
        [sys.executable, str(program), method], env=child_environment(), cwd=ROOT, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    wanted = {"parent": 1, **{f"child {number} {at}": 1 for number in range(4) for at in range(50)}}
    assert eventually(lambda: Counter(peer.arrivals.messages) == wanted)
    check_sequences(peer)


def test_a_preexec_fn_does_not_end_its_process(peer: Peer, start_worker: StartWorker, pages: Path) -> None:
    """A child of subprocess opens nothing: its descriptors are closed before the exec, on which ZeroMQ aborts.

    What the function logs is counted as dropped.
    """
    worker = start_worker(
        """
        import subprocess
        logbus.configure()
        ended = [subprocess.run(["true"], preexec_fn=os.setsid).returncode for _ in range(20)]
        ended += [subprocess.run(["true"], preexec_fn=lambda: log.info("x")).returncode for _ in range(20)]
        log.info("done")
        say(ended=ended)
        """
    )
    assert worker.hear() == {"ended": [0] * 40}
    worker.wait()
    assert [record.message for record in peer.wait_records(1)] == ["done"]
    dead = [read_page(path).totals for path in pages.glob("*.page")]
    assert sorted((page.emitted, sum(page.dropped)) for page in dead if page.emitted and not page.sent) == [(1, 1)] * 20


def test_a_child_may_close_everything_and_become_another_program(peer: Peer, start_worker: StartWorker) -> None:
    """Nothing of ours is open in a child that has not logged, so that nothing breaks when it closes what it has."""
    worker = start_worker(
        """
        logbus.configure()
        ended = []
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                os.closerange(3, 1024)
                time.sleep(0.01)
                os.execvp("true", ["true"])
            ended.append(os.waitpid(pid, 0)[1])
        say(ended=ended)
        """
    )
    assert worker.hear() == {"ended": [0] * 20}
    worker.wait()


def test_a_child_that_says_nothing_is_reached(peer: Peer, start_worker: StartWorker) -> None:
    """Children, and theirs, that never log confirm what the operator sets, as their parent does; none of them hangs."""
    worker = start_worker(
        """
        logbus.configure()
        pids = [os.getpid()]
        reading, writing = os.pipe()
        for _ in range(3):
            if (pid := os.fork()) == 0:
                grandchild = os.fork()
                if grandchild:
                    say(pids=[os.getpid(), grandchild])
                os.close(writing)
                os.read(reading, 1)
                if grandchild:
                    os.waitpid(grandchild, 0)
                os._exit(0)
            pids.append(pid)
        say(pids=pids)
        sys.stdin.read()
        os.close(writing)
        for pid in pids[1:]:
            os.waitpid(pid, 0)
        """,
        # Forking before the half second is over meets the thread that waits for it.
        options=("-W", "error"),
        stdin=True,
    )
    pids = {pid for _ in range(4) for pid in worker.hear()["pids"]}
    assert len(pids) == 7
    version = peer.set_levels(Rule("rotator", 10)).version
    eventually(lambda: peer.confirmed(version) >= pids, what="every process to confirm")
    worker.close_stdin()
    worker.finish()
