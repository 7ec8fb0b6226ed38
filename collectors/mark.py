"""MARK, BYE and NAMES payloads: what a producer says of itself, decoded with every type checked."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from logbus.collectors.decode import Source
from logbus.errors import WireError
from logbus.levels import BUCKETS
from logbus.wire import MAX_NAME_CHARS, MAX_NAMES, PRODUCER_REASONS, REASONS

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
    #: The ledger that numbered the version; "" before the worker has heard of one.
    ledger: Annotated[str, msgspec.Meta(max_length=64)]
    #: By what the level rules act in each library, "stdlib=source,loguru=direct".
    gate: Annotated[str, msgspec.Meta(max_length=64)]
    #: Records that the flight recorder took, sent after a trigger, and threw away.
    recorder: tuple[_Count, _Count, _Count]

    def by_reason(self) -> list[int]:
        """Drops per reason, for every reason of the ledger."""
        counts = [0] * len(REASONS)
        for reason, _bucket, count in self.drops:
            counts[reason] += count
        return counts


class Names(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """The loggers that exist in a worker."""

    source: Source
    names: Annotated[list[Annotated[str, msgspec.Meta(max_length=MAX_NAME_CHARS)]], msgspec.Meta(max_length=MAX_NAMES)]


_DECODER: Final = msgspec.msgpack.Decoder(Mark)
_NAMES_DECODER: Final = msgspec.msgpack.Decoder(Names)


def decode_mark(payload: bytes | memoryview) -> Mark:
    """The counters in the payload of a MARK or a BYE. Raises WireError("payload")."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise WireError("payload", f"MARK: {error}") from error


def decode_names(payload: bytes | memoryview) -> Names:
    """The loggers in the payload of a NAMES frame. Raises WireError("payload")."""
    try:
        return _NAMES_DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise WireError("payload", f"NAMES: {error}") from error
