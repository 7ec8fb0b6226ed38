"""Counts per worker under labels: few, never falling, and in all those of the ledger."""

from __future__ import annotations

from typing import Any

from logbus.collectors.labels import OTHER, Labels
from logbus.collectors.rows import OLDER


def row(number: int, worker: str, count: int, *, state: str = "live") -> dict[str, Any]:
    """A worker's row of a status document."""
    return {"producer": number.to_bytes(16, "big").hex(), "worker": worker, "state": state, "n": count}


def older(count: int) -> dict[str, Any]:
    """The row of those who were folded."""
    return {"producer": OLDER.hex(), "worker": "(older)", "state": "gone", "n": count}


def counts(labels: Labels, *rows: dict[str, Any]) -> dict[str, int]:
    """The counts by label."""
    return {label: found[0] for label, found in labels.counts(rows).items()}


def test_the_living_have_their_names() -> None:
    """Producers of one name count together; who was never seen alive is one of the others."""
    labels = Labels(("n",))
    rows = [row(1, "a", 1), row(2, "b", 2), row(3, "a", 4), row(4, "a", 8, state="gone"), row(5, "c", 16, state="gone")]
    assert counts(labels, *rows) == {"a": 13, "b": 2, OTHER: 16}


def test_who_has_gone_keeps_his_name_while_there_is_room() -> None:
    """And what the ledger folds keeps its label, though its row is another's now."""
    labels = Labels(("n",), named=2)
    counts(labels, row(1, "a", 5), row(2, "b", 1))
    assert counts(labels, row(1, "a", 7, state="gone"), row(2, "b", 2)) == {"a": 7, "b": 2, OTHER: 0}
    assert counts(labels, older(7), row(2, "b", 3)) == {"a": 7, "b": 3, OTHER: 0}
    assert counts(labels, older(7), row(2, "b", 3), row(3, "a", 1)) == {"a": 8, "b": 3, OTHER: 0}


def test_a_place_is_taken_from_a_name_without_the_living() -> None:
    """What it counted is the others' from then on, so that they rise and nothing is counted twice."""
    labels = Labels(("n",), named=2)
    counts(labels, row(1, "a", 5), row(2, "b", 1))
    rows = [row(1, "a", 5, state="gone"), row(2, "b", 1), row(3, "c", 9)]
    assert counts(labels, *rows) == {"b": 1, "c": 9, OTHER: 5}


def test_who_found_no_place_stays_without() -> None:
    """Or the others would have to give back what they have shown."""
    labels = Labels(("n",), named=1)
    assert counts(labels, row(1, "a", 5), row(2, "b", 1)) == {"a": 5, OTHER: 1}
    assert counts(labels, row(1, "a", 5, state="gone"), row(2, "b", 2)) == {"a": 5, OTHER: 2}
    assert counts(labels, row(1, "a", 5, state="gone"), row(2, "b", 2), row(3, "b", 1)) == {"b": 1, OTHER: 7}


def test_nobody_is_called_like_all_the_rest() -> None:
    """A worker of that name counts among them."""
    assert counts(Labels(("n",)), row(1, OTHER, 5)) == {OTHER: 5}


def test_stages_are_counted_apart() -> None:
    """In their order."""
    labels = Labels(("emitted", "collected"))
    rows = [{"producer": "01", "worker": "a", "state": "live", "emitted": 7, "collected": 5}]
    assert labels.counts(rows) == {"a": (7, 5), OTHER: (0, 0)}
