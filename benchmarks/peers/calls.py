"""The reference record's calls in the words of each library: one text, and what each API makes of it.

The calls are those of :func:`benchmarks.record.log_records`, read from its source and written anew: with ``extra=``
for the standard library and its likes, with keyword arguments where a library has those, with the placeholder that it
knows. So no variant has other texts, fields or steps between two calls.

Each logger gets a module of its own, of a hundred call sites: the ten, in ten functions that take turns. One hot call
site would flatter whatever remembers call sites, and code that two loggers share would suit neither, since CPython
fits it to the types that it meets.
"""

from __future__ import annotations

import ast
import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from time import perf_counter_ns
from types import ModuleType
from typing import Any, Final

from benchmarks import record
from benchmarks.record import LOGGER

#: Functions of a module, which take turns; each has the ten calls.
FUNCTIONS: Final = 10
#: Calls in a function: counts are multiples of this.
CALLS: Final = record.SITES

#: Gets the nanoseconds of one call.
Note = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a library is called: what stands for the argument in a message, and whether fields are keywords."""

    placeholder: str
    keywords: bool


#: The standard library's and that of its likes.
EXTRA: Final = Dialect("%s", keywords=False)


class Calls:
    """The calls to one logger, from a module of their own; ``made`` counts them.

    ``module`` is named as the logger and has it as ``logger``.
    """

    def __init__(self, logger: Any, dialect: Dialect = EXTRA) -> None:
        self.made = 0
        self.module: Any = ModuleType(LOGGER)
        self.module.__dict__.update(
            __file__="rotator.py", logger=logger, next_request=record.next_request, clock=perf_counter_ns
        )
        exec(compile(_source(dialect), "rotator.py", "exec"), self.module.__dict__)
        functions = [vars(self.module)[f"log_{number}"] for number in range(FUNCTIONS)]
        timed = [vars(self.module)[f"timed_{number}"] for number in range(FUNCTIONS)]
        self._next: Callable[[], Callable[[], None]] = itertools.cycle(functions).__next__
        self._next_timed: Callable[[], Callable[[Note], None]] = itertools.cycle(timed).__next__

    def log(self, count: int) -> None:
        """Makes ``count`` calls, flat out."""
        function = self._next
        for _ in range(count // CALLS):
            function()()
        self.made += count

    def timed(self, count: int, note: Note) -> None:
        """The same, each with its time; that of reading the clock is in it (:func:`clock_cost`)."""
        function = self._next_timed
        for _ in range(count // CALLS):
            function()(note)
        self.made += count


def clock_cost() -> int:
    """Nanoseconds that reading the clock adds to a call's time: the median of many readings of nothing."""
    found: list[int] = []
    note, clock = found.append, perf_counter_ns
    for _ in range(1001):
        begun = clock()
        note(clock() - begun)
    return sorted(found)[500]


@cache
def _source(dialect: Dialect) -> str:
    """The module's text: functions that make the calls and functions that time each, in lines of their own."""
    [function] = ast.parse(inspect.getsource(record.log_records)).body
    assert isinstance(function, ast.FunctionDef)
    [loop] = (statement for statement in function.body if isinstance(statement, ast.For))
    constants = [ast.unparse(statement) for statement in function.body if _sets(statement, "op")]
    plain = [f"    {line}" for line in (*constants, "info, take = logger.info, next_request")]
    timed = [*plain]
    for statement in loop.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            call = _rewritten(statement.value, dialect)
            plain.append(f"    {call}")
            timed += ["    begun = clock()", f"    {call}", "    note(clock() - begun)"]
        else:
            plain.append(f"    {ast.unparse(statement)}")
            timed.append(f"    {ast.unparse(statement)}")
    lines: list[str] = []
    for number in range(FUNCTIONS):
        lines += [f"def log_{number}():", *plain, f"def timed_{number}(note):", *timed]
    return "\n".join(lines) + "\n"


def _sets(statement: ast.stmt, name: str) -> bool:
    """Whether a statement sets a variable of that name."""
    return isinstance(statement, ast.Assign) and name in {
        node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


def _rewritten(call: ast.Call, dialect: Dialect) -> str:
    """One call in a library's words."""
    message, *arguments = call.args
    [extra] = call.keywords
    assert isinstance(message, ast.Constant)
    assert isinstance(message.value, str)
    assert isinstance(extra.value, ast.Dict)
    keywords = [extra]
    if dialect.keywords:
        fields = zip(extra.value.keys, extra.value.values, strict=True)
        keywords = [ast.keyword(ast.literal_eval(name), value) for name, value in fields if name is not None]
    text = ast.Constant(message.value.replace("%s", dialect.placeholder))
    return ast.unparse(ast.Call(call.func, [text, *arguments], keywords))
