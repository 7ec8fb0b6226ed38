"""What several runs of the tests say together, and what the one in pure Python takes in."""

from __future__ import annotations

import signal
import threading

import pytest

from scripts.suite import PURE, ROOT, Run, summed
from tests.eventually import eventually


def test_counts_are_added() -> None:
    """Each outcome is the sum of both runs, those that passed first."""
    first = b"lines\n========= 3 passed, 1 skipped in 1.00s ==========\n"
    second = b"FAILED x\n1 failed, 2 passed, 1 error in 62.12s (0:01:02)\n"
    assert summed([first, second]) == "5 passed, 1 errors, 1 failed, 1 skipped"


def test_a_run_without_an_end_is_an_error() -> None:
    """One that did not come to its closing line counts as an error, whatever else it printed."""
    assert summed([b"2 passed in 1.00s\n", b"....\nKilled\n"]) == "2 passed, 1 errors"


def test_what_runs_in_pure_python_is_there() -> None:
    """Every file that is to prove the Python beside the compiled part exists, and is named once."""
    assert [name for name in PURE if not (ROOT / "tests" / name).is_file()] == []
    assert len(PURE) == len(set(PURE))


@pytest.mark.parametrize("status", [0, 3])
def test_a_run_says_what_its_process_did(status: int) -> None:
    """Its status and all that it printed; what the run was told stands in the environment beside what is there."""
    program = (
        "import os, sys; print(os.environ['N'], 'PATH' in os.environ, file=sys.stderr); sys.exit(int(sys.argv[1]))"
    )
    run = Run("-c", program, str(status), N="2")
    run.through()

    assert (run.status, run.text) == (status, b"2 True\n")


def test_a_run_that_is_stopped_ends_or_never_begins() -> None:
    """Ctrl-C leaves no tests running, and neither what was ended nor what never began counts as passed."""
    never, ended = Run("-c", "print('here')"), Run("-c", "import signal; signal.pause()")
    never.stop()
    never.through()
    thread = threading.Thread(target=ended.through)
    thread.start()
    eventually(lambda: ended._process is not None, 20.0)
    ended.stop()
    thread.join()

    assert (never.status, never.text) == (1, b"")
    assert ended.status == -signal.SIGTERM
