"""The format of a segment: what is whole, what is torn, what is damage, and what reading costs."""

from __future__ import annotations

import re
import zlib

import pytest

from logbus.collectors.spool import segment
from logbus.collectors.spool.segment import (
    ENTRY_BYTES,
    MAX_DIALECT,
    Entry,
    Name,
    Scan,
    decode,
    decode_header,
    dialect_sum,
    encode,
    encode_header,
    key,
    parse_name,
)

IDENT = 0xFEDCBA9876543210
LINES = [b"one\n", b"two, which has \xf7LB\x02 in it\n", b"\n", b"four" * 9 + b"\n"]


def made(lines: list[bytes] = LINES, *, first: int = 7, level: int = 3) -> bytes:
    """A segment."""
    header = encode_header(IDENT, created_us=1_700_000_000_000_000, lane=level, dialect="http ndjson")
    return header + encode(key(IDENT), level, range(first, first + len(lines)), lines)


def scanned(data: bytes, chunk: int = 1 << 20) -> tuple[Scan, list[tuple[int, bytes]]]:
    """A scan at its end, and the numbers and payloads that it found."""
    scan = Scan(IDENT, len(data))
    found: list[Entry] = []
    for at in range(0, len(data), chunk):
        found += scan.feed(data[at : at + chunk])
    found += scan.end()
    return scan, [(number, payload) for number, _, payload, _, _ in found]


def test_a_header_says_what_it_was_given() -> None:
    """Of the segment with its id, and of no other one."""
    header = decode_header(made(), IDENT)
    assert header is not None
    assert (header.created_us, header.lane, header.dialect) == (1_700_000_000_000_000, 3, "http ndjson")
    assert decode_header(made(), IDENT + 1) is None


def test_a_dialect_has_an_end() -> None:
    """One that is too long is refused with both lengths."""
    assert encode_header(1, created_us=0, lane=0, dialect="d" * MAX_DIALECT)
    with pytest.raises(ValueError, match=re.escape("at most 1024 bytes, found 1025")):
        encode_header(1, created_us=0, lane=0, dialect="d" * (MAX_DIALECT + 1))


def test_a_name_is_read_back() -> None:
    """And that of anything else is not."""
    name = Name(IDENT, dialect_sum("x"))
    assert parse_name(str(name)) == name
    assert [parse_name(other) for other in ("", f"{name}.bak", f"x{name}", str(name).upper(), "quarantine")] == [
        None
    ] * 5


def test_a_lane_for_the_reader_is_known_in_spite_of_a_damaged_header() -> None:
    """Entries carry their level, number and the offset behind them themselves."""
    data = bytearray(made([b"a\n", b"b\n"]))
    size = len(made([]))
    data[9] ^= 1
    scan = Scan(IDENT, len(data))
    entries = scan.feed(bytes(data))
    assert entries == [(7, 3, b"a\n", size + ENTRY_BYTES + 2, 0), (8, 3, b"b\n", len(data), 0)]
    scan.end()
    assert (scan.header, scan.damaged) == (None, True)


def test_every_byte_flipped_costs_one_record_at_most() -> None:
    """In each of eight ways: never another record, never a lost one that was whole, always known as damage."""
    data = made()
    ends = [len(made(LINES[:count])) for count in range(len(LINES) + 1)]
    for at in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            scan, found = scanned(bytes(changed) + bytes(64))
            whole = [(7 + i, line) for i, line in enumerate(LINES) if not ends[i] <= at < ends[i + 1]]
            assert found == whole
            # A last record whose end is zero is not known from one that was never finished.
            assert scan.damaged or at >= ends[-2]


def test_every_length_cut_costs_what_is_behind() -> None:
    """Neither is a cut damage, nor is it with zeros behind it: a killed writer leaves both."""
    data = made()
    ends = [len(made(LINES[:count])) for count in range(len(LINES) + 1)]
    for cut in range(len(data) + 1):
        whole = [(7 + i, line) for i, line in enumerate(LINES) if ends[i + 1] <= cut]
        for left in (data[:cut], data[:cut] + bytes(100)):
            scan, found = scanned(left)
            assert (found, scan.damaged) == (whole, False)
            assert scan.used == max((end for end in ends if end <= cut), default=0)


@pytest.mark.parametrize(
    "tail",
    [b"x", b"\xf7LB\x02" * 20, encode(key(IDENT + 1), 3, [1], [b"of another segment\n"]), made([b"header\n"])[:30]],
)
def test_what_nobody_has_begun_to_append_is_damage(tail: bytes) -> None:
    """Bytes behind the last record that are no beginning of one."""
    scan, found = scanned(made() + tail + bytes(100))
    assert ([line for _, line in found], scan.damaged, scan.used) == (LINES, True, len(made()))


def test_nobody_can_forge_an_entry() -> None:
    """A record that holds an entry of another segment is one record, also when its own head is damaged."""
    forged = encode(key(IDENT ^ 1), 5, [1], [b"forged\n"])
    data = made([b"a\n", forged, b"z\n"])
    assert scanned(data)[1] == [(7, b"a\n"), (8, forged), (9, b"z\n")]
    changed = bytearray(data)
    changed[len(made([b"a\n"]))] ^= 1
    assert scanned(bytes(changed))[1] == [(7, b"a\n"), (9, b"z\n")]


def test_a_claimed_length_is_believed_only_with_its_checksum() -> None:
    """However long the record claims to be, the next one is found."""
    data = bytearray(made([b"a\n", b"b\n", b"c\n"]))
    at = len(made([b"a\n"])) + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    scan, found = scanned(bytes(data), chunk=16)
    assert (found, scan.damaged) == ([(7, b"a\n"), (9, b"c\n")], True)


@pytest.mark.parametrize("hostile", [b"\xf7LB", b"\xf7LB\x02\xff\xff\xff\x00", b"\xf7LB\x02" + bytes(20)])
def test_reading_hostile_bytes_costs_what_their_length_costs(hostile: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged record full of what looks like records: the bytes under checksums grow as its length does."""
    summed = 0

    def counted(data: bytes, start: int = 0) -> int:
        nonlocal summed
        summed += len(data)
        return zlib.crc32(data, start)

    costs = []
    for size in (20_000, 80_000):
        data = bytearray(made([hostile * (size // len(hostile)), b"after\n"]))
        data[len(made([]))] ^= 1
        with monkeypatch.context() as patch:
            patch.setattr(segment, "crc32", counted)
            summed = 0
            assert scanned(bytes(data), chunk=4096)[1] == [(8, b"after\n")]
        costs.append(summed)
    assert costs[1] < 4.5 * costs[0]
    assert costs[1] < 10 * 80_000


def test_decoding_goes_on_where_it_stopped() -> None:
    """A part of a segment says how many bytes it needs, and where from."""
    data = encode(key(IDENT), 1, [1, 2], [b"x" * 100, b"y"])
    first = decode(data[:50], key(IDENT), room=len(data), base=1000, tag=9)
    assert (first.entries, first.at, first.need, first.gaps) == ([], 0, ENTRY_BYTES + 100, [])
    second = decode(data[: first.need + 3], key(IDENT), room=len(data), base=1000, tag=9)
    assert second.entries == [(1, 1, b"x" * 100, 1000 + first.need, 9)]
    assert (second.at, second.need) == (first.need, ENTRY_BYTES)


def test_a_segment_of_a_later_version_is_known_for_one() -> None:
    """What its header says beyond the version and its size is not looked at."""
    header = bytearray(encode_header(IDENT, created_us=1, lane=1, dialect="d"))
    header[8] = segment.VERSION + 1
    header[-4:] = zlib.crc32(header[:-4], key(IDENT)).to_bytes(4, "little")
    found = decode_header(bytes(header), IDENT)
    assert found is not None
    assert found.version == segment.VERSION + 1
