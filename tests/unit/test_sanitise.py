"""Log calls into plain values: fields, messages, repair and size."""

from __future__ import annotations

import collections
import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgpack
import pytest

from logbus.producers.sanitise import (
    FIELD_BYTES,
    MAX_DEPTH,
    MAX_FIELDS,
    MAX_MESSAGE_CHARS,
    MAX_NESTED_CHARS,
    MAX_NODES,
    MIN_RECORD_BYTES,
    TRUNCATED,
    UNREADABLE,
    repair,
    safe_message,
    shrink,
    split_extra,
)
from logbus.producers.text import MAX_KEY_CHARS, MAX_TEXT_CHARS


class Exploding:
    """Raises from every method that text is usually made with."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __repr__(self) -> str:
        raise self.error

    __str__ = __repr__

    def __bool__(self) -> bool:
        raise self.error


class LyingDict(dict[str, Any]):
    """A dict whose own methods are of no use."""

    def items(self) -> Any:
        """Raises."""
        raise RuntimeError

    def __len__(self) -> int:
        return 10**12

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError


class Named(NamedTuple):
    """A tuple with names."""

    x: int
    y: int


class LyingList(list[Any]):
    """A list whose own methods never end."""

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield 1

    def __len__(self) -> int:
        return 10**12


def count_nodes(value: Any) -> int:
    """How many values there are in a rebuilt one, containers included."""
    if isinstance(value, dict):
        return 1 + sum(map(count_nodes, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(count_nodes, value))
    return 1


def test_scalars_pass_as_they_are() -> None:
    """The five kinds of scalars keep value and type, and are not nested."""
    fields = {"s": "text", "i": -1, "big": 2**64 - 1, "f": 0.5, "b": True, "n": None, "u": "ü"}
    scalars, nested, _ = split_extra(fields.items())
    assert scalars == fields
    assert nested is None
    assert {key: type(value) for key, value in (scalars or {}).items()} == {key: type(v) for key, v in fields.items()}


def test_nothing_gives_none() -> None:
    """A record without fields carries no empty dicts."""
    assert split_extra(()) == (None, None, 0)


def test_fields_of_a_log_record_are_read_straight_from_its_dict() -> None:
    """A slice of a LogRecord's __dict__ serves as it is."""
    record = logging.makeLogRecord({})
    standard = len(record.__dict__)
    record.__dict__["request_id"] = "r1"
    assert split_extra(islice(record.__dict__.items(), standard, None))[0] == {"request_id": "r1"}


def test_size_grows_with_text_and_fields() -> None:
    """Every field has its fixed cost; ASCII counts one byte a character, other text four, nested text as well."""
    assert split_extra([("a", "x" * 100)])[2] == FIELD_BYTES + 100
    assert split_extra([("a", "ü" * 100), ("b", 1)])[2] == 2 * FIELD_BYTES + 400
    assert split_extra([("a", {"k": "x" * 100})])[2] == 2 * FIELD_BYTES + 101
    assert split_extra([("a", ["ü" * 100])])[2] == 2 * FIELD_BYTES + 400


def test_containers_are_rebuilt_so_that_later_changes_do_not_show() -> None:
    """The application may go on changing what it has logged."""
    inner = {"list": [1, {2}], "tuple": (1, "a")}
    given = {"data": inner}
    nested = split_extra(given.items())[1]
    inner["list"].append("late")  # type: ignore[attr-defined]
    assert nested == {"data": {"list": [1, [2]], "tuple": [1, "a"]}}


def test_subclasses_of_containers_are_read_by_their_base() -> None:
    """Methods that lie are not asked; ordered, default and named kinds keep their contents."""
    named = Named(1, 2)
    fields = {"dict": LyingDict(a=1), "list": LyingList([1, 2]), "counter": collections.Counter("aab"), "named": named}
    assert split_extra(fields.items())[1] == {
        "dict": {"a": 1},
        "list": [1, 2],
        "counter": {"a": 2, "b": 1},
        "named": [1, 2],
    }


def test_a_proxy_that_claims_to_be_a_dict_is_an_object() -> None:
    """__class__ is not believed."""

    class Claims:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            return dict

        def __repr__(self) -> str:
            return "<Claims>"

    assert split_extra([("c", Claims())])[0] == {"c": "<Claims>"}


def test_cycles_end() -> None:
    """A container inside itself is named, while one that merely occurs twice is shown twice."""
    ring: dict[str, Any] = {"twice": [1]}
    ring["again"] = ring["twice"]
    ring["self"] = [ring]
    assert split_extra([("ring", ring)])[1] == {"ring": {"twice": [1], "again": [1], "self": ["<cycle>"]}}


def test_depth_is_bounded() -> None:
    """Below the last level a container is only described."""
    deep: list[Any] = ["bottom"]
    for _ in range(100_000):
        deep = [deep]
    nested = split_extra([("deep", deep)])[1]
    assert nested is not None
    level = nested["deep"]
    for _ in range(MAX_DEPTH - 1):
        (level,) = level
    assert level == ["<list of 1 items>"]


def test_nodes_and_characters_of_all_nested_fields_are_bounded_together() -> None:
    """What no longer fits is counted in its place, in lists and in dicts."""
    wide = {str(n): list(range(100)) for n in range(1000)}
    scalars, nested, size = split_extra([("wide", wide), ("more", [1, 2]), ("text", ["x" * 10**6])])
    assert nested is not None
    assert nested["wide"]["…"].startswith("[truncated 9")
    assert scalars == {"more": "<list of 2 items>", "text": "<list of 1 items>"}
    assert count_nodes(nested) < MAX_NODES + 20
    assert size < FIELD_BYTES * (MAX_NODES + 10) + MAX_NESTED_CHARS
    assert split_extra([("l", list(range(MAX_NODES + 9)))])[1] == {
        "l": [*range(MAX_NODES - 1), "…[truncated 10 items]"]
    }


def test_nested_text_is_bounded() -> None:
    """A thousand long strings in a list take no more than the allowance, besides short remains."""
    nested = split_extra([("texts", ["x" * 8000 for _ in range(400)])])[1]
    assert nested is not None
    assert sum(map(len, nested["texts"])) < MAX_NESTED_CHARS + 400 * MAX_KEY_CHARS + 8000


def test_long_strings_are_cut() -> None:
    """A field's text is cut at the limit, ASCII or not, and says what is missing."""
    scalars, _, size = split_extra([("a", "x" * 200_000), ("b", "ü" * 200_000)])
    assert scalars is not None
    for value in scalars.values():
        assert isinstance(value, str)
        assert len(value) <= MAX_TEXT_CHARS
        assert "…[truncated 19" in value
    assert size <= 8 * MAX_TEXT_CHARS + 2 * FIELD_BYTES


def test_keys_that_are_no_strings_take_nobody_elses_place() -> None:
    """1 and "1" are two fields, whichever comes first, at the top and further in; long keys are cut where rebuilt."""
    odd = {1: "number", "1": "text", None: "none", ("t", 1): "tuple", b"b": "bytes"}
    scalars, nested, _ = split_extra([*odd.items(), ("in", odd)])
    assert scalars is not None
    assert nested is not None
    assert scalars["1"] == "text"
    assert sorted(map(str, scalars.values())) == sorted(odd.values())
    assert sorted(map(str, nested["in"].values())) == sorted(odd.values())
    assert all(type(key) is str for key in [*scalars, *nested["in"]])
    assert split_extra([(2, {"k": "v"})])[1] == {"2": {"k": "v"}}
    assert split_extra([(b"k" * 1000, 1)])[2] == FIELD_BYTES


def test_fields_beyond_the_limit_are_left_out_with_a_mark() -> None:
    """Of ten thousand fields the first stay."""
    scalars = split_extra((f"f{n}", n) for n in range(10_000))[0]
    assert scalars is not None
    assert len(scalars) == MAX_FIELDS + 1
    assert scalars[TRUNCATED] is True
    assert scalars["f0"] == 0


def test_a_mapping_that_changes_while_it_is_read_keeps_what_was_read() -> None:
    """The iteration's error becomes a field of its own."""
    fields: dict[str, Any] = {"first": 1}

    class Grows:
        def __repr__(self) -> str:
            fields["late"] = 1
            return "<Grows>"

    fields["second"] = Grows()
    scalars = split_extra(fields.items())[0]
    assert scalars == {"first": 1, "second": "<Grows>", UNREADABLE: "fields changed while they were read: RuntimeError"}


def test_objects_become_text_and_exploding_ones_placeholders() -> None:
    """No object reaches the sender, and none can make a call raise."""
    scalars, nested, _ = split_extra([("o", Exploding(OSError())), ("in", [Exploding(KeyError())])])
    assert scalars is not None
    assert nested is not None
    assert str(scalars["o"]).endswith("Exploding failed: OSError>")
    assert nested["in"][0].endswith("Exploding failed: KeyError>")


def test_an_interrupt_goes_through() -> None:
    """What is no Exception is the application's, from fields as from messages."""
    with pytest.raises(KeyboardInterrupt):
        split_extra([("o", Exploding(KeyboardInterrupt()))])
    with pytest.raises(SystemExit):
        safe_message("%s", (Exploding(SystemExit()),))


@pytest.mark.parametrize(
    ("msg", "args", "text"),
    [
        ("plain %s", (), "plain %s"),
        ("plain %s", None, "plain %s"),
        ("a %s and %d", ("x", 2), "a x and 2"),
        ("%(who)s", {"who": "me"}, "me"),
        ("%(who)s", ({"who": "me"},), "me"),
        ("%s", ({"who": "me"},), "{'who': 'me'}"),
        (ValueError("no"), (), "no"),
        (12, (), "12"),
        ("100%", (), "100%"),
    ],
)
def test_messages_are_formatted_as_logging_does(msg: Any, args: Any, text: str) -> None:
    """Template and arguments give the text of LogRecord.getMessage."""
    assert safe_message(msg, args) == text
    record = logging.LogRecord("", 0, "", 0, msg, (args,) if isinstance(args, dict) else args, None)
    assert record.getMessage() == text


@pytest.mark.parametrize(
    ("msg", "args", "parts"),
    [
        ("one %s", (1, 2), ["one %s", "[1, 2]", "TypeError: not all arguments converted"]),
        ("%d", ("x",), ["%d", "['x']", "TypeError: %d format"]),
        ("%(a)s", {"b": 1}, ["%(a)s", "{'b': 1}", "KeyError: 'a'"]),
        ("%(a)s", ({"b": 1},), ["%(a)s", "[{'b': 1}]", "KeyError: 'a'"]),
        ("100%", ("x",), ["100%", "['x']", "ValueError: incomplete format"]),
        ("%s", (Exploding(OSError("disk")),), ["%s", "Exploding failed: OSError", "OSError: disk"]),
        ("%s", Exploding(OSError("disk")), ["%s", "Exploding failed: OSError", "OSError: disk"]),
        (Exploding(OSError("disk")), (), ["Exploding failed: OSError", "OSError: disk"]),
    ],
)
def test_a_message_that_cannot_be_formatted_keeps_all_its_parts(msg: Any, args: Any, parts: list[str]) -> None:
    """The text holds the template, the arguments and the error."""
    text = safe_message(msg, args)
    for part in parts:
        assert part in text


def test_messages_are_bounded() -> None:
    """A huge message is cut, a huge argument of a broken template too, and the mark of the failure stays."""
    assert len(safe_message("x" * 10**6, ())) <= MAX_MESSAGE_CHARS
    assert len(safe_message("%s", ("x" * 10**6,))) <= MAX_MESSAGE_CHARS
    broken = safe_message("y" * 10**6, ("x" * 10**6,))
    assert len(broken) <= MAX_MESSAGE_CHARS
    assert broken.endswith("not all arguments converted during string formatting]")


def test_a_message_is_a_plain_string() -> None:
    """Neither a subclass as template nor one that comes out of the formatting reaches the record."""

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

    assert type(safe_message(Text("a"), ())) is str
    assert type(safe_message("%s", (Text("a"),))) is str


def test_repair_makes_surrogates_readable() -> None:
    """Lone surrogates become escapes in text and keys wherever they are; all else stays."""
    record = (1, 2.5, "a\ud800", {"k\udfff": ["\ud800", ("x", None)], "ok": True}, 2**64 - 1)
    repaired = repair(record)
    assert repaired == (1, 2.5, "a\\ud800", {"k\\udfff": ["\\ud800", ("x", None)], "ok": True}, 2**64 - 1)
    msgpack.packb(repaired)


def test_repair_makes_anything_packable() -> None:
    """Values that never should have come so far become text, and keys that fall together stay two."""
    repaired = repair([2**64, object, Exploding(OSError()), {"\ud800": 1, "\\ud800": 2, 3: 3}])
    assert repaired[0] == str(2**64)
    assert repaired[3]["\\ud800"] == 1
    assert sorted(repaired[3].values()) == [1, 2, 3]
    msgpack.packb(repaired)


def record_of(message: str = "m", **parts: Any) -> list[Any]:
    """A record as it travels."""
    return [1, 0, 0, message, parts.get("extra"), parts.get("nested"), parts.get("exception")]


def test_a_record_that_fits_is_not_touched() -> None:
    """What needs no shrinking comes back as it was."""
    record = record_of(extra={"a": 1}, nested={"b": [1]}, exception=["E", "m", ["l"], None, None, []])
    assert shrink(record, MIN_RECORD_BYTES) == record


def test_nested_values_go_first() -> None:
    """When dropping them is enough, everything else stays whole."""
    shrunk = shrink(record_of("m" * 500, extra={"id": "r1"}, nested={"n": ["x" * 900]}), MIN_RECORD_BYTES)
    assert shrunk == record_of("m" * 500, extra={"id": "r1", TRUNCATED: True})


def test_short_fields_survive_beside_a_giant() -> None:
    """All strings are cut to one length, so that the request id stays."""
    limit = 10_000
    extra = {"request_id": "r" * 36, "body": "b " * 100_000, "n": 7}
    lines = [f'File "x.py", line {n}, in f: raise E' for n in range(64)]
    shrunk = shrink(record_of("m " * 30_000, extra=extra, exception=["E", "why", lines, None, None, []]), limit)
    assert limit // 4 < len(msgpack.packb(shrunk)) <= limit
    assert shrunk[4]["request_id"] == "r" * 36
    assert shrunk[4]["n"] == 7
    assert shrunk[4][TRUNCATED] is True
    assert "…[truncated" in shrunk[3]
    assert shrunk[6][2][-1] == lines[-1]


def test_the_worst_record_fits_the_smallest_limit() -> None:
    """Many wide keys, deep chains and long lines all give way."""
    exception: Any = None
    for _ in range(8):
        exception = ["E" * 256, "ü" * 8192, ["l" * 300] * 64, exception, None, [exception] if exception else []]
    extra = {f"{n}{'ü' * 10_000}": "ü" * 8192 for n in range(100)}
    shrunk = shrink(record_of("ü" * MAX_MESSAGE_CHARS, extra=extra, exception=exception), MIN_RECORD_BYTES)
    assert len(msgpack.packb(shrunk)) <= MIN_RECORD_BYTES
    assert shrunk[4][TRUNCATED] is True
    assert shrunk[6][0].startswith("EEE")
