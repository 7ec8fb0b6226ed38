"""Loguru's inside: handlers are put back and their levels changed in one step, and nobody waits for its lock."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from loguru import logger

from logbus.producers.loguru_core import CLOSED, Core


def core() -> tuple[Core, Any]:
    """What is used of loguru's core, and the core."""
    found = Core.of(logger)
    assert found is not None
    return found, logger._core  # type: ignore[attr-defined]


def test_what_was_removed_is_put_back_and_takes_records() -> None:
    """A filter that takes the record does so in a handler that was stopped, too; the lowest level is right again."""
    ours, loguru = core()
    taken: list[str] = []

    def take(record: Any) -> bool:
        taken.append(record["message"])
        return False

    identity = logger.add(lambda _: None, level=30, filter=take)
    logger.add(lambda _: None, level=40)
    handler = loguru.handlers[identity]
    logger.remove(identity)
    logger.warning("to nobody")
    assert ours.put(identity, handler)
    assert loguru.min_level == 30
    logger.warning("back")
    assert taken == ["back"]
    logger.remove(identity)
    assert loguru.min_level == 40


def test_a_level_is_changed_in_place() -> None:
    """Down and up, and up to where it gets nothing; a handler that is gone is no matter."""
    ours, loguru = core()
    seen: list[str] = []
    identity = logger.add(seen.append, level=30, format="{message}")
    assert ours.open(identity, 10)
    assert loguru.min_level == 10
    logger.debug("open")
    assert ours.open(identity, CLOSED)
    logger.critical("closed")
    assert (seen, loguru.min_level) == (["open\n"], CLOSED)
    assert ours.open(identity + 1, 10)


def test_nobody_waits_for_the_lock() -> None:
    """Neither changes anything while somebody holds it; what needs no change is done."""
    ours, loguru = core()
    identity = logger.add(lambda _: None, level=30)
    handlers = loguru.handlers
    with loguru.lock:
        assert not ours.open(identity, 10)
        assert ours.open(identity, 30)
        assert not ours.put(identity + 1, handlers[identity])
    assert loguru.handlers is handlers
    assert loguru.min_level == 30


def test_a_core_with_other_names_is_not_used() -> None:
    """One name is missing, or a handler's level: nothing is known."""
    _, loguru = core()
    known = {name: getattr(loguru, name) for name in vars(loguru)}
    assert Core.of(SimpleNamespace(_core=SimpleNamespace(**known))) is not None
    assert Core.of(SimpleNamespace(_core=SimpleNamespace(**(known | {"handlers": {0: object()}})))) is None
    del known["patcher"]
    assert Core.of(SimpleNamespace(_core=SimpleNamespace(**known))) is None
    assert Core.of(object()) is None
