"""The sign by which processes below ``logbus run`` know themselves and each other: one variable of the environment.

Nothing is imported here: every Python process of a command reads it at its start.
"""

from __future__ import annotations

from typing import Final

#: Set in the environment of the command, and so in that of every process that comes of it: words, comma-separated.
VARIABLE: Final = "LOGBUS_RUN"
#: Set by a Python that can't be a worker once it has said so: not again by those that come of it.
TOLD: Final = "LOGBUS_RUN_TOLD"
#: The words: a worker, without proxywhirl's instrumentation, or with that part of it which uses public names only.
ON: Final = "on"
NO_PROXYWHIRL: Final = "no-proxywhirl"
PUBLIC_ONLY: Final = "public-only"


def is_below(pid: int) -> bool:
    """Whether a process was started below ``logbus run``; not, where it is gone, or of another user or host."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environment = b"\0" + file.read()
    except OSError:
        return False
    return b"\0" + VARIABLE.encode() + b"=" in environment
