"""What two runs of the tests say together."""

from __future__ import annotations

from scripts.suite import summed


def test_counts_are_added() -> None:
    """Each outcome is the sum of both runs, those that passed first."""
    first = b"lines\n========= 3 passed, 1 skipped in 1.00s ==========\n"
    second = b"FAILED x\n1 failed, 2 passed, 1 error in 62.12s (0:01:02)\n"
    assert summed([first, second]) == "5 passed, 1 errors, 1 failed, 1 skipped"


def test_a_run_without_an_end_is_an_error() -> None:
    """One that did not come to its closing line counts as an error, whatever else it printed."""
    assert summed([b"2 passed in 1.00s\n", b"....\nKilled\n"]) == "2 passed, 1 errors"
