"""What middleware is tested with: all that is logged, as records of a producer."""

from __future__ import annotations

import logging
from typing import Any

from logbus.producers.handler import LogbusHandler
from tests.kept import Kept

log = logging.getLogger("shop.till")


def listen(kept: Kept) -> None:
    """Has the root logger tell ``kept``, from INFO up; the test's fixtures end it."""
    root = logging.getLogger()
    root.addHandler(LogbusHandler.of(kept.producer))
    root.setLevel(logging.INFO)


def told(kept: Kept, logger: str = "shop.till") -> list[tuple[str, dict[str, Any]]]:
    """What was logged by a logger: messages and fields."""
    return [(entry.message, entry.extra or {}) for entry in list(kept.entries) if entry.site[0] == logger]


def events(kept: Kept, logger: str = "requests") -> list[dict[str, Any]]:
    """The access records, without the duration, which is checked here, and without the id."""
    found = []
    for _, extra in told(kept, logger):
        fields = {key: value for key, value in extra.items() if key not in ("request_id", "operation")}
        if "duration_ms" in fields:
            assert fields.pop("duration_ms") >= 0
        found.append(fields)
    return found
