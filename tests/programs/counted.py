"""Log calls of every kind, many times, and what of them stays: memory, and references to what was there before.

Run as ``python -m tests.programs.counted DIRECTORY``; with ``--planted`` it makes other calls, which leak on purpose.
The last line of its output is a JSON document: by kind the bytes that one call leaves, and the objects whose references
have changed with every call.
"""

from __future__ import annotations

import gc
import json
import logging
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import logbus
from logbus.counters import Counters, Meta
from logbus.producers.compiled import NATIVE
from logbus.producers.pack import packer_for
from logbus.producers.producer import Producer
from tests.forms import buffer_type

#: Times that each kind is called between two looks, and before each first one: whatever is kept on purpose (call
#: sites, the records of a full buffer) is there by then.
CALLS: Final = 300
WARM: Final = 20
#: Looks at a kind, of which each must find a leak: something that grows once in a while (a table, an arena) is none.
LOOKS: Final = 3
#: Bytes of one call below which nothing leaks: the smallest object takes 16. References of one call alike.
NOISE_BYTES: Final = 12.0
NOISE_REFERENCES: Final = 0.5
#: Records that fit into a buffer: it is full after a few, and each call after that evicts one or is dropped.
CAPACITY: Final = 16

#: One object each, of which every record holds a reference: it must be given back.
EXTRA: Final[dict[str, Any]] = {"proxy": "10.0.0.1:8080", "attempt": 7_000, "ratio": 0.25, "ok": True, "none": None}
NESTED: Final[dict[str, Any]] = {"tree": {"list": [1_000, "x", None], "deeper": {"a": 1.5}}, "plain": "text"}
WIDE: Final[dict[str, Any]] = {f"field_{number}": number * 1_000 for number in range(20)}
LONG: Final = "x" * 100_000
TWO: Final = "hello %d %d"
PLACE: Final = {"country": "here"}
ERROR: Final = ValueError("planned")
SITE: Final = ("shop.leaks", 30, "WARNING", "leaks", "function", 12)


class Text(str):
    """Text that is not exactly a str."""

    __slots__ = ()


class Raising:
    """An argument that can't be shown."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error.with_traceback(None)


class Sees(logging.Handler):
    """A handler of the application, so that a record is made."""

    def emit(self, record: logging.LogRecord) -> None:
        """Looks at it."""
        _ = record.getMessage, record.args


def refuse(record: logging.LogRecord) -> bool:
    """A filter that lets nothing through."""
    return record is None


def fail(record: logging.LogRecord) -> bool:
    """A filter that raises, each time another one: one and the same would hold on to every record that it has seen."""
    raise ValueError("planned")


def with_exception(logger: logging.Logger) -> None:
    """Says what was raised."""
    try:
        raise ERROR.with_traceback(None)  # else each time adds to it
    except ValueError:
        logger.exception("failed")


def in_context(logger: logging.Logger) -> None:
    """Fields of a scope, one of them no plain value."""
    with logbus.context(user="someone", place=PLACE):
        logger.warning("hello")


def from_a_thread(logger: logging.Logger) -> None:
    """A thread of its own each time."""
    thread = threading.Thread(target=logger.warning, args=("hello",), name="other")
    thread.start()
    thread.join()


KINDS: Final[dict[str, Callable[[logging.Logger], Any]]] = {
    "usual": lambda log: log.warning("hello %s %d", "world", 7_000),
    "no arguments": lambda log: log.warning("hello"),
    "a mapping": lambda log: log.warning("hello %(proxy)s", EXTRA),
    "extra": lambda log: log.warning("hello", extra=EXTRA),
    "nested extra": lambda log: log.warning("hello", extra=NESTED),
    "wide extra": lambda log: log.warning("hello", extra=WIDE),
    "odd extra": lambda log: log.warning(
        "hello", extra={"number": 2**70, "text": "\ud800", "bytes": b"x", "own": Text()}
    ),
    "long": lambda log: log.warning(LONG),
    "surrogate": lambda log: log.warning("\ud800 %s", "x"),
    "subclass": lambda log: log.warning(Text("hello %s"), Text("x")),
    "object": lambda log: log.warning(ERROR),
    "level off": lambda log: log.debug("hello %s", "world"),
    "log": lambda log: log.log(30, "hello %s", "world"),
    "odd level": lambda log: log.log(33, "hello"),
    "stack": lambda log: log.warning("hello", stack_info=True),
    "stack level": lambda log: log.warning("hello", stacklevel=2),
    "exception": with_exception,
    "exc_info": lambda log: log.warning("hello", exc_info=ERROR),
    "context": in_context,
    "thread": from_a_thread,
    "adapter": lambda log: logging.LoggerAdapter(log, EXTRA).warning("hello"),
    "wrong arguments": lambda log: log.warning(TWO, "x"),
    "raising argument": lambda log: log.warning("hello %s", Raising(ERROR)),
    "raising on": lambda log: log.warning("hello %s", Raising(KeyboardInterrupt())),
    "clash": lambda log: log.warning("hello", extra={"message": "x"}),
    "no dict": lambda log: log.warning("hello", extra=5),  # type: ignore[arg-type]
    "odd keys": lambda log: log.warning("hello", extra={5: "x", Text("own"): "y"}),  # type: ignore[dict-item]
    "wrong call": lambda log: log.warning("hello", colour=1),  # type: ignore[call-arg]
    "no message": lambda log: log.warning(),  # type: ignore[call-arg]
}


def loggers(producers: dict[str, Producer]) -> Iterator[tuple[str, logging.Logger]]:
    """One for each way of a record, into a buffer that evicts and into one that drops."""
    for policy, producer in producers.items():
        for way, kind in (("handler", logging.Logger), ("fast", logbus.FastLogger), ("lean", logbus.FastLogger)):
            logger = kind(f"shop.{way}", logging.INFO)
            logger.handlers = [logbus.LogbusHandler.of(producer), *([Sees()] if way == "lean" else [])]
            logger.propagate = False
            yield f"{way}, {policy}", logger
    for name, look in (("refused", refuse), ("failed", fail)):
        logger = logbus.FastLogger(f"shop.{name}", logging.INFO)
        logger.handlers = [logbus.LogbusHandler.of(producers["drop_oldest"])]
        logger.addFilter(look)
        yield name, logger


def units() -> Iterator[tuple[str, Callable[[], Any]]]:
    """What the sender does with a buffer, and a buffer's end."""
    meta = Meta("host", 4711, "worker-1", "app", 1)
    kind = buffer_type("python" if NATIVE is None else "compiled")
    packer = packer_for(meta, "own")

    def filled(capacity: int) -> Any:
        buffer = kind(capacity, 1 << 40, "drop_oldest", Counters(Path("/nowhere"), bytes(16), meta))
        for message in ("hello", LONG, "\ud800", Text("own")):
            for extra, nested in ((None, None), (EXTRA, None), (WIDE, NESTED), ({"bytes": b"x"}, {"own": Sees})):
                buffer.put(time.time(), SITE, "thread", message, extra, nested, None, 100)
        return buffer

    def pack(capacity: int) -> None:
        taken = filled(capacity).take(1_000, 1 << 40)
        packer.levels(taken)
        for frame in packer.pack(taken, []):
            assert frame.payload

    yield "packed", lambda: pack(100)
    yield "evicted and packed", lambda: pack(3)
    yield "left in the buffer", lambda: filled(100)
    yield "taken and left", lambda: filled(100).take(5, 1 << 40)


def calls(producers: dict[str, Producer]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every kind of call on every way, and what the sender does."""
    for way, logger in loggers(producers):
        for kind, call in KINDS.items():
            if kind == "thread" and way != "fast, drop_oldest":
                continue  # dear, and the same on all ways
            if kind == "context" and way == "failed":
                continue  # a scope remembers the last errors that left it, on purpose
            yield f"{kind}, {way}", lambda call=call, logger=logger: call(logger)  # type: ignore[misc]
    yield from units()


def planted() -> Iterator[tuple[str, Callable[[], Any]]]:
    """What leaks: an object for each call, and a reference to one that was there."""
    kept: list[Any] = []
    yield "planted object", lambda: kept.append(object())
    yield "planted reference", lambda: kept.append(LONG)


def repeat(call: Callable[[], Any], times: int) -> None:
    """Calls it, whatever it raises."""
    for _ in range(times):
        try:
            call()
        except BaseException:  # Ctrl-C is among them: one kind raises it
            pass


def references() -> dict[int, float]:
    """How often each object is referred to, by its address: all that the collector knows, and what hangs on those.

    No int says so, since it would be a reference itself.
    """
    found: dict[int, float] = {}
    for holder in gc.get_objects():
        for thing in gc.get_referents(holder):
            found[id(thing)] = float(sys.getrefcount(thing))
    return found


def shown(address: int) -> str:
    """An object by its address, for a message."""
    for holder in gc.get_objects():
        for thing in gc.get_referents(holder):
            if id(thing) == address:
                return f"{type(thing).__name__} {thing!r:.80}"
    return "gone"


def growth(call: Callable[[], Any]) -> float:
    """The bytes by which each call has memory grow."""
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    repeat(call, CALLS)
    gc.collect()
    return (tracemalloc.get_traced_memory()[0] - before) / CALLS


def main(directory: str, *options: str) -> None:
    """Calls all of them, and prints what stays."""
    logging.raiseExceptions = False
    threading.excepthook = lambda args: None
    producers: dict[str, Producer] = {}
    for policy in ("drop_oldest", "drop_newest"):
        handler = logbus.LogbusHandler(
            endpoint=f"ipc://{directory}/nobody",
            control=f"ipc://{directory}/nobody.control",
            worker=policy,
            capacity=CAPACITY,
            on_full=policy,
            shutdown_timeout=0.0,
            opentelemetry=False,
        )
        producers[policy] = handler.producer
        producers[policy].open()
    kinds = [*(planted() if "--planted" in options else calls(producers))]
    tracemalloc.start()
    for _, call in kinds:
        repeat(call, WARM)
    gc.collect()
    gc.disable()
    before = references()
    gc.freeze()  # a collection has little to go through, then
    left = {}
    for kind, call in kinds:
        repeat(call, WARM)  # from here on the buffer holds records of this kind
        grown = 0.0
        if all(abs(grown := growth(call)) > NOISE_BYTES for _ in range(LOOKS)):
            left[kind] = grown
    tracemalloc.stop()
    gc.unfreeze()
    after = references()
    changed = {
        shown(address): (count - before[address]) / CALLS
        for address, count in after.items()
        if address in before and abs(count - before[address]) > NOISE_REFERENCES * CALLS
    }
    kept = {policy: producer.stats().queued for policy, producer in producers.items()}
    print(json.dumps({"bytes": left, "references": changed, "kinds": len(kinds), "kept": kept}))


if __name__ == "__main__":
    main(*sys.argv[1:])
