"""Whether a log call ever waits: its latency while the collector serves, and in each kind of trouble.

One process logs at a steady pace (:mod:`benchmarks.scale.caller`); from here its collector is stopped, killed and
restarted meanwhile. Beside it is another collector, which always serves: calls to its producer and to a null handler
come between the others, and the figure is how far the slowest calls in a state lie above those of the same seconds
beside the serving collector. All states of a pass follow one another in that process, in an order of the pass's own.
After each state everything is drained, and at the end of a pass each call has to be accounted for, by the producers'
counters and in both ledgers.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.child import Child
from benchmarks.scale.collector import Collector, worker_rows
from benchmarks.scale.place import Place
from benchmarks.suite.sample import Sample

#: Seconds from one restart of the collector to the next, in the state of restarting.
_RESTART_S: Final = 1.0
#: The states, and what each does.
STATES: Final[Mapping[str, str]] = {
    "serving": "beside a collector that serves",
    "stopped": "the collector is stopped (SIGSTOP): its sockets are there, nobody reads them",
    "dead": "the collector was killed (kill -9), its socket files are there",
    "absent": "no collector was ever started",
    "restarting": "the collector is ended and started again each second",
    "full, shed_lowest": "the collector is stopped and the buffer full of DEBUG records, which give way",
    "full, drop_newest": "the collector is stopped and the buffer full: what comes is dropped",
    "full, drop_oldest": "the collector is stopped and the buffer full: the oldest goes",
}
#: Whose calls are timed: those of a plain logger with a LogbusHandler, and those of a FastLogger.
KINDS: Final = ("handler", "fast")
#: The producer of all states in which the buffer has room, and the one whose collector always serves.
_USUAL: Final = "usual"
_BESIDE: Final = "beside"


def stalls(place: Place, kind: str, calls: int, number: int, states: Collection[str] = tuple(STATES)) -> list[Sample]:
    """One pass: a sample for each of these states; ``kind`` is one of :data:`KINDS`, ``number`` seeds the order.

    ``above_serving_us`` is the p99.9 in that state less that of the same seconds beside a collector that serves;
    ``calm_*`` leaves bursts out in which another process took the core away; ``call_waits`` and ``call_preemptions``
    are how often in a thousand calls the thread waited, and had to. ``floor`` has the null handler's calls.
    """
    order = random.Random(number).sample(list(states), len(states))
    with (
        place.beside() as other,
        other.collector() as steady,
        place.collector() as collector,
        _Calling(place, fast=kind == "fast") as calling,
    ):
        calling.open(_USUAL, collector.endpoint)
        calling.open(_BESIDE, steady.endpoint)
        trouble = _Trouble(place.directory, collector, calling, calls)
        found = {state: trouble.measure(state) for state in order}
        calling.close(_USUAL)
        calling.close(_BESIDE)
        lost = calling.unaccounted(collector.status(), steady.status())
    return [Sample("stalls", f"{kind}: {state}", *_figures(found[state]), 3 * calls, lost) for state in states]


def _figures(found: Mapping[str, Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """The figures of a state and those of the null handler, as a sample has them."""
    ours, beside, null = (found[side] for side in ("ours", "beside", "null"))
    above = {
        "above_serving_us": ours["call_p999_us"] - beside["call_p999_us"],
        "calm_above_serving_us": ours["calm_p999_us"] - beside["calm_p999_us"],
    }
    return {**ours, **above}, {name: value for name, value in null.items() if name.endswith("_us")}


class _Calling:
    """The process that calls, and the book of what it has called."""

    def __init__(self, place: Place, *, fast: bool) -> None:
        self._child = Child(
            "benchmarks.scale.caller", json.dumps({"fast": fast}), directory=place.directory, python=place.python
        )
        self._closed: list[tuple[bool, dict[str, Any]]] = []

    def order(self, do: str, **what: Any) -> Any:
        """What it answers to an order."""
        self._child.tell(json.dumps({"do": do, **what}) + "\n")
        return json.loads(self._child.hear())

    def open(self, buffer: str, endpoint: str, *, absent: bool = False, **settings: Any) -> None:
        """Opens a producer there, for a collector or for a place that has none. Raises RuntimeError without welcome."""
        settings |= {"endpoint": endpoint, "worker": buffer}
        if not self.order("open", buffer=buffer, settings=settings, welcome=not absent):
            raise RuntimeError(f"no collector has welcomed {buffer}")

    def close(self, buffer: str, *, absent: bool = False) -> None:
        """Ends it there, and keeps its counters."""
        self._closed.append((absent, self.order("close", buffer=buffer, drain=not absent)))

    def drain(self, buffer: str) -> None:
        """Waits until the collector has it all. Raises RuntimeError when it does not come to that."""
        if not self.order("drain", buffer=buffer):
            raise RuntimeError(f"what {buffer} holds was not collected in time")

    def unaccounted(self, *ledgers: Mapping[str, Any]) -> int:
        """How many calls nobody has an account of: the producers' counters, or the ledgers for those that they know."""
        rows = [row for status in ledgers for row in worker_rows(status)]
        said = sum(book["emitted"] for absent, book in self._closed if not absent)
        off: int = abs(sum(row["emitted"] for row in rows) - said)
        off += sum(status["balanced"] is not True for status in ledgers)
        for row in rows:
            off += abs(row["emitted"] - row["collected"] - sum(row["dropped"].values()))
        for _, book in self._closed:
            off += abs(book["calls"] - book["emitted"])
            off += abs(book["emitted"] - book["sent"] - sum(book["dropped"].values()) - book["queued"])
        return off

    def __enter__(self) -> _Calling:
        self._child.hear(("ready\n",))
        return self

    def __exit__(self, *error: Any) -> None:
        self._child.__exit__(*error)


class _Trouble:
    """The states: each begins, is measured, and ends with everything as it was and nothing in flight."""

    def __init__(self, directory: Path, collector: Collector, calling: _Calling, calls: int) -> None:
        self._directory = directory
        self._collector = collector
        self._calling = calling
        self._calls = calls

    def measure(self, state: str) -> dict[str, dict[str, float]]:
        """The latencies in a state: of our calls, and of the null handler's."""
        if state == "absent":
            return self._absent()
        if state.startswith("full, "):
            return self._full(state.removeprefix("full, "))
        surroundings: Mapping[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
            "serving": contextlib.nullcontext,
            "stopped": self._suspended,
            "dead": self._dead,
            "restarting": self._restarting,
        }
        with surroundings[state]():
            found = self._measured(_USUAL)
        self._calling.drain(_USUAL)
        return found

    def _absent(self) -> dict[str, dict[str, float]]:
        self._calling.open("absent", f"ipc://{self._directory}/nobody/records", absent=True)
        found = self._measured("absent")
        self._calling.close("absent", absent=True)
        return found

    def _full(self, policy: str) -> dict[str, dict[str, float]]:
        """With room for as many as will be called: under shed_lowest each call finds a DEBUG record to replace."""
        self._calling.open(policy, self._collector.endpoint, on_full=policy, capacity=self._calls + 1000)
        with self._suspended():
            if not self._calling.order("fill", buffer=policy, debug=policy == "shed_lowest"):
                raise RuntimeError(f"the buffer with on_full={policy!r} did not become full")
            found = self._measured(policy)
        self._calling.close(policy)
        return found

    @contextlib.contextmanager
    def _suspended(self) -> Iterator[None]:
        self._collector.suspend()
        try:
            yield
        finally:
            self._collector.resume()

    @contextlib.contextmanager
    def _dead(self) -> Iterator[None]:
        self._collector.kill()
        yield
        self._collector.start()

    @contextlib.contextmanager
    def _restarting(self) -> Iterator[None]:
        over = threading.Event()
        failed: list[Exception] = []

        def restart() -> None:
            try:
                while not over.is_set():
                    self._collector.stop()
                    self._collector.start()
                    over.wait(_RESTART_S)
            except (OSError, RuntimeError) as error:
                failed.append(error)

        thread = threading.Thread(target=restart)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        if failed:
            raise failed[0]

    def _measured(self, buffer: str) -> dict[str, dict[str, float]]:
        found: dict[str, dict[str, float]] = self._calling.order(
            "measure", buffer=buffer, beside=_BESIDE, calls=self._calls
        )
        return found
