from __future__ import annotations

from typing import Any

import msgpack
import pytest

from logbus import wire
from logbus.collectors.decode import (
    MAX_DEPTH,
    MAX_NODES,
    MAX_REPEATED_CHARS,
    Batch,
    Raised,
    Record,
    Site,
    Source,
    build,
    decode,
)
from logbus.errors import WireError
from tests.property.batches import PRODUCER, batch_of, header, payload_of

PLAIN = [1_000_000, 0, 0, "hello", None, None, None]


def _refused(payload: Any, *, count: int = 1) -> str:
    packed = payload if isinstance(payload, bytes) else msgpack.packb(payload, use_bin_type=True, datetime=True)
    with pytest.raises(WireError) as caught:
        decode(header(count), packed)
    return caught.value.reason


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {"leaf": 1}
    for _ in range(depth - 1):
        value = {"inner": value}
    return value


def _chained(depth: int) -> list[Any]:
    raised: list[Any] = ["E", "m", [], None, None, []]
    for _ in range(depth - 1):
        raised = ["E", "m", [], raised, None, []]
    return raised


def test_every_field_arrives() -> None:
    """Each field of the wire stands in the batch, under its name."""
    raised: list[Any] = ["ValueError", "bad", ["line"], ["KeyError", "k", [], None, None, []], None, []]
    payload = payload_of([5, 0, 1, "hi", {"n": 1, "ok": True, "x": None, "f": 1.5}, {"list": [1, {"a": "b"}]}, raised])
    payload[2] = ["main", "other"]
    payload[4] = [[0, 1, 37, 10, 20]]
    batch = batch_of(payload)
    assert (batch.producer, batch.first_seq) == (PRODUCER, 7)
    assert batch.source == Source("host", 42, "worker-1", "app")
    assert batch.sites == [Site("app.db", 20, "INFO", "db", "query", 7, "app")]
    assert batch.threads == ["main", "other"]
    cause = Raised("KeyError", "k", [], None, None, [])
    assert batch.records == [
        Record(
            5,
            0,
            1,
            "hi",
            {"n": 1, "ok": True, "x": None, "f": 1.5},
            {"list": [1, {"a": "b"}]},
            Raised("ValueError", "bad", ["line"], cause, None, []),
        )
    ]
    [drop] = batch.drops
    assert (drop.reason, drop.bucket, drop.count, drop.first_us, drop.last_us) == (0, 1, 37, 10, 20)


def test_a_view_of_a_frame_is_decoded_without_a_copy() -> None:
    """What ``unpack_frame`` returns is decoded as it is."""
    frame = wire.pack_frame(wire.DATA, PRODUCER, 3, 1, wire.pack_payload(payload_of(PLAIN)))
    batch = decode(*wire.unpack_frame(frame))
    assert [record.message for record in batch.records] == ["hello"]


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"bytes", id="bytes"),
        pytest.param([1], id="list"),
        pytest.param({"a": 1}, id="map"),
        pytest.param(msgpack.ExtType(5, b"x"), id="ext"),
        pytest.param(msgpack.Timestamp(2**40, 0), id="timestamp"),
    ],
)
def test_extra_holds_scalars_only(value: object) -> None:
    """Bytes, containers, ext types and timestamps among the scalars refuse the frame."""
    assert _refused(payload_of([0, 0, 0, "m", {"k": value}, None, None])) == "payload"


@pytest.mark.parametrize("value", [b"bytes", msgpack.ExtType(5, b"x"), msgpack.Timestamp(2**40, 0), {1: 2}, {b"k": 2}])
def test_nested_values_are_what_json_can_hold(value: object) -> None:
    """Bytes, ext types, timestamps and keys that are no text refuse the frame, at any depth."""
    assert _refused(payload_of([0, 0, 0, "m", None, {"k": [[value]]}, None])) == "payload"


def test_nested_values_have_a_depth() -> None:
    """Sixteen levels of containers pass and seventeen don't."""
    assert batch_of(payload_of([0, 0, 0, "m", None, _nested(MAX_DEPTH), None])).records[0].nested == _nested(MAX_DEPTH)
    assert _refused(payload_of([0, 0, 0, "m", None, _nested(MAX_DEPTH + 1), None])) == "limits"


def test_nested_values_have_a_size() -> None:
    """A thousand and twenty-four nodes pass and one more doesn't, in one list or in many."""
    assert batch_of(payload_of([0, 0, 0, "m", None, {"k": [0] * (MAX_NODES - 1)}, None])).records
    assert _refused(payload_of([0, 0, 0, "m", None, {"k": [0] * MAX_NODES}, None])) == "limits"
    assert _refused(payload_of([0, 0, 0, "m", None, {"k": [[]] * MAX_NODES}, None])) == "limits"


def test_exceptions_have_a_depth_and_a_size() -> None:
    """Sixteen chained exceptions pass, seventeen or a group of thousands don't."""
    assert batch_of(payload_of([0, 0, 0, "m", None, None, _chained(MAX_DEPTH)])).records
    assert _refused(payload_of([0, 0, 0, "m", None, None, _chained(MAX_DEPTH + 1)])) == "limits"
    group: list[Any] = ["G", "m", [], None, None, [["E", "m", [], None, None, []]] * MAX_NODES]
    assert _refused(payload_of([0, 0, 0, "m", None, None, group])) == "limits"


def test_endless_nesting_is_a_refused_frame() -> None:
    """A hundred thousand brackets end neither the interpreter nor the collector, wherever they stand."""
    brackets = b"\x91" * 100_000 + b"\x90"
    assert _refused(brackets) == "payload"
    around = msgpack.packb(payload_of([0, 0, 0, "m", None, {"k": "HERE"}, None]))
    assert _refused(around.replace(b"\xa4HERE", brackets)) == "payload"


def test_the_header_counts_the_records() -> None:
    """A payload with another number of records than its header says is refused."""
    assert _refused(payload_of(PLAIN), count=2) == "count"
    assert _refused(payload_of(PLAIN, PLAIN), count=1) == "count"


def test_indices_point_into_the_tables() -> None:
    """A record of a site or a thread that the payload does not have is refused."""
    assert _refused(payload_of([0, 1, 0, "m", None, None, None])) == "limits"
    assert _refused(payload_of([0, 0, 1, "m", None, None, None])) == "limits"
    assert _refused(payload_of([0, -1, 0, "m", None, None, None])) == "payload"


def test_tables_have_a_size() -> None:
    """More than 4,096 threads or sites are refused."""
    assert _refused(payload_of(PLAIN, threads=["t"] * 4097)) == "limits"
    payload = payload_of(PLAIN)
    payload[1] *= 4097
    assert _refused(payload) == "limits"


def test_drops_are_as_many_as_there_are_kinds() -> None:
    """A frame reports one drop for each reason and bucket at most, since each becomes a record of the collector."""
    payload = payload_of(PLAIN)
    payload[4] = [[0, 0, 1, 0, 0]] * 18
    assert len(batch_of(payload).drops) == 18
    payload[4] = [[0, 0, 1, 0, 0]] * 19
    assert _refused(payload) == "limits"


@pytest.mark.parametrize("drop", [[3, 0, 1, 0, 0], [0, 6, 1, 0, 0], [0, 0, -1, 0, 0], [0, 0, 1, 0]])
def test_drops_name_a_reason_of_the_producer_and_a_bucket(drop: list[int]) -> None:
    """A drop with a reason that is the collector's to book, or out of bounds, refuses the frame."""
    payload = payload_of(PLAIN)
    payload[4] = [drop]
    assert _refused(payload) == "payload"


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xc1", id="reserved byte"),
        pytest.param(msgpack.packb(payload_of(PLAIN)) + b"\0", id="trailing byte"),
        pytest.param(b"\xdd\xff\xff\xff\xff", id="four billion elements"),
        pytest.param(msgpack.packb(payload_of(PLAIN)).replace(b"hello", b"\xff\xfe\xfd\xfc\xfb"), id="no UTF-8"),
        pytest.param({"a": 1}, id="map"),
        pytest.param([*payload_of(PLAIN), []], id="sixth field"),
        pytest.param(payload_of([*PLAIN, 1]), id="eighth field of a record"),
        pytest.param(payload_of([2**63, *PLAIN[1:]]), id="time beyond 64 bits"),
        pytest.param(payload_of(["0", *PLAIN[1:]]), id="time as text"),
    ],
)
def test_other_payloads_are_refused(payload: Any) -> None:
    """What is not exactly the payload of the wire is one WireError."""
    assert _refused(payload) == "payload"


def test_what_json_has_no_number_for_becomes_text() -> None:
    """NaN and the infinities arrive as texts, among scalars and nested; finite neighbours stay numbers."""
    nan, inf = float("nan"), float("inf")
    extra = {"a": nan, "b": inf, "c": -inf, "d": 1e308, "e": 3, "f": True}
    [record, other] = batch_of(
        payload_of([0, 0, 0, "m", extra, {"k": [nan, {"x": -inf}, 0.5]}, None], [1, 0, 0, "n", None, None, None])
    ).records
    assert record.extra == {"a": "NaN", "b": "Infinity", "c": "-Infinity", "d": 1e308, "e": 3, "f": True}
    assert record.nested == {"k": ["NaN", {"x": "-Infinity"}, 0.5]}
    assert other == Record(1, 0, 0, "n")


def _made(*records: Record) -> Batch:
    site = Site("logbus", 30, "WARNING", "m", "f", 1, "logbus")
    return build(Source("h", 1, "logbus", "logbus"), [site], ["t"], list(records), producer=PRODUCER, first_seq=9)


def test_a_batch_is_built_in_process() -> None:
    """The collector's own records become a batch that shares nothing with what it was built from."""
    extra: dict[str, Any] = {"count": 37, "ratio": float("nan")}
    batch = _made(Record(1, 0, 0, "37 records dropped", extra))
    assert (batch.producer, batch.first_seq, batch.drops) == (PRODUCER, 9, [])
    assert batch.records == [Record(1, 0, 0, "37 records dropped", {"count": 37, "ratio": "NaN"})]
    assert batch.records[0].extra is not extra


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (Record(1, 1, 0, "m"), "limits"),
        (Record(1, 0, 0, "\ud800"), "payload"),
        (Record(1, 0, 0, "m", None, {"k": object()}), "payload"),
    ],
)
def test_a_batch_built_in_process_has_the_same_limits(record: Record, reason: str) -> None:
    """What a frame may not hold, a batch of our own may not either."""
    with pytest.raises(WireError) as caught:
        _made(record)
    assert caught.value.reason == reason


@pytest.mark.parametrize("place", ["worker", "logger", "thread"])
def test_names_are_not_repeated_without_limit(place: str) -> None:
    """A long name before many small records is refused: each line repeats it, and 200 kB would become gigabytes."""
    records = 4000
    long = "x" * (MAX_REPEATED_CHARS // records + 1)
    payload = payload_of(*[[1, 0, 0, "hi"] for _ in range(records)])
    payload[0][2], payload[1][0][0], payload[2][0] = (
        long if name == place else "short" for name in ("worker", "logger", "thread")
    )
    assert _refused(payload, count=records) == "limits"
    payload[3] = payload[3][:10]
    assert len(batch_of(payload).records) == 10
