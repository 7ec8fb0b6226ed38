"""A process that logs at a steady pace and times each call.

The program is ``python -m benchmarks.scale.caller '{"fast": …}'``; each line on its stdin is an order (a JSON object,
see :class:`Caller`), answered by a line. It ends when its stdin is closed.

The calls come in bursts of fifty: to the producer that is measured, to one whose collector always serves, to a null
handler, evenly spaced and in turns. What the machine does to calls it does to all three, at the same moments.
"""

from __future__ import annotations

import contextlib
import json
import logging
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import logbus
from benchmarks.peers.calls import Calls, Note
from benchmarks.record import LOGGER, PACED_BURST
from logbus.producers.producer import Producer

#: Calls a second to logbus, and as many to the null handler.
RATE: Final = 10_000.0
#: Calls before the first that is timed: of each call site, a few.
_WARM_UP: Final = 1000
_RANKS: Final = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
#: Seconds for a welcome, for a buffer to fill or to drain.
_PATIENCE_S: Final = 30.0
#: Seconds after which a full buffer is looked at again: the sender may have taken something meanwhile.
_SETTLE_S: Final = 0.1


@dataclass(slots=True)
class Buffer:
    """A producer of this process: its handler, and how many calls went there."""

    handler: logging.Handler
    producer: Producer
    calls: int = 0


class Series:
    """The times of calls to one handler, in bursts; and how often the thread lost its core in them, by whose wish."""

    def __init__(self) -> None:
        self._all: list[int] = []
        #: Those of bursts in which nobody took the core away: what is left is what the calls did themselves.
        self._calm: list[int] = []
        self._waits = self._preemptions = 0

    @contextlib.contextmanager
    def burst(self) -> Iterator[Note]:
        """Takes the nanoseconds of each call of one burst."""
        taken: list[int] = []
        before = resource.getrusage(resource.RUSAGE_THREAD)
        yield taken.append
        after = resource.getrusage(resource.RUSAGE_THREAD)
        self._all += taken
        self._waits += after.ru_nvcsw - before.ru_nvcsw
        self._preemptions += (preempted := after.ru_nivcsw - before.ru_nivcsw)
        if not preempted:
            self._calm += taken

    def figures(self) -> dict[str, float]:
        """Microseconds of the call at each rank (nearest), and of the longest; switches per thousand calls.

        ``call_waits`` are those in which the thread itself waited: for a lock, the GIL among them.
        """
        thousands = len(self._all) / 1000
        return {
            **{f"call_{name}_us": _ranked(self._all, rank) for name, rank in _RANKS.items()},
            "calm_p999_us": _ranked(self._calm, _RANKS["p999"]),
            "call_waits": self._waits / thousands,
            "call_preemptions": self._preemptions / thousands,
        }


class Caller:
    """The orders. ``buffer`` is the name of a producer's: it is opened, filled, measured, drained and closed."""

    def __init__(self, *, fast: bool) -> None:
        self._buffers: dict[str, Buffer] = {}
        self._log = _logger(LOGGER, logbus.FastLogger if fast else logging.Logger)
        self._calls = Calls(self._log)
        null = _logger(f"{LOGGER}.null", logging.Logger)
        null.addHandler(logging.NullHandler())
        self._null = Calls(null)
        self._null.timed(_WARM_UP, _forget)

    def open(self, buffer: str, settings: dict[str, Any], *, welcome: bool) -> bool:
        """Makes a producer and its handler, with these settings; whether a collector has welcomed it, if it is to."""
        handler = logbus.LogbusHandler(**settings)
        opened = self._buffers[buffer] = Buffer(handler, handler.producer)
        self._choose(opened)
        self._time(opened, _WARM_UP, _forget)
        return not welcome or (handler.producer.wait_welcome(_PATIENCE_S) and handler.producer.flush(_PATIENCE_S))

    def measure(self, buffer: str, beside: str, calls: int) -> dict[str, dict[str, float]]:
        """So many timed calls to one producer, to another beside it, and to the null handler: what each gave."""
        period = PACED_BURST / RATE
        sides: list[tuple[str, Buffer | None, Series]] = [
            ("ours", self._buffers[buffer], Series()),
            ("beside", self._buffers[beside], Series()),
            ("null", None, Series()),
        ]
        begun = time.monotonic()
        for number in range(calls // PACED_BURST):
            for at, (_, chosen, series) in enumerate(sides):
                if chosen is not None:
                    self._choose(chosen)
                _sleep_until(begun + (number + at / len(sides)) * period)
                with series.burst() as note:
                    if chosen is None:
                        self._null.timed(PACED_BURST, note)
                    else:
                        self._time(chosen, PACED_BURST, note)
            sides.append(sides.pop(0))  # else one would always come after the other's work
        return {name: series.figures() for name, _, series in sides}

    def fill(self, buffer: str, *, debug: bool) -> bool:
        """Logs until the buffer takes no more, and again after a moment; False when it never became full."""
        chosen = self._buffers[buffer]
        self._choose(chosen)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            filled = 0
            while not self._overflows(chosen, debug=debug) and time.monotonic() < deadline:
                filled += 1
            if not filled:
                return True
            time.sleep(_SETTLE_S)
        return False

    def drain(self, buffer: str) -> bool:
        """Waits until all of it is in a collector's ledger."""
        return self._buffers[buffer].producer.flush(_PATIENCE_S)

    def close(self, buffer: str, *, drain: bool) -> dict[str, Any]:
        """Ends a producer, with a drain or without; how many calls it got, and its counters."""
        closed = self._buffers.pop(buffer)
        stats = closed.producer.shutdown(_PATIENCE_S if drain else 0.0)
        return {
            "calls": closed.calls,
            "emitted": stats.emitted,
            "sent": stats.sent,
            "dropped": stats.dropped,
            "queued": stats.queued,
        }

    def _choose(self, buffer: Buffer) -> None:
        for handler in list(self._log.handlers):
            self._log.removeHandler(handler)
        self._log.addHandler(buffer.handler)

    def _time(self, buffer: Buffer, calls: int, note: Note) -> None:
        self._calls.timed(calls, note)
        buffer.calls += calls

    def _overflows(self, buffer: Buffer, *, debug: bool) -> bool:
        """One burst; whether it made the buffer give something up."""
        before = sum(buffer.producer.stats().dropped.values())
        if debug:
            for number in range(PACED_BURST):
                self._log.debug("Looked at proxy %d of the pool", number)
            buffer.calls += PACED_BURST
        else:
            self._time(buffer, PACED_BURST, _forget)
        return sum(buffer.producer.stats().dropped.values()) > before


def _logger(name: str, cls: type[logging.Logger]) -> logging.Logger:
    """A logger that no handler hears but its own; DEBUG passes."""
    before = logging.getLoggerClass()
    logging.setLoggerClass(cls)
    log = logging.getLogger(name)
    logging.setLoggerClass(before)
    log.propagate = False
    log.setLevel(logging.DEBUG)
    return log


def _ranked(nanoseconds: list[int], rank: float) -> float:
    ordered = sorted(nanoseconds)
    return ordered[max(0, round(rank * len(ordered)) - 1)] / 1e3 if ordered else 0.0


def _forget(nanoseconds: int) -> None:
    """For calls whose time nobody asks for."""


def _sleep_until(moment: float) -> None:
    ahead = moment - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)


def main(fast: bool) -> None:
    """Does what it is told."""
    caller = Caller(fast=fast)
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(getattr(caller, order.pop("do"))(**order)), flush=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
