"""The scope of a request: which id it has, and what else its records carry."""

from __future__ import annotations

import asyncio
import functools
import os
import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

import logbus
from logbus.producers.context import context, current_context
from logbus.producers.request import client_request_id, new_request_id, request_scope
from logbus.traceparent import Traceparent

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


def test_new_ids_have_the_form_of_a_trace_id() -> None:
    """32 lower-case hex digits, never the same ones."""
    ids = {new_request_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", found) for found in ids)
    assert (logbus.new_request_id, logbus.request_scope) == (new_request_id, request_scope)


def test_a_request_without_anything_gets_a_new_id() -> None:
    """It lasts as long as the scope."""
    with request_scope():
        [(key, value)] = current_context().items()
        assert (key, len(value)) == ("request_id", 32)
    assert current_context() == {}


@pytest.mark.parametrize(
    ("given", "outside", "traceparent", "expected"),
    [
        ("mine", "outer", HEADER, "mine"),
        (None, "outer", HEADER, "outer"),
        ("", "outer", None, "outer"),
        (None, None, HEADER, TRACE),
    ],
)
def test_which_id_counts(given: str | None, outside: str | None, traceparent: str | None, expected: str) -> None:
    """The one that is given, else the one outside, else that of the trace."""
    with context(**({} if outside is None else {"request_id": outside})):
        with request_scope(given, traceparent=traceparent):
            assert current_context()["request_id"] == expected
        assert current_context().get("request_id") == outside


def test_the_trace_outside_gives_the_id_too() -> None:
    """A scope that was opened for a trace before the request, or a field that is given."""
    with context(trace_id=TRACE), request_scope():
        assert current_context() == {"trace_id": TRACE, "request_id": TRACE}
    with request_scope(trace_id="t"):
        assert current_context() == {"trace_id": "t", "request_id": "t"}


def test_a_traceparent_becomes_two_fields() -> None:
    """As a header or as what was read of it; one that is not valid says nothing; given fields win."""
    expected = {"request_id": "r", "trace_id": TRACE, "span_id": SPAN}
    for traceparent in (HEADER, Traceparent(TRACE, SPAN, sampled=True)):
        with request_scope("r", traceparent=traceparent):
            assert current_context() == expected
        with request_scope("r", traceparent=traceparent, span_id="s"):
            assert current_context() == expected | {"span_id": "s"}
    with request_scope("r", traceparent=HEADER.upper()):
        assert current_context() == {"request_id": "r"}


def test_nested_requests_keep_their_id_and_say_the_way() -> None:
    """A part of a request is of the same request, with fields of its own."""
    with request_scope(operation="api_request", user_id=7):
        outer = current_context()
        with request_scope(operation="proxied_request", strategy="random"):
            assert current_context() == outer | {
                "operation": "proxied_request",
                "operation_path": "api_request/proxied_request",
                "strategy": "random",
            }
        assert current_context() == outer


def test_any_value_may_be_an_id() -> None:
    """What is no text becomes one, as every field does."""
    given: Any = UUID(int=7)
    with request_scope(given):
        assert current_context() == {"request_id": str(given)}
    with context(request_id=7), request_scope():
        assert current_context() == {"request_id": 7}


class Moody:
    """A value of which nobody may ask whether it is true."""

    def __bool__(self) -> bool:
        raise RuntimeError

    def __repr__(self) -> str:
        return "moody"


def test_what_is_given_is_never_asked_for_its_truth() -> None:
    """Zero is an id, and so is an object that raises; only None and an empty text are none."""
    for given, expected in ((0, 0), (Moody(), "moody")):
        with request_scope(given):  # type: ignore[arg-type]
            assert current_context()["request_id"] == expected
            with request_scope(""):
                assert current_context()["request_id"] == expected
        with context(trace_id=given), request_scope():
            assert current_context()["request_id"] == expected


def test_a_traceparent_may_be_bytes_or_anything() -> None:
    """As ASGI has headers; what can't be one is ignored like one that is not valid."""
    with request_scope(traceparent=HEADER.encode()):
        assert current_context() == {"request_id": TRACE, "trace_id": TRACE, "span_id": SPAN}
    for other in (7, b"\xff", ["x"]):
        with request_scope("r", traceparent=other):  # type: ignore[arg-type]
            assert current_context() == {"request_id": "r"}


def test_an_object_that_is_called_like_a_coroutine_function_is_one() -> None:
    """Its call is over when it is awaited, decorated or carried, and so is that of a partial of it."""

    class Ask:
        async def __call__(self) -> Any:
            await asyncio.sleep(0)
            return current_context()["request_id"]

    with context(request_id="carried"):
        carried = logbus.carry(Ask())
    assert asyncio.run(request_scope("r")(Ask())()) == "r"
    assert asyncio.run(request_scope("r")(functools.partial(Ask()))()) == "r"
    assert asyncio.run(carried()) == "carried"


def test_each_call_of_a_decorated_function_is_a_request() -> None:
    """Calls have ids of their own, and calls within a call share one; coroutine functions too."""

    @request_scope(operation="work")
    def work(deeper: bool = False) -> list[Any]:
        return [current_context()["request_id"], *(work() if deeper else [])]

    @request_scope(operation="work")
    async def wait() -> Any:
        await asyncio.sleep(0)
        return current_context()["request_id"]

    async def main() -> list[Any]:
        return list(await asyncio.gather(*(wait() for _ in range(5))))

    outer, inner = work(deeper=True)
    assert outer == inner
    assert len({outer, *work(), *asyncio.run(main())}) == 7
    assert current_context() == {}


def test_generator_functions_are_refused() -> None:
    """As for every scope."""

    def numbers() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match="found the generator"):
        request_scope()(numbers)


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (b"abc-123", "abc-123"),
        ("  a b\t", "a b"),
        ("x" * 128, "x" * 128),
        ("x" * 129, None),
        ("", None),
        (b" \t ", None),
        (b"\xc3\xa9", None),
        ("id\r\nSet-Cookie: a=b", None),
        ("id\x1b[31m", None),
        ("id\x7f", None),
        ("\u2028", None),
    ],
)
def test_what_clients_send_is_not_taken_at_its_word(sent: str | bytes, found: str | None) -> None:
    """Printable ASCII of at most 128 characters is an id; anything else is none."""
    assert client_request_id(sent) == found


def test_a_forked_child_makes_ids_of_its_own() -> None:
    """Ids that were made ahead in the parent are nobody's but the parent's."""
    new_request_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, " ".join(new_request_id() for _ in range(100)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 10_000).decode().split()
    os.close(reading)
    os.close(writing)
    ours = [new_request_id() for _ in range(100)]
    assert len({*ours, *theirs}) == 200
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in (*ours, *theirs))
