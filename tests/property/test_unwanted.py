"""What is left out before redaction changes no line of any sink, and leaves nothing of a record that nobody takes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings, strategies as st

from logbus.collectors.conditions import Conditions
from logbus.collectors.decode import Batch, Record
from logbus.collectors.encode import Encoded
from logbus.collectors.filter import SinkFilter
from logbus.collectors.format import JsonFormat, lines
from logbus.collectors.redaction.redact import Redactor
from logbus.collectors.route import Route, Router, _any_of
from logbus.collectors.where import parse_where
from logbus.levels import selects_any
from tests.property.batches import batch_of, payload_of
from tests.property.plain_redaction import PlainRedactor
from tests.property.test_redact import ANY_TEXT, RECORDS

PLAIN = PlainRedactor()
#: Names of loggers, of which one is masked, and what a filter may then know it by.
LOGGERS = ("app.db", "app.web", "http://u:hunter2@host/x", "http://u:***@host/x", "other")
LEVELS = ((10, "DEBUG"), (20, "INFO"), (30, "WARNING"), (40, "ERROR"))
SITES = st.tuples(st.sampled_from(LOGGERS), st.sampled_from(LEVELS), ANY_TEXT).map(
    lambda drawn: [drawn[0], *drawn[1], "m", drawn[2], 7, drawn[0].rpartition(".")[2]]
)
COMPONENTS = st.lists(st.sampled_from(LOGGERS), max_size=2).map(tuple)
WHERES = st.sampled_from(
    [
        None,
        {"level": {"ge": "WARNING"}},
        {"logger": "http://u:***@host/x"},
        [{"logger": "app.db", "message": {"exists": True}}, {"level": "ERROR"}],
        {"message": {"matches": r"\*\*\*"}},
        {"worker": "worker-1", "module": "m"},
    ]
)
FILTERS = st.tuples(st.sampled_from([0, 20, 30, 50]), COMPONENTS, COMPONENTS, WHERES)


def taken_by(rule: Any, batch: Batch) -> Sequence[int]:
    """The records that a sink takes, each asked for itself."""
    level, components, excluded, where = rule
    chosen: Sequence[int] = [
        index
        for index, record in enumerate(batch.records)
        if (site := batch.sites[record.site]).level_no >= level
        and (not components or selects_any(components, site.logger, site.component))
        and not selects_any(excluded, site.logger, site.component)
    ]
    return chosen if where is None else Conditions(parse_where(where)).choose(batch, chosen)


@settings(max_examples=30)
@given(
    st.lists(SITES, min_size=1, max_size=4),
    st.lists(st.tuples(RECORDS, st.integers(0, 3)), max_size=5),
    st.lists(FILTERS, min_size=1, max_size=3),
)
def test_every_sink_gets_the_lines_that_it_would_get_if_all_were_redacted(
    sites: list[Any], drawn: list[tuple[list[Any], int]], rules: list[Any]
) -> None:
    """Sinks take from the batch in which the unwanted are empty what they take from one that is redacted plainly."""
    records = [[record[0], at % len(sites), *record[2:]] for record, at in drawn]
    payload = payload_of(*records)
    payload[1] = sites
    filters = [
        SinkFilter(level, taken, excluded, None if where is None else parse_where(where))
        for level, taken, excluded, where in rules
    ]
    writer = cast("Any", SimpleNamespace(sink=SimpleNamespace(name="s"), latency=None))
    form = JsonFormat()
    router = Router([Route(writer, one, form) for one in filters])
    quick, slow = batch_of(copy.deepcopy(payload)), batch_of(payload)
    Redactor().redact(quick, router.wants)
    PLAIN.redact(slow)
    assert quick.sites == slow.sites

    choices = [one.select(quick) for one in filters]
    encoded = Encoded(form, quick, wanted=_any_of(choices))
    wanted = router.wants(quick)
    plain = lines(JsonFormat().encode(slow))
    for rule, chosen in zip(rules, choices, strict=True):
        indices = taken_by(rule, slow)
        assert list(range(len(records)) if chosen is None else chosen) == list(indices)
        got = encoded.whole if encoded.covers(chosen) else b"".join(encoded.pick(indices))
        assert got == b"".join([plain[at] for at in indices])
    for record in quick.records:
        if wanted is not None and not wanted[record.site]:
            assert record == Record(0, record.site, 0, "")
