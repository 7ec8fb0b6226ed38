"""Chosen loggers of other libraries, made fast: httpx's one line per request costs more than proxywhirl's own.

Where an instrumented library logs once for each request, and the application has not asked for fast loggers, those few
are made :class:`~logbus.producers.fast_logger.FastLogger` all the same: nobody can tell but by the time that it takes.
"""

from __future__ import annotations

import logging

from logbus.producers.fast_logger import FastLogger, make_plain
from logbus.producers.untouched import is_usual


def straighten(logger: logging.Logger) -> bool:
    """Makes a logger fast; False where it has a class or methods of the application's and stays what it is. Idempotent.

    It is the class of the logger that is exchanged: an attribute of the logger itself would take the common layout, and
    with it a part of their speed, from all others.
    """
    if type(logger) is logging.Logger and is_usual(logger):
        logger.__class__ = FastLogger
    return is_straight(logger)


def bend(logger: logging.Logger) -> None:
    """Makes a straight logger like all others again."""
    if is_straight(logger):
        make_plain(logger)


def is_straight(logger: logging.Logger) -> bool:
    """Whether a logger is straight now."""
    return type(logger) is FastLogger
