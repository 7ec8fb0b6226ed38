from __future__ import annotations

import gzip
import sys

import pytest

from logbus.collectors.sinks.http.compress import COMPRESSIONS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@pytest.mark.parametrize("body", [b"x", b'{"message":"the same"}\n' * 5000])
def test_each_kind_is_what_its_name_says(body: bytes) -> None:
    """What readers that are not ours make of a compressed body is the body."""
    packed = {kind: compress(body) for kind, compress in COMPRESSIONS.items()}
    assert {"gzip": gzip.decompress(packed["gzip"]), "zstd": zstd.decompress(packed["zstd"])} == dict.fromkeys(
        COMPRESSIONS, body
    )


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_the_same_body_is_the_same_bytes(kind: str) -> None:
    """Neither the time nor anything else is in it, so that what is sent again is what was sent."""
    assert COMPRESSIONS[kind](b"body") == COMPRESSIONS[kind](b"body")
    assert len(COMPRESSIONS[kind](b"body" * 1000)) < 100
