"""What a producer says of itself, with every type and number checked."""

from __future__ import annotations

from typing import Any

import pytest

from logbus.collectors.mark import MAX_COUNT, decode_mark, decode_names
from logbus.errors import WireError
from logbus.levels import BUCKETS
from logbus.wire import MAX_NAME_CHARS, MAX_NAMES, PRODUCER_REASONS, pack_payload
from tests.frames import mark_payload, source

#: Where the numbers stand in the payload, and the largest that is read.
NUMBERS = {
    "started_us": (1, 2**63 - 1),
    "request": (2, 2**63 - 1),
    "emitted": (3, MAX_COUNT),
    "sent": (4, MAX_COUNT),
    "buffered": (5, MAX_COUNT),
    "level_version": (8, 2**63 - 1),
}


def test_the_counters_as_they_were_said() -> None:
    """Every term comes out under its name."""
    drops = [[0, 1, 5], [2, 3, 1]]
    payload = mark_payload(sent=10, emitted=18, buffered=2, drops=drops, request=4, exact=False, worker="w")
    payload[8:] = [7, "ab12", "stdlib=source", [5, 2, 1]]
    found = decode_mark(pack_payload(payload))
    assert (found.source.worker, found.source.pid, found.source.host, found.source.app_name) == ("w", 7, "host", "app")
    assert (found.emitted, found.sent, found.buffered, found.request) == (18, 10, 2, 4)
    assert found.drops == [(0, 1, 5), (2, 3, 1)]
    assert (found.exact, found.level_version, found.ledger) == (False, 7, "ab12")
    assert (found.gate, found.recorder) == ("stdlib=source", (5, 2, 1))


def test_the_names_of_loggers_as_they_were_said() -> None:
    """Source and names come out; a name that is too long, or too many of them, is refused."""
    found = decode_names(pack_payload([source("w"), ["shop.till", "httpx"]]))
    assert (found.source.worker, found.names) == ("w", ["shop.till", "httpx"])
    for names in (["n" * (MAX_NAME_CHARS + 1)], ["n"] * (MAX_NAMES + 1), [1], "names", None):
        with pytest.raises(WireError) as refused:
            decode_names(pack_payload([source("w"), names]))
        assert refused.value.reason == "payload"


def test_drops_are_added_up_by_reason() -> None:
    """Buckets of one reason are one number; reasons of the collector are there and zero."""
    drops = [[0, 1, 5], [0, 2, 7], [1, 5, 3]]
    assert decode_mark(pack_payload(mark_payload(sent=0, drops=drops))).by_reason() == [12, 3, 0, 0, 0, 0]


@pytest.mark.parametrize("name", NUMBERS)
def test_absurd_numbers_are_refused(name: str) -> None:
    """A count below zero, beyond what can be counted, or beyond 64 bits is no MARK; the largest that can be is one."""
    at, largest = NUMBERS[name]
    payload = mark_payload(sent=1)
    payload[at] = largest
    assert getattr(decode_mark(pack_payload(payload)), name) == largest
    for absurd in (-1, largest + 1, 2**63, 2**64 - 1, -(2**63), 1.0, "1", None, True):
        payload[at] = absurd
        with pytest.raises(WireError) as refused:
            decode_mark(pack_payload(payload))
        assert refused.value.reason == "payload"


@pytest.mark.parametrize(
    "drops",
    [
        [[PRODUCER_REASONS, 0, 1]],
        [[-1, 0, 1]],
        [[0, len(BUCKETS), 1]],
        [[0, 0, -1]],
        [[0, 0, MAX_COUNT + 1]],
        [[0, 0]],
        [[0, 0, 1, 1]],
        [[0, 0, 1]] * (PRODUCER_REASONS * len(BUCKETS) + 1),
        {},
        None,
    ],
)
def test_drops_outside_the_table_are_refused(drops: Any) -> None:
    """There is one count for each reason of a producer and each bucket, and none for others."""
    payload = mark_payload(sent=1)
    payload[6] = drops
    with pytest.raises(WireError, match="MARK"):
        decode_mark(pack_payload(payload))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\xff",
        pack_payload({}),
        pack_payload([]),
        pack_payload([*mark_payload(sent=1), 0]),
        pack_payload(mark_payload(sent=1)[:-1]),
        pack_payload(mark_payload(sent=1))[:-1],
        pack_payload(mark_payload(sent=1)) + b"\0",
        pack_payload([["host", 7, "w"], *mark_payload(sent=1)[1:]]),
        pack_payload([*mark_payload(sent=1)[:-2], "g" * 65, [0, 0, 0]]),
        pack_payload([*mark_payload(sent=1)[:-2], b"gate", [0, 0, 0]]),
        b"\x91" * 100_000,
        pack_payload(mark_payload(sent=1)).replace(b"stdlib", b"\xff\xfe\xfd\xfc\xfb\xfa"),
    ],
    ids=range(14),
)
def test_anything_else_is_refused(payload: bytes) -> None:
    """Whatever the bytes are, the answer is a MARK or a WireError with the reason "payload"."""
    with pytest.raises(WireError) as refused:
        decode_mark(payload)
    assert refused.value.reason == "payload"
