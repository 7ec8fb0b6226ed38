from __future__ import annotations

import gc
from typing import Any

import pytest

from logbus.collectors.format import FORMATS, PluginFormat, check_format, make_formatter
from logbus.errors import ConfigurationError
from tests.property.batches import batch_of, payload_of


def shout(record: dict[str, Any]) -> str:
    """A format: the message in capitals."""
    return str(record["message"]).upper()


SHOUT = f"{__name__}:shout"


@pytest.mark.parametrize("name", FORMATS)
def test_our_formats_are_there(name: str) -> None:
    """Each of them can be asked for by its name."""
    check_format(name)
    assert make_formatter(name).name == name


def test_an_unknown_format_is_refused_with_near_matches() -> None:
    """The check and the making say the same."""
    for ask in (check_format, make_formatter):
        with pytest.raises(ConfigurationError) as caught:
            ask("jsno")
        assert caught.value.problems == [
            'format: expected one of json, logfmt, text, or "package.module:Name", found "jsno"; did you mean json?'
        ]


def test_wrong_names_are_refused_in_every_format() -> None:
    """What is wrong with renamed and static fields comes with its key."""
    for name in FORMATS:
        with pytest.raises(ConfigurationError) as caught:
            make_formatter(name, rename={"lebel": "x"}, static={"host": 1})
        assert [problem.partition(":")[0] for problem in caught.value.problems] == [
            "rename_fields.lebel",
            "static_fields.host",
        ]


@pytest.mark.parametrize("name", FORMATS)
def test_equal_arguments_give_the_same_format(name: str) -> None:
    """Sinks of one format share its encoding; whatever differs, values of another type too, makes another one."""
    one = make_formatter(name, rename={"level": "l", "line": "n"}, static={"a": 1, "b": 2})
    assert make_formatter(name, rename={"line": "n", "level": "l"}, static={"a": 1, "b": 2}) is one
    others = [
        make_formatter(name),
        make_formatter(name, rename={"level": "l"}, static={"a": 1, "b": 2}),
        make_formatter(name, rename={"level": "l", "line": "n"}, static={"a": True, "b": 2}),
        make_formatter(name, rename={"level": "l", "line": "n"}, static={"b": 2, "a": 1}),
    ]
    assert len({id(formatter) for formatter in [one, *others]}) == 5


def test_colour_is_for_text() -> None:
    """It makes another format of text, and the same of the others."""
    assert [make_formatter(name, colour=True) is make_formatter(name) for name in FORMATS] == [True, True, False]


def test_a_format_that_no_sink_has_is_forgotten() -> None:
    """Reloads with ever new static fields leave nothing behind."""
    from logbus.collectors.format import made

    kept = make_formatter("json", static={"kept": 1})
    for number in range(50):
        make_formatter("json", static={"number": number})
    gc.collect()
    known = [key for key in made._made if "'number'" in repr(key)]
    assert (known, make_formatter("json", static={"kept": 1})) == ([], kept)


def test_a_format_of_somebody_else_is_named_by_its_place() -> None:
    """It gets the names and fields of its sink like ours, and is shared like ours."""
    check_format(SHOUT)
    formatter = make_formatter(SHOUT, rename={"message": "msg"})
    assert isinstance(formatter, PluginFormat)
    assert formatter.name == SHOUT
    assert make_formatter(SHOUT, rename={"message": "msg"}, colour=True) is formatter
    batch = batch_of(payload_of([0, 0, 0, "m", None, None, None]))
    assert (formatter.encode(batch), make_formatter(SHOUT).encode(batch)) == (b"", b"M\n")
    assert formatter.error == f"format {SHOUT!r}: KeyError: 'message'"
