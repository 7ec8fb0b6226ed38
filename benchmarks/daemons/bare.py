"""``python -m benchmarks.daemons.bare``: the program of ``own.py``, in which redaction leaves every batch as it is."""

from __future__ import annotations

from benchmarks.daemons.own import run
from logbus.collectors.redaction.redact import Redactor


def _leave(self: Redactor, *_: object) -> None:
    """Takes the place of ``Redactor.redact``. That it does shows in the file: the passwords are there."""


if __name__ == "__main__":
    setattr(Redactor, "redact", _leave)  # noqa: B010 (mypy refuses the assignment)
    run()
