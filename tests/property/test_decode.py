from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given, strategies as st

from logbus import wire
from logbus.collectors.decode import Batch, decode
from logbus.collectors.format import JsonFormat, TextFormat, lines
from logbus.errors import WireError
from tests.property.batches import batch_of, header, payload_of, payloads


def _decoded(payload: bytes, count: int) -> Batch | None:
    reason = ""
    try:
        return decode(header(count), payload)
    except WireError as error:
        reason = error.reason
    assert reason in ("payload", "count", "limits")
    return None


def _check_usable(batch: Batch | None) -> None:
    if batch is not None:
        for encode in (JsonFormat().encode, TextFormat().encode):
            assert len(lines(encode(batch))) == len(batch.records)


@given(payloads())
def test_a_payload_decodes_to_what_was_packed(payload: list[Any]) -> None:
    """Packing, decoding and taking the structs apart again gives the same plain objects."""
    batch = batch_of(payload)
    parts = (batch.source, batch.sites, batch.threads, batch.records, batch.drops)
    assert wire.unpack_payload(msgspec.msgpack.encode(parts)) == payload


@given(payloads(), st.data())
def test_a_damaged_payload_is_refused_or_decoded(payload: list[Any], data: st.DataObject) -> None:
    """Any flipped byte and any truncation gives a WireError or a batch that every format can write."""
    packed = wire.pack_payload(payload)
    at = data.draw(st.integers(0, len(packed) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytes((*packed[:at], packed[at] ^ flip, *packed[at + 1 :]))
    _check_usable(_decoded(damaged, len(payload[3])))
    assert _decoded(packed[:at], len(payload[3])) is None


def test_every_single_damage_of_one_payload() -> None:
    """Each truncation of a full record is refused; each byte, changed in three ways, harms nothing."""
    raised: list[Any] = ["E", "bad", ["line"], ["K", "k", [], None, None, []], None, []]
    packed = wire.pack_payload(
        payload_of([10**15, 0, 0, "message", {"k": 1.5, "s": "t"}, {"n": [1, {"a": None}]}, raised])
    )
    for at in range(len(packed)):
        assert _decoded(packed[:at], 1) is None
        for flip in (0x01, 0x80, 0xFF):
            _check_usable(_decoded(bytes((*packed[:at], packed[at] ^ flip, *packed[at + 1 :])), 1))


@given(st.binary(max_size=200), st.integers(0, 3))
def test_noise_is_refused_or_decoded(noise: bytes, count: int) -> None:
    """Random bytes never raise anything but WireError."""
    _check_usable(_decoded(noise, count))
