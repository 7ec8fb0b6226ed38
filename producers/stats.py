"""The counters of a process as its application sees them: :class:`Stats`.

A module of its own, loaded with the first look: dataclasses and what they load take a megabyte, and most workers never
look. No exit and no fork needs it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Stats:
    """The counters of a process. ``dropped`` is by reason; ``queued`` and ``bytes`` are what the buffer holds.

    ``recorder`` has those of the flight recorder where there is one: recorded, replayed, discarded. What it replayed
    is among the emitted, the rest of what it recorded is not.
    """

    emitted: int = 0
    sent: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    queued: int = 0
    bytes: int = 0
    level_version: int = 0
    recorder: dict[str, int] | None = None

    def __add__(self, other: Stats) -> Stats:
        reasons = {**self.dropped, **other.dropped}
        return Stats(
            self.emitted + other.emitted,
            self.sent + other.sent,
            {reason: self.dropped.get(reason, 0) + other.dropped.get(reason, 0) for reason in reasons},
            self.queued + other.queued,
            self.bytes + other.bytes,
            max(self.level_version, other.level_version),
            _sum(self.recorder, other.recorder),
        )


def _sum(one: dict[str, int] | None, other: dict[str, int] | None) -> dict[str, int] | None:
    return one if other is None else other if one is None else {key: one[key] + other[key] for key in one}
