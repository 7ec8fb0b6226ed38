"""A child that says nothing until it is told to end: then what level it had come to."""

from __future__ import annotations

import logging
from typing import Any

import logbus


def stay(end: Any, found: Any, configured: bool) -> None:
    """Waits for the event ``end``, then puts the level of a logger into the queue ``found``.

    ``configured``: it is nobody's fork, and calls configure() itself.
    """
    if configured:
        logbus.configure()
    end.wait()
    found.put(logging.getLogger("proxywhirl.rotator").getEffectiveLevel())
