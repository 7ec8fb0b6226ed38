"""How rotated files are compressed: in chunks, each of which lets the other threads run.

Each kind gives what its own tools read: ``gzip``, ``zcat`` and ``zgrep`` the one, ``zstd`` and ``zstdcat`` the other.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable
from typing import Final, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Bytes that are read and compressed at once: some milliseconds, after which a compression can be given up.
CHUNK_BYTES: Final = 256 * 1024
#: Levels of the two: more of either costs several times the time for a few percent of the size.
GZIP_LEVEL: Final = 6
ZSTD_LEVEL: Final = 3
#: What makes zlib write the header and the checksum of gzip around its stream.
_GZIP_CONTAINER: Final = 31


class Stream(Protocol):
    """A compression under way. Both calls let other threads run meanwhile."""

    def compress(self, data: bytes, /) -> bytes:
        """What comes out after so much more has gone in; often nothing."""

    def flush(self) -> bytes:
        """The rest, with what ends the file."""


def _gzip() -> Stream:
    return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP_CONTAINER)


def _zstd() -> Stream:
    # The checksum is off in the library's default and on in the tool's.
    return zstd.ZstdCompressor(
        options={zstd.CompressionParameter.compression_level: ZSTD_LEVEL, zstd.CompressionParameter.checksum_flag: 1}
    )


#: The kinds of compression by the suffix that they add to a name.
COMPRESSIONS: Final[dict[str, Callable[[], Stream]]] = {"gz": _gzip, "zst": _zstd}


def compress(source: int, target: int, kind: str, *, go_on: Callable[[], bool]) -> int | None:
    """Compresses all of a file into another one: the bytes read; None when ``go_on`` said no before the end.

    ``source`` and ``target`` are descriptors; ``go_on`` is asked before each chunk. Raises OSError, as reading and
    writing do.
    """
    stream = COMPRESSIONS[kind]()
    read = 0
    while go_on():
        data = os.read(source, CHUNK_BYTES)
        write_all(target, stream.compress(data) if data else stream.flush())
        if not data:
            return read
        read += len(data)
    return None


def write_all(fd: int, data: bytes) -> None:
    """Writes all of it. Raises OSError."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]
