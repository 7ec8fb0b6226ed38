"""What a compiled call writes into the buffer at once is what the same call in Python hands to it."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, strategies as st

from logbus.counters import Counters, Meta
from logbus.producers.context import context
from logbus.producers.fast_logger import FastLogger
from logbus.producers.handler import LogbusHandler
from tests.forms import buffer_type, needs_compiled, rows
from tests.twins import take_form

SCALARS = st.one_of(
    st.text(max_size=9),
    st.text(st.characters(), max_size=3),
    st.integers(-(2**70), 2**70),
    st.integers(-130, 70000),
    st.floats(allow_nan=False),
    st.booleans(),
    st.none(),
    st.sampled_from(["x" * 40, "é" * 300, "y" * 9000, "\ud800", math.nan]),
)
VALUES = st.one_of(SCALARS, SCALARS, SCALARS, st.lists(SCALARS, max_size=2), st.binary(max_size=2))
NAMES = st.one_of(st.sampled_from(["a", "b", "request_id", "é", "\ud801"]), st.text(min_size=1, max_size=3))
FIELDS = st.dictionaries(NAMES, VALUES, max_size=4)
MESSAGES = st.one_of(st.text(max_size=9), st.sampled_from(["%s", "%s and %s", "%d", "%r%%", "z" * 7900, "\ud800%s"]))


class Text(str):
    """A text of its own class, which an argument may give for itself."""

    __slots__ = ()


class Speaking:
    """An argument whose text its own code makes."""

    def __str__(self) -> str:
        return Text("speaking")


ARGUMENTS = st.lists(st.one_of(SCALARS, st.builds(Speaking), st.just([1, "a"])), max_size=2).map(tuple)
CALLS = st.lists(st.tuples(MESSAGES, ARGUMENTS, st.none() | FIELDS), min_size=1, max_size=4)


def put_by(form: str, calls: list[Any], scope: dict[str, Any]) -> list[Any]:
    """What the compiled buffer holds after these calls, made by fast loggers of one form."""
    counters = Counters(Path("/nowhere"), bytes(16), Meta("", 1, "", "", 1))
    buffer = buffer_type("compiled")(100, 1 << 20, "drop_newest", counters)
    handler = LogbusHandler.of(cast("Any", SimpleNamespace(emit=buffer.put, flush_soon=bool)))
    log: Any = FastLogger("shop.till", 10)
    log.addHandler(handler)
    with pytest.MonkeyPatch.context() as monkeypatch, context(**scope):
        take_form(form, monkeypatch)
        for message, arguments, fields in calls:
            for _ in range(2):  # the second time its place is known, with these fields
                with contextlib.suppress(KeyError):  # a field may have the name of an attribute
                    log.info(message, *arguments, extra=None if fields is None else {**fields})
    found = [
        (size, repr((site[:5], thread, *rest))) for _, size, _, site, thread, *rest in rows(buffer.take(99, 1 << 30))
    ]
    # A text of a class of its own, or one that was written as UTF-8 before, says that it is larger.
    return [
        (size if text.isascii() and "\\" not in text and "speaking" not in text else 0, text) for size, text in found
    ]


@needs_compiled
@given(CALLS, st.one_of(st.just({}), st.just({}), FIELDS))
def test_what_a_compiled_call_writes_is_what_python_hands_over(calls: list[Any], scope: dict[str, Any]) -> None:
    """Message, fields in their order, context, place, thread and size, of any texts, numbers and other values."""
    assert put_by("compiled", calls, scope) == put_by("python", calls, scope)
