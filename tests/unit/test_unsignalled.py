"""Threads that no signal finds."""

from __future__ import annotations

import signal
from collections.abc import Callable

from logbus.producers.unsignalled import unsignalled, wait_end
from tests.peer import Peer
from tests.worker import Worker


def test_what_a_thread_takes() -> None:
    """It runs the function under its name, and takes only what it would have done wrong itself."""
    masks: list[set[int]] = []
    thread = unsignalled(lambda: masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, []))), "t-1")
    assert (thread.name, thread.daemon) == ("t-1", True)
    thread.start()
    assert wait_end(thread, 60)
    [mask] = masks
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD} <= mask
    assert not {signal.SIGSEGV, signal.SIGABRT} & mask


def test_a_program_that_fetches_its_signals(peer: Peer, start_worker: Callable[..., Worker]) -> None:
    """What it has blocked waits for it, although a worker of ours has one thread more: none is ended by that."""
    worker = start_worker(
        """
        logbus.configure()
        log.info("begun")
        assert logbus.flush(20)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        os.kill(os.getpid(), signal.SIGUSR1)
        say(fetched=signal.sigwait({signal.SIGUSR1}))
        """
    )
    assert worker.hear() == {"fetched": signal.SIGUSR1}
    worker.wait()
    assert worker.process.returncode == 0
