"""Everything whose log call is measured, by the name that it has in results; the floor first, then logbus, then peers.

Those whose names end in "(3.13)" run on that Python, where logxide is; ratios are to the floor of the same process.
Logbus's log calls are compiled where an interpreter has the extension, but for those whose names end in ", in Python".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from benchmarks.peers.peer import Peer, Place
from benchmarks.suite.sample import IN_PYTHON

#: What the names of variants end with that run on the newer Python.
NEWER: Final = " (3.13)"


@dataclass(frozen=True, slots=True)
class Variant:
    """How a variant is made: by ``maker``, "module.function" of this package. ``does`` says what it does with a record.

    ``distribution`` is what must be installed, whose version is quoted. ``quick``: also measured when time is short.
    ``pure``: logbus's log calls are in Python, whatever is built.
    """

    maker: str
    does: str
    distribution: str = ""
    quick: bool = False
    pure: bool = False

    @property
    def is_logbus(self) -> bool:
        """Whether its records end in the collector's file."""
        return self.maker.startswith("logbus.") or self.maker in _TO_LOGBUS

    def make(self, place: Place) -> Peer:
        """The peer, ready to be measured."""
        module, _, function = self.maker.partition(".")
        make: Callable[[Place], Peer] = getattr(import_module(f"benchmarks.peers.{module}"), function)
        return make(place)


#: Makers in the modules of peers whose records go to logbus.
_TO_LOGBUS: Final = ("loguru.through_logbus", "loguru.past_loguru", "structlog.through_logbus")
VARIANTS: Final[dict[str, Variant]] = {
    "null": Variant("stdlib.null", "the floor: a record for a NullHandler", quick=True),
    "handler": Variant("logbus.handler", "LogbusHandler: every field, to the collector", quick=True),
    "lean": Variant(
        "logbus.lean", "FastLogger beside another handler: a real LogRecord, every field, to the collector", quick=True
    ),
    "fast": Variant("logbus.fast", "FastLogger: no LogRecord, every field, to the collector", quick=True),
    f"handler{IN_PYTHON}": Variant("logbus.handler", "LogbusHandler: every field, to the collector", pure=True),
    f"lean{IN_PYTHON}": Variant(
        "logbus.lean", "FastLogger beside another handler: a real LogRecord, every field, to the collector", pure=True
    ),
    f"fast{IN_PYTHON}": Variant("logbus.fast", "FastLogger: no LogRecord, every field, to the collector", pure=True),
    "json_file": Variant("stdlib.json_file", "FileHandler: a line of JSON, flushed", quick=True),
    "orjson_file": Variant("stdlib.orjson_file", "FileHandler: a line of JSON by orjson, flushed", "orjson"),
    "queue_listener": Variant(
        "stdlib.queue_listener", "QueueHandler, SimpleQueue, a thread: a line of JSON, flushed", quick=True
    ),
    "mp_queue": Variant(
        "stdlib.mp_queue",
        "QueueHandler, multiprocessing.Queue; a process (counted apart) writes a line of JSON, flushed",
    ),
    "socket_handler": Variant("stdlib.socket_handler", "SocketHandler: a pickle over TCP per record"),
    "syslog": Variant("stdlib.syslog", "SysLogHandler: JSON in a unix datagram per record"),
    "loguru_file": Variant("loguru.file", "text without the fields, flushed", "loguru"),
    "loguru_serialize": Variant("loguru.serialize", "loguru's JSON, flushed", "loguru"),
    "loguru_enqueue": Variant("loguru.enqueue", "loguru's JSON through its queue; a thread writes", "loguru"),
    "loguru_logbus": Variant("loguru.through_logbus", "loguru with logbus's handler: every field", "loguru"),
    "loguru_direct": Variant("loguru.past_loguru", "loguru's calls, past loguru to logbus: every field", "loguru"),
    "structlog": Variant("structlog.bare", "JSON by orjson, flushed; no call site, pid or thread", "structlog"),
    "structlog_call_site": Variant(
        "structlog.with_call_site", "JSON by orjson, flushed, with call site, pid and thread", "structlog"
    ),
    "structlog_logbus": Variant("structlog.through_logbus", "structlog, logbus's processor: every field", "structlog"),
    "zmq_pub": Variant(
        "zeromq.pub_handler", "PUBHandler: JSON, a ZeroMQ message per record; high-water mark lifted", "pyzmq"
    ),
    "logbook_null": Variant("logbook.null", "nothing: its records are made when a handler asks", "logbook"),
    "logbook_zmq": Variant(
        "zeromq.logbook", "ZeroMQHandler: JSON, a ZeroMQ message per record; high-water mark lifted", "logbook"
    ),
    "picologging_null": Variant(
        "native.picologging_null", "C++: a record for a NullHandler; another call site", "picologging"
    ),
    "picologging_file": Variant(
        "native.picologging_file", "C++: text without fields, another call site, flushed", "picologging"
    ),
    "fluent": Variant("fluent.sync", "msgpack over TCP, sent by the call", "fluent-logger"),
    "fluent_async": Variant("fluent.asynchronous", "msgpack over TCP by a thread; queue of 8,192", "fluent-logger"),
    "opentelemetry": Variant(
        "otel.batch", "LoggingHandler, batches; nothing is packed or sent; queue of 8,192", "opentelemetry-sdk"
    ),
    f"null{NEWER}": Variant("stdlib.null", "the floor there"),
    f"handler{NEWER}": Variant("logbus.handler", "LogbusHandler: every field, to the collector"),
    f"lean{NEWER}": Variant("logbus.lean", "FastLogger beside another handler: every field, to the collector"),
    f"fast{NEWER}": Variant("logbus.fast", "FastLogger: every field, to the collector"),
    f"logxide{NEWER}": Variant("native.logxide_text", "Rust: text without time or fields, buffered", "logxide"),
    f"logxide_json{NEWER}": Variant(
        "native.logxide_json", "Rust, a formatter in Python: JSON without fields and call site, buffered", "logxide"
    ),
}
