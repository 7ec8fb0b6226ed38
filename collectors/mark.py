"""MARK and BYE payloads: what a producer says of itself, decoded with every type checked."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from logbus.collectors.decode import Source
from logbus.errors import WireError
from logbus.levels import BUCKETS
from logbus.wire import PRODUCER_REASONS, REASONS

#: Records that a producer can count: nine years at a million a second. A number beyond it is a mistake, and sums of
#: such numbers would not fit in the ledger's 64 bits.
MAX_COUNT: Final = 2**48

_Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
_Int64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Reason = Annotated[int, msgspec.Meta(ge=0, le=PRODUCER_REASONS - 1)]
_Bucket = Annotated[int, msgspec.Meta(ge=0, le=len(BUCKETS) - 1)]
_Drops = Annotated[list[tuple[_Reason, _Bucket, _Count]], msgspec.Meta(max_length=PRODUCER_REASONS * len(BUCKETS))]


class Mark(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The cumulative counters of a producer at one moment; see :mod:`logbus.wire` for the terms."""

    source: Source
    started_us: _Int64
    request: _Int64
    emitted: _Count
    sent: _Count
    buffered: _Count
    drops: _Drops
    exact: bool
    level_version: _Int64
    gate: Annotated[str, msgspec.Meta(max_length=32)]

    def by_reason(self) -> list[int]:
        """Drops per reason, for every reason of the ledger."""
        counts = [0] * len(REASONS)
        for reason, _bucket, count in self.drops:
            counts[reason] += count
        return counts


_DECODER: Final = msgspec.msgpack.Decoder(Mark)


def decode_mark(payload: bytes | memoryview) -> Mark:
    """The counters in the payload of a MARK or a BYE. Raises WireError("payload")."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise WireError("payload", f"MARK: {error}") from error
