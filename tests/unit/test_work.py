from __future__ import annotations

from logbus.collectors.redaction.work import RECORD_STEPS, STEPS, Work


def test_steps_are_taken_until_none_is_left() -> None:
    """A batch has steps of its own and some for each record; once there were too few, it stays that way."""
    work = Work(records=3)
    asked = (STEPS + 3 * RECORD_STEPS - 1, 2, 1)
    assert [(work.take(steps), work.overrun) for steps in asked] == [(True, False), (False, True), (False, True)]
