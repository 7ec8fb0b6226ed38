r"""A record as a line from which a push to Loki is put together: its labels, its time, and a line of another format.

    [{"job":"logbus","level":"INFO"}<TAB>,"1700000000123456000","{\"timestamp\":…}"]

Such a line is JSON itself. The only raw tab in it is the one behind the labels, since JSON has none inside its texts:
what stands before it tells the streams of a request apart, what stands behind it goes there as it is
(:mod:`logbus.collectors.sinks.http.bodies`). Labels, times and texts of a batch are written in one call.

Times are nanoseconds since the epoch, which Loki reads as a signed integer of 64 bits; one beyond becomes the first or
the last of these (the years 1677 to 2262). The form of a push is that of Loki's HTTP API, "Ingest logs".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from logbus.collectors.decode import Batch, Record
from logbus.collectors.format import EachFormatter, Formatter, make_formatter
from logbus.collectors.format.labels import DEFAULT_LABELS, Labels
from logbus.collectors.format.made import shared
from logbus.collectors.format.names import Scalar

#: Microseconds since the epoch of the first and the last time that Loki can read.
FIRST_US: Final = -(2**63) // 1000 + 1
LAST_US: Final = (2**63 - 1) // 1000

_encode_lines: Final = msgspec.json.Encoder().encode_lines
_read: Final = msgspec.json.Decoder(tuple[msgspec.Raw, str, str]).decode


class LokiFormat:
    """Lines of a push whose text is a line of ``inner``, which writes every record, without its newline."""

    name = "loki"

    def __init__(self, inner: Formatter, labels: Labels) -> None:
        self._inner = inner
        self._labels = labels

    def encode(self, batch: Batch) -> bytes:
        """The lines of the batch: one for each record, in UTF-8, each with its newline."""
        texts = self._inner.encode(batch).decode().split("\n")
        del texts[-1]  # what stands behind the last newline
        return _lines(self._labels.of(batch), batch.records, texts)

    def stamp(self, line: bytes, rate: float) -> bytes:
        """The line with the rate in its text, as the inner format writes it."""
        labels, nanoseconds, text = _read(line)
        stamped = self._inner.stamp(f"{text}\n".encode(), rate)[:-1].decode()
        return _encode_lines([(_tabbed(bytes(labels)), nanoseconds, stamped)])


class EachLokiFormat(LokiFormat):
    """The same with an inner format that may be unable to write a record, which then has no line here either."""

    def __init__(self, inner: EachFormatter, labels: Labels) -> None:
        super().__init__(inner, labels)
        self._each = inner
        #: Why the inner format could not write a record of the last batch; None when it wrote them all.
        self.error: str | None = None

    def encode(self, batch: Batch) -> bytes:
        """The lines of those records of the batch that the inner format can write."""
        return b"".join([line for line in self.encode_each(batch) if line is not None])

    def encode_each(self, batch: Batch) -> list[bytes | None]:
        """For each record of the batch its line, newline included, or None for one that can't be written."""
        texts = self._each.encode_each(batch)
        self.error = self._each.error
        return [
            None if text is None else _lines([labels], [record], [text[:-1].decode()])
            for labels, record, text in zip(self._labels.of(batch), batch.records, texts, strict=True)
        ]


def make_loki(
    name: str,
    labels: Mapping[str, str] | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    static: Mapping[str, Scalar] | None = None,
) -> Formatter:
    """Lines of a push whose text is one of the format ``name``; the same object for equal arguments.

    ``labels`` are :data:`~logbus.collectors.format.labels.DEFAULT_LABELS` without any. ``rename`` and ``static`` are
    for the inner line. Raises ConfigurationError, each problem under its key.
    """
    table = dict(DEFAULT_LABELS if labels is None else labels)
    checked = Labels(table)
    inner = make_formatter(name, rename=rename, static=static)

    def made() -> Formatter:
        return EachLokiFormat(inner, checked) if isinstance(inner, EachFormatter) else LokiFormat(inner, checked)

    return shared((LokiFormat.name, inner, tuple(table.items())), made)


def _lines(labels: Sequence[bytes], records: Sequence[Record], texts: Sequence[str]) -> bytes:
    """One line for each record. The texts are lines of a format: nothing is left in them for :func:`safe_lines`."""
    times = [record.time_us for record in records]
    if times and (min(times) < FIRST_US or max(times) > LAST_US):
        times = [min(max(time, FIRST_US), LAST_US) for time in times]
    tabbed = {one: _tabbed(one) for one in set(labels)}
    return _encode_lines(
        [(tabbed[one], f"{time * 1000}", text) for one, time, text in zip(labels, times, texts, strict=True)]
    )


def _tabbed(labels: bytes) -> msgspec.Raw:
    return msgspec.Raw(labels + b"\t")
