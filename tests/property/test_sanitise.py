"""Whatever is logged: fields, messages and records come out plain, bounded and packable, and nothing raises."""

from __future__ import annotations

import datetime
import decimal
import enum
from typing import Any

import msgpack
from hypothesis import given, settings, strategies as st

from logbus.producers.sanitise import (
    FIELD_BYTES,
    MAX_DEPTH,
    MAX_MESSAGE_CHARS,
    MAX_NODES,
    MIN_RECORD_BYTES,
    TRUNCATED,
    repair,
    safe_message,
    shrink,
    split_extra,
)
from logbus.producers.text import MAX_TEXT_CHARS, cut, text_of


class Text(str):
    """A string of the application's own."""

    __slots__ = ()


class Number(enum.IntEnum):
    """An integer of the application's own."""

    ONE = 1


class Explodes:
    """Raises what it was made for."""

    def __init__(self, kind: type[Exception]) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        raise self.kind


#: Text with everything in it, lone surrogates included.
TEXTS = st.text(st.characters(exclude_categories=()), max_size=30)
LONG_TEXTS = st.builds(lambda text, times: text * times, TEXTS, st.integers(0, 3000))
ODD = st.one_of(
    st.binary(max_size=20),
    st.decimals(),
    st.datetimes(),
    st.uuids(),
    st.complex_numbers(),
    st.integers().map(lambda n: n * 2**70),
    st.builds(Text, TEXTS),
    st.just(Number.ONE),
    st.builds(Explodes, st.sampled_from([ValueError, KeyError, RecursionError, MemoryError])),
    st.builds(ValueError, TEXTS),
    st.builds(datetime.timedelta, st.integers(0, 1000)),
    st.builds(decimal.Decimal, st.integers()),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, LONG_TEXTS)
KEYS = st.one_of(TEXTS, st.integers(-3, 3), st.none(), st.booleans(), st.binary(max_size=3), TEXTS.map(Text))
VALUES = st.recursive(
    st.one_of(SCALARS, ODD),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=5),
        st.frozensets(st.one_of(st.integers(), TEXTS), max_size=4),
    ),
    max_leaves=20,
)
FIELDS = st.dictionaries(KEYS, VALUES, max_size=8)


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is made of exact plain types only, and not too deep."""
    if type(value) is list:
        return depth < MAX_DEPTH and all(is_plain(item, depth + 1) for item in value)
    if type(value) is dict:
        return depth < MAX_DEPTH and all(type(key) is str and is_plain(item, depth + 1) for key, item in value.items())
    return value is None or (type(value) is int and -(2**63) <= value < 2**64) or type(value) in (bool, float, str)


def count_nodes(value: Any) -> int:
    """How many values there are in a nested one, itself included."""
    items = value.values() if type(value) is dict else value if type(value) is list else ()
    return 1 + sum(map(count_nodes, items))


@given(FIELDS)
def test_every_field_comes_out_plain_and_none_is_lost(fields: dict[Any, Any]) -> None:
    """Scalars and nested values are exact plain types, disjoint in name, as many as went in, and packable."""
    scalars, nested, size = split_extra(fields.items())
    scalars, nested = scalars or {}, nested or {}
    assert is_plain(scalars)
    assert all(is_plain(value) for value in nested.values())
    assert all(type(value) in (list, dict) for value in nested.values())
    assert not scalars.keys() & nested.keys()
    assert len(scalars) + len(nested) == len(fields)
    assert all(len(value) <= MAX_TEXT_CHARS for value in scalars.values() if type(value) is str)
    assert sum(map(count_nodes, nested.values())) <= 2 * MAX_NODES
    assert size >= FIELD_BYTES * len(fields)
    msgpack.packb(repair([scalars, nested]))


@given(FIELDS)
def test_the_size_covers_the_text(fields: dict[Any, Any]) -> None:
    """The estimate is never below what the values take packed, so the limit of the buffer holds."""
    scalars, nested, size = split_extra(fields.items())
    keys = sum(4 * len(key) for key in scalars or {}) + sum(4 * len(key) for key in nested or {})
    assert size + keys + 8 >= len(msgpack.packb(repair([scalars, nested])))


@given(FIELDS)
def test_plain_fields_stay_what_they_are(fields: dict[Any, Any]) -> None:
    """What came out once goes through a second time unchanged."""
    scalars, nested, _ = split_extra(fields.items())
    again = split_extra([*(scalars or {}).items(), *(nested or {}).items()])
    assert repr(again[:2]) == repr((scalars, nested))


@given(st.one_of(TEXTS, VALUES), st.one_of(st.lists(VALUES, max_size=4).map(tuple), FIELDS, VALUES))
def test_a_message_is_always_a_bounded_string(msg: Any, args: Any) -> None:
    """Any template with any arguments gives a string, the one that logging gives where logging gives one."""
    text = safe_message(msg, args)
    assert type(text) is str
    assert len(text) <= MAX_MESSAGE_CHARS
    try:
        expected = str(msg) % args if args else str(msg)
    except Exception:
        return
    if len(expected) <= MAX_MESSAGE_CHARS:
        assert text == expected


@given(VALUES)
def test_repaired_values_pack_and_others_stay(value: Any) -> None:
    """Repair gives what msgpack takes; what it took before comes out equal."""
    repaired = repair(value)
    packed = msgpack.packb(repaired)
    if is_plain(value):
        try:
            before = msgpack.packb(value)
        except UnicodeEncodeError:
            return
        assert packed == before


@given(LONG_TEXTS, st.integers(33, 5000))
def test_a_cut_text_is_short_enough_and_starts_as_it_did(text: str, limit: int) -> None:
    """Nothing is cut that fits; what is cut says exactly how much."""
    short = cut(text, limit)
    assert len(short) <= limit
    if len(text) <= limit:
        assert short == text
    else:
        kept, _, mark = short.rpartition("…[truncated ")
        assert text.startswith(kept)
        assert mark == f"{len(text) - len(kept)} chars]"


@given(VALUES, st.integers(33, 300))
def test_any_value_has_text_of_the_length_asked_for(value: Any, limit: int) -> None:
    """The limit holds for every kind of value but the placeholder of one that fails, which is short by itself."""
    text = text_of(value, limit)
    assert type(text) is str
    assert len(text) <= limit or " failed: " in text


EXCEPTIONS = st.recursive(
    st.none(),
    lambda inner: st.builds(
        lambda kind, message, lines, cause, context, member: [
            kind,
            message,
            lines,
            cause,
            context,
            [member] if member else [],
        ],
        TEXTS,
        LONG_TEXTS,
        st.lists(TEXTS, max_size=80),
        inner,
        inner,
        inner,
    ),
    max_leaves=6,
)


@settings(max_examples=60)
@given(LONG_TEXTS, FIELDS, EXCEPTIONS, st.integers(MIN_RECORD_BYTES, 20_000))
def test_a_shrunk_record_fits(message: str, fields: dict[Any, Any], exception: Any, limit: int) -> None:
    """Every record fits every limit, keeps its place and shape, and says so if it has lost something."""
    scalars, nested, _ = split_extra(fields.items())
    record = repair([1, 2, 3, message, scalars, nested, exception])
    shrunk = shrink(record, limit)
    assert len(msgpack.packb(shrunk)) <= limit
    assert len(shrunk) == 7
    assert shrunk[:3] == [1, 2, 3]
    if len(msgpack.packb(record)) > limit:
        assert shrunk[4][TRUNCATED] is True
        assert (shrunk[6] is None) == (exception is None)
    else:
        assert msgpack.packb(shrunk) == msgpack.packb(record)
