"""What a syslog server made of a message, under one set of names for every server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.eventually import eventually


@dataclass(frozen=True)
class Parsed:
    """One message as a server parsed it: ``through`` is the input that it came by, ``document`` all that it wrote."""

    through: str
    facility: int
    severity: int
    timestamp: str
    host: str
    app_name: str
    proc_id: str
    msg_id: str
    structured_data: str
    message: str
    raw: str
    document: dict[str, Any]


class Messages:
    """The messages that a server has written to files, one JSON object a line."""

    def __init__(self, *paths: Path) -> None:
        self._paths = paths

    def all(self, through: str | None = None) -> list[Parsed]:
        """Those whose lines are whole, in the order of each file; only those of one input if it is named."""
        lines = [line for path in self._paths if path.exists() for line in path.read_bytes().split(b"\n")[:-1]]
        # A message that a server has cut may end within a character.
        parsed = [_parse(json.loads(line.decode(errors="replace"))) for line in lines]
        return [each for each in parsed if through in (None, each.through)]

    def wait(self, count: int, through: str, timeout: float = 20.0) -> list[Parsed]:
        """The messages of one input, once they are as many. Raises AssertionError when they are not in time."""
        return (
            eventually(
                lambda: found if len(found := self.all(through)) >= count else None,
                timeout,
                what=f"{count} messages through {through}",
            )
            or []
        )


def _parse(document: dict[str, Any]) -> Parsed:
    return Parsed(
        through=document["through"],
        facility=int(document["facility"]),
        severity=int(document["severity"]),
        timestamp=document["timestamp"],
        host=document["host"],
        app_name=document["app_name"],
        proc_id=document["proc_id"],
        msg_id=document["msg_id"],
        structured_data=document["structured_data"],
        message=document["message"],
        raw=document["raw"],
        document=document,
    )
