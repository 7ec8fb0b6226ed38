"""From a frame to lines of JSON by the compiled part: byte for byte what Python decodes, redacts and encodes.

The reference is the Python of the stages with the plain redaction of the tests, which has no memory and no short cut.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

from hypothesis import example, given, settings, strategies as st

from logbus import wire
from logbus.collectors.decode import Batch, Record, decode
from logbus.collectors.encode import Encoded
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat, lines
from logbus.collectors.format.base import FIRST_US, LAST_US
from logbus.collectors.format.names import Names
from logbus.collectors.packed import Packed, unpack
from logbus.collectors.redaction.redact import Redactor
from logbus.errors import WireError
from tests.forms import needs_lines
from tests.property.batches import FLOATS, KEYS, NESTED, SCALARS, TEXTS, header, payload_of, payloads
from tests.property.plain_redaction import PlainRedactor
from tests.property.suspicious import URL_MESSAGES, URLS
from tests.property.test_redact import ANY_TEXT, RECORDS

pytestmark = needs_lines

PLAIN = PlainRedactor()
#: Fields that lines of logbus have at their top, secret keys, keys that speak of secrets, those that name others, and
#: some that are nothing of all that.
FIELDS = KEYS | st.sampled_from(["password", "token_count", "tokens", "api_key", "name", "value", "extra", "", "é"])
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.sampled_from([0, -1, 127, 128, 256, -32, -33, 2**31, 2**32, 10**18])
FLAT = st.dictionaries(FIELDS | ANY_TEXT, SCALARS | NUMBERS | ANY_TEXT | URLS, max_size=5)
#: Seconds at the edges of the calendar, and all others.
TIMES = st.integers(-(2**63), 2**63 - 1) | st.integers(FIRST_US - 2, LAST_US + 2) | st.sampled_from([0, -1, 10**15])
#: Records as they usually are: nothing of them is nested, and nothing was raised.
USUAL = st.tuples(
    TIMES, st.integers(0, 1), st.integers(0, 1), ANY_TEXT | URL_MESSAGES, st.none() | FLAT, st.none(), st.none()
).map(list)
#: Some without what may be left out at their ends.
SHORT = st.tuples(USUAL, st.integers(4, 7)).map(lambda drawn: drawn[0][: drawn[1]])
ANY = USUAL | USUAL | SHORT | RECORDS
NAMES = st.sampled_from(
    [
        None,
        Names({"message": "msg", "timestamp": 'ti"me', "extra": "more"}, {"env": "prod %d", "n": 1.5}),
        Names({"request_id": "rid", "source": "é", "user_id": "request_id"}),
        Names({}, {"é": "ü"}),
    ]
)


def payload_with(records: Sequence[list[Any]], level: int = 20) -> list[Any]:
    """A payload of two call sites, one of which is at a level of its own, and two threads, with these records."""
    payload = payload_of(*records, threads=["MainThread", "100 %s"])
    payload[1].append(["app.%d", level, "", "%s", 'f"', 8, "app"])
    return payload


def packed_of(payload: list[Any]) -> Packed:
    """The batch by the compiled part."""
    found = unpack(header(len(payload[3])), wire.pack_payload(payload), strange=1.0)
    assert found is not None
    return found


def plain_of(payload: list[Any]) -> Batch:
    """The batch by Python, redacted plainly."""
    batch = decode(header(len(payload[3])), wire.pack_payload(payload))
    PLAIN.redact(batch)
    return batch


@given(st.lists(ANY, min_size=1, max_size=5), NAMES)
@example([[0, 0, 0, "", {}, None, None]], None)
def test_lines_are_those_of_the_reference(records: list[Any], names: Names | None) -> None:
    """Whatever records hold, the lines of a redacted batch are those that Python writes."""
    payload = payload_with(records)
    packed = packed_of(payload)
    Redactor().redact(packed)
    assert JsonFormat(names).encode(packed) == JsonFormat(names).encode(plain_of(payload))


@given(st.lists(ANY, min_size=1, max_size=5), NAMES)
def test_lines_without_redaction_are_those_of_the_reference(records: list[Any], names: Names | None) -> None:
    """What JSON escapes, and what never passes raw, is written as Python writes it."""
    payload = payload_with(records)
    batch = decode(header(len(records)), wire.pack_payload(payload))
    assert JsonFormat(names).encode(packed_of(payload)) == JsonFormat(names).encode(batch)


@given(payloads())
def test_names_of_every_kind_are_those_of_the_reference(payload: list[Any]) -> None:
    """Sources, call sites and threads with any names, redacted or not, and records with any content."""
    if not payload[3]:
        payload[3].append([0, 0, 0, "m", None, None, None])
    packed = packed_of(payload)
    Redactor().redact(packed)
    plain = plain_of(payload)
    assert (packed.source, packed.sites, packed.threads, packed.drops) == (
        plain.source, plain.sites, plain.threads, plain.drops
    )  # fmt: skip
    assert JsonFormat().encode(packed) == JsonFormat().encode(plain)


@given(st.lists(st.lists(ANY, min_size=1, max_size=3), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_what_is_remembered_changes_no_line(batches: list[list[Any]], order: random.Random) -> None:
    """Batch after batch with the same texts, in any place, the lines are those of a redactor without a memory."""
    redactor, form = Redactor(), JsonFormat()
    for records in [*batches, *order.sample(batches, len(batches))]:
        texts = [record[3] for record in records]
        payload = payload_with([*records, *[[0, 0, 0, text, {text: text, "n": text}, None, None] for text in texts]])
        packed = packed_of(payload)
        redactor.redact(packed)
        assert form.encode(packed) == JsonFormat().encode(plain_of(payload))


@given(
    st.lists(ANY, min_size=1, max_size=6),
    st.sampled_from([10, 20, 30, 40]),
    st.lists(st.sampled_from([0, 20, 30, 50]), min_size=1, max_size=3),
)
def test_sinks_get_the_lines_of_what_they_take(records: list[Any], level: int, least: list[int]) -> None:
    """Sinks that take some call sites get their lines, those of a record that nobody wants being gone by then."""
    payload = payload_with(records, level)
    packed, plain = packed_of(payload), plain_of(payload)
    filters = [SinkFilter(one) for one in least]

    def wants(batch: Batch) -> list[bool] | None:
        taken = [one.accepted_sites(batch) for one in filters]
        known = [answers for answers in taken if answers is not None]
        return [any(answers) for answers in zip(*known, strict=True)] if len(known) == len(taken) else None

    Redactor().redact(packed, wants)
    wanted = wants(packed)
    whole = lines(JsonFormat().encode(plain))
    encoded = Encoded(JsonFormat(), packed)
    for one in filters:
        chosen = one.select(packed)
        assert chosen == one.select(plain)
        assert packed.record_sites() == plain.record_sites()
        indices = range(len(records)) if chosen is None else chosen
        expected = b"".join([whole[at] for at in indices])
        assert JsonFormat().encode(packed.part(indices)) == expected
        assert b"".join(encoded.pick(indices)) == expected
        assert packed.part(indices).count == len(indices)
        again = packed.part(indices).part(range(len(indices)))
        assert again.record_sites() == [plain.records[at].site for at in indices]
    for found, record in zip(packed.records, plain.records, strict=True):
        assert found == (record if wanted is None or wanted[record.site] else Record(0, record.site, 0, ""))


@given(st.lists(ANY, min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_the_records_themselves_are_there_for_who_asks(records: list[Any], order: random.Random) -> None:
    """A batch whose records stay in their frame has them all the same, redacted, and so has any part of it."""
    payload = payload_with(records)
    packed, plain = packed_of(payload), plain_of(payload)
    Redactor().redact(packed)
    chosen = sorted(order.sample(range(len(records)), order.randrange(len(records) + 1)))
    assert packed.part(chosen).records == [plain.records[at] for at in chosen]
    assert packed.records == plain.records
    packed.records = [packed.records[at] for at in chosen]
    assert (packed.count, packed.record_sites()) == (len(chosen), [plain.records[at].site for at in chosen])
    assert JsonFormat().encode(packed) == JsonFormat().encode(plain.part(chosen))


def _same_as_python(payload: bytes, count: int) -> None:
    """Nothing is taken that Python refuses, and what is taken are the same records."""
    packed = unpack(header(count), payload, strange=1.0)
    try:
        batch: Batch | None = decode(header(count), payload)
    except WireError:
        batch = None
    if packed is None:
        return
    assert batch is not None
    for form in (JsonFormat(), JsonFormat(Names({"request_id": "rid"}))):
        assert form.encode(packed) == form.encode(batch)
    assert packed.drops == batch.drops
    assert packed.records == batch.records


@given(payloads(), st.data())
def test_a_damaged_payload_is_pythons_or_the_same(payload: list[Any], data: st.DataObject) -> None:
    """Any flipped byte, any truncation and anything behind the end: refused by both, or the same records."""
    packed = wire.pack_payload(payload)
    at = data.draw(st.integers(0, len(packed) - 1))
    flip = data.draw(st.integers(1, 255))
    count = len(payload[3])
    _same_as_python(bytes((*packed[:at], packed[at] ^ flip, *packed[at + 1 :])), count)
    _same_as_python(packed[:at], count)
    _same_as_python(packed + bytes([flip]), count)
    _same_as_python(packed, count + 1)


def test_every_single_damage_of_one_payload() -> None:
    """Each truncation, and each byte of a frame with all kinds of values, changed into every other."""
    fields = {"request_id": "é", "k": 1.5, "n": -1, "u": 2**64 - 1, "t": True, "o": None, "s": "a" * 40, "i": 300}
    raised: list[Any] = ["E", "bad", ["line"], None, None, []]
    records = [
        [10**15, 0, 0, "message", fields, None, None],
        [10**15, 1, 1, "next", fields, {"n": [1, {"a": None}]}, None],
        [10**15, 0, 0, "last", None, None, raised],
    ]
    payload = wire.pack_payload(payload_with(records))
    assert unpack(header(3), payload, strange=1.0) is not None
    for at in range(len(payload)):
        _same_as_python(payload[:at], 3)
        for flip in (0x01, 0x10, 0x40, 0x80, 0xC0, 0xFF, payload[at] ^ 0xDF, payload[at] ^ 0xDD, payload[at] ^ 0xDB):
            if flip:
                _same_as_python(bytes((*payload[:at], payload[at] ^ flip, *payload[at + 1 :])), 3)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_noise_is_pythons_or_the_same(noise: bytes, count: int) -> None:
    """Random bytes, and such that begin like a payload, are refused by both or the same in both."""
    _same_as_python(noise, count)
    _same_as_python(wire.pack_payload(payload_of())[:-2] + noise, count)


@given(st.lists(st.tuples(st.text(max_size=3), st.integers(0, 2), st.sampled_from([b"\xc0", b"\x01", b"\xa1x"]))))
def test_a_key_that_comes_twice_is_one(pairs: list[tuple[str, int, bytes]]) -> None:
    """Maps with a key several times, and in longer forms than need be, are what Python makes of them."""
    body = b"".join(
        [[bytes([0xA0 | len(raw)]), b"\xd9" + bytes([len(raw)]), b"\xda\0" + bytes([len(raw)])][form] + raw + value
         for key, form, value in pairs for raw in [key.encode()]]
    )  # fmt: skip
    extra = b"\xde" + len(pairs).to_bytes(2, "big") + body
    plain = wire.pack_payload(payload_of([0, 0, 0, "m", {"k": "v"}, None, None]))
    one = wire.pack_payload({"k": "v"})
    assert plain.count(one) == 1
    _same_as_python(plain.replace(one, extra), 1)


@given(st.lists(FLOATS | NUMBERS | st.sampled_from([float("nan"), float("inf"), -0.0, 5e-324]), max_size=8))
def test_numbers_are_written_as_msgspec_writes_them(numbers: list[float]) -> None:
    """Integers of 64 bits and floats of any size, in the fields that stand at the top of a line and in others."""
    fields = {f"n{at}": number for at, number in enumerate(numbers)} | dict(zip(("user_id",), numbers, strict=False))
    _same_as_python(wire.pack_payload(payload_of([0, 0, 0, "m", fields, None, None])), 1)


@settings(max_examples=20)
@given(st.integers(0, 2**32), NESTED)
def test_thousands_of_texts_are_told_apart(seed: int, nested: Any) -> None:
    """As many texts as fill every table and the memory of redaction several times, among them many that begin alike."""
    chance = random.Random(seed)
    redactor, form, plain = Redactor(), JsonFormat(), JsonFormat()
    for _ in range(2):
        texts = [f"{'x' * chance.randrange(20)}{chance.randrange(3000)}" for _ in range(2000)]
        records: list[Any] = [
            [at, at % 2, 0, text, {f"k{chance.randrange(300)}": text, "request_id": f"{text}é", "n": at}, None, None]
            for at, text in enumerate(texts)
        ]
        records[7][5] = {"nested": nested}
        payload = payload_with(records)
        packed = packed_of(payload)
        redactor.redact(packed)
        batch = decode(header(len(records)), wire.pack_payload(copy.deepcopy(payload)))
        Redactor().redact(batch)
        assert form.encode(packed) == plain.encode(batch)


@given(st.lists(TEXTS, min_size=1, max_size=3))
def test_a_mask_hides_all_of_a_secret_key(secrets: list[str]) -> None:
    """Values of secret keys are masked whatever they are, those of keys that count secrets unless they are numbers."""
    records = [
        [0, 0, 0, "m", {"password": value, "tokens": value, "token": number}, None, None]
        for value, number in zip(secrets, (1, None, True), strict=False)
    ]
    payload = payload_with(records)
    packed = packed_of(payload)
    Redactor().redact(packed)
    assert JsonFormat().encode(packed) == JsonFormat().encode(plain_of(payload))
