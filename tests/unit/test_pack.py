"""Entries into frames: whatever was logged becomes a payload that the collector's own decoder takes.

Each test is run with the packer of the buffer in Python and with that of the compiled one.
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from logbus.collectors.decode import Batch, decode
from logbus.counters import Counters, Meta
from logbus.levels import bucket_of
from logbus.producers.buffer import Entry
from logbus.producers.exception import describe
from logbus.producers.pack import FRAME_RECORDS, MAX_PAYLOAD_BYTES, Packed, microseconds
from logbus.producers.sanitise import TRUNCATED
from logbus.wire import DATA, SCHEMA, Header
from tests.forms import FORMS, buffer_type, packer_type

META = Meta("host", 4711, "worker-1", "app", 1)
SITE = ("proxywhirl.rotator", 20, "INFO", "sync", "select", 12)
DROP = [0, 1, 37, 1_000_000, 2_000_000]

_tickets = itertools.count()


class Form:
    """Which of the two packers is used."""

    name = "python"


@pytest.fixture(params=FORMS, autouse=True)
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    """Has the tests of this file use one packer, then the other."""
    Form.name = request.param
    yield request.param
    Form.name = "python"


def entry(
    message: str = "m",
    *,
    site: tuple[Any, ...] = SITE,
    created: Any = 1.5,
    thread: Any = "MainThread",
    extra: dict[str, Any] | None = None,
    nested: dict[str, Any] | None = None,
    exception: Any = None,
) -> Entry:
    """An entry as the buffer hands it over."""
    return (next(_tickets), 300, created, site, thread, message, extra, nested, exception)


def taken(entries: list[Entry]) -> Any:
    """Entries as the buffer of this form hands them over."""
    if Form.name == "python":
        return entries
    buffer = buffer_type(Form.name)(100_000, 1 << 40, "drop_newest", Counters(Path("/nowhere"), bytes(16), META))
    for _, size, *rest in entries:
        buffer.put(*rest, size)
    return buffer.take(len(entries), 1 << 40)


def pack(*entries: Entry, drops: list[list[int]] | None = None, component: str = "") -> list[Packed]:
    """The frames of some entries, by a packer of their own."""
    frames = packer_type(Form.name)(META, component).pack(taken([*entries]), drops or [])
    assert sum(packed.size for packed in frames) == sum(made[1] for made in entries)
    assert sum(packed.records + len(packed.unencodable) for packed in frames) == len(entries)
    tickets = [packed.last for packed in frames if packed.records or packed.unencodable]
    assert tickets == sorted(set(tickets))
    levels = [sum(counts) for counts in zip(*[packed.levels() for packed in frames], strict=True)]
    assert levels == [sum(bucket_of(made[3][1]) == bucket for made in entries) for bucket in range(6)]
    return frames


def read(packed: Packed) -> Batch:
    """What the collector makes of a payload."""
    assert 0 < len(packed.payload) <= MAX_PAYLOAD_BYTES
    return decode(Header(DATA, 0, SCHEMA, bytes(16), 0, packed.records), packed.payload)


def read_one(made: Entry, component: str = "") -> Batch:
    """What the collector makes of a single entry."""
    [packed] = pack(made, component=component)
    assert packed.unencodable == []
    return read(packed)


def test_a_batch_is_one_frame_with_its_tables() -> None:
    """Call sites and threads stand in the frame once, however many records refer to them."""
    other = ("httpx", 30, "WARNING", "client", "get", 3)
    entries = [entry("a"), entry("b", site=other, thread="t2"), entry("c", extra={"k": 1}, nested={"n": [None]})]
    [packed] = pack(*entries, drops=[DROP])
    assert packed.records == 3
    batch = read(packed)
    assert [site.logger for site in batch.sites] == ["proxywhirl.rotator", "httpx"]
    assert [site.component for site in batch.sites] == ["rotator", "httpx"]
    assert batch.threads == ["MainThread", "t2"]
    assert [(r.message, r.site, r.thread, r.time_us) for r in batch.records] == [
        ("a", 0, 0, 1_500_000),
        ("b", 1, 1, 1_500_000),
        ("c", 0, 0, 1_500_000),
    ]
    assert (batch.records[2].extra, batch.records[2].nested) == ({"k": 1}, {"n": [None]})
    [drop] = batch.drops
    assert [drop.reason, drop.bucket, drop.count, drop.first_us, drop.last_us] == DROP


def test_the_source_is_the_producer() -> None:
    """Each frame says whose it is."""
    source = read_one(entry()).source
    assert [source.host, source.pid, source.worker, source.app_name] == META.source()


def test_drops_travel_without_records_too() -> None:
    """A flood of which nothing is left is reported all the same."""
    [packed] = pack(drops=[DROP])
    batch = read(packed)
    assert batch.records == []
    assert batch.drops[0].count == 37


@pytest.mark.parametrize("logger", ["root", "__main__"])
def test_a_logger_without_a_component_has_the_configured_one(logger: str) -> None:
    """The component that was configured names those loggers, and no other."""
    assert read_one(entry(site=(logger, *SITE[1:])), "billing").sites[0].component == "billing"
    assert read_one(entry(site=(logger, *SITE[1:]))).sites[0].component == logger
    assert read_one(entry(), "billing").sites[0].component == "rotator"


def test_an_exception_travels_with_its_lines() -> None:
    """The description made at the call is finished here."""
    try:
        raise ValueError("no proxy")
    except ValueError as error:
        described = describe(error)
    raised = read_one(entry(exception=described)).records[0].exception
    assert raised is not None
    assert (raised.type, raised.message) == ("ValueError", "no proxy")
    assert f"line {sys._getframe().f_lineno - 6}, in test_an_exception_travels" in raised.traceback[-1]


def test_one_odd_record_does_not_cost_its_neighbours_their_frame() -> None:
    """A record that can't be packed as it is goes by itself, repaired; none of the batch is lost."""
    entries = [entry("before"), entry("\ud800 surrogate", extra={"\udfff": "\ud800"}), entry("after")]
    frames = pack(*entries, drops=[DROP])
    batches = [read(packed) for packed in frames]
    records = [record for batch in batches for record in batch.records]
    assert [record.message for record in records] == ["before", "\\ud800 surrogate", "after"]
    assert records[1].extra == {"\\udfff": "\\ud800"}
    assert [len(batch.drops) for batch in batches] == [1] + [0] * (len(batches) - 1)


ODD: list[Any] = [None, 5, 1.5, True, [], {}, ["x"], object(), "\ud800", "x" * 300_000, b"x", 2**70, -(2**70), math.nan]


# The handler sees to it that a level, the second part of a site, is an integer.
@pytest.mark.parametrize(
    ("at", "value"),
    [(at, value) for at in range(6) for value in ODD if at != 1 or type(value) is int],
    ids=lambda value: repr(value)[:20],
)
def test_a_site_of_any_kind_becomes_one(at: int, value: Any) -> None:
    """A record made by hand may have anything for a logger, a level's name, a function or a line."""
    site = (*SITE[:at], value, *SITE[at + 1 :])
    found = read_one(entry(site=site)).sites[0]
    assert found.logger
    for length in (found.logger, found.level_name, found.module, found.function, found.component):
        assert len(length) <= 1024
    kept = [found.logger, found.level_no, found.level_name, found.module, found.function, found.line]
    assert [kept[n] for n in range(6) if n != at] == [SITE[n] for n in range(6) if n != at]


@pytest.mark.parametrize("value", ODD, ids=lambda value: repr(value)[:20])
def test_a_thread_of_any_kind_has_a_name(value: Any) -> None:
    """Whatever a record says of its thread is text of bounded length."""
    [name] = read_one(entry(thread=value)).threads
    assert len(name) <= 1024


@pytest.mark.parametrize("created", [math.nan, math.inf, -math.inf, 1e300, -1e300, 2.0**63, 1.7e15, 9223372036854.7])
def test_a_time_that_is_none_becomes_the_present(created: float) -> None:
    """A record is never refused for its time."""
    before = time.time_ns() // 1000
    found = read_one(entry(created=created)).records[0].time_us
    assert before - 1 <= found <= time.time_ns() // 1000 + 1
    assert before - 1 <= microseconds(created) <= time.time_ns() // 1000 + 1


@pytest.mark.parametrize("created", [0.0, -1.5, 1_700_000_000.123456, 9e12, 9.2e12])
def test_a_time_is_kept_to_the_microsecond(created: float) -> None:
    """Whatever is a time stays what it was."""
    assert read_one(entry(created=created)).records[0].time_us == microseconds(created) == int(created * 1_000_000)


def test_a_record_larger_than_a_frame_is_cut_and_marked() -> None:
    """The producer makes it fit, since one oversized message would cost the whole connection."""
    record = read_one(entry("x" * 400_000, extra={"request_id": "abc", "huge": "y" * 400_000})).records[0]
    assert record.message.startswith("xxx")
    assert record.extra is not None
    assert record.extra["request_id"] == "abc"
    assert record.extra[TRUNCATED] is True


def test_a_giant_record_from_a_giant_place_is_cut_too() -> None:
    """The names around a record have room beside the longest record there is."""
    wide = "𐍈" * 5000
    made = entry("𐍈" * 400_000, site=(wide, 20, wide, wide, wide, 1), thread=wide)
    assert read_one(made).records[0].extra == {TRUNCATED: True}


@pytest.mark.parametrize("character", ["x", "𐍈", "\ud800"])
def test_names_of_any_characters_leave_a_frame_its_size(character: str) -> None:
    """However large records are, from places with the longest names, a collector takes each of their frames."""
    name = character * 1024
    sizes = [0, 190_000, 60_000, 100_000, 196_000, 200_000, 213_000, 220_000, 229_000, 230_000, 260_000]

    def made(size: int) -> Entry:
        return entry("x" * size, site=(name, 20, name, name, name, size), thread=name[:-1] + str(size))

    for at, size in enumerate(sizes):
        read_one(made(size))
        frames = pack(*map(made, sizes[at:] + sizes[:at]))
        assert sum(len(read(packed).records) for packed in frames) == len(sizes)


def test_a_batch_larger_than_a_frame_becomes_several() -> None:
    """Estimates may be wrong: what is too much for one frame is split, in order, and drops go with the first."""
    entries = [entry(f"{number}" + "x" * 10_000) for number in range(100)]
    frames = pack(*entries, drops=[DROP])
    assert len(frames) > 3
    batches = [read(packed) for packed in frames]
    assert [len(batch.drops) for batch in batches] == [1] + [0] * (len(frames) - 1)
    assert [r.message for b in batches for r in b.records] == [made[5] for made in entries]


def test_what_nothing_helps_is_counted_and_costs_nobody_else() -> None:
    """An entry that can't be encoded is named by its level; those around it and the drops arrive."""
    broken = entry(exception="not described", site=(*SITE[:1], 40, *SITE[2:]))
    frames = pack(broken, entry("after"), drops=[DROP])
    assert [bucket for packed in frames for bucket in packed.unencodable] == [4]
    [sent] = [packed for packed in frames if packed.payload]
    assert [record.message for record in read(sent).records] == ["after"]
    assert len(read(sent).drops) == 1
    alone = pack(broken, drops=[DROP])
    assert [bucket for packed in alone for bucket in packed.unencodable] == [4]
    [sent] = [packed for packed in alone if packed.payload]
    assert read(sent).records == []
    assert len(read(sent).drops) == 1


def test_a_frame_of_nothing_is_none() -> None:
    """Where no record can be encoded, and no drop is to be told, there is nothing to send."""
    [packed] = pack(entry(exception="not described"))
    assert (packed.payload, packed.records, packed.unencodable) == (b"", 0, [2])


def test_many_sites_are_remembered_and_forgotten_again() -> None:
    """The rows of call sites are kept from frame to frame, and not without bounds."""
    packer = packer_type(Form.name)(META, "")
    for start in range(0, 20_000, FRAME_RECORDS):
        entries = [entry(site=(f"l{number}", *SITE[1:])) for number in range(start, start + FRAME_RECORDS)]
        frames = packer.pack(taken(entries), [])
        assert [site.logger for packed in frames for site in read(packed).sites] == [made[3][0] for made in entries]
    assert len(packer._site_rows) <= 8192
