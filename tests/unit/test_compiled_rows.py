"""The compiled part of a collector at its edges: where it is not used, what it is given wrongly, and memory that ends.

That it writes what Python writes is ``property/test_compiled_lines.py``'s.
"""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from logbus import wire
from logbus.collectors import packed as module
from logbus.collectors.compiled import NATIVE
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat, make_formatter
from logbus.collectors.ledger import Ledger
from logbus.collectors.packed import unpack
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.route import Destination, Route, Router
from logbus.collectors.sample import Sampling
from logbus.collectors.sinks.memory import MemorySink
from logbus.collectors.where import parse_where
from logbus.collectors.writing.writer import Writer
from tests.forms import needs_lines
from tests.property.batches import header, payload_of

pytestmark = needs_lines

#: Fields of all kinds, some of them secret, and a text that goes on behind what an eight-byte look sees.
FIELDS = {"request_id": "é" * 9, "password": "p", "tokens": "x", "n": -(2**40), "f": 1.5, "b": True, "u": 2**63}
RECORDS: list[list[Any]] = [
    *[[at, 0, at % 2, f'message {at} http://u:secret-{at}@h/ "\n', {**FIELDS, f"k{at}": f"v{at}"}, None, None]
      for at in range(40)],
    [1, 0, 0, "", None, {"nested": [1]}, None],
    [1, 0, 0, "named", {"name": "password", "value": "secret-n"}, None, None],
    [1, 0, 0, "raised", None, None, ["E", "secret", ["line"], None, None, []]],
]  # fmt: skip
PAYLOAD = wire.pack_payload(payload_of(*RECORDS, threads=["a", "b"]))


def rows_of(*records: list[Any]) -> Any:
    """What the compiled part has found in a payload of these records."""
    return NATIVE.scan(wire.pack_payload(payload_of(*records)), len(records))


def one_row() -> Any:
    """Of a payload with one record, which has one field."""
    return rows_of([0, 0, 0, "message", {"k": "v"}, None, None])


def test_a_frame_is_decoded_where_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the compiled part there is no such batch, and Python takes the frame."""
    assert unpack(header(len(RECORDS)), PAYLOAD) is not None
    monkeypatch.setattr(module, "NATIVE", None)
    assert unpack(header(len(RECORDS)), PAYLOAD) is None


@pytest.mark.parametrize(("nested", "takes"), [(0, True), (2, True), (3, False), (4, False)])
def test_a_frame_of_mostly_unusual_records_is_pythons(nested: int, takes: bool) -> None:
    """Records that Python takes one by one cost more than a frame that it takes whole."""
    records: list[list[Any]] = [[0, 0, 0, "m", None, {"n": []} if at < nested else None, None] for at in range(4)]
    assert (unpack(header(4), wire.pack_payload(payload_of(*records))) is not None) is takes


def test_patterns_of_users_are_pythons() -> None:
    """What looks at numbers too needs the records."""
    assert Redactor().takes_rows
    assert not Redactor(patterns=["acct-[0-9]+"]).takes_rows


@pytest.mark.parametrize(
    ("options", "takes"),
    [
        ({}, True),
        ({"filter": SinkFilter(20, ("app",))}, True),
        ({"filter": SinkFilter(where=parse_where({"k": 1}))}, False),
        ({"formatter": make_formatter("text")}, False),
        ({"formatter": make_formatter("logfmt")}, False),
        ({"sampling": Sampling(rate=0.5)}, False),
    ],
)
def test_records_stay_in_their_frame_where_lines_are_all(tmp_path: Path, options: dict[str, Any], takes: bool) -> None:
    """A sink that asks for more of a record than its line of JSON and its call site gets records."""
    with closing(Ledger.open(tmp_path, name="t")) as ledger:
        routes: list[Route] = []
        for each in ({}, options):
            sink = MemorySink(f"s{len(routes)}")
            parts: dict[str, Any] = {"filter": SinkFilter(), "formatter": make_formatter("json"), **each}
            destination = Destination(sink, **parts)
            routes.append(Route.of(destination, Writer(sink, ledger, complain=print), None))
        assert Router(routes).takes_rows is takes


WRONG: list[tuple[Callable[[Any], object], type[Exception]]] = [
    (lambda rows: NATIVE.scan(PAYLOAD), TypeError),
    (lambda rows: NATIVE.scan("text", 1), TypeError),
    (lambda rows: NATIVE.scan(PAYLOAD, -1), OverflowError),
    (lambda rows: NATIVE.scan(PAYLOAD, "1"), TypeError),
    (lambda rows: NATIVE.Memo(0, 1), ValueError),
    (lambda rows: NATIVE.Memo(1, -1), ValueError),
    (lambda rows: NATIVE.Memo("1"), TypeError),
    (lambda rows: NATIVE.Rows(), TypeError),
    (lambda rows: rows.leave_out(1), TypeError),
    (lambda rows: rows.leave_out([]), ValueError),
    (lambda rows: rows.leave_out([True, True]), ValueError),
    (lambda rows: rows.judge("x"), ValueError),
    (lambda rows: rows.judge(b""), ValueError),
    (lambda rows: rows.judge(b"\x04"), ValueError),
    (lambda rows: rows.look(None), TypeError),
    (lambda rows: rows.holding(b"ab"), TypeError),
    (lambda rows: rows.found(0), IndexError),
    (lambda rows: (rows.look(NATIVE.Memo(9, 9)), rows.found(-1)), IndexError),
    (lambda rows: rows.found(len(rows.look(NATIVE.Memo(9, 9))) + 1), IndexError),
    (lambda rows: rows.found("0"), TypeError),
    (lambda rows: rows.become(0, b"x"), TypeError),
    (lambda rows: rows.become(0, "x", None), TypeError),
    (lambda rows: rows.become(2, b"x", None), IndexError),
    (lambda rows: rows.become(-1, b"x", None), OverflowError),
    (lambda rows: rows.become(0, b"x", 1), TypeError),
    (lambda rows: rows.settle(), TypeError),
    (lambda rows: rows.settle(1), TypeError),
]
STYLE = (b'{"timestamp":"', b'""', b'"***"', b',"extra":{', msgspec.json.encode)
KEYS = [(b'"k":', False)]


def parts(site: int, thread: int) -> tuple[bytes, bytes]:
    """What stands before and behind a message."""
    return b',"message":', b""


WRONG += [
    (lambda rows: rows.encode(STYLE, parts, KEYS, {}), TypeError),
    (lambda rows: rows.encode(STYLE[1:], parts, KEYS, {}, None), TypeError),
    (lambda rows: rows.encode(("x", *STYLE[1:]), parts, KEYS, {}, None), TypeError),
    (lambda rows: rows.encode(STYLE, parts, [], {}, None), TypeError),
    (lambda rows: rows.encode(STYLE, parts, [b'"k":'], {}, None), TypeError),
    (lambda rows: rows.encode(STYLE, parts, KEYS, [], None), TypeError),
    (lambda rows: rows.encode(STYLE, parts, KEYS, {}, 1), TypeError),
    (lambda rows: rows.encode(STYLE, parts, KEYS, {}, [1]), IndexError),
    (lambda rows: rows.encode(STYLE, parts, KEYS, {}, [-1]), OverflowError),
    (lambda rows: rows.encode(STYLE, lambda *_: b"", KEYS, {}, None), TypeError),
    (lambda rows: rows.encode(STYLE, lambda *_: 1 / 0, KEYS, {}, None), ZeroDivisionError),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_given_wrongly_is_refused(number: int) -> None:
    """Each wrong argument raises, and the rows are as good as before."""
    call, error = WRONG[number]
    rows = one_row()
    with pytest.raises(error):
        call(rows)
    assert rows.encode(STYLE, parts, KEYS, {}, [0, 0]).count(b'"message":"message","extra":{"k":"v"}}\n') == 2


@pytest.mark.parametrize("given", [lambda value: "1.5", lambda value: 1 / 0])
def test_a_float_that_is_not_written_is_an_error(given: Callable[[float], Any]) -> None:
    """What writes floats may raise, and gives bytes."""
    rows = rows_of([0, 0, 0, "m", {"k": 1.5}, None, None])
    with pytest.raises((TypeError, ZeroDivisionError)):
        rows.encode((*STYLE[:4], given), parts, KEYS, {}, None)


def test_a_record_of_pythons_needs_its_line() -> None:
    """An unusual record that nobody has written a line for is an error, and no line less."""
    rows = rows_of([0, 0, 0, "m", None, {"n": []}, None])
    assert list(rows.unusual()) == [0]
    with pytest.raises(KeyError):
        rows.encode(STYLE, parts, [], {}, None)
    assert rows.encode(STYLE, parts, [], {0: b"line\n"}, None) == b"line\n"


def test_a_memory_is_bounded() -> None:
    """It holds so many texts of so many bytes, and begins anew with the next."""
    memo = NATIVE.Memo(3, 4)
    rows = rows_of(*[[0, 0, 0, text, None, None, None] for text in ("a", "b", "12345", "c", "a")])
    assert rows.look(memo) == b"a\nb\n12345\nc"
    rows.settle(memo)
    assert len(memo) == 3
    again = rows_of(*[[0, 0, 0, text, None, None, None] for text in ("a", "12345", "d")])
    assert again.look(memo) == b"12345\nd"
    again.settle(memo)
    assert len(memo) == 1


def test_what_nobody_wants_is_not_looked_at() -> None:
    """Texts of records that are left out are not among those that redaction is given, unless others have them too."""
    payload = payload_of(
        [1, 0, 0, "kept", {"a": "both"}, None, None], [1, 1, 0, "gone", {"a": "both", "b": "gone too"}, None, None]
    )
    payload[1].append(["x", 10, "DEBUG", "m", "f", 1, "x"])
    rows = NATIVE.scan(wire.pack_payload(payload), 2)
    rows.leave_out([True, False])
    assert rows.look(NATIVE.Memo(9, 9)) == b"kept\nboth"


@pytest.mark.parametrize("secret", ["http://u:s{}@h", "via http://u:s{}@h now"])
def test_a_secret_without_a_place_in_the_table_is_masked_everywhere(secret: str) -> None:
    """Where a table of many texts has no place near by, a text has several numbers, and is masked under each."""
    each, many = 10, 6500
    records: list[list[Any]] = [
        [0, 0, 0, "", {f"k{field}": secret.format(at % many * each + field) for field in range(each)}, None, None]
        for at in range(2 * many)
    ]
    batch = unpack(header(len(records)), wire.pack_payload(payload_of(*records)))
    assert batch is not None
    assert batch.rows is not None
    assert batch.rows.look(NATIVE.Memo(1, 1)).count(b"\n") >= each * many  # more than there are different ones
    Redactor().redact(batch)
    data = JsonFormat().encode(batch)
    assert (data.count(b"***"), data.count(b"u:s")) == (2 * each * many, 0)


def test_frames_leave_nothing() -> None:
    """However many frames are looked through, memory comes back, that of the compiled part too."""
    redactor, form = Redactor(), JsonFormat()

    def frames(count: int) -> None:
        for _ in range(count):
            batch = unpack(header(len(RECORDS)), PAYLOAD)
            assert batch is not None
            redactor.redact(batch)
            form.encode(batch)
            unpack(header(len(RECORDS)), PAYLOAD[:-1])
            for call, error in WRONG:
                with pytest.raises(error):
                    call(one_row())

    frames(3)
    tracemalloc.start()
    try:
        sizes = []
        for _ in range(2):
            frames(20)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] - sizes[0] < 2000, sizes


def test_the_end_of_memory_is_an_error() -> None:
    """Each allocation fails once on the way of a frame: that is a MemoryError, and the next frame is whole."""
    testing = pytest.importorskip("_testcapi")
    usual = [*RECORDS[:8], RECORDS[-1]]
    payload, count = wire.pack_payload(payload_of(*usual, threads=["a", "b"])), len(usual)
    found_keys = NATIVE.scan(payload, count).fields()
    keys = [(msgspec.json.encode(key) + b":", False) for key in found_keys]
    verdicts, others = bytes([at % 3 for at in range(len(keys))]), {count - 1: b"line\n"}

    def way(memo: Any) -> bytes:
        rows = NATIVE.scan(payload, count)
        rows.leave_out([True])
        rows.fields()
        rows.judge(verdicts)
        rows.unusual()
        rows.look(memo)
        rows.holding(b"@")
        rows.found(3)
        rows.become(0, b'"other"', memo)
        rows.look(memo)
        rows.settle(memo)
        rows.sites(), rows.tables, rows.drops
        encoded: bytes = rows.encode(STYLE, parts, keys, others, range(count))
        return encoded

    expected = way(NATIVE.Memo(8, 64))
    failed = passed = at = 0
    while passed < 20:  # by then it is over before so many allocations
        at += 1
        memo = NATIVE.Memo(8, 64)
        testing.set_nomemory(at, at + 1)
        try:
            found = way(memo)
        except MemoryError:
            failed, passed = failed + 1, 0
        else:
            passed += 1
            assert found == expected
        finally:
            testing.remove_mem_hooks()
    assert failed > 40
    assert way(NATIVE.Memo(8, 64)) == expected
