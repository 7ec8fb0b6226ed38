"""What a reload does with the sinks: which stay, which begin, which end, and who waits for whom. Pure.

A sink stays if it has the name, the destination and the shape of one that runs; its writer, its queue and its open
file stay with it, whatever else about it has changed. Any other begins anew. It waits for every one that ends and has
its name (a row of the ledger has one intent) or its destination (a file has one lock, and lines keep their order).
Nobody waits for one that stays or begins, so that nobody waits in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slot:
    """What makes a sink the one that it is: its name, its destination, and what can't change while it is open.

    ``place`` is the same for two sinks that write to the same thing, whatever they call it.
    """

    name: str
    place: str
    shape: str


@dataclass(frozen=True, slots=True)
class Start:
    """A sink that begins, behind the ended ones with these places in ``(*running, *ending)``.

    ``at_once``: none of them has its destination, so it can be opened before anything else happens.
    """

    behind: tuple[int, ...]
    at_once: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """For each sink that is wanted the place of the running one that stays, or its start; and who has to end."""

    steps: tuple[int | Start, ...]
    retired: tuple[int, ...]


def plan(running: Sequence[Slot], ending: Sequence[Slot], wanted: Sequence[Slot]) -> Plan:
    """How to get from the sinks that run, and those of earlier reloads that still end, to those that are wanted.

    Names are unique in ``running`` and in ``wanted``, and so are places.
    """
    stays = {slot: at for at, slot in enumerate(running) if slot in set(wanted)}
    retired = tuple(at for at, slot in enumerate(running) if slot not in stays)
    leaving = [*((at, running[at]) for at in retired), *enumerate(ending, start=len(running))]
    steps: list[int | Start] = []
    for slot in wanted:
        if slot in stays:
            steps.append(stays[slot])
            continue
        rivals = [at for at, other in leaving if slot.place == other.place]
        namesakes = [at for at, other in leaving if slot.name == other.name]
        steps.append(Start(tuple(sorted({*rivals, *namesakes})), not rivals))
    return Plan(tuple(steps), retired)
