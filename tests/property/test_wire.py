"""Any frame comes back as it was, and no damage to one is taken for a frame."""

from __future__ import annotations

import contextlib

from hypothesis import given, strategies as st

from logbus import wire
from logbus.errors import WireError

PAYLOADS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
FRAMES = st.builds(
    wire.pack_frame,
    st.just(wire.DATA),
    st.binary(min_size=16, max_size=16),
    st.integers(0, 2**62),
    st.integers(0, wire.MAX_FRAME_RECORDS),
    st.binary(max_size=200),
    flags=st.integers(0, 255),
)


def is_refused(frame: bytes) -> bool:
    """Whether a frame is refused; anything but a WireError comes out."""
    try:
        wire.unpack_frame(frame)
    except WireError as error:
        return error.reason in ("oversized", "truncated", "magic", "checksum", "schema", "type", "count")
    return False


@given(PAYLOADS)
def test_a_payload_comes_back(payload: object) -> None:
    """Whatever the wire can hold survives the way."""
    assert wire.unpack_payload(wire.pack_payload(payload)) == payload


@given(
    producer=st.binary(min_size=16, max_size=16),
    first_seq=st.integers(0, 2**62),
    count=st.integers(0, wire.MAX_FRAME_RECORDS),
    payload=st.binary(max_size=1000),
    flags=st.integers(0, 255),
)
def test_a_frame_comes_back(producer: bytes, first_seq: int, count: int, payload: bytes, flags: int) -> None:
    """Every field of the header and the payload survive the way."""
    frame = wire.pack_frame(wire.DATA, producer, first_seq, count, payload, flags=flags)
    header, found = wire.unpack_frame(frame)
    assert header == wire.Header(wire.DATA, flags, wire.SCHEMA, producer, first_seq, count)
    assert bytes(found) == payload


@given(frame=FRAMES, at=st.floats(0, 1, exclude_max=True))
def test_a_truncated_frame_is_refused(frame: bytes, at: float) -> None:
    """Wherever a frame is cut off, what is left is none."""
    assert is_refused(frame[: int(at * len(frame))])


@given(frame=FRAMES, at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_flipped_byte_is_refused(frame: bytes, at: float, flip: int) -> None:
    """Whichever byte is changed, and how, it is noticed."""
    where = int(at * len(frame))
    assert is_refused(frame[:where] + bytes([frame[where] ^ flip]) + frame[where + 1 :])


@given(frame=FRAMES, other=FRAMES, at=st.floats(0, 1))
def test_a_splice_of_two_frames_is_refused(frame: bytes, other: bytes, at: float) -> None:
    """The start of one frame and the end of another are a frame only if they are one of the two."""
    spliced = frame[: int(at * len(frame))] + other[int(at * len(other)) :]
    assert spliced in (frame, other) or is_refused(spliced)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Junk is refused by frame and payload readers alike, and nothing else is raised."""
    is_refused(data)
    is_refused(wire.MAGIC + data)
    with contextlib.suppress(WireError):
        wire.unpack_payload(data)
