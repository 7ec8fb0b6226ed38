"""Whose each producer is."""

from __future__ import annotations

from pathlib import Path

import pytest

from logbus.collectors import identities as module
from logbus.collectors.identities import Identities
from tests.frames import producer


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    """Nobody's yet; the counter pages are in ``tmp_path``."""
    return Identities(tmp_path)


def test_the_first_user_keeps_an_identity(identities: Identities) -> None:
    """Whoever comes second with it is refused, and does not take it away."""
    assert identities.admits(producer(1), 1001)
    assert not identities.admits(producer(1), 1002)
    assert not identities.admits(producer(1), identities.owner)
    assert identities.admits(producer(1), 1001)
    assert identities.admits(producer(2), 1002)


def test_a_peer_without_a_uid_is_nobody(identities: Identities) -> None:
    """Where the kernel gives no word there is nothing to believe."""
    assert not identities.admits(producer(1), None)
    assert identities.admits(producer(1), 1001)
    assert not identities.admits(producer(1), None)


def test_a_worker_of_ours_is_known_by_its_page(identities: Identities, tmp_path: Path) -> None:
    """After a restart nothing is remembered, and its identity is still nobody else's."""
    (tmp_path / f"{producer(1).hex()}.page").touch()
    assert not identities.admits(producer(1), identities.owner + 1)
    assert identities.admits(producer(1), identities.owner)


def test_a_flood_of_identities_pushes_out_its_own_only(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    """One user's memory is bounded, and what is remembered of another stays."""
    monkeypatch.setattr(module, "KEPT", 4)
    assert identities.admits(producer(1), 1001)
    for number in range(100, 120):
        assert identities.admits(producer(number), 1002)
    assert not identities.admits(producer(1), 1002)
    assert not identities.admits(producer(119), 1001)
    assert identities.admits(producer(100), 1001)  # forgotten
    assert len(identities._uids) == 6


def test_one_in_use_is_not_the_one_forgotten(identities: Identities, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one that was longest unheard."""
    monkeypatch.setattr(module, "KEPT", 2)
    for number in (1, 2, 1, 3):
        assert identities.admits(producer(number), 1001)
    assert not identities.admits(producer(1), 1002)
    assert identities.admits(producer(2), 1002)
