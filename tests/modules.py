"""Modules of an application that log with loguru, made for a test: each call under test is a function of theirs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Protocol

import loguru

from logbus.producers.loguru_front import LOGURU
from tests.kept import Kept

#: The source of such a module.
SOURCE = """
from loguru import logger

def call(method, *args, **kwargs):
    return getattr(logger, method)(*args, **kwargs)

def fail(method, *args, **kwargs):
    try:
        {}["missing"]
    except KeyError:
        return getattr(logger, method)(*args, **kwargs)

def bound(**fields):
    logger.bind(**fields).info("bound")
"""


class Make(Protocol):
    """How tests make modules."""

    def __call__(self, name: str = "shop.till", source: str = SOURCE) -> Any:
        """A module of this name, imported."""
        ...


def real() -> Any:
    """Loguru's own object: not a global of a module, where something else would stand for it."""
    return loguru.logger


def begin(kept: Kept, **options: Any) -> None:
    """Makes loguru log to a producer, directly."""
    LOGURU.begin(kept.producer, **({"level": 20} | options))
    assert LOGURU.kind() == "direct"


@contextmanager
def modules() -> Iterator[Make]:
    """Makes modules, which are gone at the end, as our place in them is."""
    made: list[str] = []

    def make(name: str = "shop.till", source: str = SOURCE) -> Any:
        found: Any = ModuleType(name)
        sys.modules[name] = found
        made.append(name)
        exec(compile(source, f"/srv/{name.replace('.', '/')}.py", "exec"), found.__dict__)
        return found

    try:
        yield make
    finally:
        LOGURU.end()
        for name in made:
            sys.modules.pop(name, None)
