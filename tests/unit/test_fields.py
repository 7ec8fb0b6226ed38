"""The fields of a call: what conditions see of them, and the one that is an exception."""

from __future__ import annotations

from typing import Any

import pytest

from logbus.producers.context import context
from logbus.producers.fields import fields_now, take_exception, word


def test_conditions_see_the_context_and_what_is_nearer_to_the_call_wins() -> None:
    """Scalars and nested values of the context, then each mapping over those before it."""
    with context(request_id="1", tags=[1], who="context"):
        assert fields_now({"who": "core", "a": 1}, {"a": 2}) == {
            "request_id": "1",
            "tags": [1],
            "who": "core",
            "a": 2,
        }
    assert fields_now() == {}


def test_an_exception_is_taken_out_of_the_fields() -> None:
    """True stands for the one that is handled; an exception and a triple for themselves; the dict is not changed."""
    given: dict[str, Any] = {"exc_info": True, "a": 1}
    raised: Any = None
    try:
        raise KeyError("id")
    except KeyError as caught:
        error = caught
        raised, rest = take_exception(given)
    assert raised[:2] == (KeyError, error)
    assert take_exception({"exc_info": error})[0] is error
    triple = (KeyError, error, None)
    assert take_exception({"exc_info": triple})[0] == triple
    assert rest == {"a": 1}
    assert given == {"exc_info": True, "a": 1}


@pytest.mark.parametrize("given", [False, None, 0])
def test_no_exception_is_none(given: Any) -> None:
    """What says that there is none is no field either."""
    assert take_exception({"exc_info": given}) == (None, {})


@pytest.mark.parametrize("given", ["text", (1, 2), [], 1.5])
def test_anything_else_is_a_field(given: Any) -> None:
    """It may be the application's own word for something."""
    assert take_exception({"exc_info": given}) == (None, {"exc_info": given})


def test_a_word_is_short_text_of_any_value() -> None:
    """Names come from the application, and may be anything."""
    assert word("name") == "name"
    assert word(None) == "None"
    assert len(word("x" * 5000)) <= 1024
