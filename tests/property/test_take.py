"""The same records through the handler's two forms: what the compiled one does is what the Python does.

Whatever a record holds, whatever its values do while they become text, and whatever was logged from its place before:
the producer gets the same, the caller the same, and the handler remembers the same.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import msgpack
from hypothesis import given, strategies as st

from logbus.counters import Counters, Meta
from logbus.producers.compiled import NATIVE
from logbus.producers.context import bind, context
from logbus.producers.exception import finish
from logbus.producers.handler import LogbusHandler
from logbus.producers.producer import Producer
from logbus.producers.take import Taker
from tests.forms import needs_compiled

#: Loaded once: what a test puts in its place must not be taken for it.
COMPILED: Final[Any] = LogbusHandler.handle
PYTHON: Final[Any] = Taker.handle
#: One step of a program: what it does to a world.
Step = Callable[["World"], None]
#: Names of attributes that records have, and of some that they get.
STANDARD: Final = [*vars(logging.makeLogRecord({}))]
#: Those on which it depends what becomes of a record.
LOOKED_AT: Final = ["exc_info", "exc_text", "stack_info", "threadName", "msg", "args", "created", "levelno", "funcName"]


class Word(str):
    """A text of another type, as somebody's ``__str__`` may return it."""

    __slots__ = ()


class Number(int):
    """A number of another type."""


class Attributes(dict[str, Any]):
    """A record's attributes, of another type."""

    def __getitem__(self, key: str) -> Any:
        return 20 if key == "levelno" else "found" if key == "msg" else super().__getitem__(key)


class Record(logging.LogRecord):
    """What a record factory makes."""


class Plain(LogbusHandler):
    """A handler of the application's that adds nothing."""


class Louder(LogbusHandler):
    """One that has something to say to each record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Changes it first."""
        record.louder = True
        super().emit(record)


class World:
    """One handler in one form, what is logged to it, and all that comes of that."""

    def __init__(self, form: str, kind: type[LogbusHandler], emit: Any = None) -> None:
        self.handle = PYTHON if form == "python" else COMPILED
        self.entries: list[Any] = []
        self.handler = kind.of(cast("Producer", SimpleNamespace(emit=emit or self.keep, flush_soon=lambda: None)))
        self.told: list[Any] = []
        self.record = logging.makeLogRecord({})

    def keep(self, *entry: Any) -> None:
        """As ``emit`` of a producer."""
        self.entries.append(entry)

    def log(self, record: logging.LogRecord) -> None:
        """Hands a record to the handler, and notes what the caller sees."""
        before, self.record = self.record, record
        try:
            result = self.handle(self.handler, record)
            self.told.append("itself" if result is record else type(result))
        except BaseException as error:
            self.told.append(type(error))
        self.record = before

    def run(self, steps: list[Step]) -> None:
        """One step after the other, behind records from which the handler knows most places."""
        for line in (7, 300, 301):
            record = logging.LogRecord("shop", 20, "/srv/till.py", line, "first", (), None, "sell")
            vars(record).update({"a": 1, "b": 2} if line != 301 else {})
            self.log(record)
        self.entries.clear()
        for step in steps:
            step(self)

    def result(self) -> str:
        """All of it as text: nan is not equal to itself. Without addresses, and the times at which this ran."""
        found: list[Any] = []
        for created, *rest, exception, size in self.entries:
            found.append((created if abs(created) < 1e6 else "now", *rest, exception and finish(exception)))
            if (text := repr(rest)).isascii() and "\\" not in text:  # others grow once somebody had them as UTF-8
                found.append(size)
        return re.sub("0x[0-9a-f]+", "", repr((self.told, found, self.handler._places)))


class Text:
    """A value that becomes text in its own way, and does something of its own meanwhile."""

    def __init__(self, world: World, does: str) -> None:
        self.world, self.does = world, does

    def __str__(self) -> str:
        record = vars(self.world.record)
        if self.does == "add":
            record["added"] = 1
        elif self.does == "remove":
            record.pop("processName", None)
        elif self.does == "raise info":
            record["exc_info"] = (KeyError, KeyError("k"), None)
        elif self.does == "rename":
            record["name"], record["threadName"] = "renamed", "renamed"
        elif self.does == "bind":
            bind(late="bound", a=5)
        elif self.does == "log":
            self.world.told.append("inside")
            self.world.log(logging.LogRecord("shop", 20, "/srv/till.py", 7, "inside %s", ("x",), None, "sell"))
        elif self.does == "fail":
            self.world.told.append("asked")
            raise ValueError("no text")
        elif self.does == "interrupt":
            raise KeyboardInterrupt
        else:
            self.world.told.append("asked")
        return Word("word") if self.does == "word" else "x" * 9000 if self.does == "much" else "text"


#: What a value does while it becomes text: to the record that it is logged with, or to something else. (Values of the
#: first kind may be asked once more by one form, so none of the second, which tell how often they are, is beside them.)
TO_RECORD: Final = ["add", "remove", "raise info", "rename"]
ELSEWHERE: Final = ["bind", "log", "fail", "interrupt", "word", "much", "text"]
PLAIN: Final = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9), st.sampled_from([1 << 64, "\ud800", "é"])
)
ODD: Final = st.sampled_from(
    [
        (),
        [1],
        {"k": [2]},
        Word("w"),
        Number(3),
        b"b",
        "",
        "x" * 9000,
        0,
        False,
        (None, None, None),
        ValueError("v"),
        20.0,
    ]
)
VALUES: Final[Any] = PLAIN.map(lambda value: lambda world: value)
ODD_VALUES: Final[Any] = ODD.map(lambda value: lambda world: value)
ERROR: Final = ValueError("v")
#: What some attributes are given that makes a difference.
OF_ATTRIBUTE: Final[dict[str, list[Any]]] = {
    "exc_info": [ERROR, (ValueError, ERROR, None), True, False, 0],
    "threadName": ["", None, "other", Word("other"), 5],
}


def made(does: list[str]) -> Any:
    """Values that are made anew for each world."""
    return st.sampled_from(does).map(lambda one: lambda world: Text(world, one))


ANY: Final[Any] = st.one_of(VALUES, ODD_VALUES, made(ELSEWHERE))
#: In what a record may not be as usual; in most it is.
UNUSUAL: Final = st.sampled_from(
    ["", "place", "message", "args", "args", "fields", "attribute", "shape", "scope", "scope"]
)
KEYS: Final = st.sampled_from(["a", "b", "c", "request_id", "message", "asctime", "extra", "é"])
MESSAGES: Final[Any] = st.sampled_from(
    ["plain", "%s", "%s", "%s", "%s for %s", "%d", "%(a)s", "%", "é %s", 5, Word("%s")]
)


@st.composite
def logged(draw: Any) -> Step:
    """A record of one of a few places, as logging makes it but for one or two things."""
    unusual = {draw(UNUSUAL), draw(UNUSUAL)}
    name, line, number, message, many, mapping = "shop", draw(st.sampled_from([7, 300, 301])), 20, "%s", 1, False
    if "place" in unusual:
        name, number = draw(st.sampled_from(["shop", "till"])), draw(st.sampled_from([20, 40, True, 20.0, Number(20)]))
    if "message" in unusual:
        message = draw(MESSAGES)
        many = {"%s for %s": 2, "plain": 0, "%": 0}.get(message, 1) if type(message) is str else draw(st.integers(0, 2))
        mapping = message == "%(a)s" and draw(st.booleans())
    foreign = st.one_of(made(draw(st.sampled_from([TO_RECORD, ELSEWHERE, ELSEWHERE]))), ODD_VALUES)
    args = draw(st.tuples(*[foreign if "args" in unusual else VALUES] * many))
    pairs = [(key, draw(VALUES)) for key in draw(st.sampled_from([("a", "b"), ("a", "b"), ()]))]
    if "fields" in unusual:
        pairs = draw(st.lists(st.tuples(KEYS, ANY), max_size=4))
    changes = []
    if "attribute" in unusual:
        attribute = draw(st.sampled_from(LOOKED_AT))
        values = OF_ATTRIBUTE.get(attribute)
        making = ANY if values is None else st.sampled_from(values).map(lambda value: lambda world: value)
        changes.append(("set", attribute, draw(making)))
    if "shape" in unusual:
        ways = st.sampled_from(["delete", "anew", "number", "dict", "reversed", "renamed", "class", "args"])
        changes.append((draw(ways), draw(st.sampled_from(STANDARD)), draw(ANY)))
    scope = None
    if "scope" in unusual:
        scope = draw(st.dictionaries(KEYS, VALUES | st.just(lambda world: [1, {"k": 2}]), min_size=1, max_size=3))
    # Keys that are equal and not the same, as a program makes them.
    fresh = draw(st.booleans())

    def step(world: World) -> None:
        values = tuple(make(world) for make in args)
        given: Any = ({"a": values[0]},) if mapping else values
        record = logging.LogRecord(name, number, "/srv/till.py", line, message, given, None, "sell")
        record.created = record.msecs = record.relativeCreated = 1.5
        for key, make in pairs:
            vars(record)["".join([*key]) if fresh else key] = make(world)
        for way, key, make in changes:
            value = make(world)
            if way == "set":
                vars(record)[key] = value
            elif way in ("delete", "anew"):
                before = vars(record).pop(key, None)
                if way == "anew":
                    vars(record)[key] = before
            elif way == "number":
                cast("dict[Any, Any]", vars(record))[5] = value
            elif way == "dict":
                record.__dict__ = Attributes(vars(record))
            elif way == "renamed":
                record.__dict__ = {"other" if at == key else at: each for at, each in vars(record).items()}
            elif way == "reversed":
                record.__dict__ = dict(reversed(vars(record).items()))
            elif way == "class":
                record.__class__ = Record
            else:
                record.args = cast("Any", value)
        with (
            contextlib.nullcontext() if scope is None else context(**{key: make(world) for key, make in scope.items()})
        ):
            world.log(record)

    return step


@st.composite
def changed(draw: Any) -> Step:
    """Something that somebody does to the handler for the time of one record."""
    what, log = draw(st.sampled_from(["let pass", "refuse", "replace", "emit", "no producer"])), draw(logged())

    def emit(record: logging.LogRecord) -> None:
        record.mine = True

    filters: dict[str, Callable[[logging.LogRecord], Any]] = {
        "let pass": lambda record: True,
        "refuse": lambda record: False,
        "replace": lambda record: logging.makeLogRecord({**vars(record), "msg": "replaced", "args": ()}),
    }

    def step(world: World) -> None:
        handler = world.handler
        before = vars(handler).copy()
        if what in filters:
            handler.filters = [filters[what]]
        elif what == "emit":
            vars(handler)["emit"] = emit
        else:  # one that has no method of this name: logging is told
            handler.producer = cast("Producer", SimpleNamespace())
            vars(handler)["handleError"] = lambda record: world.told.append("handleError")
        log(world)
        vars(handler).clear()
        vars(handler).update(before)

    return step


STEPS: Final = st.lists(st.one_of(logged(), logged(), logged(), logged(), changed()), min_size=4, max_size=12)


@needs_compiled
@given(st.sampled_from([LogbusHandler, LogbusHandler, LogbusHandler, Plain, Plain, Louder]), STEPS)
def test_what_the_producer_is_given_is_the_same(kind: type[LogbusHandler], steps: list[Step]) -> None:
    """Both forms call the same ``emit`` with the same arguments, return and raise the same, and learn the same."""
    worlds = [World(form, kind) for form in ("python", "compiled")]
    for world in worlds:
        contextvars.copy_context().run(world.run, steps)
    assert worlds[0].result() == worlds[1].result()


@needs_compiled
@given(st.lists(logged(), min_size=4, max_size=8))
def test_what_the_buffer_holds_is_the_same(steps: list[Step]) -> None:
    """A record that is written for a compiled buffer at once is, byte for byte, the one that its put() writes."""
    results = []
    for form in ("python", "compiled"):
        counters = Counters(Path("/nowhere"), bytes(16), Meta("", 1, "", "", 1))
        buffer = NATIVE.Buffer(1000, 1 << 30, "drop_newest", counters)
        world = World(form, LogbusHandler, buffer.put)
        contextvars.copy_context().run(world.run, steps)
        for _, size, created, site, thread, rest in buffer.take(1000, 1 << 30).entries():
            if type(rest) is tuple:  # as it was put
                world.keep(created, site, thread, *rest, size)
            else:
                world.keep(
                    created, site, thread, repr(rest).replace("\\", "~"), msgpack.unpackb(b"\x94" + rest), None, size
                )
        results.append(world.result())
    assert results[0] == results[1]
