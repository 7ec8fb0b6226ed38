"""Compressed files: read by the tools that people have, and given up in the middle."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from logbus.collectors.sinks.compress import CHUNK_BYTES, COMPRESSIONS, compress

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Each kind's own tool and module.
TOOLS = {"gz": ("gzip", gzip.decompress), "zst": ("zstd", zstd.decompress)}


@pytest.mark.parametrize("kind", sorted(COMPRESSIONS))
@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 17])
def test_what_was_compressed_comes_back(tmp_path: Path, kind: str, size: int) -> None:
    """The kind's own tool calls the file good, and reads from it what went in."""
    tool, read = TOOLS[kind]
    data = random.Random(size).randbytes(size // 2) + b"x" * (size - size // 2)
    packed = _compressed(tmp_path, data, kind)

    assert read(packed.read_bytes()) == data
    if shutil.which(tool):
        assert subprocess.run([tool, "-t", str(packed)], capture_output=True).returncode == 0
        assert subprocess.run([tool, "-dc", str(packed)], capture_output=True).stdout == data


@pytest.mark.parametrize("kind", sorted(COMPRESSIONS))
def test_a_byte_that_has_changed_is_noticed(tmp_path: Path, kind: str) -> None:
    """Both kinds carry a checksum of what went in."""
    data = random.Random(1).randbytes(1000)  # which comes out as it went in
    packed = bytearray(_compressed(tmp_path, data, kind).read_bytes())
    packed[500] ^= 1

    with pytest.raises((OSError, zstd.ZstdError)):
        TOOLS[kind][1](bytes(packed))


@pytest.mark.parametrize("kind", sorted(COMPRESSIONS))
def test_it_is_given_up_between_chunks(tmp_path: Path, kind: str) -> None:
    """Whoever says no is heard after one chunk at most."""
    source = tmp_path / "source"
    source.write_bytes(bytes(5 * CHUNK_BYTES))
    answers = iter([True, True, False])
    with source.open("rb") as read, (tmp_path / "target").open("wb") as write:
        assert compress(read.fileno(), write.fileno(), kind, go_on=lambda: next(answers)) is None
        assert os.lseek(read.fileno(), 0, os.SEEK_CUR) == 2 * CHUNK_BYTES


def _compressed(directory: Path, data: bytes, kind: str) -> Path:
    source, target = directory / "source", directory / f"source.{kind}"
    source.write_bytes(data)
    with source.open("rb") as read, target.open("wb") as write:
        assert compress(read.fileno(), write.fileno(), kind, go_on=lambda: True) == len(data)
    return target
