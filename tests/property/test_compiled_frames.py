"""What the compiled buffer and packer make of records: byte for byte what msgpack makes, frame for frame the same."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgpack
from hypothesis import given, strategies as st

from logbus.collectors.decode import decode
from logbus.counters import Counters, Meta
from logbus.producers.buffer import Entry
from logbus.producers.pack import CompiledPacker, Packed, Packer
from logbus.wire import DATA, SCHEMA, Header
from tests.forms import buffer_type, needs_compiled

pytestmark = needs_compiled

META = Meta("host", 4711, "worker-1", "app", 1)


class Text(str):
    """A subclass: its text is not what the buffer may take as it is."""

    __slots__ = ()


TEXTS = st.text(max_size=12) | st.sampled_from(["", "x" * 31, "x" * 32, "ü" * 140, "x" * 300, "𐍈" * 70])
#: The last is beyond what a log call writes itself, and far below what is cut.
MESSAGES = TEXTS | st.sampled_from(["x" * 66_000])
ODD_TEXTS = st.sampled_from(["\ud800", "a\udfff", Text("sub")])
INTS = st.integers(-40, 300) | st.integers(-(2**63) - 2, 2**64 + 2) | st.sampled_from([2**15, 2**16, 2**31, 2**32])
SCALARS = st.none() | st.booleans() | INTS | st.floats() | TEXTS
#: Longer ones are cut by the packer in Python, wherever one record of a batch is odd.
KEYS = st.text(max_size=12) | st.sampled_from(["x" * 31, "x" * 32, "ü" * 127])
FIELDS = st.dictionaries(KEYS | ODD_TEXTS, SCALARS | ODD_TEXTS, max_size=6) | st.just(
    {f"k{at}": at for at in range(16)}
)
TREES = st.recursive(
    SCALARS | ODD_TEXTS,
    lambda inner: st.lists(inner, max_size=17) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=18,
)
NESTED = st.dictionaries(st.text(max_size=5), TREES, max_size=4)


def written(*parts: Any) -> bytes:
    """Values as msgpack has them, one after the other."""
    return b"".join(msgpack.packb(part, use_bin_type=True, strict_types=True) for part in parts)


def put(entries: list[Entry]) -> Any:
    """What a compiled buffer hands over of these."""
    buffer = buffer_type("compiled")(1000, 1 << 40, "drop_newest", Counters(Path("/nowhere"), bytes(16), META))
    for _, size, *rest in entries:
        buffer.put(*rest, size)
    return buffer.take(1000, 1 << 40)


@given(message=MESSAGES | ODD_TEXTS, extra=st.none() | FIELDS, nested=st.none() | NESTED)
def test_a_record_is_written_as_msgpack_writes_it(message: str, extra: Any, nested: Any) -> None:
    """Values that travel as they are become the same bytes; all others are left to the sender, untouched."""
    [(*_, found)] = put([(0, 100, 1.0, ("l", 20, "INFO", "m", "f", 1), "t", message, extra, nested, None)]).entries()
    try:
        expected: Any = written(message, extra, nested, None)
    except (TypeError, OverflowError, UnicodeEncodeError, ValueError):
        expected = None
    if expected is None or len(expected) > 64 * 1024:
        assert found[0] is message
        assert found[1] is extra
        assert found[2] is nested
        assert found[3] is None
    else:
        assert found == expected


NAMES = TEXTS | st.sampled_from([None, 5, 2.5, b"x", "\ud800", Text("sub"), ["unhashable"]])
SITES = st.tuples(NAMES, st.sampled_from([0, 10, 20, 35, 50, -5, 10**12, True]), NAMES, NAMES, NAMES, INTS | NAMES)
TIMES = st.floats() | st.integers(0, 10**10).map(float) | st.sampled_from([math.nan, 1e300, -1.5])
ENTRIES = st.tuples(
    st.just(0),
    st.integers(1, 1000),
    TIMES,
    SITES | st.sampled_from([("a.b", 20, "INFO", "m", "f", 1), ("c", 30, "WARNING", "m", "f", 2)]),
    st.sampled_from(["MainThread", "other"]) | NAMES,
    MESSAGES | ODD_TEXTS,
    st.none() | FIELDS,
    st.none() | NESTED,
    st.sampled_from([None, None, None, "not described"]),
)


def told(frames: list[Packed]) -> tuple[list[Any], list[int]]:
    """All that a collector learns from some frames, and what the producer counts; no time that was made up."""
    records: list[Any] = []
    buckets: list[int] = []
    for packed in frames:
        buckets += packed.unencodable
        if packed.payload:
            batch = decode(Header(DATA, 0, SCHEMA, bytes(16), 0, packed.records), packed.payload)
            for record in batch.records:
                site, thread = batch.sites[record.site], batch.threads[record.thread]
                records.append((record.time_us, site, thread, repr((record.message, record.extra, record.nested))))
    return records, sorted(buckets)


@given(st.lists(ENTRIES, max_size=8))
def test_frames_say_the_same_whoever_packs_them(entries: list[Entry]) -> None:
    """A batch of any records: the collector reads the same from both packers, and the same can't be encoded."""
    entries = [(at, *rest) for at, (_, *rest) in enumerate(entries)]
    records, buckets = told(Packer(META, "own").pack(entries, []))
    compiled, compiled_buckets = told(CompiledPacker(META, "own").pack(put(entries), []))
    times = [record[0] for record in records]
    assert compiled_buckets == buckets
    assert [record[1:] for record in compiled] == [record[1:] for record in records]
    # A time that is none becomes the present, which is later for the second of them.
    assert all(abs(own[0] - time) < 60_000_000 for own, time in zip(compiled, times, strict=True))
