"""Records that no sink takes: what is left of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from logbus.collectors.decode import Record
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat
from logbus.collectors.route import Route, Router
from logbus.collectors.unwanted import leave_out
from logbus.collectors.where import parse_where
from tests.frames import site
from tests.property.batches import batch_of, payload_of


def test_what_nobody_wants_keeps_its_place_and_nothing_else() -> None:
    """Its call site is left, for filters and counts; time, thread, texts, fields and exception are gone."""
    raised = ["E", "secret", ["secret"], None, None, []]
    payload = payload_of(
        [5, 1, 1, "secret", {"k": "secret"}, {"n": ["secret"]}, raised],
        [6, 0, 1, "kept", {"k": "v"}, None, None],
        [7, 1, 0, "secret", None, None, None],
        threads=["a", "b"],
    )
    payload[1].append(["app.db", 10, "DEBUG", "db", "query", 8, "app"])
    batch = batch_of(payload)
    kept = batch.records[1]
    assert leave_out(batch, [True, False]) == [kept]
    assert batch.records == [Record(0, 1, 0, ""), kept, Record(0, 1, 0, "")]
    assert "secret" not in str(batch)


def test_where_all_are_wanted_nothing_changes() -> None:
    """All records are returned, and stay."""
    batch = batch_of(payload_of([5, 0, 0, "m", None, None, None]))
    records = list(batch.records)
    assert leave_out(batch, [True]) == records
    assert batch.records == records


def test_a_call_site_is_wanted_that_any_sink_may_take() -> None:
    """By level, component and conditions on call sites; all are where a sink takes all, or asks of records only."""
    payload = payload_of()
    payload[1] = [site("db", 10, "DEBUG"), site("rotator", 20, "INFO"), site("rotator", 40, "ERROR")]
    batch = batch_of(payload)

    def wants(*filters: SinkFilter) -> list[bool] | None:
        writer, form = cast("Any", SimpleNamespace(sink=SimpleNamespace(name="s"), latency=None)), JsonFormat()
        return Router([Route(writer, one, form) for one in filters]).wants(batch)

    assert wants(SinkFilter(40)) == [False, False, True]
    assert wants(SinkFilter(40), SinkFilter(0, ("db",))) == [True, False, True]
    assert wants(SinkFilter(40), SinkFilter(20, (), ("db",))) == [False, True, True]
    assert wants(SinkFilter(20, where=parse_where({"level": "ERROR", "message": "m"}))) == [False, False, True]
    assert wants(SinkFilter(where=parse_where([{"component": "db"}, {"level": "ERROR"}]))) == [True, False, True]
    assert wants(SinkFilter(40), SinkFilter()) is None
    assert wants(SinkFilter(40), SinkFilter(where=parse_where({"message": "m"}))) is None
    assert wants(SinkFilter(40), SinkFilter(where=parse_where([{"level": "ERROR"}, {"message": "m"}]))) is None
    assert wants() is None
